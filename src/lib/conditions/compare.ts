import { globsOverlap } from '../glob.ts'
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
  const overlap = kind === 'client.ip' ? rangesOverlap : globsOverlap
  return one.some((value) => other.some((second) => overlap(value, second)))
}

// Two ranges overlap if one has the first address of the other.
function rangesOverlap(one: string, other: string): boolean {
  const others = expandRanges([other])
  return expandRanges([one]).some((a) => others.some((b) => has(a, b) || has(b, a)))
}

const has = (range: string, other: string): boolean => rangeMatcher([range])(other.split('/', 1)[0] ?? '')
