import { createHmac, randomBytes } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { UpstreamTarget } from '../../src/lib/contracts/upstream.ts'
import { cookieIn } from '../../src/lib/http/cookies.ts'
import { duration } from '../../src/lib/units.ts'
import type { StickyOptions } from './options.ts'
import type { Target } from './target.ts'

/** Keeps clients at the target they had first, by a cookie that names it without telling where it is. */
export class Sticky {
  readonly #cookie: string
  readonly #secret: string | Buffer
  readonly #attributes: string
  readonly #secure: boolean
  readonly #cookieValues = new WeakMap<UpstreamTarget, string>()

  constructor(app: FastifyInstance, { cookie, maxAge, secret }: StickyOptions) {
    this.#cookie = cookie
    // An address has few bits: a hash without a key could be tried out.
    this.#secret = secret ?? app.resources.lease(app, 'sticky secret', () => randomBytes(32))
    this.#attributes = `; Path=/; HttpOnly; SameSite=Lax${maxAge === undefined ? '' : `; Max-Age=${Math.ceil(duration(maxAge) / 1000)}`}`
    this.#secure = app.publicUrl?.startsWith('https://') === true
  }

  /** Finds the target that a request's cookie names; undefined where it names none of these. */
  find(request: FastifyRequest, among: readonly Target[]): Target | undefined {
    const said = cookieIn(request.headers.cookie, this.#cookie)
    return said === undefined ? undefined : among.find((target) => this.#cookieValueFor(target) === said)
  }

  /** Writes the cookie that names a target; undefined where the request brought it. */
  cookieFor(request: FastifyRequest, target: UpstreamTarget): string | undefined {
    const name = this.#cookieValueFor(target)
    if (cookieIn(request.headers.cookie, this.#cookie) === name) return undefined
    const secure = this.#secure || request.protocol === 'https'
    return `${this.#cookie}=${name}${this.#attributes}${secure ? '; Secure' : ''}`
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
