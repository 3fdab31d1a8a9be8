import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { returnWhenWritten } from '../../src/lib/body/lent-memory.ts'
import type { Forwarding } from '../../src/lib/caller.ts'
import type {
  AnswerListener,
  BodyAction,
  OutboundRequest,
  PendingRequest,
  ResponseExtent,
  UpstreamTarget
} from '../../src/lib/contracts/upstream.ts'
import { Deadline } from '../../src/lib/deadline.ts'
import { grpcRefusal, grpcTimeoutOf, isGrpc } from '../../src/lib/http/grpc.ts'
import { isHttp2 } from '../../src/lib/http/http2.ts'
import { setHeader } from '../../src/lib/http/request-head.ts'
import {
  addTrailers,
  cut,
  endedWithHead,
  flushHead,
  writeHead,
  writeInterim
} from '../../src/lib/http/response.ts'
import {
  offResponseClosed,
  onResponseClosed,
  type ResponseListener
} from '../../src/lib/http/response-end.ts'
import { upgradeOf } from '../../src/lib/http/upgrade.ts'
import { DeadlineExceeded } from '../../src/lib/refusals.ts'
import { UpstreamFailed, upstreamRefusal } from '../../src/lib/upstream-errors.ts'
import type { ForwardPlan, PreparedRequest, UpstreamRoute } from './plan.ts'
import { ClientGone } from './refusals.ts'
import { RequestBody } from './request-body.ts'
import { type Answer, informationHead, responseHead } from './response.ts'
import { isEndless, isOfSession, SessionOver, watchSession } from './session-end.ts'
import type { StreamLimits } from './stream-limits.ts'
import { POLICY_VIOLATION } from './websocket/frames.ts'
import { openTunnel } from './websocket/tunnel.ts'

// Methods whose requests are expected to have content (RFC 9110 section 9.3).
const WITH_CONTENT = new Set(['POST', 'PUT', 'PATCH'])

// How much of an answer is read before a slow client has taken it, in bytes: the upstream is done with a short answer sooner.
const READ_AHEAD = 262_144

/** One request of a client and its answer: bytes as they come, as fast as the slower side takes them. Its attempts are the upstream's. */
export class Exchange implements OutboundRequest, AnswerListener {
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #response: ServerResponse
  readonly #way: ForwardPlan
  readonly #lane: UpstreamRoute
  readonly #errand: PreparedRequest
  readonly #limits: StreamLimits | null
  readonly #upload: RequestBody | null
  readonly #forwarding: Forwarding
  #sent: PendingRequest | undefined
  #waiting: ResponseListener | undefined
  readonly #deadline: Deadline | null
  #state: 'waiting' | 'streaming' | 'over' = 'waiting'
  #listening = false
  #endless = false
  #readsAhead = false

  constructor(
    request: FastifyRequest,
    reply: FastifyReply,
    way: ForwardPlan,
    lane: UpstreamRoute,
    errand: PreparedRequest
  ) {
    this.#request = request
    this.#reply = reply
    this.#response = reply.raw
    this.#way = way
    this.#lane = lane
    this.#errand = errand
    this.#limits = request.limits
    this.#upload =
      errand.body === null
        ? null
        : new RequestBody(errand.body, Math.max(errand.keep, lane.replay), request.server.buffers, (chunk) =>
            this.#received(chunk)
          )
    this.#deadline = this.#deadlineOf(request)
    if (this.#upload !== null) this.#upload.deadline = this.#deadline
    this.#forwarding = {
      upstream: lane.upstream.name,
      target: '',
      began: performance.now(),
      ms: -1,
      bytesIn: Buffer.isBuffer(errand.body) ? errand.body.length : 0,
      bytesOut: 0
    }
    request.forwarding = this.#forwarding
  }

