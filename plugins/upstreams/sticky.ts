import { createHmac, randomBytes } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { UpstreamTarget } from '../../src/lib/contracts/upstream.ts'
import { cookieIn, stickyCookie } from '../../src/lib/http/cookies.ts'
import { duration } from '../../src/lib/units.ts'
import type { StickyOptions } from './options.ts'
import type { Target } from './target.ts'

/** Sends a client to the target it had first, by a cookie with a keyed hash of the target. */
export class Sticky {
  readonly #cookie: string
  readonly #secret: string | Buffer
  readonly #maxAge: number | undefined
  readonly #secure: boolean
  readonly #cookieValues = new WeakMap<UpstreamTarget, string>()

  constructor(app: FastifyInstance, { cookie, maxAge, secret }: StickyOptions) {
    this.#cookie = cookie
    // Addresses have little entropy, so an unkeyed hash could be reversed by trial.
    this.#secret = secret ?? app.resources.lease(app, 'sticky secret', () => randomBytes(32))
    this.#maxAge = maxAge === undefined ? undefined : duration(maxAge)
    this.#secure = app.publicUrl?.startsWith('https://') === true
  }

  /** Returns the target named by the request's cookie, if it is in the list. */
  find(request: FastifyRequest, targets: readonly Target[]): Target | undefined {
    const value = cookieIn(request.headers.cookie, this.#cookie)
    return value === undefined ? undefined : targets.find((target) => this.#cookieValueFor(target) === value)
  }

  /** Returns the Set-Cookie value for a target; undefined if the request has that cookie already. */
  cookieFor(request: FastifyRequest, target: UpstreamTarget): string | undefined {
    const name = this.#cookieValueFor(target)
    if (cookieIn(request.headers.cookie, this.#cookie) === name) return undefined
    const isSecure = this.#secure || request.protocol === 'https'
    return stickyCookie(this.#cookie, name, { maxAge: this.#maxAge, isSecure })
  }

  #cookieValueFor(target: UpstreamTarget): string {
    let name = this.#cookieValues.get(target)
    if (name === undefined) {
      name = createHmac('sha256', this.#secret)
        .update(`${target.origin}${target.base} ${target.name}`)
        .digest('base64url')
        .slice(0, 22)
      this.#cookieValues.set(target, name)
    }
    return name
  }
}
