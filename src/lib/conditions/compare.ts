import { globsOverlap } from '../glob.ts'
import { readAddresses } from '../http/address-lists.ts'
import { expandRanges, rangeMatcher } from '../http/networks.ts'
import { CONDITION_KINDS, type Condition, conditionKey } from './options.ts'

/** Compares sets of conditions by precedence: more conditions come first, then those of an earlier kind; 0 for none before the other. */
export function comparePrecedence(a: readonly Condition[], b: readonly Condition[]): number {
  if (a.length !== b.length) return b.length - a.length
  const [ranks, others] = [a, b].map((set) =>
    set.map(({ kind }) => CONDITION_KINDS.indexOf(kind)).toSorted((one, two) => one - two)
  )
  for (const [i, rank] of (ranks ?? []).entries()) {
    const difference = rank - (others?.[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

/** Returns whether a request may exist for which both sets of conditions hold. Two different values of one header, cookie or parameter count as exclusive, although a client can send both. */
export const canBothHold = (a: readonly Condition[], b: readonly Condition[]): boolean =>
  a.every((one) => b.every((other) => conditionKey(one) !== conditionKey(other) || acceptsSame(one, other)))

function acceptsSame({ kind, accepts: one }: Condition, { accepts: other }: Condition): boolean {
  if (typeof one === 'boolean' || typeof other === 'boolean') return (one !== false) === (other !== false)
  if (kind === 'client.ip') return listsOverlap(one, other)
  return one.some((value) => other.some((second) => globsOverlap(value, second)))
}

// Two ranges overlap if one has the first address of the other.
function listsOverlap(one: readonly string[], other: readonly string[]): boolean {
  const [a, b] = [one, other].map((list) => expandRanges(readAddresses(list))) as [string[], string[]]
  return hasFirstOf(a, b) || hasFirstOf(b, a)
}

function hasFirstOf(ranges: readonly string[], others: readonly string[]): boolean {
  const matches = rangeMatcher(ranges)
  return others.some((range) => matches(range.split('/', 1)[0] ?? ''))
}
