import { startTimer, stopTimer } from './clock.ts'
import type {
  AnswerListener,
  AttemptPolicy,
  BodyAction,
  OutboundRequest,
  PendingRequest,
  UpstreamService
} from './contracts/upstream.ts'

/** An answer that was read into memory. */
export interface WholeAnswer {
  readonly status: number
  /** Names in lower case and values in turn. */
  readonly fields: readonly string[]
  readonly body: Buffer
}

/** What an answer may take. */
export interface AskLimits {
  /** The largest body, in bytes. */
  readonly maxBody: number
  /** Milliseconds until the whole answer is here. */
  readonly timeout: number
}

/**
 * Sends a request to an upstream and reads its answer into memory, with the attempts that a proxied request has.
 * Rejects with the error of the last attempt, with a RangeError beyond `maxBody`, and with a TimeoutError after `timeout`.
 */
export function askUpstream(
  upstream: UpstreamService,
  request: OutboundRequest,
  policy: AttemptPolicy,
  limits: AskLimits
): Promise<WholeAnswer> {
  return new Promise((resolve, reject) => {
    new Question(limits, resolve, reject).send(upstream, request, policy)
  })
}

class Question implements AnswerListener {
  readonly #limits: AskLimits
  readonly #resolve: (answer: WholeAnswer) => void
  readonly #reject: (error: Error) => void
  readonly #parts: Buffer[] = []
  #length = 0
  #status = 0
  #fields: readonly string[] = []
  #sent: PendingRequest | undefined
  #over = false
  readonly #timer

  constructor(limits: AskLimits, resolve: (answer: WholeAnswer) => void, reject: (error: Error) => void) {
    this.#limits = limits
    this.#resolve = resolve
    this.#reject = reject
    this.#timer = startTimer(onTimeout, limits.timeout, this)
  }

  send(upstream: UpstreamService, request: OutboundRequest, policy: AttemptPolicy): void {
    this.#sent = upstream.send(request, policy, this)
    if (this.#over) this.#sent.end()
  }

  abort(error: Error): void {
    if (this.#over) return
    this.#sent?.abort(error)
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

  onData(part: Buffer): boolean {
    this.#length += part.length
    if (this.#length > this.#limits.maxBody) this.abort(new RangeError('The answer is too large'))
    else this.#parts.push(part)
    return !this.#over
  }

  onComplete(): void {
    if (this.#over) return
    this.#end()
    this.#resolve({ status: this.#status, fields: this.#fields, body: Buffer.concat(this.#parts) })
  }

  onError(error: Error): void {
    if (this.#over) return
    this.#end()
    this.#reject(error)
  }

  onInternalError(error: unknown): void {
    this.onError(error instanceof Error ? error : new Error(String(error)))
  }

  #end(): void {
    this.#over = true
    stopTimer(this.#timer)
    this.#sent?.end()
  }
}

const onTimeout = (question: Question): void =>
  question.abort(new DOMException('The answer took too long', 'TimeoutError'))
