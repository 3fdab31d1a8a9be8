import { defineWarning } from '../kit/warning.ts'
import { canBothHold } from '../lib/conditions/compare.ts'
import { ROUTABLE } from '../lib/http/methods.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { placesOf } from './conflicts.ts'
import { type Finding, findingAt } from './finding.ts'
import type { PathPattern } from './paths.ts'
import type { PlannedRoute } from './plan-types.ts'

const unreachable = defineWarning('SP_WARN_ROUTE_UNREACHABLE', 'low', 'A route that no request reaches')

/** Returns a warning for each route that no request reaches: its conditions exclude each other, or other routes take all its requests. */
export function unreachableFindings(routes: readonly PlannedRoute[], ignoreCase: boolean): Finding[] {
  const places = placesOfAll(routes, ignoreCase)
  const catchAlls = catchAllPlaces(routes)
  const order = new Map(routes.map((route, i) => [route, i]))
  return routes.flatMap((route) => {
    const why = isContradictory(route)
      ? 'its conditions ("when"), with those of its groups, exclude each other'
      : (otherMethods(route, places, ignoreCase) ?? earlierExpression(route, catchAlls, order))
    return why === undefined
      ? []
      : [findingAt(unreachable(`No request reaches the route ${route.name}: ${why}`), route)]
  })
}

type Places = ReadonlyMap<string, readonly PlannedRoute[]>

function placesOfAll(routes: readonly PlannedRoute[], ignoreCase: boolean): Places {
  const found = new Map<string, PlannedRoute[]>()
  for (const route of routes)
    for (const place of placesOf(route, ignoreCase))
      getOrCreate(found, place, (): PlannedRoute[] => []).push(route)
  return found
}

/** Returns whether each set of conditions has two that can't hold together, such as those of a route and its group. */
const isContradictory = ({ when }: PlannedRoute): boolean =>
  when.length > 0 &&
  when.every((set) => set.some((one, i) => set.some((other, j) => i < j && !canBothHold([one], [other]))))

/** Returns why a route without methods gets no request: others at its place name every method. */
function otherMethods(route: PlannedRoute, places: Places, ignoreCase: boolean): string | undefined {
  if (route.methods !== undefined) return undefined
  for (const place of placesOf(route, ignoreCase)) {
    const taken = new Set(
      (places.get(place) ?? []).flatMap(({ methods, when }) => (when.length === 0 ? (methods ?? []) : []))
    )
    if (!ROUTABLE.every((method) => taken.has(method))) return undefined
  }
  return 'other routes at the same path name every method'
}

// Expressions that match every segment.
const MATCHES_ALL: ReadonlySet<string> = new Set(['(.*)', '(.+)', '([^/]*)', '([^/]+)'])

/** The first route at each path, with its parameters left out, that matches whatever the parameters are. */
type CatchAlls = ReadonlyMap<string, PlannedRoute>

/** Returns the path with its parameters left out; undefined without an expression. */
const looseShape = ({ segments, end }: PathPattern): string | undefined =>
  segments.some((segment) => 'parameter' in segment && segment.expression !== '')
    ? `${segments.map((segment) => ('literal' in segment ? `/${segment.literal}` : '/:')).join('')} ${end}`
    : undefined

function catchAllPlaces(routes: readonly PlannedRoute[]): CatchAlls {
  const found = new Map<string, PlannedRoute>()
  for (const route of routes) {
    if (route.methods !== undefined || route.when.length > 0) continue
    for (const path of route.paths) {
      const shape = looseShape(path)
      const matchesAll = path.segments.every(
        (segment) => 'literal' in segment || MATCHES_ALL.has(segment.expression)
      )
      for (const host of route.hosts.length === 0 ? [''] : route.hosts)
        if (shape !== undefined && matchesAll && !found.has(`${host} ${shape}`))
          found.set(`${host} ${shape}`, route)
    }
  }
  return found
}

/** Returns why a route gets no request: an earlier one at the same path has an expression that matches everything. */
function earlierExpression(
  route: PlannedRoute,
  catchAlls: CatchAlls,
  order: ReadonlyMap<PlannedRoute, number>
): string | undefined {
  const isEarlier = (first: PlannedRoute): boolean => (order.get(first) ?? 0) < (order.get(route) ?? 0)

  for (const path of route.paths) {
    const shape = looseShape(path)
    if (shape === undefined) return undefined
    for (const host of route.hosts.length === 0 ? [''] : route.hosts) {
      const first = catchAlls.get(`${host} ${shape}`)
      // Two expressions at one place are tried in the order of the file.
      if (first === undefined || !isEarlier(first)) return undefined
    }
  }
  return 'an earlier route at the same path has an expression that matches every segment'
}
