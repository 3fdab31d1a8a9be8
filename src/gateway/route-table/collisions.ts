import { getOrCreate } from '../../lib/memoize.ts'
import { type PathTree, type PatternSegment, parameterTest, segmentsOf } from '../../lib/path-tree.ts'
import { UNENCODED } from './aliases.ts'
import { type CollidingPattern, entryFor, MARK, type PatternNode } from './nodes.ts'
import type { NodeRoutes } from './trees.ts'

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

/** Makes the function that chooses among colliding patterns: the first that matches and has the method, else the first that matches. An exact path always precedes a wildcard. */
export function makePicker(
  collisions: ReadonlyMap<PatternNode, readonly CollidingPattern[]>,
  trees: ReadonlyMap<string, PathTree<NodeRoutes>>,
  fold: (text: string) => string = unchanged
): (host: string, path: string, symbol: string) => string {
  const starts = new Map<string, Set<string>>()
  for (const { host, segments } of collisions.keys())
    getOrCreate(starts, host, () => new Set<string>()).add(fold(literalStart(segments)))
  return (host, path, symbol) => {
    const known = starts.get(host)
    if (known === undefined) return ''
    const compared = fold(path)
    let begins = false
    for (const start of known) begins ||= compared.startsWith(start)
    if (!begins) return ''
    const segments = segmentsOf(path)
    const [found] = trees.get(host)?.find(segments) ?? []
    const variants = found === undefined ? undefined : collisions.get(found.node)
    if (variants === undefined) return ''
    const matching = variants.filter((variant) => variant.matches(segments))
    const exact = matching.filter(({ node }) => node.rank === matching[0]?.node.rank)
    const picked = exact.find(({ node }) => entryFor(node, symbol) !== undefined) ?? exact[0]
    return picked?.prefix ?? ''
  }
}

const unchanged = (text: string): string => text

/** Returns the literal prefix of a pattern, up to the first segment that has several spellings. */
function literalStart(segments: readonly PatternSegment[]): string {
  let start = ''
  for (const segment of segments) {
    if (!('literal' in segment) || !UNENCODED.test(segment.literal)) break
    start += `/${segment.literal}`
  }
  return `${start}/`
}
