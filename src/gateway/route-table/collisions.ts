import { getOrCreate } from '../../lib/memoize.ts'
import { parameterTest } from '../../lib/path-tree.ts'
import { type CollidingPattern, MARK, type PatternNode } from './nodes.ts'

/** Finds colliding patterns and gives each a prefix of its own, in the order in which they are tried: exact paths first, then the order of the file. */
export function findCollisions(
  nodes: ReadonlyMap<string, PatternNode>,
  fold: ((text: string) => string) | undefined
): Map<PatternNode, readonly CollidingPattern[]> {
  const places = new Map<string, PatternNode[]>()
  for (const node of nodes.values()) {
    if (!node.segments.some((segment) => 'parameter' in segment && segment.expression !== '')) continue
    const place = node.segments
      .map((segment) =>
        'literal' in segment
          ? (fold?.(segment.literal) ?? segment.literal)
          : segment.expression === ''
            ? ':'
            : ':()'
      )
      .join('/')
    getOrCreate(places, `${node.host}/${place} ${node.end}`, (): PatternNode[] => []).push(node)
  }
  const collisions = new Map<PatternNode, readonly CollidingPattern[]>()
  let count = 0
  for (const nodesThere of places.values()) {
    if (nodesThere.length === 1) continue
    const variants = nodesThere
      .toSorted((a, b) => a.rank - b.rank)
      .map((node): CollidingPattern => {
        const prefix = `/${MARK}${MARK}${count++}`
        node.url = prefix + node.url
        return { node, prefix, matches: parameterTest(node.segments) }
      })
    for (const { node } of variants) collisions.set(node, variants)
  }
  return collisions
}
