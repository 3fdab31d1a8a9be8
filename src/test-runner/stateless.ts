import { isStateless, namedEntries } from '../config/facets.ts'
import type { Plan, PlannedRoute } from '../config/plan-types.ts'
import type { RouteInfo } from '../kit/index.ts'
import { getOrCreate } from '../lib/memoize.ts'
import type { SimulatedOutcome } from '../simulation/simulation.ts'

/** Returns whether a request has left no state in a gateway. */
export type LeftNoState = (outcome: SimulatedOutcome) => boolean

/** Makes a function that decides by the concerns and the target of a request's route, and by the upstreams that it asked. */
export function makeLeftNoState(plan: Plan): LeftNoState {
  const { catalog, routes } = plan
  const routesById = new Map(routes.map((route) => [route.id, route]))
  const upstreams = namedEntries(plan)
  const named = catalog.concerns.find((concern) => concern.named === true)
  const decided = new Map<PlannedRoute | undefined, boolean>()

  /** Decides for a route; undefined for the root options, which apply where no route matches. */
  const decideFor = (route: PlannedRoute | undefined): boolean =>
    getOrCreate(decided, route, () => {
      const target = route && catalog.targets.find(({ key }) => key === route.target)
      return (
        (target === undefined || isStateless(target, route?.targetOptions)) &&
        catalog.concerns.every((concern) => {
          if (concern === named) return true
          const options = route?.options[concern.key] ?? plan.options[concern.key]
          return options === undefined || options === false || isStateless(concern, options)
        })
      )
    })
  const isPlain = (info: RouteInfo): boolean =>
    info.kind === 'notFound' || (info.kind === 'config' && routesById.has(info.id))
  const isStatelessUpstream = (name: string): boolean =>
    !Object.hasOwn(upstreams, name) || (named !== undefined && isStateless(named, upstreams[name]))

  return ({ request, response, calls }) => {
    const info = request?.routeOptions.config.sallyport?.route
    return (
      info !== undefined &&
      response !== undefined &&
      response.status !== 101 &&
      isPlain(info) &&
      decideFor(routesById.get(info.id)) &&
      calls.every(({ upstream }) => isStatelessUpstream(upstream))
    )
  }
}
