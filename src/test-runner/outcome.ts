import type { FastifyRequest } from 'fastify'
import type { Forwarding } from '../lib/caller.ts'
import type { UpstreamCall } from '../lib/contracts/simulation.ts'
import { concernOfCode } from '../lib/http/response-end.ts'
import type { SimulatedOutcome } from '../simulation/simulation.ts'

/** What became of a request, as `expect` names it. */
export interface Outcome {
  /** undefined where the connection closed without a response. */
  readonly status: number | undefined
  /** Lower-case names and values. */
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Buffer
  /** The code of the refusal; null for none. */
  readonly code: string | null
  /** Who refused, as in the access log: the key of a gate, or a part of the gateway; null for nobody. */
  readonly refusedBy: string | null
  /** The name of the limit that refused; null for none. */
  readonly limit: string | null
  /** The name of the route; null where none matches. */
  readonly route: string | null
  /** The requests that upstreams got on behalf of the client, in their order, copies and those of gates included. */
  readonly upstreams: readonly UpstreamCall[]
  /** Those of them that the target has made, without copies for other upstreams. */
  readonly attempts: readonly UpstreamCall[]
}

// What an exchange calls an upstream that is a URL in the config.
const UNNAMED = 'url'

/** Returns what became of a simulated request. */
export function outcomeOf({ response, request, calls }: SimulatedOutcome): Outcome {
  const upstreams = calls.filter(({ isForwarded, gate }) => isForwarded || gate !== undefined)
  const forwarded = calls.filter(({ isForwarded, gate }) => isForwarded && gate === undefined)
  const route = request?.routeOptions.config.sallyport?.route
  const refusal = request?.refusal ?? null
  const to = request?.forwarding
  return {
    status: response?.status,
    headers: response?.headers ?? [],
    body: response?.body ?? Buffer.alloc(0),
    code: refusal?.code ?? null,
    refusedBy: request === undefined ? null : refuserOf(request),
    limit: refusal?.limit ?? null,
    route: route === undefined || route.kind === 'notFound' ? null : route.name,
    upstreams,
    attempts: to === undefined || to === null ? forwarded : forwarded.filter((call) => isFor(to, call))
  }
}

const isFor = (to: Forwarding, { upstream, target }: UpstreamCall): boolean =>
  upstream === to.upstream || (to.upstream === UNNAMED && authorityOf(target) === to.target)

const authorityOf = (target: string): string =>
  target.startsWith('unix:') ? target.slice('unix:'.length) : new URL(target).host

/** Returns who refused a request: the gate that the trace names, or else what the code begins with. */
function refuserOf({ refusal, trace, routeOptions }: FastifyRequest): string | null {
  if (refusal === null) return null
  const traced = trace?.find(({ verdict }) => verdict === 'refused')
  if (traced !== undefined) return traced.gate
  return concernOfCode(refusal.code, routeOptions.config.sallyport?.route?.gates ?? []) ?? null
}
