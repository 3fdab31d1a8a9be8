import type { RouteInfo } from '../../kit/index.ts'
import { getOrCreate } from '../../lib/memoize.ts'
import { PathTree, type PatternEnd, type PatternSegment } from '../../lib/path-tree.ts'
import { type CollidingPattern, type Entry, entriesFor, isConditional, type PatternNode } from './nodes.ts'
import { pickPattern } from './picker.ts'
import { type ConditionalEntry, conditionalEntries } from './variants.ts'

/** The routes at one pattern of the table. */
export interface PatternRoutes {
  readonly segments: readonly PatternSegment[]
  readonly end: PatternEnd
  /** Returns the first route for a method, or a preflight, that may be chosen; undefined where that is 405. */
  routeFor(symbol: string, segments: readonly string[]): RouteInfo | undefined
  /** Returns every route that a method, or a preflight, may come to: all of the pattern where it is 405. */
  routesFor(symbol: string, segments: readonly string[]): readonly RouteInfo[]
  /** Lists the routes for a method, or a preflight, with their conditions, in the order in which they are tried; empty where that is 405. */
  conditionalEntries(symbol: string, segments: readonly string[]): readonly ConditionalEntry[]
}

export interface NodeRoutes extends PatternRoutes {
  readonly node: PatternNode
}

/** Makes a tree of the patterns of each host, by the host's prefix; segments are compared as `fold` returns them. */
export function makeTrees(
  nodes: ReadonlyMap<string, PatternNode>,
  collisions: ReadonlyMap<PatternNode, readonly CollidingPattern[]>,
  fold: ((segment: string) => string) | undefined
): Map<string, PathTree<NodeRoutes>> {
  const trees = new Map<string, PathTree<NodeRoutes>>()
  for (const node of nodes.values()) {
    const { host, segments, end } = node
    const tree = getOrCreate(trees, host, () => new PathTree<NodeRoutes>(fold))
    const variants = collisions.get(node)
    const nodesFor = (path: readonly string[]): readonly PatternNode[] =>
      variants?.filter(({ matches }) => matches(path)).map((variant) => variant.node) ?? [node]
    tree.add(segments, end, {
      node,
      segments,
      end,
      routeFor: (symbol, path) =>
        nodesFor(path)
          .map((each) => entriesFor(each, symbol)[0]?.info)
          .find((route) => route !== undefined),
      routesFor: (symbol, path) =>
        nodesFor(path).flatMap((each) => {
          const possible = possibleEntries(each, symbol)
          return (possible.length === 0 ? each.entries : possible).map(({ info }) => info)
        }),
      conditionalEntries: (symbol, path) =>
        conditionalEntries(
          variants === undefined ? node : (pickPattern(variants, path, symbol)?.node ?? node),
          symbol
        )
    })
  }
  return trees
}

/** Returns the entries that a request of a method may come to: those with conditions, and the first one without. */
function possibleEntries(node: PatternNode, symbol: string): readonly Entry[] {
  const entries = entriesFor(node, symbol)
  const first = entries.findIndex((entry) => !isConditional(entry))
  return entries.filter((entry, i) => isConditional(entry) || i === first)
}
