import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import {
  DeadlineExceeded,
  type Forwarding,
  grpcRefusal,
  grpcTimeoutOf,
  isGrpc,
  isHttp2,
  LONGEST_TIMER,
  type Sending,
  thenGiveBack,
  upgradeOf,
  type Waiting,
  waitForEnd,
  waitNoMore
} from '../../src/kit/index.ts'
import { Deadline } from '../../src/lib/deadline.ts'
import { setHeader } from '../../src/lib/http/request-head.ts'
import {
  addTrailers,
  cut,
  endedWithHead,
  flushHead,
  writeHead,
  writeInterim
} from '../../src/lib/http/response.ts'
import type { StreamLimits, UpstreamTarget } from './contract.ts'
import { POLICY_VIOLATION } from './frames.ts'
import { type Answer, answerHead, informationHead } from './head.ts'
import { join } from './joint.ts'
import { ClientGone, refusalFor, UpstreamFailed, unavailable } from './refusals.ts'
import { HEDGE_BUDGET, retryAfterOf } from './retry.ts'
import { goesOn, isOfSession, SessionOver, watchSession } from './session-end.ts'
import { type Asker, type Extent, type Fate, Try, Unwanted } from './try.ts'
import { Upload } from './upload.ts'
import type { Errand, Lane, Way } from './way.ts'

// Methods whose requests are expected to have content (RFC 9110 section 9.3).
const WITH_CONTENT = new Set(['POST', 'PUT', 'PATCH'])

// How much of an answer is read before a slow client has taken it, in bytes: the upstream is done with a short answer sooner.
const READ_AHEAD = 262_144

/** One request of a client and its answer, in as many tries as the route allows: bytes as they come, as fast as the slower side takes them. */
export class Exchange implements Asker {
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #response: ServerResponse
  readonly #way: Way
  readonly #lane: Lane
  readonly #errand: Errand
  readonly #limits: StreamLimits | null
  readonly #upload: Upload | null
  readonly #forwarding: Forwarding
  readonly #tried: UpstreamTarget[] = []
  readonly #live: Try[] = []
  #chosen: Try | undefined
  #waiting: Waiting | undefined
  readonly #deadline: Deadline | null
  #backoff: NodeJS.Timeout | undefined
  #hedge: NodeJS.Timeout | undefined
  #state: 'waiting' | 'streaming' | 'over' = 'waiting'
  #failure: Error | undefined
  #listening = false
  #endless = false
  #readsAhead = false
  #counted = false
  #extra = 0

