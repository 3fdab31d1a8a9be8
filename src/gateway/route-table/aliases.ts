import { hasOneRoute, isConditional, MARK, type PatternNode } from './nodes.ts'

/** Matches a path without characters that may be percent-encoded, so that it has one spelling; the mark is part of a host prefix. */
export const UNENCODED: RegExp = new RegExp(`^[\\w.~/${MARK}-]*$`)
const UNENCODED_OR_WILDCARD = new RegExp(`^[\\w.~/${MARK}-]*\\*?$`)

/** The paths that the router gets instead of others; a map by method and preflight where these have different routes. */
export type Aliases = Map<string, string | Map<string, string>>

/** Finds the paths that need no registration of their own: the boot time of Fastify is quadratic in their number. */
export function findAliases(nodes: ReadonlyMap<string, PatternNode>): {
  aliases: Aliases
  aliased: Set<PatternNode>
} {
  const aliases: Aliases = new Map()
  const aliased = new Set<PatternNode>()
  // Next to a parameter, the router would match "/a/" as an empty parameter.
  const parents = new Set<string>()
  for (const shape of nodes.keys()) {
    if (shape.includes('/:')) parents.add(shape.slice(0, shape.indexOf('/:') + 1))
  }
  const same = (a: PatternNode | undefined, b: PatternNode): a is PatternNode =>
    a !== undefined &&
    !a.entries.some(isConditional) &&
    a.entries.length === b.entries.length &&
    a.entries.every((entry, i) => entry === b.entries[i])
  for (const [shape, node] of nodes) {
    if (!UNENCODED_OR_WILDCARD.test(shape)) continue
    const base = shape.endsWith('/*') ? shape.slice(0, -2) : shape
    const bare = nodes.get(base)
    const slash = nodes.get(`${base}/`)
    if (shape.endsWith('/*')) {
      if (parents.has(`${base}/`) || !same(slash, node)) continue
      aliased.add(slash)
      if (base === '' || !same(bare, node)) continue
      aliased.add(bare)
      aliases.set(base, `${base}/`)
    } else if (!shape.endsWith('/') && slash?.rank === 1 && same(slash, node)) {
      aliased.add(slash)
      aliases.set(`${base}/`, base)
    }
  }
  return { aliases, aliased }
}

/** Returns whether the routes of a path are selected by method before the router, which would otherwise store all routes once per class of methods. */
export const isSplitByMethod = (shape: string, node: PatternNode): boolean =>
  UNENCODED.test(shape) && !hasOneRoute(node) && !node.entries.some(isConditional)
