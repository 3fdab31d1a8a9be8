import { decodeForm, type RawPair } from '../../src/lib/openapi/parameter-styles.ts'
import { oneError, type RequestErrors } from './errors.ts'

/** A query as it was read. */
export interface ReadQuery {
  /** The decoded texts of each parameter, in order. */
  readonly values: ReadonlyMap<string, readonly string[]>
  /** The parameters one by one, their values still encoded. */
  readonly pairs: readonly RawPair[]
  /** Returns the query without some parameters. */
  only(isKnown: (name: string) => boolean): ReadQuery
}

/** Reads a query (without its question mark) as forms are (WHATWG URL, application/x-www-form-urlencoded); undefined, with an error, where it is not percent-encoded UTF-8. */
export function readQuery(query: string, errors: RequestErrors): ReadQuery | undefined {
  const pairs: RawPair[] = []
  try {
    for (const pair of query.split('&')) {
      if (pair === '') continue
      const end = pair.indexOf('=')
      pairs.push(end === -1 ? [decodeForm(pair), ''] : [decodeForm(pair.slice(0, end)), pair.slice(end + 1)])
    }
    return queryOfPairs(pairs)
  } catch (error) {
    if (!(error instanceof URIError)) throw error
    errors.add('query', oneError('encoding', 'must be percent-encoded UTF-8'))
    return undefined
  }
}

function queryOfPairs(pairs: readonly RawPair[]): ReadQuery {
  const values = new Map<string, string[]>()
  for (const [name, text] of pairs) {
    const value = decodeForm(text)
    const known = values.get(name)
    if (known === undefined) values.set(name, [value])
    else known.push(value)
  }
  return { values, pairs, only: (isKnown) => queryOfPairs(pairs.filter(([name]) => isKnown(name))) }
}

/** Removes the parameters of a query (with its question mark) that are not known; the others stay byte for byte. */
export function keepNamed(query: string, isKnown: (name: string) => boolean): string {
  const kept = query
    .slice(1)
    .split('&')
    .filter((pair) => isKnownPair(pair, isKnown))
  return kept.length === 0 ? '' : `?${kept.join('&')}`
}

function isKnownPair(pair: string, isKnown: (name: string) => boolean): boolean {
  try {
    return pair !== '' && isKnown(decodeForm(pair.split('=', 1)[0] ?? ''))
  } catch {
    return false
  }
}

/** Returns the query of a request target, without its question mark. */
export function queryOf(target: string): string {
  const start = target.indexOf('?')
  return start === -1 ? '' : target.slice(start + 1)
}

/** Returns the path of a request target. */
export const pathOf = (target: string): string => target.split('?', 1)[0] ?? ''
