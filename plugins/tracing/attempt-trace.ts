import type { AttemptSpan } from '../../src/lib/contracts/tracing.ts'
import type { OutboundRequest, UpstreamTarget } from '../../src/lib/contracts/upstream.ts'
import { clientAttributes, methodName } from './attributes.ts'
import { newSpanId } from './ids.ts'
import type { RequestTrace } from './request-trace.ts'
import { type Attributes, KIND, wallOffset } from './span.ts'

// The client left: neither the gateway nor the upstream failed.
const CLIENT_GONE = 'SP_ERR_CLIENT_GONE'

/** What one attempt sends, and where. */
export interface AttemptDescription {
  readonly upstream: string
  readonly target: UpstreamTarget
  readonly request: Pick<OutboundRequest, 'method' | 'path'>
  /** How many attempts preceded it. */
  readonly resends: number
}

/** The client span of one attempt. */
export class AttemptTrace implements AttemptSpan {
  readonly #trace: RequestTrace
  readonly #attempt: AttemptDescription
  readonly #spanId = newSpanId()
  readonly #began: number
  #ended = false

  constructor(trace: RequestTrace, attempt: AttemptDescription) {
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
    const offset = wallOffset()
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
