import type { OutboundRequest, UpstreamTarget } from './upstream.ts'

/** The place of a request in a distributed trace. */
export interface TraceContext {
  /** 32 hexadecimal digits. */
  readonly traceId: string
  /** Whether its spans are exported. */
  readonly sampled: boolean
  /** Begins the client span of an attempt to send a request; the first attempt is number 1. */
  startAttempt(
    upstream: string,
    target: UpstreamTarget,
    request: OutboundRequest,
    number: number
  ): AttemptSpan
}

/** The client span of one attempt. */
export interface AttemptSpan {
  /** Returns request headers with the context of this span instead of the client's. */
  inject(headers: readonly string[]): string[]
  /** Ends the span with the status of the response (0 for none), and the error that ended the attempt. */
  end(status: number, error?: Error): void
  /** Ends the span of an attempt without a response, because another one was faster. */
  supersede(): void
}
