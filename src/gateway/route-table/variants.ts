import { comparePrecedence } from '../../lib/conditions/compare.ts'
import { type ConditionInput, compileConditions, type HoldsFor } from '../../lib/conditions/compile.ts'
import type { Condition } from '../../lib/conditions/options.ts'
import { getOrCreate } from '../../lib/memoize.ts'
import { type Entry, entriesFor, isConditional, MARK, type PatternNode, precedenceOf } from './nodes.ts'

/** One route of a pattern for one method, with a set of its conditions. */
export interface ConditionalEntry {
  readonly entry: Entry
  readonly set: readonly Condition[]
}

interface Candidate extends ConditionalEntry {
  readonly holds: HoldsFor
}

const always = (): boolean => true

/** The routes of a pattern of which some have conditions. Each of these has a prefix of its own in the router. */
export class Variants {
  readonly #node: PatternNode
  readonly #prefixes = new Map<Entry, string>()
  /** The routes for each method, or preflight, in the order in which they are tried. */
  readonly #candidates = new Map<string, readonly Candidate[]>()

  constructor(node: PatternNode, number: number) {
    this.#node = node
    for (const entry of node.entries)
      if (isConditional(entry))
        this.#prefixes.set(entry, `/${MARK}${MARK}${MARK}${number}.${this.#prefixes.size}`)
  }

  /** Returns the prefix of a route in the router; empty for one without conditions. */
  prefixOf(entry: Entry): string {
    return this.#prefixes.get(entry) ?? ''
  }

  /** Returns the prefix of the first route whose conditions hold; empty where that is one without conditions, or none. */
  pick(symbol: string, input: ConditionInput): string {
    const candidates = getOrCreate(this.#candidates, symbol, () => this.#candidatesFor(symbol))
    const found = candidates.find(({ holds }) => holds(input))
    return found === undefined ? '' : this.prefixOf(found.entry)
  }

  #candidatesFor(symbol: string): readonly Candidate[] {
    return conditionalEntries(this.#node, symbol).map((each) => ({
      ...each,
      holds: each.set.length === 0 ? always : compileConditions(each.set)
    }))
  }
}

/** Lists the routes of a pattern for a method, or a preflight, each with one set of its conditions, in the order in which they are tried. */
export function conditionalEntries(node: PatternNode, symbol: string): ConditionalEntry[] {
  return entriesFor(node, symbol)
    .flatMap((entry): ConditionalEntry[] =>
      isConditional(entry) ? entry.info.when.map((set) => ({ entry, set })) : [{ entry, set: [] }]
    )
    .toSorted(
      (a, b) =>
        precedenceOf(a.entry, symbol) - precedenceOf(b.entry, symbol) || comparePrecedence(a.set, b.set)
    )
}

/** Finds the patterns with routes that have conditions. */
export function findVariants(nodes: ReadonlyMap<string, PatternNode>): ReadonlyMap<PatternNode, Variants> {
  const found = new Map<PatternNode, Variants>()
  for (const node of nodes.values())
    if (node.entries.some(isConditional)) found.set(node, new Variants(node, found.size))
  return found
}
