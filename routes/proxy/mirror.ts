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
import { headForHost, setHeader } from '../../src/lib/http/flat-head.ts'
import type { Static } from '../../src/lib/schema.ts'
import { Share, SizeOrNone, share, sizeOrNone } from '../../src/lib/units.ts'
import type { PreparedRequest } from './plan.ts'

export const mirror = Type.Object(
  {
    upstream: Type.String({
      minLength: 1,
      description: 'The upstream that gets the copies: a name from "upstreams", or a URL.'
    }),
    share: Share({ default: '100%', description: 'The share of requests that is copied.' }),
    max: Type.Integer({
      default: 64,
      minimum: 1,
      description: 'The maximum number of copies in flight; further requests are not copied.'
    }),
    maxBody: SizeOrNone({
      default: '64kb',
      description: 'The maximum size of a copied body; requests with a larger one are not copied.'
    })
  },
  {
    additionalProperties: false,
    description:
      'Sends copies of requests to another upstream, after the response; their responses are ignored.',
    examples: [{ upstream: 'http://localhost:4002', share: '10%' }]
  }
)

export type MirrorOptions = Static<typeof mirror>

/** Sends copies of requests to another upstream, whose responses and failures are ignored. */
export class Mirror {
  /** Bytes of a body that are kept for a copy. */
  readonly maxBody: number
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
    this.maxBody = sizeOrNone(maxBody)
  }

  /** Sends a copy of a request, by its share and unless too many copies are in flight. */
  send(request: FastifyRequest, prepared: PreparedRequest, body: Buffer | null | undefined): void {
    if (body === undefined || prepared.tunnel !== undefined) return
    // The body may be larger because it was kept for a retry.
    if (body !== null && body.length > this.maxBody) return
    if (this.#copies.size >= this.#max || Math.random() >= this.#share) return
    const copy = new Copy(request, prepared, body, (done) => this.#copies.delete(done))
    this.#copies.add(copy)
    copy.send(this.#upstream, this.#policy)
  }

  /** Aborts the copies in flight. */
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
  readonly #prepared: PreparedRequest
  readonly #onDone: (copy: Copy) => void
  #sent: PendingRequest | undefined
  #over = false

  constructor(
    source: FastifyRequest,
    prepared: PreparedRequest,
    body: Buffer | null,
    onDone: (copy: Copy) => void
  ) {
    this.source = source
    this.method = source.method
    this.path = prepared.path
    this.body =
      body === null
        ? null
        : {
            ended: true,
            isDisposable: false,
            isReplayable: true,
            isReplayableWithin: () => true,
            open: () => body
          }
    this.#prepared = prepared
    this.#onDone = onDone
  }

  send(upstream: UpstreamService, policy: AttemptPolicy): void {
    this.#sent = upstream.send(this, policy, this)
    if (this.#over) this.#sent.end()
  }

  abort(): void {
    this.#sent?.abort(new Error('The gateway is closing'))
  }

  headersFor(target: UpstreamTarget): readonly string[] {
    const { head, destination } = this.#prepared
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
    this.#onDone(this)
  }
}
