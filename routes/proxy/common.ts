import type { FastifyInstance } from 'fastify'
import { durationOrNone, remember } from '../../src/kit/index.ts'
import {
  forwardedHead,
  type RequestHeadOptions,
  type WriteRequestHead
} from '../../src/lib/http/request-head.ts'
import type { ProxyOptions } from './options.ts'
import { stillnessOf } from './stillness.ts'
import type { Lane } from './way.ts'

/** How the heads of requests go on. */
interface Heads {
  readonly head: RequestHeadOptions
  readonly write: WriteRequestHead
}

// Bytes; what is longer is sent once.
const REPLAY = 65_536

const NOBODY: ReadonlySet<string> = new Set()

/** Makes once, for all routes that say the same of it, how heads of requests go on, and the way to an upstream. */
export class Common {
  readonly #app: FastifyInstance
  readonly #heads = new Map<string, Heads>()
  readonly #lanes = new Map<string, Lane>()

  constructor(app: FastifyInstance) {
    this.#app = app
  }

  headsFor(preserveHost: boolean, requestId: string | undefined): Heads {
    return remember(this.#heads, `${preserveHost} ${requestId}`, () => {
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

  laneTo(name: string, said: ProxyOptions['timeouts']): Lane {
    return remember(this.#lanes, JSON.stringify([name, said]), () => {
      const upstream = this.#app.upstream(name)
      return {
        upstream,
        headersTimeout: orElse(said?.headers, upstream.timeouts.headers),
        replay: upstream.http2 ? REPLAY : 0,
        stillness: stillnessOf(orElse(said?.body, upstream.timeouts.body))
      }
    })
  }
}

const orElse = (own: string | false | undefined, upstreams: number): number =>
  own === undefined ? upstreams : (durationOrNone(own) ?? 0)
