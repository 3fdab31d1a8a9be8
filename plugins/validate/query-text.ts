/** The parameters of a query by name, in order; undefined where one is not percent-encoded UTF-8. */
export type QueryValues = ReadonlyMap<string, readonly string[]>

/** Reads a query (without its question mark) as forms are (WHATWG URL, application/x-www-form-urlencoded). */
export function readQuery(query: string): QueryValues | undefined {
  const values = new Map<string, string[]>()
  for (const pair of query.split('&')) {
    if (pair === '') continue
    const end = pair.indexOf('=')
    const name = decodeText(end === -1 ? pair : pair.slice(0, end))
    const value = end === -1 ? '' : decodeText(pair.slice(end + 1))
    if (name === undefined || value === undefined) return undefined
    const known = values.get(name)
    if (known === undefined) values.set(name, [value])
    else known.push(value)
  }
  return values
}

/** Removes the parameters of a query (with its question mark) that are not named; the others stay byte for byte. */
export function keepNamed(query: string, names: ReadonlySet<string>): string {
  const kept = query
    .slice(1)
    .split('&')
    .filter((pair) => names.has(decodeText(pair.split('=', 1)[0] ?? '') ?? ''))
  return kept.length === 0 ? '' : `?${kept.join('&')}`
}

/** Decodes a name or a value; undefined where it is not percent-encoded UTF-8. */
function decodeText(text: string): string | undefined {
  const spaced = text.includes('+') ? text.replaceAll('+', ' ') : text
  if (!spaced.includes('%')) return spaced
  try {
    return decodeURIComponent(spaced)
  } catch {
    return undefined
  }
}

/** Returns the query of a request target, without its question mark. */
export function queryOf(target: string): string {
  const start = target.indexOf('?')
  return start === -1 ? '' : target.slice(start + 1)
}
