/** A value that a client may choose, and its media types in lower case. */
export interface MediaOffer<T> {
  readonly value: T
  readonly types: readonly string[]
}

/** Chooses an offer by an Accept header (RFC 9110 section 12.5.1): the highest weight wins, the first offer of several; undefined where none is acceptable, or without a header. */
export function preferredOffer<T>(
  accept: string | undefined,
  offers: readonly MediaOffer<T>[]
): T | undefined {
  if (accept === undefined) return undefined
  const ranges = weightsOf(accept)
  let preferred: T | undefined
  let highest = 0
  for (const { value, types } of offers) {
    const weight = Math.max(...types.map((type) => weightOf(type, ranges)))
    if (weight > highest) [preferred, highest] = [value, weight]
  }
  return preferred
}

/** Returns the weight of each member of an Accept or Accept-Encoding header (RFC 9110 section 12.4.2), in lower case; of a member that occurs twice, such as with different parameters, the higher one. */
export function weightsOf(accept: string): Map<string, number> {
  const weights = new Map<string, number>()
  for (const range of accept.toLowerCase().split(',')) {
    const [type = '', ...params] = range.split(';').map((part) => part.trim())
    const weight = Number(params.find((param) => param.startsWith('q='))?.slice(2) ?? 1)
    if (weight >= 0 && weight <= 1) weights.set(type, Math.max(weight, weights.get(type) ?? 0))
  }
  return weights
}

/** The most specific range decides, so that "text/xml;q=0" excludes it beside a wildcard. */
const weightOf = (type: string, ranges: ReadonlyMap<string, number>): number =>
  ranges.get(type) ?? ranges.get(`${type.slice(0, type.indexOf('/'))}/*`) ?? ranges.get('*/*') ?? 0
