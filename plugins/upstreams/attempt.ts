import type { Duplex } from 'node:stream'
import type { DispatchHandler, DispatchOptions } from '../../src/lib/contracts/dispatch.ts'
import type { AttemptSpan } from '../../src/lib/contracts/tracing.ts'
import type { BodyAction, ResponseExtent, UpstreamTarget } from '../../src/lib/contracts/upstream.ts'
import { RequestNotProcessed, RequestNotSendable } from '../../src/lib/refusals.ts'
import { UpstreamFailed } from '../../src/lib/upstream-errors.ts'
import { BodyTimeout, isLocalError, isStaleConnection, isTimeoutError, Superseded } from './attempt-errors.ts'
import type { IdleTimeout, WatchedBody } from './idle-timeout.ts'
import type { Lease } from './lease.ts'
import type { Target } from './target.ts'
import { allowedTrailers } from './trailers.ts'

type Abort = (error?: Error) => void

/** Receives the events of one attempt. */
export interface AttemptListener {
  /** Whether the request may be sent again when its connection closed before the first byte of a response. */
  readonly canResend: boolean
  /** Whether the request body can be sent again from its beginning. */
  readonly canReplayBody: boolean
  /** Whether the client has yet to send a part of the body. */
  readonly isUploading: boolean
  /** Builds the options for one send and opens the body from its beginning; `newConnection` asks for a new connection. */
  dispatchOptionsFor(target: UpstreamTarget, newConnection: boolean): DispatchOptions
  onInformation(status: number, fields: readonly string[]): void
  /** Called with the response headers and how much of the response has arrived; returns what to do with its body. */
  onHeaders(
    attempt: Attempt,
    status: number,
    fields: readonly string[],
    statusText: string,
    extent: ResponseExtent
  ): BodyAction
  onUpgrade(attempt: Attempt, fields: readonly string[], socket: Duplex): void
  onCompleteBody(body: string): void
  onData(chunk: Buffer): boolean
  onComplete(trailers: readonly [string, string][]): void
  onError(attempt: Attempt, error: Error): void
  /** Called with an error in the gateway's own code, not the upstream's. */
  onInternalError(error: unknown): void
}

/** How an attempt is made. */
export interface AttemptOptions {
  readonly upgrades: boolean
  readonly idleTimeout: IdleTimeout | undefined
  /** Its span; undefined where the request is not traced. */
  readonly span: AttemptSpan | undefined
}

// The rest of an unwanted response is read so that its connection can be reused. Beyond this many bytes the connection is closed instead.
const MAX_DRAINED_BYTES = 65_536

// How often to send a request that targets refuse unprocessed. Any HTTP/2 connection may close at any time, and so may the one after it.
const MAX_UNPROCESSED_SENDS = 8

// 1xx responses are forwarded at once, however slowly the client reads, so their number is bounded.
const MAX_INFORMATIONAL_RESPONSES = 64

/** One request to one target, and its response. */
export class Attempt implements WatchedBody, DispatchHandler {
  readonly target: Target
  readonly #listener: AttemptListener
  readonly #upgrades: boolean
  readonly #idleTimeout: IdleTimeout | undefined
  readonly #lease: Lease
  readonly #span: AttemptSpan | undefined
  /** Whether it is certain that the target has not processed the request. */
  unprocessed = false
  lastActiveTick = 0
  paused = false
  #abort: Abort | undefined
  #resume: (() => void) | undefined
  #state: 'open' | BodyAction | 'over' = 'open'
  #isIdleWatched = false
  #responseStarted = false
  #status = 0
  #sendCount = 0
  #informational = 0
  #drainedBytes = 0
  #stopReason: Error | undefined

  constructor(listener: AttemptListener, target: Target, { upgrades, idleTimeout, span }: AttemptOptions) {
    this.#listener = listener
    this.target = target
    this.#upgrades = upgrades
    this.#idleTimeout = idleTimeout
    this.#span = span
    this.#lease = target.acquire()
  }

  /** Whether the attempt ended without a response. */
  get abandoned(): boolean {
    return this.#state === 'over'
  }

  /** Whether the attempt ever got a connection. Without one, nothing was sent. */
  get connected(): boolean {
    return this.#abort !== undefined
  }

