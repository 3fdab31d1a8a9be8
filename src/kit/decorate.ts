import type { FastifyInstance } from 'fastify'
import type { Caller, Forwarding, LegReport } from '../lib/caller.ts'
import type { TraceContext } from '../lib/contracts/tracing.ts'
import type { Refusal } from '../lib/refusals.ts'
import { addHook } from './hooks.ts'
import type { RecordCost, Verdict } from './observe.ts'
import { applyHead } from './response-head.ts'
import { type RouteInfo, routeInfoOf } from './route-info.ts'

/** The settings of a gateway that the kit depends on. */
export interface Kit {
  /** Whether the verdict of each gate is recorded on `request.trace`. */
  readonly trace: boolean
  /** Called with how long hooks of concerns take, for one run in 64; absent if nothing is measured. */
  cost?: RecordCost
  /** Returns the configured or built-in route that is being registered. */
  readonly findRoute: (url: string, methods: readonly string[]) => RouteInfo | undefined
}

/** Adds what concerns share to an instance: the decorators of requests, and the response head of every route. */
export function decorateApp(app: FastifyInstance, kit: Kit): void {
  app.decorate('sallyportKit', kit)
  app.decorateRequest('began', 0)
  app.decorateRequest('response', null as never)
  app.decorateRequest('caller', null)
  app.decorateRequest('callers', null)
  app.decorateRequest('forwarding', null)
  app.decorateRequest('legs', null)
  app.decorateRequest('refusal', null)
  app.decorateRequest('changeQuery', null)
  app.decorateRequest('trace', null)
  app.decorateRequest('reported', null)
  app.decorateRequest('traceContext', null)
  app.addHook('onRoute', function addHead(route) {
    routeInfoOf(app, route)
    addHook(route, 'onSend', applyHead)
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The settings that the kit depends on. */
    sallyportKit: Kit
  }
  interface FastifyRequest {
    /** The authenticated caller; null until a strategy of `auth` has accepted the request. */
    caller: Caller | null
    /** The callers that the strategies of `auth` have found, one for each that succeeded, `caller` among them; null for none. */
    callers: readonly Caller[] | null
    /** How the request is being forwarded; null until its target has begun. */
    forwarding: Forwarding | null
    /** What became of each leg of an aggregated response; null for other targets. */
    legs: readonly LegReport[] | null
    /** The error that the response reports; null without one. */
    refusal: Refusal | null
    /** Changes the query (with its question mark) for the upstream; null to leave it unchanged. */
    changeQuery: ((query: string) => string) | null
    /** The verdict of each gate, in order; null unless the gateway was built with `trace`. */
    trace: Verdict[] | null
    /** Its place in a distributed trace; null where it is not traced. */
    traceContext: TraceContext | null
    /** The refusals that report mode let pass; null if there were none. */
    reported: Verdict[] | null
  }
}
