import type { FastifyInstance } from 'fastify'
import {
  forwardedHead,
  type RequestHeadOptions,
  type WriteRequestHead
} from '../../src/lib/http/request-head.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import { makeRetry } from '../../src/lib/retry.ts'
import { duration, durationOrNone } from '../../src/lib/units.ts'
import type { ProxyOptions } from './options.ts'
import type { UpstreamRoute } from './plan.ts'

/** How the headers of requests are written. */
interface RequestHeads {
  readonly options: RequestHeadOptions
  readonly write: WriteRequestHead
}

// Bytes of a body that are kept for a target that may close its HTTP/2 connection before it has processed the request.
const HTTP2_FAILOVER_BYTES = 65_536

const NO_NAMES: ReadonlySet<string> = new Set()

/** Compiles what routes with equal options share: how request headers are written, and how an upstream is called. */
export class SharedPlans {
  readonly #app: FastifyInstance
  readonly #requestHeads = new Map<string, RequestHeads>()
  readonly #upstreamRoutes = new Map<string, UpstreamRoute>()

  constructor(app: FastifyInstance) {
    this.#app = app
  }

  /** Returns how request headers are written. */
  requestHeadFor(
    written: Pick<RequestHeadOptions, 'preserveHost' | 'requestId' | 'keepsUnderscores' | 'only'>
  ): RequestHeads {
    return getOrCreate(this.#requestHeads, JSON.stringify(written), () => {
      const app = this.#app
      const options: RequestHeadOptions = {
        ...written,
        names: app.hasDecorator('identityNames') ? app.identityNames : NO_NAMES,
        cookie: app.hasDecorator('sessionCookie') ? app.sessionCookie : null,
        clientIpHeader: app.clientIpHeader
      }
      return { options, write: forwardedHead(options) }
    })
  }

  /** Returns an upstream with the timeouts and retries of a route. */
  routeTo(name: string, { timeout, timeouts, retry, hedge }: ProxyOptions): UpstreamRoute {
    return getOrCreate(this.#upstreamRoutes, JSON.stringify([name, timeout, timeouts, retry, hedge]), () => {
      const upstream = this.#app.upstream(name)
      const policy = upstream.policyFor({
        headersTimeout: milliseconds(timeouts?.headers ?? timeout),
        bodyTimeout: milliseconds(timeouts?.body ?? timeout),
        retry: retry === undefined ? undefined : makeRetry(retry),
        hedge: hedge === undefined ? undefined : duration(hedge.after)
      })
      return { upstream, policy, failoverBytes: upstream.http2 ? HTTP2_FAILOVER_BYTES : 0 }
    })
  }
}

const milliseconds = (timeout: string | false | undefined): number | undefined =>
  timeout === undefined ? undefined : (durationOrNone(timeout) ?? 0)
