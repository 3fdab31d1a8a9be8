import type { FastifyRequest } from 'fastify'
import type { Plan } from '../config/plan-types.ts'
import type { Concern } from '../kit/index.ts'

/** Lists what an explanation without services takes for granted of the gates of a request. */
export const assumptionsOf = (plan: Plan, request: FastifyRequest): string[] =>
  gatesThatRan(plan, request).flatMap(([{ assumes }, options]) => assumes?.(options, request) ?? [])

/** Lists the gates of a request whose verdict is not known without earlier requests, each with what it depends on. */
export const undecidedGates = (plan: Plan, request: FastifyRequest): [gate: string, what: string][] =>
  gatesThatRan(plan, request).flatMap(([{ key, undecided }, options]) => {
    const what = undecided?.(options, request)
    return what === undefined ? [] : [[key, what]]
  })

/** Lists the concerns whose gates have run for a request, each with its options on the route. */
function gatesThatRan(plan: Plan, request: FastifyRequest): [concern: Concern, options: never][] {
  const info = request.routeOptions.config.sallyport?.route
  return plan.catalog.concerns.flatMap((concern): [Concern, never][] => {
    const options = info?.options[concern.key] ?? plan.options[concern.key]
    const hasRun = request.trace?.some(({ gate }) => gate === concern.key) === true
    return hasRun && typeof options === 'object' ? [[concern, options as never]] : []
  })
}
