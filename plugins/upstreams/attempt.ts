import type { Duplex } from 'node:stream'
import type { DispatchHandler, DispatchOptions } from '../../src/lib/contracts/dispatch.ts'
import type { BodyAction, ResponseExtent, UpstreamTarget } from '../../src/lib/contracts/upstream.ts'
import { FRAMING, HOP_BY_HOP } from '../../src/lib/http/hop-by-hop.ts'
import { RequestNotProcessed, RequestNotSendable } from '../../src/lib/refusals.ts'
import { UpstreamFailed } from '../../src/lib/upstream-errors.ts'
import type { IdleTimeout, WatchedBody } from './idle-timeout.ts'
import type { Lease } from './lease.ts'
import type { Target } from './target.ts'

type Abort = (error?: Error) => void

/** Gets what one attempt brings. */
export interface AttemptListener {
  /** Whether the request may be sent again after its connection was lost without a byte of an answer. */
  readonly canResend: boolean
  /** Whether the body of the request can be sent again from its beginning. */
  readonly canReplayBody: boolean
  /** Whether a part of the body has yet to come from the client. */
  readonly isUploading: boolean
  /** Makes the options of one sending, in which a body is opened anew; `fresh` asks for a new connection. */
  dispatchOptionsFor(target: UpstreamTarget, fresh: boolean): DispatchOptions
  onInformation(status: number, fields: readonly string[]): void
  /** Called with the header of an answer, and how much there is of it; returns what becomes of its body. */
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
  /** Called with an error of the gateway's own code. */
  onInternalError(error: unknown): void
}

/** The answer of an attempt is not needed any more; its target did nothing wrong. */
export class Superseded extends Error {}

/** The body of an answer was idle for too long; its client sees a cut. */
class BodyTimeout extends Error {
  readonly code = 'UND_ERR_BODY_TIMEOUT'
  readonly statusCode = 504
}

// The rest of a dropped answer is read, so that its connection can be used again; if it is longer than this, in bytes, the connection ends.
const MAX_DRAINED_BYTES = 65_536

// How often a request goes to a target that processes none of it: a connection of HTTP/2 may end at any time, and the next one as well.
const MAX_UNPROCESSED_SENDS = 8

// Interim answers to a request: they go on at once, however slow the client is.
const MAX_INFORMATIONAL_RESPONSES = 64

/** One request to one target, and its answer. */
export class Attempt implements WatchedBody, DispatchHandler {
  readonly target: Target
  readonly #listener: AttemptListener
  readonly #upgrades: boolean
  readonly #idleTimeout: IdleTimeout | undefined
  readonly #lease: Lease
  /** Whether the target is sure not to have processed the request. */
  unprocessed = false
  lastActiveTick = 0
  paused = false
  #abort: Abort | undefined
  #resume: (() => void) | undefined
  #state: 'open' | BodyAction | 'over' = 'open'
  #isIdleWatched = false
  #responseStarted = false
  #sendCount = 0
  #informational = 0
  #drainedBytes = 0
  #stopReason: Error | undefined

  constructor(
    listener: AttemptListener,
    target: Target,
    { upgrades, idleTimeout }: { upgrades: boolean; idleTimeout: IdleTimeout | undefined }
  ) {
    this.#listener = listener
    this.target = target
    this.#upgrades = upgrades
    this.#idleTimeout = idleTimeout
    this.#lease = target.acquire()
  }

  /** Whether it ended without an answer. */
  get abandoned(): boolean {
    return this.#state === 'over'
  }

  /** Whether it ever got a connection: without one nothing was sent. */
  get connected(): boolean {
    return this.#abort !== undefined
  }

