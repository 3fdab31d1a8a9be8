import { canBothHold, comparePrecedence } from '../lib/conditions/compare.ts'
import { ROUTABLE } from '../lib/http/methods.ts'
import { type Fault, showPlace } from './fault.ts'
import { comparedShape } from './paths.ts'
import type { PlannedRoute } from './plan-types.ts'

/** Returns an error for each route that matches the same requests as another one, where neither precedes the other: by host, path, at least one method, and conditions. */
export function findConflicts(routes: readonly PlannedRoute[], ignoreCase: boolean): Fault[] {
  const faults: Fault[] = []
  const routesByPlace = new Map<string, PlannedRoute[]>()
  for (const route of routes) {
    for (const place of placesOf(route, ignoreCase)) {
      const others = routesByPlace.get(place)
      const other = others?.find((one) => areAlike(one, route))
      if (other !== undefined)
        faults.push({
          ...route.place(),
          path: '',
          message: `The route ${route.name} matches the same requests as the one at ${showPlace(other.place())}; ${remedy(route)}`
        })
      if (others === undefined) routesByPlace.set(place, [route])
      else others.push(route)
    }
  }
  return faults
}

/** Returns a key for each pair of host and path shape of a route. */
export function placesOf({ hosts, paths }: PlannedRoute, ignoreCase: boolean): Set<string> {
  const shapes = paths.map((path) => comparedShape(path, ignoreCase))
  const hostsOrAny = hosts.length === 0 ? [''] : hosts
  return new Set(hostsOrAny.flatMap((host) => shapes.map((shape) => `${host} ${shape}`)))
}

const remedy = ({ when }: PlannedRoute): string =>
  when.length === 0
    ? 'give them different paths, hosts, methods or conditions ("when")'
    : 'give one of them more conditions, or values in "when" that exclude each other'

/** Returns whether two routes of one place accept a method, and neither is more specific. */
function areAlike(a: PlannedRoute, b: PlannedRoute): boolean {
  // A route that names its methods precedes one that takes all.
  if ((a.methods === undefined) !== (b.methods === undefined) || !overlap(a.methods, b.methods)) return false
  if (a.when.length === 0 || b.when.length === 0) return a.when.length === b.when.length
  return a.when.some((one) =>
    b.when.some((other) => comparePrecedence(one, other) === 0 && canBothHold(one, other))
  )
}

const overlap = (a: readonly string[] | undefined, b: readonly string[] | undefined): boolean =>
  (a ?? ROUTABLE).some((method) => (b ?? ROUTABLE).includes(method))
