import type { FastifyRequest } from 'fastify'
import { BodyCollector } from '../../src/lib/body/body-collector.ts'
import type { Reservation } from '../../src/lib/buffers.ts'
import { startTimer, stopTimer, type Timer } from '../../src/lib/clock.ts'
import type {
  AnswerListener,
  AttemptPolicy,
  BodyAction,
  OutboundRequest,
  PendingRequest,
  ResponseExtent,
  UpstreamService,
  UpstreamTarget
} from '../../src/lib/contracts/upstream.ts'
import { headerOf } from '../../src/lib/http/flat-head.ts'
import { buffersFull, type Refusal } from '../../src/lib/refusals.ts'
import { CallFailed, type LegFailure } from './failures.ts'

/** A complete, successful response of a leg. */
export interface LegResponse {
  readonly status: number
  /** Names in lower case and values in turn. */
  readonly fields: readonly string[]
  readonly body: Buffer
}

const PARTIAL_CONTENT = 206

/** What a call may take. */
export interface CallLimits {
  /** The largest body, in bytes. */
  readonly maxBody: number
  /** Milliseconds until the complete response; Infinity for no limit of its own. */
  readonly timeout: number
}

/** One request to an upstream, and its response. */
export class Call implements AnswerListener {
  /** Rejects with a CallFailed, or with what `fail` was given. */
  readonly response: Promise<LegResponse>
  readonly #resolve: (response: LegResponse) => void
  readonly #reject: (error: Error) => void
  readonly #source: FastifyRequest
  readonly #limits: CallLimits
  readonly #reservation: Reservation
  #upstream = ''
  #target = ''
  #status = 0
  #fields: readonly string[] = []
  #body: BodyCollector | undefined
  /** The body where it came in one part, which needs no copy. */
  #whole: Buffer | undefined
  #length = Number.NaN
  #pending: PendingRequest | undefined
  #timer: Timer | undefined
  #isOver = false
  #isBodyAwaited = false

  constructor(source: FastifyRequest, limits: CallLimits, reservation: Reservation) {
    const { promise, resolve, reject } = Promise.withResolvers<LegResponse>()
    this.response = promise
    this.#resolve = resolve
    this.#reject = reject
    this.#source = source
    this.#limits = limits
    this.#reservation = reservation
  }

  /** Sends the request. */
  start(upstream: UpstreamService, request: OutboundRequest, policy: AttemptPolicy): void {
    const { timeout } = this.#limits
    this.#upstream = upstream.name
    if (Number.isFinite(timeout)) this.#timer = startTimer(onTimeout, timeout, this)
    try {
      this.#pending = upstream.send(request, policy, this)
    } catch (error) {
      this.onInternalError(error)
      return
    }
    // The upstream may have called back before it returned.
    if (this.#isOver) this.#pending.end()
    else if (this.#isBodyAwaited) this.#pending.watchIdle()
  }

  /** Ends the call with an error. */
  fail(error: Error): void {
    if (this.#isOver) return
    this.#end()
    this.#pending?.abort(error)
    this.#reject(error)
  }

  onTarget({ name }: UpstreamTarget): void {
    this.#target = name
  }

  onHeaders(
    _target: unknown,
    status: number,
    fields: readonly string[],
    _statusText: string,
    extent: ResponseExtent
  ): BodyAction {
    if (this.#isOver) return 'drain'
    // No leg asks for a range, and a part of JSON is none.
    if (status < 200 || status > 299 || status === PARTIAL_CONTENT) {
      this.#end()
      this.#reject(new CallFailed({ reason: 'status', status }, fields))
      return 'drain'
    }
    const { maxBody } = this.#limits
    const length = Number(headerOf(fields, 'content-length') ?? Number.NaN)
    if (length > maxBody) {
      this.fail(new CallFailed({ reason: 'size' }))
      return 'drain'
    }
    this.#status = status
    this.#fields = fields
    this.#length = length
    // The upstream sends no more than it has announced.
    this.#body =
      length >= 0
        ? new BodyCollector(length, this.#reservation, length)
        : new BodyCollector(maxBody, this.#reservation)
    if (extent === 'headers') this.onComplete()
    else if (this.#pending === undefined) this.#isBodyAwaited = true
    else this.#pending.watchIdle()
    return 'forward'
  }

  onCompleteBody(body: string): void {
    if (this.onData(Buffer.from(body, 'latin1'))) this.onComplete()
  }

  onData(chunk: Buffer): boolean {
    if (this.#isOver) return false
    const refused = this.#isWhole(chunk) ? this.#keep(chunk) : this.#body?.add(chunk)
    if (refused !== undefined)
      this.fail(refused === 'size' ? new CallFailed({ reason: 'size' }) : buffersFull())
    return refused === undefined
  }

  onComplete(): void {
    if (this.#isOver) return
    this.#end()
    this.#resolve({
      status: this.#status,
      fields: this.#fields,
      body: this.#whole ?? this.#body?.bytes ?? Buffer.alloc(0)
    })
  }

  onAttemptFailed(error: Error): void {
    this.#log(error)
  }

  onError(error: Refusal): void {
    if (this.#isOver) return
    // Attempts that fail before their response are logged one by one.
    if (this.#status !== 0) this.#log(error)
    this.#end()
    this.#reject(new CallFailed({ reason: reasonOf(error), retryAfter: error.headers?.['retry-after'] }))
  }

  onInternalError(error: unknown): void {
    this.fail(error instanceof Error ? error : new Error(String(error)))
  }

  /** Returns whether a part is the complete body, and keeps no more memory alive than its own. */
  #isWhole({ length, buffer }: Buffer): boolean {
    return length === this.#length && buffer.byteLength === length
  }

  #keep(body: Buffer): 'memory' | undefined {
    if (!this.#reservation.add(body.length)) return 'memory'
    this.#whole = body
    return undefined
  }

  /** Logs why an attempt failed, with its target: the client must not learn addresses. */
  #log({ code, name, message }: Error & { code?: string }): void {
    if (code?.startsWith('SP_ERR_') === true) return
    const { id, log } = this.#source
    const upstream = this.#upstream
    const target = this.#target
    log.warn({ requestId: id, upstream, target, cause: code ?? name, message }, 'upstream request failed')
  }

  #end(): void {
    this.#isOver = true
    stopTimer(this.#timer)
    this.#pending?.end()
  }
}

const onTimeout = (call: Call): void => call.fail(new CallFailed({ reason: 'timeout' }))

const TIMEOUTS = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'ETIMEDOUT'
])

const CONNECTING = new Set(['connect', 'getaddrinfo'])

// The codes of Node.js and of OpenSSL for handshakes and certificates.
const TLS_FAILURE =
  /^(?:EPROTO$|ERR_TLS_|ERR_SSL_|CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERROR_IN_CERT_|HOSTNAME_MISMATCH$|INVALID_(?:CA|PURPOSE)$|PATH_LENGTH_EXCEEDED$)/

function reasonOf({
  code = '',
  statusCode,
  syscall = ''
}: Error & { code?: string; statusCode?: number; syscall?: string }): LegFailure['reason'] {
  if (statusCode === 504 || TIMEOUTS.has(code)) return 'timeout'
  if (statusCode === 503) return 'open'
  if (TLS_FAILURE.test(code)) return 'tls'
  return code === 'ECONNREFUSED' || CONNECTING.has(syscall) ? 'refused' : 'reset'
}
