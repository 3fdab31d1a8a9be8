import type { FastifyInstance } from 'fastify'
import type { Caller, Forwarding } from '../lib/caller.ts'
import { addHook } from './hooks.ts'
import type { RecordCost, Verdict } from './observe.ts'
import { applyHead } from './response-head.ts'
import { type RouteInfo, routeInfoOf } from './route-info.ts'

/** What the kit needs to know of a gateway. */
export interface Kit {
  /** Whether each gate's verdict is recorded on `request.trace`. */
  readonly trace: boolean
  /** Receives how long hooks of concerns take, for one run in 64; absent where nothing is measured. */
  cost?: RecordCost
  /** Returns the route of the config, or of the gateway itself, that is being registered. */
  readonly findRoute: (url: string, methods: readonly string[]) => RouteInfo | undefined
}

/** Adds to an instance what concerns share: the decorators of a request, and the response head of every route. */
export function decorateApp(app: FastifyInstance, kit: Kit): void {
  app.decorate('sallyportKit', kit)
  app.decorateRequest('began', 0)
  app.decorateRequest('response', null as never)
  app.decorateRequest('caller', null)
  app.decorateRequest('forwarding', null)
  app.decorateRequest('trace', null)
  app.decorateRequest('reported', null)
  app.addHook('onRoute', function nameRoute(route) {
    routeInfoOf(app, route)
    addHook(route, 'onSend', applyHead)
  })
}

declare module 'fastify' {
  interface FastifyInstance {
    /** What the kit needs to know of this gateway. */
    sallyportKit: Kit
  }
  interface FastifyRequest {
    /** The authenticated caller; null until a strategy of `auth` has accepted the request. */
    caller: Caller | null
    /** What the target did; null until it began. */
    forwarding: Forwarding | null
    /** Each gate's verdict, in order; null unless the gateway was built with `trace`. */
    trace: Verdict[] | null
    /** What gates in report mode would have refused; null where nothing was. */
    reported: Verdict[] | null
  }
}
