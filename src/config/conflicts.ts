import { ROUTABLE } from '../lib/http/methods.ts'
import { type Fault, showPlace } from './fault.ts'
import { comparedShape } from './paths.ts'
import type { PlannedRoute } from './plan-types.ts'

/** Returns an error for each route that matches the same requests as another one: by host, path and at least one method. */
export function findConflicts(routes: readonly PlannedRoute[], ignoreCase: boolean): Fault[] {
  const faults: Fault[] = []
  const routesByPlace = new Map<string, PlannedRoute[]>()
  for (const route of routes) {
    for (const place of placesOf(route, ignoreCase)) {
      const others = routesByPlace.get(place)
      const other = others?.find((one) => overlap(one.methods, route.methods))
      if (other !== undefined)
        faults.push({
          ...route.place(),
          path: '',
          message: `The route ${route.name} matches the same requests as the one at ${showPlace(other.place())}; give them different paths, hosts or methods`
        })
      if (others === undefined) routesByPlace.set(place, [route])
      else others.push(route)
    }
  }
  return faults
}

/** Returns a key for each pair of host and path shape of a route. */
function placesOf({ hosts, paths }: PlannedRoute, ignoreCase: boolean): Set<string> {
  const shapes = paths.map((path) => comparedShape(path, ignoreCase))
  const hostsOrAny = hosts.length === 0 ? [''] : hosts
  return new Set(hostsOrAny.flatMap((host) => shapes.map((shape) => `${host} ${shape}`)))
}

const overlap = (a: readonly string[] | undefined, b: readonly string[] | undefined): boolean =>
  (a ?? ROUTABLE).some((method) => (b ?? ROUTABLE).includes(method))
