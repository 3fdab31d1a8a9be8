import { startTimer, stopTimer } from './clock.ts'
import type {
  AnswerListener,
  AttemptPolicy,
  BodyAction,
  OutboundRequest,
  PendingRequest,
  ReplayableBody,
  UpstreamService
} from './contracts/upstream.ts'

/** A response that was read into memory. */
export interface WholeAnswer {
  readonly status: number
  /** Names in lower case and values in turn. */
  readonly fields: readonly string[]
  readonly body: Buffer
}

/** The limits of a response that is read into memory. */
export interface AskLimits {
  /** The largest body, in bytes. */
  readonly maxBody: number
  /** Milliseconds until the complete response has arrived. */
  readonly timeout: number
}

/**
 * Sends a request to an upstream and reads the response into memory; retries as for a proxied request.
 * Rejects with the error of the last attempt, a RangeError beyond `maxBody`, or a TimeoutError after `timeout`.
 */
export function askUpstream(
  upstream: UpstreamService,
  request: OutboundRequest,
  policy: AttemptPolicy,
  limits: AskLimits
): Promise<WholeAnswer> {
  return new Promise((resolve, reject) => {
    new ResponseReader(limits, resolve, reject).send(upstream, request, policy)
  })
}

/** Returns the body of a request that is in memory. */
export const bufferedBody = (bytes: Buffer): ReplayableBody => ({
  isDisposable: false,
  ended: true,
  isReplayable: true,
  isReplayableWithin: (maxBytes) => bytes.length <= maxBytes,
  open: () => bytes
})

class ResponseReader implements AnswerListener {
  readonly #limits: AskLimits
  readonly #resolve: (response: WholeAnswer) => void
  readonly #reject: (error: Error) => void
  readonly #chunks: Buffer[] = []
  #length = 0
  #status = 0
  #fields: readonly string[] = []
  #pending: PendingRequest | undefined
  #done = false
  readonly #timer

  constructor(limits: AskLimits, resolve: (response: WholeAnswer) => void, reject: (error: Error) => void) {
    this.#limits = limits
    this.#resolve = resolve
    this.#reject = reject
    this.#timer = startTimer(onTimeout, limits.timeout, this)
  }

  send(upstream: UpstreamService, request: OutboundRequest, policy: AttemptPolicy): void {
    this.#pending = upstream.send(request, policy, this)
    if (this.#done) this.#pending.end()
  }

  abort(error: Error): void {
    if (this.#done) return
    this.#pending?.abort(error)
    this.onError(error)
  }

  onHeaders(_target: unknown, status: number, fields: readonly string[]): BodyAction {
    this.#status = status
    this.#fields = fields
    return 'forward'
  }

  onCompleteBody(body: string): void {
    if (this.onData(Buffer.from(body, 'latin1'))) this.onComplete()
  }

  onData(chunk: Buffer): boolean {
    this.#length += chunk.length
    if (this.#length > this.#limits.maxBody) this.abort(new RangeError('The response is too large'))
    else this.#chunks.push(chunk)
    return !this.#done
  }

  onComplete(): void {
    if (this.#done) return
    this.#end()
    this.#resolve({ status: this.#status, fields: this.#fields, body: Buffer.concat(this.#chunks) })
  }

  onError(error: Error): void {
    if (this.#done) return
    this.#end()
    this.#reject(error)
  }

  onInternalError(error: unknown): void {
    this.onError(error instanceof Error ? error : new Error(String(error)))
  }

  #end(): void {
    this.#done = true
    stopTimer(this.#timer)
    this.#pending?.end()
  }
}

const onTimeout = (reader: ResponseReader): void =>
  reader.abort(new DOMException('The response took too long', 'TimeoutError'))
