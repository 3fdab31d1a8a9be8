import type { Duplex } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Forwarding } from '../../src/lib/caller.ts'
import type {
  AnswerListener,
  BodyAction,
  PendingRequest,
  ResponseExtent,
  UpstreamTarget
} from '../../src/lib/contracts/upstream.ts'
import { Deadline } from '../../src/lib/deadline.ts'
import { guarded } from '../../src/lib/guarded.ts'
import { grpcRefusal, grpcTimeoutOf, isGrpc } from '../../src/lib/http/grpc.ts'
import { isHttp2 } from '../../src/lib/http/http2.ts'
import { offResponseClosed, type ResponseListener } from '../../src/lib/http/response-end.ts'
import { STALE_IF_ERROR } from '../../src/lib/http/statuses.ts'
import { upgradeOf } from '../../src/lib/http/upgrade.ts'
import { DeadlineExceeded } from '../../src/lib/refusals.ts'
import { UpstreamFailed, upstreamRefusal } from '../../src/lib/upstream-errors.ts'
import type { Fallback, ReplacedResponse } from './fallback.ts'
import { flushSoon, type PendingHeaders } from './header-flush.ts'
import { ProxiedRequest } from './outbound-request.ts'
import type { ForwardPlan, PreparedRequest } from './plan.ts'
import { ClientGone, logFailure } from './refusals.ts'
import type { RequestBodyListener } from './request-body.ts'
import { ResponseWriter, type ResponseWriterListener } from './response.ts'
import type { UpstreamHead } from './response-head.ts'
import { isOfSession, watchSession } from './session-end.ts'
import type { StreamLimits } from './stream-limits.ts'
import { POLICY_VIOLATION } from './websocket/frames.ts'
import { openTunnel } from './websocket/tunnel.ts'

/** Forwards one request and its response: waiting for headers, then streaming, then over. The upstream makes the attempts. */
export class Exchange implements AnswerListener, RequestBodyListener, ResponseWriterListener, PendingHeaders {
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #plan: ForwardPlan
  readonly #prepared: PreparedRequest
  readonly #limits: StreamLimits | null
  readonly #outbound: ProxiedRequest
  readonly #response: ResponseWriter
  readonly #deadline: Deadline | null
  readonly #forwarding: Forwarding
  #pending: PendingRequest | undefined
  #closeListener: ResponseListener | undefined
  #state: 'waiting' | 'streaming' | 'over' = 'waiting'

