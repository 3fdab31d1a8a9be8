import { comparePrecedence } from '../../lib/conditions/compare.ts'
import { type ConditionInput, compileConditions, type HoldsFor } from '../../lib/conditions/compile.ts'
import type { Condition } from '../../lib/conditions/options.ts'
import { getOrCreate } from '../../lib/memoize.ts'
import { type Entry, entriesFor, isConditional, MARK, type PatternNode, precedenceOf } from './nodes.ts'

/** One route of a pattern for one method, with a set of its conditions. */
interface Candidate {
  readonly entry: Entry
  readonly set: readonly Condition[]
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
    const entries = entriesFor(this.#node, symbol)
    return entries
      .flatMap((entry): Candidate[] =>
        isConditional(entry)
          ? entry.info.when.map((set) => ({ entry, set, holds: compileConditions(set) }))
          : [{ entry, set: [], holds: always }]
      )
      .toSorted(
        (a, b) =>
          precedenceOf(a.entry, symbol) - precedenceOf(b.entry, symbol) || comparePrecedence(a.set, b.set)
      )
  }
}

/** Finds the patterns with routes that have conditions. */
export function findVariants(nodes: ReadonlyMap<string, PatternNode>): ReadonlyMap<PatternNode, Variants> {
  const found = new Map<PatternNode, Variants>()
  for (const node of nodes.values())
    if (node.entries.some(isConditional)) found.set(node, new Variants(node, found.size))
  return found
}