  constructor(request: FastifyRequest, reply: FastifyReply, way: Way, lane: Lane, errand: Errand) {
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
        : new Upload(errand.body, Math.max(errand.keep, lane.replay), request.server.buffers, (chunk) =>
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
    this.#lane.upstream.traffic.active++
    this.#counted = true
    this.#waiting = waitForEnd(this.#response, onOver, this, undefined)
    if (this.#upload !== null) this.#limits?.readBy(this.#request, this)
    if (this.#upload !== null && this.#mayHaveNoBody()) this.#upload.whenBegun(() => this.#begin())
    else this.#begin()
  }

  #begin(): void {
    if (this.#state !== 'waiting') return
    this.#try()
    const { hedge } = this.#way
    if (hedge !== undefined && this.#errand.idempotent && this.#state === 'waiting')
      this.#hedge = setTimeout(onHedge, Math.min(hedge, LONGEST_TIMER), this)
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

  /** Tries once more, now that the wait is over. */
  tryAgain(): void {
    if (this.#state === 'waiting') this.#try()
  }

  /** Asks another target as well. */
  askAnother(): void {
    if (this.#state !== 'waiting' || this.#live.length !== 1 || !this.#mayRepeat(HEDGE_BUDGET)) return
    // A body goes to two targets only once it is here whole; what still comes belongs to the first.
    if (this.uploads || this.#upload?.mayReplay(this.#way.retry?.maxBody ?? 0) === false) return
    const target = this.#lane.upstream.pick(this.#request, this.#tried)
    // The same one again would only get busier.
    if (target === undefined || this.#tried.includes(target)) return
    this.#countExtra()
    this.#send(target)
  }

  /** Gives up, telling the client why where it has no head yet. */
  fail(error: Error): void {
    if (this.#state === 'over') return
    this.#failure ??= error
    clearTimeout(this.#backoff)
    if (this.#live.length === 0) this.#refuse(error)
    else for (const each of [...this.#live]) each.stop(error)
  }

  #try(): void {
    const target = this.#lane.upstream.pick(this.#request, this.#tried)
    if (target === undefined) this.#refuse(unavailable(this.#lane.upstream.retryAfter))
    else this.#send(target)
  }

  #send(target: UpstreamTarget): void {
    this.#tried.push(target)
    this.#forwarding.target = target.name
    const attempt = new Try(this, target, this.#errand.joint !== undefined, this.#lane.stillness)
    this.#live.push(attempt)
    attempt.send()
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

  get maySendAgain(): boolean {
    return this.#errand.idempotent && (this.#upload === null || this.#upload.empty)
  }

  get mayReplay(): boolean {
    return this.#upload === null || this.#upload.replays
  }

  get uploads(): boolean {
    return this.#upload !== null && !this.#upload.ended
  }

  optionsFor(target: UpstreamTarget): Sending {
    const { path, head, destination, joint } = this.#errand
    const { method } = this.#request
    // Only the Host differs from target to target; the list is read at once, and none of it kept.
    if (!this.#way.head.preserveHost || head[1] === '') head[1] = target.host
    if (destination !== undefined) setHeader(head, 'destination', destination(target))
    return {
      path: target.base + path,
      method,
      headers: target.http2 && takesTrailers(this.#request) ? [...head, 'te', 'trailers'] : head,
      body: this.#upload === null || this.#upload.empty ? null : this.#upload.open(),
      headersTimeout: this.#lane.headersTimeout,
      source: this.#request,
      ...(joint === undefined ? {} : { upgrade: 'websocket' })
    }
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

  onHead(from: Try, status: number, fields: readonly string[], statusText: string, extent: Extent): Fate {
    if (this.#state !== 'waiting') return 'dropped'
    if (status >= 400 && this.#mayTryAgain(from, String(status), retryAfterOf(fields))) return 'dropped'
    this.#choose(from)
    // No content can follow, whatever the head says of it.
    const endStream = extent === 'bare' || status === 204 || status === 304 || this.#request.method === 'HEAD'
    const failed = this.#writeHead(from, status, fields, statusText, endStream)
    if (failed !== undefined) {
      this.#refuseHead(failed)
      return 'dropped'
    }
    this.#state = 'streaming'
    this.#reply.hijack()
    if (endStream || endedWithHead(this.#response)) this.#end()
    if (this.#state !== 'streaming') return 'dropped'
    // With a body behind it at once it goes out in one write; alone it does not wait for one.
    if (extent === 'part' && begun.push(this) === 1) setImmediate(afterHeads)
    return 'wanted'
  }

  /** Writes the head of an answer; returns the error where the client can't be sent one like it. */
  #writeHead(
    from: Try,
    status: number,
    fields: readonly string[],
    reason: string,
    endStream: boolean
  ): Error | undefined {
    let head: Answer
    try {
      head = this.#headFor(from, status, fields, endStream)
    } catch (error) {
      return error as Error
    }
    this.#endless = head.endless
    if (isOfSession(this.#request) && !endStream && (head.endless || goesOn(head.flat)))
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

  #headFor(from: Try, status: number, fields: readonly string[], endStream: boolean): Answer {
    return answerHead(
      { status, fields, endStream },
      this.#request,
      this.#reply,
      this.#way.answerFor(from.target),
      this.#lane.upstream.cookieFor(this.#request, from.target)
    )
  }

  onSwitch(from: Try, fields: readonly string[], upstream: Duplex): void {
    const upgrade = upgradeOf(this.#request.raw)
    const { joint } = this.#errand
    if (this.#state !== 'waiting' || upgrade === undefined || joint === undefined) {
      upstream.destroy()
      throw new UpstreamFailed()
    }
    this.#choose(from)
    const { flat } = this.#headFor(from, 101, fields, true)
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
    this.#uncount()
    // The two connections go on for hours; what there was of an exchange does not.
    if (this.#waiting !== undefined) waitNoMore(this.#response, this.#waiting)
    join(this.#response, upgrade, upstream, joint, this.#forwarding)
    if (isOfSession(this.#request))
      watchSession(this.#request, this.#reply, () => upgrade.leave?.(POLICY_VIOLATION))
  }

  onWhole(body: string): void {
    this.#forwarding.bytesOut = body.length
    this.#end(body)
  }

  onBody(chunk: Buffer): boolean {
    this.#forwarding.bytesOut += chunk.length
    if (this.#response.write(chunk, thenGiveBack(chunk))) return true
    return this.#waitForClient()
  }

  /** Notes that the client is slower than the upstream; returns whether there is room to read ahead. */
  #waitForClient(): boolean {
    if (!this.#listening) {
      this.#listening = true
      // A client that takes nothing more is cut with its connection, as for any other answer.
      this.#response.on('drain', () => {
        this.#stopReadingAhead()
        this.#chosen?.resume()
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

  onTrailers(trailers: readonly [string, string][]): void {
    if (this.#state !== 'streaming') return
    if (trailers.length > 0 && !addTrailers(this.#response, trailers)) {
      this.#state = 'over'
      cut(this.#response)
    } else this.#end()
  }

  onFailure(from: Try, error: Error & { code?: string }): void {
    this.#drop(from)
    if (this.#state === 'over' || error instanceof Unwanted) return
    const failure = this.#failure ?? error
    if (this.#state === 'streaming') {
      // The head is out: only a cut connection tells the client that the rest is missing.
      this.#state = 'over'
      this.#report(failure)
      if (isHttp2(this.#request.raw) && isGrpc(this.#request) && !isGone(this.#response)) {
        // A call has a status for this, and no message of it is taken for whole that is not.
        addTrailers(this.#response, Object.entries(grpcRefusal(refusalFor(failure))))
        this.#end()
      } else cut(this.#response)
      return
    }
    if (this.#failure === undefined) {
      this.#report(failure)
      if (from.untaken && this.#sendElsewhere()) return
      if (this.#mayTryAgain(from, reasonOfFailure(from, error), 0)) return
    }
    this.#refuse(failure)
  }

  /** Sends what a target has not taken to another one, whatever the method is; tells whether there is one. */
  #sendElsewhere(): boolean {
    if (!this.mayReplay || this.#live.length > 0) return false
    const target = this.#lane.upstream.pick(this.#request, this.#tried)
    if (target === undefined || this.#tried.includes(target)) return false
    this.#send(target)
    return true
  }

  /** Tells whether what a try brought is passed over, and sees to the next one. */
  #mayTryAgain(from: Try, reason: string, retryAfter: number): boolean {
    const { retry } = this.#way
    const failed = from.lost || retry?.takes(reason) === true
    // A hedge is under way still: it may do better.
    if (failed && this.#live.some((each) => each !== from)) {
      this.#drop(from)
      return true
    }
    if (retry === undefined || !retry.takes(reason)) return false
    if (!this.#errand.idempotent || this.#tried.length >= retry.attempts) return false
    if (this.#upload?.mayReplay(retry.maxBody) === false) return false
    const wait = Math.max(retry.wait(this.#tried.length), retryAfter)
    // A try that can't end in time is not begun, nor one that no timer would wait for.
    if (this.#deadline?.allows(wait) === false || wait > LONGEST_TIMER || !this.#mayRepeat(retry.budget))
      return false
    this.#drop(from)
    this.#countExtra()
    this.#backoff = setTimeout(onBackoff, wait, this)
    return true
  }

  #mayRepeat(otherwise: number): boolean {
    return this.#lane.upstream.mayRepeat(this.#way.retry?.budget ?? otherwise)
  }

  #countExtra(): void {
    this.#extra++
    this.#lane.upstream.traffic.extra++
    this.#lane.upstream.traffic.retries++
  }

  #choose(from: Try): void {
    this.#chosen = from
    this.#forwarding.target = from.target.name
    this.#forwarding.ms = performance.now() - this.#forwarding.began
    this.#clear()
    if (this.#live.length > 1)
      for (const each of [...this.#live])
        if (each !== from) each.stop(new Unwanted('Another answer came first'))
  }

  #drop(from: Try): void {
    const at = this.#live.indexOf(from)
    if (at !== -1) this.#live.splice(at, 1)
  }

  #clear(): void {
    this.#deadline?.end()
    if (this.#hedge !== undefined) clearTimeout(this.#hedge)
    if (this.#backoff !== undefined) clearTimeout(this.#backoff)
  }

  #end(body?: string): void {
    this.#state = 'over'
    this.#response.end(body, 'latin1')
    if (this.#upload !== null && !this.#upload.ended) this.#upload.discard()
  }

  #refuse(failure: Error & { code?: string }): void {
    this.#state = 'over'
    this.#clear()
    if (failure instanceof ClientGone || isGone(this.#response)) return
    const refusal = refusalFor(failure)
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
  onBroken(error: unknown): void {
    this.#state = 'over'
    this.#clear()
    this.#request.log.error({ err: error, requestId: this.#request.id }, 'a request failed')
    cut(this.#response)
    for (const each of [...this.#live]) each.stop(new Unwanted('The request failed'))
  }

  /** Sends the head by itself where no body has come with it; what is not whole by now is watched. */
  afterHead(): void {
    if (this.#state !== 'streaming') return
    if (this.#forwarding.bytesOut === 0) flushHead(this.#response)
    if (!this.#endless) this.#chosen?.watch()
  }

  /** Ends what is left of the exchange when the client's side is closed. */
  over(): void {
    this.#uncount()
    this.#clear()
    this.#way.mirror?.(this.#request, this.#errand, this.whole)
    this.#upload?.release()
    this.#stopReadingAhead()
    if (this.#state !== 'over') this.fail(new ClientGone('The client went away'))
  }

  #uncount(): void {
    if (!this.#counted) return
    this.#counted = false
    const { traffic } = this.#lane.upstream
    traffic.active--
    traffic.extra -= this.#extra
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
const onHedge = guarded((exchange) => exchange.askAnother())
const onHeadAlone = guarded((exchange) => exchange.afterHead())
const onBackoff = guarded((exchange) => exchange.tryAgain())

/** Makes a callback of a timer or a socket, in which an error ends the exchange and not the process. */
function guarded(act: (exchange: Exchange) => void): (exchange: Exchange) => void {
  return (exchange) => {
    try {
      act(exchange)
    } catch (error) {
      exchange.onBroken(error)
    }
  }
}

function reasonOfFailure(from: Try, { code }: Error & { code?: string }): string {
  if (!from.connected) return 'connect'
  return code === 'UND_ERR_HEADERS_TIMEOUT' ? 'timeout' : 'reset'
}

// Over HTTP/2 it says nothing of a connection, and gRPC insists on it (RFC 9113 section 8.2.2).
const takesTrailers = ({ headers: { te } }: FastifyRequest): boolean =>
  typeof te === 'string' && /\btrailers\b/i.test(te)
