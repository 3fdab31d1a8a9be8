import type { AttemptSpan } from '../../src/lib/contracts/tracing.ts'
import { clientAttributes, methodName } from './attributes.ts'
import { newSpanId } from './ids.ts'
import type { Incoming, Propagator } from './propagation/index.ts'
import { type AttemptDescription, type Attributes, type EndedSpan, KIND } from './span.ts'

// The client left: neither the gateway nor the upstream failed.
const CLIENT_GONE = 'SP_ERR_CLIENT_GONE'

/** What the span of an attempt takes from the trace of its request. */
export interface ParentTrace extends Pick<Incoming, 'keepsState' | 'keepsBaggage'> {
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
  readonly random: boolean
  readonly propagator: Propagator
  /** Whether its spans may be exported. */
  readonly isRecording: boolean
  /** The difference between the wall clock and `performance.now()`, in milliseconds. */
  readonly offset: number
  add(span: EndedSpan): void
}

/** The client span of one attempt. */
export class AttemptTrace implements AttemptSpan {
  readonly #trace: ParentTrace
  readonly #attempt: AttemptDescription
  readonly #spanId = newSpanId()
  readonly #began: number
  #ended = false

  constructor(trace: ParentTrace, attempt: AttemptDescription) {
    this.#trace = trace
    this.#attempt = attempt
    this.#began = performance.now()
  }

  inject(headers: readonly string[]): string[] {
    const { traceId, sampled, random, propagator } = this.#trace
    return propagator.write(headers, { traceId, spanId: this.#spanId, sampled, random }, this.#trace)
  }

  end(status: number, error?: Error & { code?: string }): void {
    const code = error === undefined ? undefined : (error.code ?? error.name)
    this.#add(
      {
        'http.response.status_code': status === 0 ? undefined : status,
        'error.type': code ?? (status >= 400 ? String(status) : undefined)
      },
      status >= 400 || (code !== undefined && code !== CLIENT_GONE)
    )
  }

  supersede(): void {
    this.#add({ 'sallyport.superseded': true }, false)
  }

  #add(outcome: Attributes, failed: boolean): void {
    if (this.#ended || !this.#trace.isRecording) return
    this.#ended = true
    const { offset } = this.#trace
    this.#trace.add({
      name: methodName(this.#attempt.request.method),
      kind: KIND.client,
      traceId: this.#trace.traceId,
      spanId: this.#spanId,
      parent: { spanId: this.#trace.spanId, isRemote: false },
      link: undefined,
      start: this.#began + offset,
      end: performance.now() + offset,
      failed,
      attributes: { ...clientAttributes(this.#attempt), ...outcome },
      events: []
    })
  }
}
