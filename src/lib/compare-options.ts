import { readAddresses } from './http/address-lists.ts'
import { type AddressSet, addressSet, anyAddress, withoutAddresses } from './http/address-sets.ts'
import { globSet } from './read-regular-set.ts'
import { complement, type RegularSet } from './regular-set.ts'
import { textOutside } from './text-cells.ts'

/** Returns the entries of a list that another one lacks. */
export const notIn = <T>(list: readonly T[] = [], other: readonly T[] = []): T[] =>
  list.filter((entry) => !other.includes(entry))

/** Returns whether two values are equal as JSON, whatever the order of their keys. */
export const isSame = (one: unknown, other: unknown): boolean => stableText(one) === stableText(other)

/** Serializes a value as JSON with sorted keys. */
export function stableText(value: unknown): string {
  if (typeof value === 'bigint') return String(value)
  if (Array.isArray(value)) return `[${value.map(stableText).join()}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'undefined'
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined)
  return `{${entries
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, inner]) => `${JSON.stringify(key)}:${stableText(inner)}`)
    .join()}}`
}

/** Reads an address list with its files; an entry whose file is missing has no addresses. */
export function readAddressSet(list: readonly string[]): AddressSet {
  return addressSet(
    list.flatMap((entry) => {
      try {
        return readAddresses([entry])
      } catch {
        return []
      }
    })
  )
}

/** Returns an address that is in one list and not in another; undefined if there is none. */
export const addressOutside = (list: readonly string[], other: readonly string[]): string | undefined =>
  anyAddress(withoutAddresses(readAddressSet(list), readAddressSet(other)))

/** Returns whether some text matches one of some patterns with "*" and none of others; also if that can't be told. */
export const matchesMore = (patterns: readonly RegularSet[], others: readonly RegularSet[]): boolean =>
  patterns.length > 0 && textOutside(patterns, others) !== undefined

// What "*" in an origin may be: one label of a host.
const NOT_IN_LABELS = complement([
  [45, 45],
  [48, 57],
  [97, 122]
])

/** Returns the origins that a pattern such as "https://*.example.com" stands for; "*" alone is any origin. */
export const originSet = (pattern: string): RegularSet =>
  pattern === '*' ? globSet('*') : globSet(pattern.toLowerCase(), complement(NOT_IN_LABELS))

/** Returns whether a list of origins allows one that another list does not. */
export const hasMoreOrigins = (origins: readonly string[], others: readonly string[]): boolean =>
  notIn(origins, others).length > 0 &&
  matchesMore(notIn(origins, others).map(originSet), others.map(originSet))

/** Returns the change of a limit of which a larger number allows more; none for the same number. */
export function limitChanges(
  path: readonly (string | number)[],
  before: number,
  after: number
): { class: 'loosened-limits' | 'tightened-limits'; path: typeof path; message: string }[] {
  if (before === after || (Number.isNaN(before) && Number.isNaN(after))) return []
  return after > before
    ? [{ class: 'loosened-limits', path, message: 'allows more' }]
    : [{ class: 'tightened-limits', path, message: 'allows less' }]
}