  /** Sends the request; `fresh` asks for a new connection. */
  send(fresh = false): void {
    this.#sendCount++
    const { pool, upgrades } = this.target
    const sender = this.#upgrades ? upgrades : pool
    sender.send(this.#listener.dispatchOptionsFor(this.target, fresh), this)
  }

  /** Begins to watch that the body is not idle for too long. */
  watchIdle(): void {
    if (this.#idleTimeout === undefined || this.#isIdleWatched || this.#state === 'over') return
    this.#isIdleWatched = true
    this.#idleTimeout.add(this)
  }

  /** Gives up. */
  stop(error: Error): void {
    if (this.#state === 'over' || this.#stopReason !== undefined) return
    this.#stopReason = error
    if (this.#abort === undefined) this.onError(error)
    else this.#abort(error)
  }

  /** Reads on after the client has taken what there was. */
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

  onHeaders(status: number, fields: string[], resume: () => void, statusText: string, bare = false): boolean {
    if (status < 200) {
      if (status < 100 || status === 101) throw new UpstreamFailed()
      if (++this.#informational > MAX_INFORMATIONAL_RESPONSES) throw new Error('Interim answers without end')
      this.#listener.onInformation(status, fields)
      return true
    }
    this.#resume = resume
    this.#lease.report(status < 500)
    const fate = this.#listener.onHeaders(this, status, fields, statusText, bare ? 'headers' : 'partial')
    this.#state = fate
    // A dropped answer is watched as well, or an upstream that never ends it would keep its connection.
    if (fate === 'drain') this.watchIdle()
    return true
  }

  onCompleteResponse(status: number, fields: string[], statusText: string, body: string): void {
    this.#lease.report(status < 500)
    const fate = this.#listener.onHeaders(this, status, fields, statusText, 'complete')
    this.#end()
    if (fate === 'forward') this.#listener.onCompleteBody(body)
  }

  onUpgrade(_status: number, fields: string[], upstream: Duplex): void {
    if (!switchesToWebSocket(fields)) throw new UpstreamFailed()
    this.#lease.report(true)
    // From here on it has a connection of its own, beside the pool's.
    this.#end()
    this.#listener.onUpgrade(this, fields, upstream)
  }

  onData(chunk: Buffer): boolean {
    // A dropped answer gets its time once: a part of it that comes gives it no more.
    if (this.#state === 'drain') {
      this.#drainedBytes += chunk.length
      if (this.#drainedBytes > MAX_DRAINED_BYTES) this.stop(new Superseded('The answer is not needed'))
      return true
    }
    if (this.#idleTimeout !== undefined) this.lastActiveTick = this.#idleTimeout.tick
    if (this.#state !== 'forward') throw new Error('A body without a header')
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
      // Other idle connections may be dead as well.
      this.send(stale)
      return
    }
    const dropped = this.#state === 'drain'
    // Where the request itself broke, no target has failed.
    const blameless = isLocalError(error) || error instanceof RequestNotSendable
    if (
      this.#state === 'forward' &&
      !blameless &&
      (this.#stopReason === undefined || isTimeoutError(this.#stopReason))
    )
      this.#lease.reportIncomplete()
    // An idle connection may end at any time, and a client may be slow to send: neither is a failure of the target.
    if (
      (this.#stopReason === undefined && !stale && !blameless) ||
      (this.#stopReason !== undefined && isTimeoutError(this.#stopReason) && !this.#listener.isUploading)
    )
      this.#lease.report(false)
    this.#end()
    if (!dropped) this.#listener.onError(this, this.#stopReason ?? error)
  }

  #canSendAgain(error: Error, stale: boolean): boolean {
    if (error instanceof RequestNotProcessed) {
      this.unprocessed = true
      return this.#sendCount < MAX_UNPROCESSED_SENDS && this.#listener.canReplayBody
    }
    return stale && this.#listener.canResend
  }

  #end(): void {
    this.#state = 'over'
    // The connection goes on with the next request, however late the client is to take this answer.
    this.#resume = undefined
    if (this.#isIdleWatched) this.#idleTimeout?.delete(this)
    this.#lease.release()
  }
}

/** Tells whether a 101 names the protocol that was asked for, and no other (RFC 6455 section 4.1). */
function switchesToWebSocket(fields: readonly string[]): boolean {
  let found = false
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== 'upgrade') continue
    if (found || fields[i + 1]?.toLowerCase() !== 'websocket') return false
    found = true
  }
  return found
}

const isTimeoutError = (error: Error & { statusCode?: number }): boolean => error.statusCode === 504

// Nothing was sent of a request that the gateway itself could not send.
const LOCAL_ERROR_CODES = new Set([
  'UND_ERR_INVALID_ARG',
  'UND_ERR_CLOSED',
  'UND_ERR_DESTROYED',
  'SP_ERR_UPSTREAM_SOCKETS'
])

const isLocalError = ({ code }: Error & { code?: string }): boolean =>
  code !== undefined && LOCAL_ERROR_CODES.has(code)

// An idle connection that the upstream closed just when it was used again looks like this.
function isStaleConnection(error: Error & { code?: string; socket?: { bytesRead?: number } }): boolean {
  return (
    (error.code === 'UND_ERR_SOCKET' || error.code === 'ECONNRESET' || error.code === 'EPIPE') &&
    (error.socket?.bytesRead ?? 1) > 0
  )
}

// What frames, routes, signs or describes a message stands in its head alone (RFC 9110 section 6.5.1): whoever merges trailers into the head would let them replace what the gateway said there.
const FORBIDDEN_TRAILERS = new Set([
  ...HOP_BY_HOP,
  ...FRAMING,
  'age',
  'authorization',
  'cache-control',
  'content-encoding',
  'content-range',
  'content-type',
  'date',
  'expires',
  'location',
  'retry-after',
  'set-cookie',
  'vary',
  'www-authenticate'
])

function allowedTrailers(raw: readonly string[]): [string, string][] {
  const trailers: [string, string][] = []
  for (let i = 0; i < raw.length; i += 2)
    if (!FORBIDDEN_TRAILERS.has(raw[i] as string)) trailers.push([raw[i] as string, raw[i + 1] as string])
  return trailers
}
