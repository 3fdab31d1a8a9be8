import type { FastifyInstance } from 'fastify'
import {
  forwardedHead,
  type RequestHeadOptions,
  type WriteRequestHead
} from '../../src/lib/http/request-head.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import { duration, durationOrNone } from '../../src/lib/units.ts'
import type { ProxyOptions } from './options.ts'
import type { UpstreamRoute } from './plan.ts'
import { makeRetry } from './retry.ts'

/** How the heads of requests go on. */
interface Heads {
  readonly head: RequestHeadOptions
  readonly write: WriteRequestHead
}

// Bytes; what is longer is sent once.
const REPLAY = 65_536

const NOBODY: ReadonlySet<string> = new Set()

/** Makes once, for all routes that say the same of it, how heads of requests go on, and the way to an upstream. */
export class SharedPlans {
  readonly #app: FastifyInstance
  readonly #heads = new Map<string, Heads>()
  readonly #lanes = new Map<string, UpstreamRoute>()

  constructor(app: FastifyInstance) {
    this.#app = app
  }

  headsFor(preserveHost: boolean, requestId: string | undefined): Heads {
    return getOrCreate(this.#heads, `${preserveHost} ${requestId}`, () => {
      const app = this.#app
      const head: RequestHeadOptions = {
        preserveHost,
        requestId,
        names: app.hasDecorator('identityNames') ? app.identityNames : NOBODY,
        cookie: app.hasDecorator('sessionCookie') ? app.sessionCookie : null
      }
      return { head, write: forwardedHead(head) }
    })
  }

  /** Returns the way to an upstream under the options of a route. */
  routeTo(name: string, { timeout, timeouts, retry, hedge }: ProxyOptions): UpstreamRoute {
    return getOrCreate(this.#lanes, JSON.stringify([name, timeout, timeouts, retry, hedge]), () => {
      const upstream = this.#app.upstream(name)
      const policy = upstream.policyFor({
        headersTimeout: ownTimeout(timeouts?.headers ?? timeout),
        bodyTimeout: ownTimeout(timeouts?.body ?? timeout),
        retry: retry === undefined ? undefined : makeRetry(retry),
        hedge: hedge === undefined ? undefined : duration(hedge.after)
      })
      return { upstream, policy, replay: upstream.http2 ? REPLAY : 0 }
    })
  }
}

const ownTimeout = (own: string | false | undefined): number | undefined =>
  own === undefined ? undefined : (durationOrNone(own) ?? 0)
