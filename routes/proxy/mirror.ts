import type { FastifyRequest } from 'fastify'
import { Type } from '../../src/kit/index.ts'
import type {
  AnswerListener,
  AttemptPolicy,
  BodyAction,
  OutboundRequest,
  PendingRequest,
  ReplayableBody,
  UpstreamService,
  UpstreamTarget
} from '../../src/lib/contracts/upstream.ts'
import { headForHost, setHeader } from '../../src/lib/http/request-head.ts'
import type { Static } from '../../src/lib/schema.ts'
import { Share, SizeOrNone, share, sizeOrNone } from '../../src/lib/units.ts'
import type { PreparedRequest } from './plan.ts'

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

/** Sends copies of requests to another upstream; no answer is waited for, and no failure is reported. */
export class Mirror {
  /** Bytes of a body that are kept. */
  readonly keep: number
  readonly #upstream: UpstreamService
  readonly #policy: AttemptPolicy
  readonly #share: number
  readonly #max: number
  readonly #copies = new Set<Copy>()

  constructor(upstream: UpstreamService, { share: part, max, maxBody }: MirrorOptions) {
    this.#upstream = upstream
    this.#policy = upstream.policyFor({})
    this.#share = share(part)
    this.#max = max
    this.keep = sizeOrNone(maxBody)
  }

  /** Copies a request, or not: by its share, and where there is room. */
  send(request: FastifyRequest, errand: PreparedRequest, body: Buffer | null | undefined): void {
    if (body === undefined || errand.joint !== undefined) return
    // A body may have been kept for a retry.
    if (body !== null && body.length > this.keep) return
    if (this.#copies.size >= this.#max || Math.random() >= this.#share) return
    const copy = new Copy(request, errand, body, (over) => this.#copies.delete(over))
    this.#copies.add(copy)
    copy.send(this.#upstream, this.#policy)
  }

  /** Gives up the copies that are under way. */
  close(): void {
    for (const copy of this.#copies) copy.abort()
  }
}

class Copy implements OutboundRequest, AnswerListener {
  readonly source: FastifyRequest
  readonly method: string
  readonly path: string
  readonly idempotent = false
  readonly deadline = null
  readonly body: ReplayableBody | null
  readonly #errand: PreparedRequest
  readonly #onOver: (copy: Copy) => void
  #sent: PendingRequest | undefined
  #over = false

  constructor(
    source: FastifyRequest,
    errand: PreparedRequest,
    body: Buffer | null,
    onOver: (copy: Copy) => void
  ) {
    this.source = source
    this.method = source.method
    this.path = errand.path
    this.body =
      body === null
        ? null
        : { ended: true, isReplayable: true, isReplayableWithin: () => true, open: () => body }
    this.#errand = errand
    this.#onOver = onOver
  }

  send(upstream: UpstreamService, policy: AttemptPolicy): void {
    this.#sent = upstream.send(this, policy, this)
    if (this.#over) this.#sent.end()
  }

  abort(): void {
    this.#sent?.abort(new Error('The gateway closes'))
  }

  headersFor(target: UpstreamTarget): readonly string[] {
    const { head, destination } = this.#errand
    const headers = headForHost(head, target.host)
    if (destination !== undefined) setHeader(headers, 'destination', destination(target))
    return headers
  }

  onHeaders(): BodyAction {
    this.#end()
    return 'drain'
  }

  onCompleteBody(): void {}

  onData(): boolean {
    return true
  }

  onComplete(): void {}

  onError(): void {
    this.#end()
  }

  onInternalError(): void {
    this.#end()
  }

  #end(): void {
    this.#over = true
    this.#sent?.end()
    this.#onOver(this)
  }
}