  constructor(request: FastifyRequest, reply: FastifyReply, plan: ForwardPlan, prepared: PreparedRequest) {
    this.#request = request
    this.#reply = reply
    this.#plan = plan
    this.#prepared = prepared
    this.#limits = request.limits
    this.#outbound = new ProxiedRequest(request, prepared, plan.requestHeadOptions, this)
    this.#response = prepared.makeWriter?.(request, reply, this) ?? new ResponseWriter(request, reply, this)
    this.#deadline = this.#startDeadline()
    this.#outbound.deadline = this.#deadline
    this.#forwarding = {
      upstream: prepared.route.upstream.name,
      target: '',
      began: performance.now(),
      ms: -1,
      bytesIn: Buffer.isBuffer(prepared.body) ? prepared.body.length : 0,
      bytesOut: 0
    }
    request.forwarding = this.#forwarding
  }

  /** Sends the request upstream; the client gets the response or an error. */
  start(): void {
    // The client may have left while the gates ran.
    if (this.#response.isClosed) {
      this.#state = 'over'
      this.#deadline?.cancel()
      this.#response.release()
      return
    }
    this.#closeListener = this.#response.onOver(onClosed, this)
    if (this.#outbound.hasBody) this.#limits?.readBy(this.#request, this)
    if (this.#outbound.mayLackBody) this.#outbound.body?.onFirstBytes(() => this.#send())
    else this.#send()
  }

  #send(): void {
    const { upstream, policy } = this.#prepared.route
    if (this.#state === 'waiting') this.#pending = upstream.send(this.#outbound, policy, this)
  }

  /** Takes over the request's deadline, shortened by the timeout that a gRPC client has sent. */
  #startDeadline(): Deadline | null {
    const { deadline } = this.#request
    const timeout = this.#prepared.route.upstream.http2 ? grpcTimeoutOf(this.#request) : undefined
    if (deadline?.isEnforced !== true)
      return timeout === undefined ? deadline : new Deadline(timeout).enforce(onDeadline, this)
    if (timeout !== undefined) deadline.shorten(timeout)
    return deadline.enforce(onDeadline, this)
  }

  onRequestData(chunk: Buffer): void {
    const limits = this.#limits
    this.#forwarding.bytesIn += chunk.length
    if (limits === null || this.#forwarding.bytesIn <= limits.body) return
    const refusal = limits.tooLarge(this.#request)
    if (refusal !== undefined) this.fail(refusal)
  }

  onTarget({ name }: UpstreamTarget): void {
    this.#forwarding.target = name
  }

  onInformation(status: number, fields: readonly string[]): void {
    if (this.#state === 'waiting' && status !== 100) this.#response.writeInformation(status, fields)
  }

  onHeaders(
    target: UpstreamTarget,
    status: number,
    fields: readonly string[],
    statusText: string,
    extent: ResponseExtent
  ): BodyAction {
    if (this.#state !== 'waiting') return 'drain'
    this.#onResponseStarted(target)
    if (this.#plan.fallback?.replaces(status) === true) {
      const { strips } = this.#plan.responseHeadFor(target).head
      this.#replaceResponse({ status, fields, strips }, this.#plan.fallback)
      return 'drain'
    }
    // These have no body, whatever their headers say (RFC 9110 section 6.4.1).
    const endStream =
      extent === 'headers' || status === 204 || status === 304 || this.#request.method === 'HEAD'
    const head: UpstreamHead = { status, statusText, fields, endStream, stickyCookie: undefined }
    const failed = this.#writeHeaders(target, head)
    if (failed !== undefined) {
      this.#rejectHeaders(failed)
      return 'drain'
    }
    this.#state = 'streaming'
    if (!this.#response.isStaged && (endStream || this.#response.endedWithHeaders)) this.#end()
    if (this.#state !== 'streaming') return 'drain'
    if (extent === 'partial') flushSoon(this)
    return 'forward'
  }

  /** Sends what replaces a response of the upstream: a stored one after an error of the server, else the fallback. */
  #replaceResponse(replaced: ReplacedResponse, fallback: Fallback): void {
    const { status } = replaced
    if (STALE_IF_ERROR.has(status) && this.#recover(new UpstreamFailed())) return
    this.#forwarding.replacedStatus = status
    this.#response.discard(status)
    if (this.#endRequest()) fallback.replace(this.#reply, replaced)
  }

  /** Starts another response in place of a failed one; returns whether there is one. */
  #recover(error: Error): boolean {
    if (!this.#response.recover(error)) return false
    if (this.#response.isStaged) this.#state = 'streaming'
    else this.#end()
    return true
  }

  #onResponseStarted({ name }: UpstreamTarget): void {
    this.#forwarding.target = name
    this.#forwarding.ms = performance.now() - this.#forwarding.began
  }

  onHeadersSent(): void {
    this.#deadline?.cancel()
  }

  #writeHeaders(target: UpstreamTarget, head: UpstreamHead): Error | undefined {
    try {
      head.stickyCookie = this.#prepared.route.upstream.cookieFor(this.#request, target)
      return this.#response.start(head, this.#plan.responseHeadFor(target))
    } catch (error) {
      return error as Error
    }
  }

  /** Ends the exchange after a response whose headers the client can't be sent. */
  #rejectHeaders(error: Error): void {
    logFailure(this.#request, error)
    if (this.#response.headersSent) {
      // An extension has sent headers of its own.
      this.#state = 'over'
      this.#response.cut()
    } else this.#sendError(error)
  }

  onUpgrade(target: UpstreamTarget, fields: readonly string[], socket: Duplex): void {
    const upgrade = upgradeOf(this.#request.raw)
    const { tunnel, route } = this.#prepared
    if (this.#state !== 'waiting' || upgrade === undefined || tunnel === undefined) {
      socket.destroy()
      this.onError(new UpstreamFailed())
      return
    }
    this.#onResponseStarted(target)
    this.onHeadersSent()
    const stickyCookie = route.upstream.cookieFor(this.#request, target)
    const failed = this.#response.switchProtocols(fields, this.#plan.responseHeadFor(target), stickyCookie)
    if (failed !== undefined) {
      socket.destroy()
      this.#rejectHeaders(failed)
      return
    }
    this.#state = 'over'
    this.#pending?.end()
    // The tunnel may stay open for hours: the exchange must not be kept in memory with it.
    if (this.#closeListener !== undefined) offResponseClosed(this.#reply.raw, this.#closeListener)
    openTunnel({ response: this.#reply.raw, forwarding: this.#forwarding, upgrade, socket }, tunnel)
    if (isOfSession(this.#request))
      watchSession(this.#request, this.#reply, () => upgrade.closeTunnel?.(POLICY_VIOLATION))
  }

  onCompleteBody(body: string): void {
    if (this.#response.writeThroughStages(body)) return
    this.#forwarding.bytesOut = body.length
    this.#end(body)
  }

  onData(chunk: Buffer): boolean {
    return this.#response.write(chunk)
  }

  onDrain(): void {
    this.#pending?.resume()
  }

  onComplete(trailers: readonly [string, string][]): void {
    if (this.#state === 'streaming') this.#response.endBody(trailers)
  }

  onBodyWritten(trailers: readonly [string, string][]): void {
    if (this.#state !== 'streaming') return
    if (trailers.length === 0 || this.#response.addTrailers(trailers)) this.#end()
    else {
      this.#state = 'over'
      this.#response.cut()
    }
  }

  onAttemptFailed(error: Error): void {
    logFailure(this.#request, error)
  }

  onError(error: Error & { code?: string }): void {
    if (this.#state === 'over') return
    if (this.#recover(error)) return
    this.#response.release()
    if (this.#state === 'waiting' || !this.#response.headersSent) {
      this.#sendError(error)
      return
    }
    this.#state = 'over'
    logFailure(this.#request, error)
    if (isHttp2(this.#request.raw) && isGrpc(this.#request) && !this.#response.isClosed) {
      // A gRPC status tells the client that the stream of messages is incomplete.
      this.#response.addTrailers(Object.entries(grpcRefusal(upstreamRefusal(error))))
      this.#end()
    } else this.#response.cut()
  }

  /** Ends the exchange after an error in the gateway's own code. */
  onInternalError(error: unknown): void {
    this.#state = 'over'
    this.#deadline?.cancel()
    this.#request.log.error({ err: error, requestId: this.#request.id }, 'request failed')
    this.#response.cut()
  }

  /** Aborts the request; the client gets the error unless the response has started. */
  fail(error: Error): void {
    if (this.#state === 'over') return
    // A stage may work on after the upstream is done.
    if (this.#pending === undefined || this.#response.isStaged) this.onError(error)
    this.#pending?.abort(error)
  }

  /** Sends headers that no body has followed yet, and starts the idle timeout of the body. */
  flush(): void {
    if (this.#state !== 'streaming') return
    this.#response.flushHeaders()
    if (!this.#response.isEndless) this.#pending?.watchIdle()
  }

  #end(body?: string): void {
    this.#state = 'over'
    this.#response.end(body)
    this.#outbound.discardRest()
  }

  #sendError(failure: Error & { code?: string }): void {
    if (!this.#endRequest() || failure instanceof ClientGone) return
    const refusal = upstreamRefusal(failure)
    const { fallback } = this.#plan
    if (fallback === undefined || (refusal.statusCode ?? 500) < 502) this.#reply.send(refusal)
    else fallback.refuse(this.#request, this.#reply, refusal)
  }

  /** Ends the exchange before a response of the gateway's own; returns whether the client still waits for one. */
  #endRequest(): boolean {
    this.#state = 'over'
    this.#deadline?.cancel()
    if (this.#response.isClosed) return false
    // The rest of the body would be read as the next request.
    if (this.#outbound.discardRest() && !isHttp2(this.#request.raw)) this.#reply.header('connection', 'close')
    return true
  }

  /** Releases what the exchange holds, and aborts it if the client has left early. */
  onClosed(): void {
    this.#deadline?.cancel()
    this.#plan.mirror?.(this.#request, this.#prepared, this.#outbound.buffered)
    this.#outbound.release()
    this.#response.release()
    if (this.#state !== 'over') this.fail(new ClientGone('The client closed the connection'))
    this.#pending?.end()
  }
}

// Shared by all exchanges, so that a request makes no closures.
const onClosed = guarded<Exchange>((exchange) => exchange.onClosed())
const onDeadline = guarded<Exchange>((exchange) => exchange.fail(new DeadlineExceeded()))
