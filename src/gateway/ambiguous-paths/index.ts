import { pathPolicyOf } from '../../config/facets.ts'
import type { AmbiguousPair } from '../../config/lint.ts'
import type { Plan } from '../../config/plan-types.ts'
import type { RouteInfo } from '../../kit/index.ts'
import { canonicalPath, type PathPolicy } from '../../lib/http/canonical-path.ts'
import { getOrCreate } from '../../lib/memoize.ts'
import type { Table } from '../route-table/index.ts'
import { accessOf, bypassedGates, literalsOf, type PlannedRoutes, type RouteAccess } from './access.ts'
import { findBypasses } from './bypasses.ts'
import { neighboursOf } from './neighbours.ts'
import { type FindOtherReading, OtherReadings } from './other-readings.ts'
import { otherSpellings } from './spellings.ts'

export type { FindOtherReading } from './other-readings.ts'

/** The paths that an upstream may read differently than the gateway. */
export interface Ambiguities {
  /** Returns the function that finds another reading of a route's paths; undefined for a route without a neighbour that has other gates. */
  readonly finderFor: (route: RouteInfo) => FindOtherReading | undefined
  /** Returns the routes whose paths may be read as those of another one, each with a URL. */
  readonly pairs: () => readonly AmbiguousPair[]
}

/** Finds the routes that share an upstream with a route that has other gates, and the other readings of their paths. */
export function findAmbiguities(plan: Plan, routes: PlannedRoutes, table: Table): Ambiguities {
  const policy = pathPolicyOf(plan)
  const { ignoreCase } = policy
  const accesses = accessOf(plan, routes, ignoreCase)
  const neighbours = neighboursOf(routes, accesses)
  const bypasses = (): AmbiguousPair[] => {
    const readings = OtherReadings.of(table, accesses, new Set())
    return findBypasses(plan, routes, (path, host, method) => readings.routeOf(path, host, method))
  }
  if (neighbours.size === 0) return { finderFor: () => undefined, pairs: bypasses }
  const literals = new Set(
    routes.flatMap(([{ paths }]) => paths.flatMap((path) => literalsOf(path, ignoreCase)))
  )
  const readings = OtherReadings.of(table, accesses, literals)
  const finderFor = (route: RouteInfo): FindOtherReading | undefined => {
    const access = accesses.get(route)
    const always = neighbours.get(route)
    return access === undefined || always === undefined
      ? undefined
      : readings.finderFor(route, access, always)
  }
  return {
    finderFor,
    pairs: () => [...findPairs(routes, { accesses, policy, readings, finderFor }), ...bypasses()]
  }
}

interface PairSearch {
  readonly accesses: ReadonlyMap<RouteInfo, RouteAccess>
  readonly policy: PathPolicy
  readonly readings: OtherReadings
  readonly finderFor: Ambiguities['finderFor']
}

/** Tries other spellings of the paths of each protected route, and returns those that match another route. */
function findPairs(
  routes: PlannedRoutes,
  { accesses, policy, readings, finderFor }: PairSearch
): readonly AmbiguousPair[] {
  const found = new Map<RouteInfo, Map<RouteInfo, AmbiguousPair>>()
  const hostsOf = hostsByOrigin(accesses.values())
  const finders = new Map<RouteInfo, FindOtherReading | undefined>()
  for (const [{ paths }, info] of routes) {
    const own = accesses.get(info)
    if (own === undefined || own.gates.size === 0) continue
    const others = own.origins.flatMap((origin) => [...(hostsOf.get(origin) ?? [])])
    const hosts = info.hosts.length > 0 ? info.hosts : ['', ...new Set(others)]
    const methods = new Set([info.methods?.[0] ?? 'GET', 'GET', 'POST'])
    for (const url of paths.flatMap(otherSpellings)) {
      const { path, refusal } = canonicalPath(url, policy)
      if (refusal !== undefined) continue
      for (const host of hosts.map((name) => name.replace('*', 'any')))
        for (const method of methods) {
          const route = readings.routeOf(path, host, method)
          const other = route && getOrCreate(finders, route, () => finderFor(route))?.(path, host, method)
          const [access, bypassed] = [route && accesses.get(route), other && accesses.get(other)]
          if (access === undefined || bypassed === undefined || route === undefined || other === undefined)
            continue
          const ofRoute = getOrCreate(found, route, () => new Map<RouteInfo, AmbiguousPair>())
          getOrCreate(ofRoute, other, () => ({
            route,
            other,
            gates: bypassedGates(access, bypassed),
            method,
            url: host + url
          }))
        }
    }
  }
  return [...found.values()].flatMap((ofRoute) => [...ofRoute.values()])
}

// How many hosts of an origin's other routes are tried for a route without a host.
const MAX_HOSTS = 16

/** Returns some hosts of the routes to each origin. */
function hostsByOrigin(accesses: Iterable<RouteAccess>): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>()
  for (const { origins, hosts } of accesses)
    for (const origin of origins) {
      const known = getOrCreate(found, origin, () => new Set<string>())
      if (known.size < MAX_HOSTS && hosts[0] !== undefined) known.add(hosts[0])
    }
  return found
}
