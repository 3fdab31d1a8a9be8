import type { Plan } from '../config/plan-types.ts'
import { maskerOf } from '../config/redact.ts'
import { type Condition, type ConditionKind, conditionKey } from '../lib/conditions/options.ts'
import { matchesGlob } from '../lib/glob.ts'
import { readAddresses } from '../lib/http/address-lists.ts'
import { addressCells } from '../lib/http/address-sets.ts'
import { rangeMatcher } from '../lib/http/networks.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { globSet } from '../lib/read-regular-set.ts'
import { textCells } from '../lib/text-cells.ts'

/** What a request has of one thing that conditions look at. */
interface Value {
  /** For a person. */
  readonly text: string
  /** Whether a condition holds. */
  holds(condition: Condition): boolean
}

/** The values of a request by the key of a condition. */
export type Values = ReadonlyMap<string, Value>

// More combinations than this are not listed.
const MAX_CELLS = 4096
const MAX_UNIONS = 4

/** Lists the combinations of values that conditions tell apart; undefined if there are too many. `path` is the path where only one is possible. */
export function conditionCells(
  conditions: readonly Condition[],
  path: string | undefined
): Values[] | undefined {
  const byKey = new Map<string, Condition[]>()
  for (const each of conditions) getOrCreate(byKey, conditionKey(each), () => [] as Condition[]).push(each)
  let cells: Map<string, Value>[] = [new Map()]
  for (const [key, same] of byKey) {
    const [first] = same
    if (first === undefined) continue
    const values = valuesOf(first.kind, same, path)
    if (cells.length * values.length > MAX_CELLS) return undefined
    cells = cells.flatMap((cell) => values.map((value) => new Map([...cell, [key, value]])))
  }
  return cells
}

/** Returns whether all conditions of a set hold for some values. */
export const holdFor = (set: readonly Condition[], values: Values): boolean =>
  set.every((condition) => values.get(conditionKey(condition))?.holds(condition) === true)

/** Describes values for a person, but for those of some keys, which are secret; undefined if there are none. */
export const describeValues = (values: Values, secret: ReadonlySet<string>): string | undefined =>
  values.size === 0
    ? undefined
    : [...values].map(([key, { text }]) => `${key} ${secret.has(key) ? '***' : text}`).join(', ')

/** Lists the keys of conditions whose values are masked in one of two configs. */
export const secretConditions = (plans: readonly Plan[]): ReadonlySet<string> =>
  new Set(
    plans.flatMap((plan) => {
      const masked = maskerOf(plan)
      return plan.routes
        .flatMap(({ when }) => when.flat())
        .filter((condition) => {
          const path = ['routes', 'when', conditionKey(condition)]
          const { accepts } = condition
          return typeof accepts !== 'boolean' && accepts.some((text) => masked(text, path) !== text)
        })
        .map(conditionKey)
    })
  )

function valuesOf(kind: ConditionKind, conditions: readonly Condition[], path: string | undefined): Value[] {
  const accepted = conditions.map(({ accepts }) => (typeof accepts === 'boolean' ? [] : accepts))
  if (kind === 'scheme')
    return ['http', 'https'].map((text) => valueFor(text, (accepts) => accepts.includes(text)))
  if (kind === 'client.ip') {
    const lists = accepted.map(readAddresses)
    return addressCells(lists).map((address) =>
      valueFor(address, (accepts) => rangeMatcher(readAddresses(accepts))(address))
    )
  }
  const texts = [...new Set(accepted.flat())]
  if (kind === 'path' && path !== undefined)
    return [valueFor(path, (accepts) => accepts.some((glob) => matchesGlob(glob, path)))]
  const sets = matchedSets(texts)
  if (kind === 'path')
    return sets.map(([text, set]) => valueFor(text, (accepts) => accepts.some((each) => set.has(each))))
  // A client may send a header, a cookie or a parameter several times.
  return [
    { text: 'absent', holds: ({ accepts }) => accepts === false },
    ...unionsOf(sets).map(
      ([text, set]): Value => ({
        text: JSON.stringify(text),
        holds: ({ accepts }) =>
          typeof accepts === 'boolean' ? accepts : accepts.some((each) => set.has(each))
      })
    )
  ]
}

const valueFor = (text: string, matches: (accepts: readonly string[]) => boolean): Value => ({
  text,
  holds: ({ accepts }) => typeof accepts !== 'boolean' && matches(accepts)
})

type Matched = readonly [text: string, patterns: ReadonlySet<string>]

/** Lists texts for every way in which a text matches some patterns and not others. */
function matchedSets(patterns: readonly string[]): Matched[] {
  const { cells } = textCells(patterns.map((each) => globSet(each)))
  return cells.map(({ text, isIn }) => [text, new Set(patterns.filter((_, i) => isIn[i] === true))])
}

/** Adds what several values together match. */
function unionsOf(sets: readonly Matched[]): Matched[] {
  const found = new Map<string, Matched>()
  const add = (list: readonly Matched[]): void => {
    const patterns = new Set(list.flatMap(([, set]) => [...set]))
    const id = [...patterns].toSorted().join('\n')
    if (!found.has(id)) found.set(id, [list.map(([text]) => text).join(', '), patterns])
  }
  for (const set of sets) add([set])
  const matching = sets.filter(([, { size }]) => size > 0)
  for (const one of matching) for (const other of matching) if (one !== other) add([one, other])
  if (matching.length <= MAX_UNIONS)
    for (const one of matching)
      for (const other of matching) for (const third of matching) add([one, other, third])
  add(matching)
  return [...found.values()]
}
