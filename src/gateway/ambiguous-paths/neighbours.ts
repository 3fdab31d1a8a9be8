import type { PathPattern } from '../../config/paths.ts'
import type { RouteInfo } from '../../kit/index.ts'
import { foldSegment } from '../../lib/path-readings.ts'
import { bypassedGates, type PlannedRoutes, type RouteAccess } from './access.ts'

/**
 * Finds the routes with a path that may be read as one of a neighbour with other gates. The value is whether that also
 * holds for paths without an unusual character. The result may contain too many routes, never too few.
 */
export function neighboursOf(
  routes: PlannedRoutes,
  accesses: ReadonlyMap<RouteInfo, RouteAccess>
): Map<RouteInfo, boolean> {
  const found = new Map<RouteInfo, boolean>()
  if (new Set(accesses.values()).size < 2) return found
  // By a prefix of literals: the routes below it, those with a parameter or wildcard after it, and those that end there.
  const below = new Map<string, Set<RouteAccess>>()
  const open = new Map<string, Set<RouteAccess>>()
  const exact = new Map<string, Map<string, Set<RouteAccess>>>()
  const add = <K>(to: Map<K, Set<RouteAccess>>, key: K, access: RouteAccess): void => {
    const known = to.get(key)
    if (known === undefined) to.set(key, new Set([access]))
    else known.add(access)
  }
  const starts = new Map<PathPattern, Start>()
  for (const [{ paths }, info] of routes) {
    const access = accesses.get(info)
    if (access === undefined) continue
    for (const path of paths) {
      const start = startOf(path)
      starts.set(path, start)
      for (const each of start.prefixes) add(below, each, access)
      const last = start.prefixes.at(-1) ?? ''
      if (start.open || path.wildcard) add(open, last, access)
      if (start.open) continue
      const those = exact.get(last) ?? new Map<string, Set<RouteAccess>>()
      exact.set(last, those)
      add(those, start.written, access)
    }
  }
  for (const [{ paths }, info] of routes) {
    const access = accesses.get(info)
    if (access === undefined) continue
    for (const path of paths) {
      const start = starts.get(path)
      if (start === undefined) continue
      const last = start.prefixes.at(-1) ?? ''
      // A path of literals has one spelling, but some servers may treat another spelling as equal.
      const others: Iterable<RouteAccess>[] =
        start.open || path.wildcard
          ? [below.get(last) ?? []]
          : [...(exact.get(last) ?? [])]
              .filter(([written]) => written !== start.written)
              .map(([, those]) => those)
      if (start.open) for (const each of start.prefixes) others.push(open.get(each) ?? [])
      for (const those of others)
        for (const other of those)
          if (bypassedGates(access, other).length > 0)
            found.set(info, found.get(info) === true || other.folded || access.folded)
    }
  }
  return found
}

interface Start {
  /** Each prefix of the literals before the first parameter, in folded form. */
  readonly prefixes: readonly string[]
  /** The literals as the config writes them. */
  readonly written: string
  /** Whether a parameter follows. */
  readonly open: boolean
}

function startOf({ segments }: PathPattern): Start {
  const prefixes = ['']
  let written = ''
  for (const segment of segments) {
    const folded = 'literal' in segment ? foldSegment(segment.literal) : ''
    if (folded === '' || !('literal' in segment)) return { prefixes, written, open: true }
    prefixes.push(`${prefixes.at(-1)}/${folded}`)
    written += `/${segment.literal}`
  }
  return { prefixes, written, open: false }
}
