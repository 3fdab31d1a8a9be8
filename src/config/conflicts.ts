import { ROUTABLE } from '../lib/http/methods.ts'
import { forEachSliced } from '../lib/time-slicing.ts'
import { type Fault, showPlace } from './fault.ts'
import { comparedShape } from './paths.ts'
import type { PlannedRoute } from './plan.ts'

/** Finds routes that can never be told apart: the same host, the same paths and a method in common. */
export async function sameRoutes(routes: readonly PlannedRoute[], ignoreCase: boolean): Promise<Fault[]> {
  const faults: Fault[] = []
  const taken = new Map<string, PlannedRoute[]>()
  await forEachSliced(routes, (route) => {
    for (const place of placesOf(route, ignoreCase)) {
      const others = taken.get(place)
      const other = others?.find((one) => overlap(one.methods, route.methods))
      if (other !== undefined)
        faults.push({
          ...route.place,
          path: '',
          message: `The route ${route.name} can never be told apart from the one at ${showPlace(other.place)}; give them different paths, hosts or methods`
        })
      if (others === undefined) taken.set(place, [route])
      else others.push(route)
    }
  })
  return faults
}

/** Names each host and shape of path that a route stands at. */
function placesOf({ hosts, paths }: PlannedRoute, ignoreCase: boolean): Set<string> {
  const shapes = paths.map((path) => comparedShape(path, ignoreCase))
  const named = hosts.length === 0 ? [''] : hosts
  return new Set(named.flatMap((host) => shapes.map((shape) => `${host} ${shape}`)))
}

const overlap = (a: readonly string[] | undefined, b: readonly string[] | undefined): boolean =>
  (a ?? ROUTABLE).some((method) => (b ?? ROUTABLE).includes(method))
