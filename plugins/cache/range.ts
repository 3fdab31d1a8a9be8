/** A part of a body: its first byte, and the one behind its last. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** Reads the Range of a request for a body of some length: one range, 'unsatisfiable' (a 416), or undefined where the whole body answers it, as for several ranges and for units other than bytes (RFC 9110 section 14.2). */
export function rangeOf(field: string | undefined, length: number): ByteRange | 'unsatisfiable' | undefined {
  const [, first, last] = /^[ \t]*bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i.exec(field ?? '') ?? []
  if (first === undefined || last === undefined || (first === '' && last === '')) return undefined
  if (first === '') {
    const suffix = Number(last)
    return suffix === 0 || length === 0
      ? 'unsatisfiable'
      : { start: Math.max(0, length - suffix), end: length }
  }
  const start = Number(first)
  if (last !== '' && Number(last) < start) return undefined
  if (start >= length) return 'unsatisfiable'
  return { start, end: last === '' ? length : Math.min(length, Number(last) + 1) }
}
