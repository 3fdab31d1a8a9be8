import type { RouteInfo } from '../../kit/index.ts'
import { getOrCreate } from '../../lib/memoize.ts'
import { PathTree, type PatternEnd, type PatternSegment } from '../../lib/path-tree.ts'
import { type CollidingPattern, entryFor, type PatternNode } from './nodes.ts'

/** The routes at one pattern of the table. */
export interface PatternRoutes {
  readonly segments: readonly PatternSegment[]
  readonly end: PatternEnd
  /** Returns the route for a method, or a preflight; undefined where that is 405. */
  routeFor(symbol: string, segments: readonly string[]): RouteInfo | undefined
  /** Returns every route that a method, or a preflight, may come to: all of the pattern where it is 405. */
  routesFor(symbol: string, segments: readonly string[]): readonly RouteInfo[]
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
          .map((each) => entryFor(each, symbol)?.info)
          .find((route) => route !== undefined),
      routesFor: (symbol, path) =>
        nodesFor(path).flatMap((each) => {
          const entry = entryFor(each, symbol)
          return (entry === undefined ? each.entries : [entry]).map(({ info }) => info)
        })
    })
  }
  return trees
}
