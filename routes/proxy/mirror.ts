import type { FastifyRequest } from 'fastify'
import { type Sending, Share, SizeOrNone, type Static, share, sizeOrNone, Type } from '../../src/kit/index.ts'
import { headForHost, setHeader } from '../../src/lib/http/request-head.ts'
import type { Upstream, UpstreamTarget } from './contract.ts'
import { type Stillness, stillnessOf } from './stillness.ts'
import { type Asker, type Fate, Try, Unwanted } from './try.ts'
import type { Errand } from './way.ts'

export const mirror = Type.Object(
  {
    upstream: Type.String({
      minLength: 1,
      description: 'Where the copies go: a name from "upstreams", or a URL for a one-off.'
    }),
    share: Share({ default: '100%', description: 'The share of the requests that is copied.' }),
    max: Type.Integer({
      default: 64,
      minimum: 1,
      description: 'The most copies under way; beyond them none is sent.'
    }),
    maxBody: SizeOrNone({
      default: '64kb',
      description: 'The largest body that is copied; a request with a larger one is not.'
    })
  },
  {
    additionalProperties: false,
    description: 'Sends copies of requests elsewhere, after the answer and without waiting for theirs.'
  }
)

export type MirrorOptions = Static<typeof mirror>

/** Sends copies of requests to another upstream; nobody waits for the answers, and nobody learns of a failure. */
export class Mirror {
  /** Bytes of a body that are kept. */
  readonly keep: number
  readonly #upstream: Upstream
  readonly #share: number
  readonly #max: number
  readonly #stillness: Stillness | undefined
  readonly #underWay = new Set<Try>()

  constructor(upstream: Upstream, { share: part, max, maxBody }: MirrorOptions) {
    this.#upstream = upstream
    this.#share = share(part)
    this.#max = max
    this.#stillness = stillnessOf(upstream.timeouts.body)
    this.keep = sizeOrNone(maxBody)
  }

  /** Copies a request, or not: by its share, and where there is room. */
  send(request: FastifyRequest, errand: Errand, body: Buffer | null | undefined): void {
    if (body === undefined || errand.joint !== undefined) return
    // A body may have been kept for a retry.
    if (body !== null && body.length > this.keep) return
    if (this.#underWay.size >= this.#max || Math.random() >= this.#share) return
    const target = this.#upstream.pick(request)
    if (target === undefined) return
    const copy = new Copy(request.method, errand, body, this.#upstream.timeouts.headers, this.#underWay)
    const attempt = new Try(copy, target, false, this.#stillness)
    this.#underWay.add(attempt)
    attempt.send()
  }

  /** Gives up the copies that are under way. */
  close(): void {
    for (const attempt of this.#underWay) attempt.stop(new Unwanted('The gateway closes'))
  }
}

class Copy implements Asker {
  readonly maySendAgain = false
  readonly mayReplay = true
  readonly uploads = false
  readonly #method: string
  readonly #errand: Errand
  readonly #body: Buffer | null
  readonly #headersTimeout: number
  readonly #underWay: Set<Try>

  constructor(
    method: string,
    errand: Errand,
    body: Buffer | null,
    headersTimeout: number,
    underWay: Set<Try>
  ) {
    this.#method = method
    this.#errand = errand
    this.#body = body
    this.#headersTimeout = headersTimeout
    this.#underWay = underWay
  }

  optionsFor(target: UpstreamTarget): Sending {
    const { path, head, destination } = this.#errand
    const headers = headForHost(head, target.host)
    if (destination !== undefined) setHeader(headers, 'destination', destination(target))
    return {
      path: target.base + path,
      method: this.#method,
      headers,
      body: this.#body,
      headersTimeout: this.#headersTimeout
    }
  }

  onInformation(): void {}

  onHead(from: Try): Fate {
    this.#underWay.delete(from)
    return 'dropped'
  }

  onSwitch(from: Try): void {
    this.#underWay.delete(from)
  }

  onWhole(): void {}

  onBody(): boolean {
    return true
  }

  onTrailers(): void {}

  onFailure(from: Try): void {
    this.#underWay.delete(from)
  }

  onBroken(): void {}
}
