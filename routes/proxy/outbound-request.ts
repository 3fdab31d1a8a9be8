import type { FastifyRequest } from 'fastify'
import type { OutboundRequest, UpstreamTarget } from '../../src/lib/contracts/upstream.ts'
import type { Deadline } from '../../src/lib/deadline.ts'
import { setHeader } from '../../src/lib/http/flat-head.ts'
import { isHttp2 } from '../../src/lib/http/http2.ts'
import type { RequestHeadOptions } from '../../src/lib/http/request-head.ts'
import type { PreparedRequest } from './plan.ts'
import { RequestBody, type RequestBodyListener } from './request-body.ts'

// Methods whose requests are expected to have content (RFC 9110 section 9.3).
const WITH_CONTENT = new Set(['POST', 'PUT', 'PATCH'])

/** The request of a client, as it is sent upstream. */
export class ProxiedRequest implements OutboundRequest {
  readonly source: FastifyRequest
  readonly method: string
  readonly path: string
  readonly idempotent: boolean
  readonly upgrade: 'websocket' | undefined
  readonly #prepared: PreparedRequest
  readonly #preserveHost: boolean
  readonly #body: RequestBody | null
  #deadline: Deadline | null = null

  constructor(
    source: FastifyRequest,
    prepared: PreparedRequest,
    { preserveHost }: RequestHeadOptions,
    listener: RequestBodyListener
  ) {
    const { body, replayBytes, route } = prepared
    this.source = source
    this.method = source.method
    this.path = prepared.path
    this.idempotent = prepared.idempotent
    this.upgrade = prepared.tunnel === undefined ? undefined : 'websocket'
    this.#prepared = prepared
    this.#preserveHost = preserveHost
    const maxReplay = Math.max(replayBytes, route.failoverBytes)
    const isOwn = body === source.raw && source.server.ownsBodies
    this.#body =
      body === null ? null : new RequestBody(body, { maxReplay, isOwn }, source.server.buffers, listener)
  }

  get deadline(): Deadline | null {
    return this.#deadline
  }

  set deadline(deadline: Deadline | null) {
    this.#deadline = deadline
    if (this.#body !== null) this.#body.deadline = deadline
  }

  /** Whether the client's request may have a body. */
  get hasBody(): boolean {
    return this.#body !== null
  }

  get body(): RequestBody | null {
    return this.#body === null || this.#body.empty ? null : this.#body
  }

  /** The complete body; null if there is none, undefined if it has not come or was not kept. */
  get buffered(): Buffer | null | undefined {
    const { body } = this
    return body === null ? null : body.buffered
  }

  headersFor(target: UpstreamTarget): readonly string[] {
    const { head, destination } = this.#prepared
    // One list serves all targets: each reads it at once.
    if (!this.#preserveHost || head[1] === '') head[1] = target.host
    if (destination !== undefined) setHeader(head, 'destination', destination(target))
    return target.http2 && acceptsTrailers(this.source) ? [...head, 'te', 'trailers'] : head
  }

  /** Whether only the first bytes tell if there is a body: an HTTP/2 request may end in a frame of its own. HTTP/1.1 would send an empty chunked body, which services reject for GET. */
  get mayLackBody(): boolean {
    const { raw } = this.source
    return (
      this.#body !== null &&
      isHttp2(raw) &&
      !this.#prepared.route.upstream.http2 &&
      !WITH_CONTENT.has(this.method) &&
      raw.headers['content-length'] === undefined
    )
  }

  /** Reads and drops what the client still sends; returns whether there may be something. */
  discardRest(): boolean {
    if (this.#body === null || this.#body.ended) return false
    this.#body.discard()
    return true
  }

  /** Frees the kept body. */
  release(): void {
    this.#body?.release()
  }
}

// Sent over HTTP/2 only, where gRPC requires it; over HTTP/1.1 it is a hop-by-hop header (RFC 9113 section 8.2.2).
const acceptsTrailers = ({ headers: { te } }: FastifyRequest): boolean =>
  typeof te === 'string' && /\btrailers\b/i.test(te)
