import type { FastifyInstance } from 'fastify'
import { decodeBody } from '../../src/lib/body/content-coding.ts'
import { Reservation } from '../../src/lib/buffers.ts'
import { startTimer, stopTimer, type Timer } from '../../src/lib/clock.ts'
import type {
  AnswerListener,
  AttemptPolicy,
  BodyAction,
  OutboundRequest,
  PendingRequest,
  ResponseExtent,
  UpstreamService
} from '../../src/lib/contracts/upstream.ts'
import { headerOf } from '../../src/lib/http/request-head.ts'
import { BuffersFull, withHeaders } from '../../src/lib/refusals.ts'
import type { LegFailure } from './leg.ts'

/** A complete, successful response of a leg, its body decoded. */
export interface LegResponse {
  readonly status: number
  /** Names in lower case and values in turn. */
  readonly fields: readonly string[]
  readonly body: Buffer
}

/** A call that ended without a usable response. */
export class CallFailed extends Error {
  readonly failure: LegFailure

  constructor(failure: LegFailure) {
    super(failure.reason)
    this.failure = failure
  }
}

/** What a call may take. */
export interface CallLimits {
  readonly maxBody: number
  /** Milliseconds until the complete response; undefined for no limit of its own. */
  readonly timeout: number | undefined
}

/** The calls of one aggregated response: they end together, and the bytes they hold are counted together. */
export class Calls {
  readonly #reservation: Reservation
  readonly #open = new Set<Call>()
  #ended: Error | undefined

  constructor(app: Pick<FastifyInstance, 'buffers'>) {
    this.#reservation = new Reservation(app.buffers)
  }

  /** Sends a request and reads the response. Rejects with a CallFailed, or with what `end` was given. */
  async send(
    upstream: UpstreamService,
    request: OutboundRequest,
    policy: AttemptPolicy,
    limits: CallLimits
  ): Promise<LegResponse> {
    if (this.#ended !== undefined) throw this.#ended
    const { promise, resolve, reject } = Promise.withResolvers<LegResponse>()
    const call = new Call(limits, this.#reservation, { resolve, reject })
    this.#open.add(call)
    try {
      call.start(upstream, request, policy)
      return await this.#decoded(await promise, limits)
    } finally {
      this.#open.delete(call)
    }
  }

  /** Counts more bytes that are held until `release`; throws a 503 where there is no room for them. */
  hold(bytes: number): void {
    if (!this.#reservation.add(bytes)) throw buffersFull()
  }

  /** Ends all calls with an error. */
  end(error: Error): void {
    this.#ended ??= error
    for (const call of this.#open) call.fail(error)
  }

  /** Gives back the memory of all bodies. */
  release(): void {
    this.#reservation.release()
  }

  async #decoded(response: LegResponse, { maxBody }: CallLimits): Promise<LegResponse> {
    const coding = headerOf(response.fields, 'content-encoding')
    const body = await decodeBody(response.body, coding, maxBody)
    if (!Buffer.isBuffer(body))
      throw new CallFailed({ reason: body.fault === 'tooLarge' ? 'size' : 'format', status: undefined })
    if (body !== response.body) this.hold(body.length)
    return { ...response, body }
  }
}

interface Settle {
  readonly resolve: (response: LegResponse) => void
  readonly reject: (error: Error) => void
}

class Call implements AnswerListener {
  readonly #limits: CallLimits
  readonly #reservation: Reservation
  readonly #settle: Settle
  readonly #chunks: Buffer[] = []
  #length = 0
  #status = 0
  #fields: readonly string[] = []
  #pending: PendingRequest | undefined
  #timer: Timer | undefined
  #done = false
  #isBodyAwaited = false

  constructor(limits: CallLimits, reservation: Reservation, settle: Settle) {
    this.#limits = limits
    this.#reservation = reservation
    this.#settle = settle
  }

  start(upstream: UpstreamService, request: OutboundRequest, policy: AttemptPolicy): void {
    const { timeout } = this.#limits
    if (timeout !== undefined) this.#timer = startTimer(onTimeout, timeout, this)
    this.#pending = upstream.send(request, policy, this)
    if (this.#done) this.#pending.end()
    else if (this.#isBodyAwaited) this.#pending.watchIdle()
  }

  /** Ends the call with an error. */
  fail(error: Error): void {
    if (this.#done) return
    this.#end()
    this.#pending?.abort(error)
    this.#settle.reject(error)
  }

  onHeaders(
    _target: unknown,
    status: number,
    fields: readonly string[],
    _statusText: string,
    extent: ResponseExtent
  ): BodyAction {
    if (this.#done) return 'drain'
    if (status < 200 || status > 299) {
      this.#reject({ reason: 'status', status })
      return 'drain'
    }
    this.#status = status
    this.#fields = fields
    if (Number(headerOf(fields, 'content-length') ?? 0) > this.#limits.maxBody) {
      this.fail(new CallFailed({ reason: 'size', status: undefined }))
      return 'drain'
    }
    if (extent === 'headers') this.onComplete()
    else if (this.#pending === undefined) this.#isBodyAwaited = true
    else this.#pending.watchIdle()
    return 'forward'
  }

  onCompleteBody(body: string): void {
    if (this.onData(Buffer.from(body, 'latin1'))) this.onComplete()
  }

  onData(chunk: Buffer): boolean {
    if (this.#done) return false
    this.#length += chunk.length
    if (this.#length > this.#limits.maxBody) this.fail(new CallFailed({ reason: 'size', status: undefined }))
    else if (this.#reservation.add(chunk.length)) this.#chunks.push(chunk)
    else this.fail(buffersFull())
    return !this.#done
  }

  onComplete(): void {
    if (this.#done) return
    this.#end()
    const [only] = this.#chunks
    const body = this.#chunks.length === 1 && only !== undefined ? only : Buffer.concat(this.#chunks)
    this.#settle.resolve({ status: this.#status, fields: this.#fields, body })
  }

  onError(error: Error): void {
    this.#reject({ reason: reasonOf(error), status: undefined })
  }

  onInternalError(error: unknown): void {
    this.fail(error instanceof Error ? error : new Error(String(error)))
  }

  #reject(failure: LegFailure): void {
    if (this.#done) return
    this.#end()
    this.#settle.reject(new CallFailed(failure))
  }

  #end(): void {
    this.#done = true
    stopTimer(this.#timer)
    this.#pending?.end()
  }
}

const onTimeout = (call: Call): void => call.fail(new CallFailed({ reason: 'timeout', status: undefined }))

const buffersFull = (): Error => withHeaders(new BuffersFull(), { 'retry-after': '1' })

const TIMEOUTS = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'ETIMEDOUT'
])

const CONNECTING = new Set(['connect', 'getaddrinfo'])

function reasonOf(
  error: Error & { code?: string; statusCode?: number; syscall?: string }
): LegFailure['reason'] {
  if (error.statusCode === 504 || TIMEOUTS.has(error.code ?? '')) return 'timeout'
  if (error.statusCode === 503) return 'open'
  if (error.code === 'ECONNREFUSED' || CONNECTING.has(error.syscall ?? '')) return 'refused'
  return 'reset'
}