  /** Sends the request, on a new connection if asked for. */
  send({ newConnection = false } = {}): void {
    this.#sendCount++
    const { pool, upgrades } = this.target
    const sender = this.#upgrades ? upgrades : pool
    const options = this.#listener.dispatchOptionsFor(this.target, newConnection)
    if (this.#span === undefined) sender.send(options, this)
    else sender.send({ ...options, headers: this.#span.inject(options.headers) }, this)
  }

  /** Starts the idle timeout of the response body. */
  watchIdle(): void {
    if (this.#idleTimeout === undefined || this.#isIdleWatched || this.#state === 'over') return
    this.#isIdleWatched = true
    this.#idleTimeout.add(this)
  }

  /** Aborts the attempt with this error. */
  stop(error: Error): void {
    if (this.#state === 'over' || this.#stopReason !== undefined) return
    this.#stopReason = error
    if (this.#abort === undefined) this.onError(error)
    else this.#abort(error)
  }

  /** Continues reading the response after a pause. */
  resume(): void {
    this.paused = false
    this.#resume?.()
  }

  onConnect(abort: Abort): void {
    this.unprocessed = false
    if (this.#stopReason === undefined) this.#abort = abort
    else abort(this.#stopReason)
  }

  onResponseStarted(): void {
    this.#responseStarted = true
  }

  onInformation(status: number, fields: string[]): void {
    if (status < 100 || status === 101) throw new UpstreamFailed()
    if (++this.#informational > MAX_INFORMATIONAL_RESPONSES)
      throw new Error('Too many informational responses')
    this.#listener.onInformation(status, fields)
  }

  onHeaders(
    status: number,
    fields: string[],
    resume: () => void,
    statusText: string,
    endStream = false
  ): boolean {
    if (status < 200) throw new UpstreamFailed()
    this.#resume = resume
    this.#status = status
    this.#lease.report(status < 500)
    const action = this.#listener.onHeaders(
      this,
      status,
      fields,
      statusText,
      endStream ? 'headers' : 'partial'
    )
    this.#state = action
    // Draining has the idle timeout too: a response that never ends must not hold its connection.
    if (action === 'drain') this.watchIdle()
    return true
  }

  onCompleteResponse(status: number, fields: string[], statusText: string, body: string): void {
    this.#status = status
    this.#lease.report(status < 500)
    const action = this.#listener.onHeaders(this, status, fields, statusText, 'complete')
    this.#end()
    if (action === 'forward') this.#listener.onCompleteBody(body)
  }

  onUpgrade(status: number, fields: string[], upstream: Duplex): void {
    if (!switchesToWebSocket(fields)) throw new UpstreamFailed()
    this.#status = status
    this.#lease.report(true)
    // The upgraded connection has left the pool, so the target's slot is free.
    this.#end()
    this.#listener.onUpgrade(this, fields, upstream)
  }

  onData(chunk: Buffer): boolean {
    // While draining, new data does not restart the idle timeout.
    if (this.#state === 'drain') {
      this.#drainedBytes += chunk.length
      if (this.#drainedBytes > MAX_DRAINED_BYTES) this.stop(new Superseded('The response is not needed'))
      return true
    }
    if (this.#idleTimeout !== undefined) this.lastActiveTick = this.#idleTimeout.tick
    if (this.#state !== 'forward') throw new Error('Body data before the headers')
    if (this.#listener.onData(chunk)) return true
    this.paused = true
    return false
  }

  onComplete(trailers: string[]): void {
    try {
      const forwards = this.#state === 'forward'
      this.#end()
      if (forwards) this.#listener.onComplete(allowedTrailers(trailers))
    } catch (error) {
      this.#listener.onInternalError(error)
    }
  }

  onError(error: Error): void {
    try {
      this.#handleError(error)
    } catch (broken) {
      this.#listener.onInternalError(broken)
    }
  }

  onIdle(): void {
    this.stop(new BodyTimeout())
  }

  #handleError(error: Error): void {
    if (this.#state === 'over') return
    const stale =
      this.#state === 'open' && !this.#responseStarted && this.#sendCount === 1 && isStaleConnection(error)
    if (this.#state === 'open' && this.#stopReason === undefined && this.#canSendAgain(error, stale)) {
      this.#abort = undefined
      // Other idle connections may be dead as well, so a stale one is followed by a new connection.
      this.send({ newConnection: stale })
      return
    }
    const dropped = this.#state === 'drain'
    // A request that the gateway could not send says nothing about the target.
    const notSent = isLocalError(error) || error instanceof RequestNotSendable
    if (
      this.#state === 'forward' &&
      !notSent &&
      (this.#stopReason === undefined || isTimeoutError(this.#stopReason))
    )
      this.#lease.reportIncomplete()
    // A stale idle connection or a slow client upload is not a failure of the target.
    if (
      (this.#stopReason === undefined && !stale && !notSent) ||
      (this.#stopReason !== undefined && isTimeoutError(this.#stopReason) && !this.#listener.isUploading)
    )
      this.#lease.report(false)
    this.#end(this.#stopReason ?? error)
    if (!dropped) this.#listener.onError(this, this.#stopReason ?? error)
  }

  #canSendAgain(error: Error, stale: boolean): boolean {
    if (error instanceof RequestNotProcessed) {
      this.unprocessed = true
      return this.#sendCount < MAX_UNPROCESSED_SENDS && this.#listener.canReplayBody
    }
    return stale && this.#listener.canResend
  }

  #end(error?: Error): void {
    this.#state = 'over'
    if (this.#span !== undefined) {
      const superseded = error instanceof Superseded
      if (superseded && this.#status === 0) this.#span.supersede()
      else this.#span.end(this.#status, superseded ? undefined : error)
    }
    // The connection may already serve the next request, so a slow client must not resume it.
    this.#resume = undefined
    if (this.#isIdleWatched) this.#idleTimeout?.delete(this)
    this.#lease.release()
  }
}

/** Returns whether a 101 response names the requested protocol and no other (RFC 6455 section 4.1). */
function switchesToWebSocket(fields: readonly string[]): boolean {
  let found = false
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== 'upgrade') continue
    if (found || fields[i + 1]?.toLowerCase() !== 'websocket') return false
    found = true
  }
  return found
}
