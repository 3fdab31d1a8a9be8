/** Returns a time of nginx, such as "30", "1m 30s" or "500ms", as a duration; undefined if it is none. */
export function durationOf(text: string): string | undefined {
  const match = /^(\d+)(ms|s|m|h|d|w)?$/.exec(text)
  if (match === null) return undefined
  const [, amount = '', unit = 's'] = match
  return unit === 'w' ? `${Number(amount) * 7}d` : `${amount}${unit}`
}

/** Returns a size of nginx, such as "8k" or "10m", as a size; `false` for 0, which is no limit, and undefined if it is none. */
export function sizeOf(text: string): string | false | undefined {
  const match = /^(\d+)([kmg])?$/i.exec(text)
  if (match === null) return undefined
  const [, amount = '', unit = ''] = match
  return Number(amount) === 0 ? false : `${amount}${unit.toLowerCase()}b`
}
