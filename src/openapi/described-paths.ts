import type { PathPattern } from '../config/paths.ts'
import type { Plan, PlannedRoute } from '../config/plan-types.ts'
import type { Documentation } from '../kit/concern.ts'
import { compare } from './components.ts'
import { textsOf } from './describe-route.ts'

/** A path of a route that is described. */
export interface DescribedPath {
  readonly route: PlannedRoute
  readonly pattern: PathPattern
  readonly texts: Documentation
}

/** Lists the paths that are described, in an order that does not depend on that of the config; with a host, those that requests to it can reach. */
export function describedPaths(plan: Plan, host: string | undefined): DescribedPath[] {
  const all = plan.routes.flatMap((route) => {
    const texts = textsOf(plan, route)
    return texts === undefined ? [] : route.paths.map((pattern) => ({ route, pattern, texts }))
  })
  return (host === undefined ? all : reachable(all, host)).toSorted(
    (a, b) => compareWildcards(a.pattern, b.pattern) || compare(sortKey(a), sortKey(b))
  )
}

type RoutePath = Pick<DescribedPath, 'route' | 'pattern'>

const sortKey = ({ route, pattern }: RoutePath): string =>
  [pattern.text, route.hosts.join(), route.methods?.join() ?? '', route.id].join('\n')

// A wildcard gives way to what else is at its place.
const compareWildcards = (a: PathPattern, b: PathPattern): number =>
  Number(a.wildcard) - Number(b.wildcard) || (a.wildcard ? b.depth - a.depth : 0)

/** Returns the paths that requests to a host can reach: the entry that names the host best hides the others of its path. */
function reachable<P extends RoutePath>(paths: readonly P[], host: string): P[] {
  const best = new Map<string, number>()
  const ranked = paths.map((path) => ({ path, rank: rankOf(path.route.hosts, host) }))
  for (const { path, rank } of ranked)
    best.set(path.pattern.shape, Math.max(rank, best.get(path.pattern.shape) ?? 0))
  return ranked.flatMap(({ path, rank }) => (rank > 0 && rank === best.get(path.pattern.shape) ? [path] : []))
}

/** Returns how well the hosts of a route match a host: by name, by a wildcard, as any host, or (0) not at all. */
function rankOf(hosts: readonly string[], host: string): number {
  if (hosts.length === 0) return 1
  if (hosts.includes(host)) return 3
  return hosts.some((each) => each.startsWith('*.') && each.slice(2) === host.slice(host.indexOf('.') + 1))
    ? 2
    : 0
}