  /** Sends the request; the answer, or a refusal, goes to the client by itself. */
  start(): void {
    // Who left while the gates were at work is not asked for.
    if (isGone(this.#response)) {
      this.#state = 'over'
      this.#deadline?.end()
      return
    }
    this.#waiting = onResponseClosed(this.#response, onOver, this, undefined)
    if (this.#upload !== null) this.#limits?.readBy(this.#request, this)
    if (this.#upload !== null && this.#mayHaveNoBody()) this.#upload.whenBegun(() => this.#begin())
    else this.#begin()
  }

  #begin(): void {
    if (this.#state === 'waiting') this.#sent = this.#lane.upstream.send(this, this.#lane.policy, this)
  }

  /** Whether the end of the request may follow in a frame of its own: HTTP/1.1 would call that a body in chunks, which services refuse for GET. */
  #mayHaveNoBody(): boolean {
    const { raw } = this.#request
    return (
      isHttp2(raw) &&
      !this.#lane.upstream.http2 &&
      !WITH_CONTENT.has(this.#request.method) &&
      raw.headers['content-length'] === undefined
    )
  }

  /** The body of the request, once it has come whole and was kept. */
  get whole(): Buffer | null | undefined {
    return this.#upload === null || this.#upload.empty ? null : this.#upload.whole
  }

  /** Gives up, telling the client why where it has no head yet. */
  fail(error: Error): void {
    if (this.#state === 'over') return
    if (this.#sent === undefined) this.#refuse(error)
    else this.#sent.abort(error)
  }

  /** Takes over the deadline of the request. A client of gRPC says how long it waits as well; the upstream is told, too. */
  #deadlineOf(request: FastifyRequest): Deadline | null {
    const patience = this.#lane.upstream.http2 ? grpcTimeoutOf(request) : undefined
    const { deadline } = request
    if (deadline?.isKept !== true)
      return patience === undefined ? deadline : new Deadline(patience).keep(onDeadline, this)
    if (patience !== undefined) deadline.shorten(patience)
    return deadline.keep(onDeadline, this)
  }

  get source(): FastifyRequest {
    return this.#request
  }

  get method(): string {
    return this.#request.method
  }

  get path(): string {
    return this.#errand.path
  }

  get idempotent(): boolean {
    return this.#errand.idempotent
  }

  get body(): RequestBody | null {
    return this.#upload === null || this.#upload.empty ? null : this.#upload
  }

  get upgrade(): 'websocket' | undefined {
    return this.#errand.joint === undefined ? undefined : 'websocket'
  }

  get deadline(): Deadline | null {
    return this.#deadline
  }

  headersFor(target: UpstreamTarget): readonly string[] {
    const { head, destination } = this.#errand
    // Only the Host and the Destination differ from target to target; the list is read at once, and none of it kept.
    if (!this.#way.head.preserveHost || head[1] === '') head[1] = target.host
    if (destination !== undefined) setHeader(head, 'destination', destination(target))
    return target.http2 && takesTrailers(this.#request) ? [...head, 'te', 'trailers'] : head
  }

  onTarget({ name }: UpstreamTarget): void {
    this.#forwarding.target = name
  }

  #received(chunk: Buffer): void {
    const limits = this.#limits
    this.#forwarding.bytesIn += chunk.length
    if (limits === null || this.#forwarding.bytesIn <= limits.body) return
    const refusal = limits.tooLarge(this.#request)
    if (refusal !== undefined) this.fail(refusal)
  }

  onInformation(status: number, fields: readonly string[]): void {
    if (this.#state !== 'waiting' || status === 100) return
    writeInterim(this.#response, status, informationHead(fields))
  }

  onHeaders(
    target: UpstreamTarget,
    status: number,
    fields: readonly string[],
    statusText: string,
    extent: ResponseExtent
  ): BodyAction {
    if (this.#state !== 'waiting') return 'drain'
    this.#answeredBy(target)
    // No content can follow, whatever the head says of it.
    const endStream =
      extent === 'headers' || status === 204 || status === 304 || this.#request.method === 'HEAD'
    const failed = this.#writeHead(target, status, fields, statusText, endStream)
    if (failed !== undefined) {
      this.#refuseHead(failed)
      return 'drain'
    }
    this.#state = 'streaming'
    this.#reply.hijack()
    if (endStream || endedWithHead(this.#response)) this.#end()
    if (this.#state !== 'streaming') return 'drain'
    // With a body behind it at once it goes out in one write; alone it does not wait for one.
    if (extent === 'partial' && begun.push(this) === 1) setImmediate(afterHeads)
    return 'forward'
  }

  #answeredBy({ name }: UpstreamTarget): void {
    this.#forwarding.target = name
    this.#forwarding.ms = performance.now() - this.#forwarding.began
    this.#deadline?.end()
  }

  /** Writes the head of an answer; returns the error where the client can't be sent one like it. */
  #writeHead(
    target: UpstreamTarget,
    status: number,
    fields: readonly string[],
    reason: string,
    endStream: boolean
  ): Error | undefined {
    let head: Answer
    try {
      head = this.#headFor(target, status, fields, endStream)
    } catch (error) {
      return error as Error
    }
    this.#endless = head.endless
    if (isOfSession(this.#request) && !endStream && (head.endless || isEndless(head.flat)))
      watchSession(this.#request, this.#reply, () => this.fail(new SessionOver()))
    return writeHead(this.#response, { status, reason, fields: head.flat, endStream })
  }

  /** Ends the exchange whose answer the client can't be sent. */
  #refuseHead(failed: Error): void {
    this.#report(failed)
    if (this.#response.headersSent) {
      // An extension has written a head of its own.
      this.#state = 'over'
      cut(this.#response)
    } else this.#refuse(new UpstreamFailed())
  }

  #headFor(target: UpstreamTarget, status: number, fields: readonly string[], endStream: boolean): Answer {
    return responseHead(
      { status, fields, endStream },
      this.#request,
      this.#reply,
      this.#way.answerFor(target),
      this.#lane.upstream.cookieFor(this.#request, target)
    )
  }

  onUpgrade(target: UpstreamTarget, fields: readonly string[], upstream: Duplex): void {
    const upgrade = upgradeOf(this.#request.raw)
    const { joint } = this.#errand
    if (this.#state !== 'waiting' || upgrade === undefined || joint === undefined) {
      upstream.destroy()
      this.onError(new UpstreamFailed())
      return
    }
    this.#answeredBy(target)
    const { flat } = this.#headFor(target, 101, fields, true)
    const failed = writeHead(this.#response, {
      status: 101,
      reason: 'Switching Protocols',
      fields: [...flat, 'connection', 'Upgrade', 'upgrade', 'websocket'],
      endStream: false
    })
    if (failed !== undefined) {
      upstream.destroy()
      this.#refuseHead(failed)
      return
    }
    this.#state = 'over'
    this.#reply.hijack()
    flushHead(this.#response)
    this.#sent?.end()
    // The two connections go on for hours; what there was of an exchange does not.
    if (this.#waiting !== undefined) offResponseClosed(this.#response, this.#waiting)
    openTunnel(this.#response, upgrade, upstream, joint, this.#forwarding)
    if (isOfSession(this.#request))
      watchSession(this.#request, this.#reply, () => upgrade.leave?.(POLICY_VIOLATION))
  }

  onCompleteBody(body: string): void {
    this.#forwarding.bytesOut = body.length
    this.#end(body)
  }

  onData(chunk: Buffer): boolean {
    this.#forwarding.bytesOut += chunk.length
    if (this.#response.write(chunk, returnWhenWritten(chunk))) return true
    return this.#waitForClient()
  }

  /** Notes that the client is slower than the upstream; returns whether there is room to read ahead. */
  #waitForClient(): boolean {
    if (!this.#listening) {
      this.#listening = true
      // A client that takes nothing more is cut with its connection, as for any other answer.
      this.#response.on('drain', () => {
        this.#stopReadingAhead()
        this.#sent?.resume()
      })
    }
    // An event stream has to arrive as it is sent.
    if (this.#endless || this.#response.writableLength >= READ_AHEAD) return false
    this.#readsAhead ||= this.#request.server.buffers.reserve(READ_AHEAD)
    return this.#readsAhead
  }

  #stopReadingAhead(): void {
    if (!this.#readsAhead) return
    this.#readsAhead = false
    this.#request.server.buffers.release(READ_AHEAD)
  }

  onComplete(trailers: readonly [string, string][]): void {
    if (this.#state !== 'streaming') return
    if (trailers.length > 0 && !addTrailers(this.#response, trailers)) {
      this.#state = 'over'
      cut(this.#response)
    } else this.#end()
  }

  onAttemptFailed(error: Error): void {
    this.#report(error)
  }

  onError(error: Error & { code?: string }): void {
    if (this.#state === 'over') return
    if (this.#state === 'waiting') {
      this.#refuse(error)
      return
    }
    // The head is out: only a cut connection tells the client that the rest is missing.
    this.#state = 'over'
    this.#report(error)
    if (isHttp2(this.#request.raw) && isGrpc(this.#request) && !isGone(this.#response)) {
      // A call has a status for this, and no message of it is taken for whole that is not.
      addTrailers(this.#response, Object.entries(grpcRefusal(upstreamRefusal(error))))
      this.#end()
    } else cut(this.#response)
  }

  #end(body?: string): void {
    this.#state = 'over'
    this.#response.end(body, 'latin1')
    if (this.#upload !== null && !this.#upload.ended) this.#upload.discard()
  }

  #refuse(failure: Error & { code?: string }): void {
    this.#state = 'over'
    this.#deadline?.end()
    if (failure instanceof ClientGone || isGone(this.#response)) return
    const refusal = upstreamRefusal(failure)
    // What is left of a body would be taken for the next request.
    if (this.#upload !== null && !this.#upload.ended) {
      if (!isHttp2(this.#request.raw)) this.#reply.header('connection', 'close')
      this.#upload.discard()
    }
    const { fallback } = this.#way
    if (fallback === undefined || (refusal.statusCode ?? 500) < 502) this.#reply.send(refusal)
    else fallback(this.#request, this.#reply, refusal)
  }

  // The log is the only place that learns what really happened.
  #report(error: Error & { code?: string }): void {
    if (error instanceof ClientGone || error.code?.startsWith('SP_ERR_') === true) return
    const { upstream, target } = this.#forwarding
    this.#request.log.warn(
      {
        requestId: this.#request.id,
        upstream,
        target,
        cause: error.code ?? error.name,
        message: error.message
      },
      'an upstream failed'
    )
  }

  /** Ends the exchange after an error of the gateway itself, with a cut where the client has a part of the answer. */
  onInternalError(error: unknown): void {
    this.#state = 'over'
    this.#deadline?.end()
    this.#request.log.error({ err: error, requestId: this.#request.id }, 'a request failed')
    cut(this.#response)
  }

  /** Sends the head by itself where no body has come with it; what is not whole by now is watched. */
  afterHead(): void {
    if (this.#state !== 'streaming') return
    if (this.#forwarding.bytesOut === 0) flushHead(this.#response)
    if (!this.#endless) this.#sent?.watchIdle()
  }

  /** Ends what is left of the exchange when the client's side is closed. */
  over(): void {
    this.#deadline?.end()
    this.#way.mirror?.(this.#request, this.#errand, this.whole)
    this.#upload?.release()
    this.#stopReadingAhead()
    if (this.#state !== 'over') this.fail(new ClientGone('The client went away'))
    this.#sent?.end()
  }
}

// HTTP/2's response says of its stream what HTTP/1's says of itself.
const isGone = (response: ServerResponse & { stream?: { destroyed: boolean } }): boolean =>
  response.destroyed === true || response.stream?.destroyed === true

// The answers that have begun since the event loop came round last.
let begun: Exchange[] = []

function afterHeads(): void {
  const exchanges = begun
  begun = []
  for (const exchange of exchanges) onHeadAlone(exchange)
}

// One function each for all exchanges: a request makes no closures.
const onOver = guarded((exchange) => exchange.over())
const onDeadline = guarded((exchange) => exchange.fail(new DeadlineExceeded()))
const onHeadAlone = guarded((exchange) => exchange.afterHead())

/** Makes a callback of a timer or a socket, in which an error ends the exchange and not the process. */
function guarded(act: (exchange: Exchange) => void): (exchange: Exchange) => void {
  return (exchange) => {
    try {
      act(exchange)
    } catch (error) {
      exchange.onInternalError(error)
    }
  }
}

// Over HTTP/2 it says nothing of a connection, and gRPC insists on it (RFC 9113 section 8.2.2).
const takesTrailers = ({ headers: { te } }: FastifyRequest): boolean =>
  typeof te === 'string' && /\btrailers\b/i.test(te)
