import type { ConditionInput } from '../../lib/conditions/compile.ts'
import { getOrCreate } from '../../lib/memoize.ts'
import { type PathTree, segmentsOf } from '../../lib/path-tree.ts'
import { UNENCODED } from './aliases.ts'
import { type CollidingPattern, entriesFor, type PatternNode } from './nodes.ts'
import type { NodeRoutes } from './trees.ts'
import type { Variants } from './variants.ts'

/** A request whose path has several patterns or routes in the router. */
export interface PickInput extends ConditionInput {
  /** The prefix of its host in the router. */
  readonly host: string
  /** Its method, or the preflight that it is. */
  readonly symbol: string
}

/** Returns the prefix of the pattern and the route that a request comes to; empty where its path has only one. */
export type Picker = (input: PickInput) => string

/** The patterns that need a prefix in the router. */
interface Prefixed {
  readonly collisions: ReadonlyMap<PatternNode, readonly CollidingPattern[]>
  readonly variants: ReadonlyMap<PatternNode, Variants>
  readonly trees: ReadonlyMap<string, PathTree<NodeRoutes>>
}

/** Makes the function that chooses among patterns that collide, and then among routes with conditions. */
export function makePicker(prefixed: Prefixed, fold: (text: string) => string = unchanged): Picker {
  const { collisions, variants, trees } = prefixed
  const starts = firstSegments([...collisions.keys(), ...variants.keys()], fold)
  return (input) => {
    const { host, path, symbol } = input
    const known = starts.get(host)
    if (known === undefined || !(known.has('') || known.has(fold(firstOf(path))))) return ''
    const segments = segmentsOf(path)
    const [found] = trees.get(host)?.find(segments) ?? []
    if (found === undefined) return ''
    const colliding = collisions.get(found.node)
    const picked = colliding === undefined ? undefined : pickPattern(colliding, segments, symbol)
    const node = picked?.node ?? found.node
    return (variants.get(node)?.pick(symbol, input) ?? '') + (picked?.prefix ?? '')
  }
}

/** Returns the first pattern that matches and has the method, else the first that matches. An exact path always precedes a wildcard. */
export function pickPattern(
  colliding: readonly CollidingPattern[],
  segments: readonly string[],
  symbol: string
): CollidingPattern | undefined {
  const matching = colliding.filter((pattern) => pattern.matches(segments))
  const exact = matching.filter(({ node }) => node.rank === matching[0]?.node.rank)
  return exact.find(({ node }) => entriesFor(node, symbol).length > 0) ?? exact[0]
}

/** Returns the first segments of patterns, by host; the empty one stands for any. */
function firstSegments(
  nodes: readonly PatternNode[],
  fold: (text: string) => string
): ReadonlyMap<string, ReadonlySet<string>> {
  const starts = new Map<string, Set<string>>()
  for (const { host, segments } of nodes) {
    const [first] = segments
    const isLiteral = first !== undefined && 'literal' in first && UNENCODED.test(first.literal)
    getOrCreate(starts, host, () => new Set<string>()).add(isLiteral ? fold(first.literal) : '')
  }
  return starts
}

/** Returns the first segment of a path. */
function firstOf(path: string): string {
  const end = path.indexOf('/', 1)
  return end === -1 ? path.slice(1) : path.slice(1, end)
}

const unchanged = (text: string): string => text
