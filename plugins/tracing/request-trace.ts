import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AttemptSpan, TraceContext } from '../../src/lib/contracts/tracing.ts'
import type { OutboundRequest, UpstreamTarget } from '../../src/lib/contracts/upstream.ts'
import { statusOf } from '../../src/lib/http/response-end.ts'
import { AttemptTrace, type ParentTrace } from './attempt-trace.ts'
import { methodName, routePatternOf, serverAttributes } from './attributes.ts'
import { gateEvents } from './gate-events.ts'
import { newSpanId, newTraceId } from './ids.ts'
import type { Incoming, Propagator } from './propagation/index.ts'
import type { RemoteContext } from './propagation/remote-context.ts'
import { type EndedSpan, KIND, wallOffset } from './span.ts'

/** How the requests of a gateway are traced. */
export interface Tracer {
  readonly propagator: Propagator
  /** Whether every request begins a new trace. */
  readonly restarts: boolean
  /** Whether spans of 5xx responses are exported where the trace is not sampled. */
  readonly keepsErrors: boolean
  /** Returns whether a share of all traces includes one. */
  isSampled(traceId: string): boolean
  export(span: EndedSpan): void
}

// How many spans of an unsampled request are kept until its status is known.
const MAX_KEPT_SPANS = 64

/** The trace of one request: its server span, and the client spans of its attempts. */
export class RequestTrace implements TraceContext, ParentTrace {
  readonly traceId: string
  readonly spanId = newSpanId()
  readonly sampled: boolean
  readonly random: boolean
  readonly keepsState: boolean
  readonly keepsBaggage: boolean
  readonly propagator: Propagator
  readonly #tracer: Tracer
  readonly #remote: RemoteContext | undefined
  readonly #kept: EndedSpan[] = []
  #offset: number | undefined
  /** What to do with a span of an attempt that ends. */
  #fate: 'export' | 'keep' | 'drop'

  constructor(tracer: Tracer, incoming: Incoming, isTrusted: boolean) {
    const { remote, decision } = incoming
    const continues = remote !== undefined && !tracer.restarts
    this.#tracer = tracer
    this.#remote = remote
    this.propagator = tracer.propagator
    this.traceId = continues ? remote.traceId : newTraceId()
    this.random = continues && remote.random
    this.keepsState = continues && incoming.keepsState
    this.keepsBaggage = incoming.keepsBaggage
    // An untrusted client could make every trace a sampled one.
    this.sampled = (isTrusted && !tracer.restarts ? decision : undefined) ?? tracer.isSampled(this.traceId)
    this.#fate = this.sampled ? 'export' : tracer.keepsErrors ? 'keep' : 'drop'
  }

  /** Whether its spans may be exported. */
  get isRecording(): boolean {
    return this.#fate !== 'drop'
  }

  get offset(): number {
    this.#offset ??= wallOffset()
    return this.#offset
  }

  startAttempt(
    upstream: string,
    target: UpstreamTarget,
    request: OutboundRequest,
    number: number
  ): AttemptSpan {
    return new AttemptTrace(this, { upstream, target, request, resends: number - 1 })
  }

  /** Takes the span of an attempt. */
  add(span: EndedSpan): void {
    if (this.#fate === 'export') this.#tracer.export(span)
    else if (this.#fate === 'keep' && this.#kept.length < MAX_KEPT_SPANS) this.#kept.push(span)
  }

  /** Ends the server span, when the response has closed. */
  end(request: FastifyRequest, reply: FastifyReply): void {
    if (this.#fate === 'drop') return
    const failed = statusOf(reply) >= 500 || (request.refusal?.statusCode ?? 0) >= 500
    if (this.#fate === 'keep') {
      this.#fate = failed ? 'export' : 'drop'
      if (failed) for (const span of this.#kept) this.#tracer.export(span)
      this.#kept.length = 0
      if (!failed) return
    }
    const pattern = routePatternOf(request)
    const method = methodName(request.method)
    const { offset } = this
    const remote = this.#remote
    this.#tracer.export({
      name: pattern === undefined ? method : `${method} ${pattern}`,
      kind: KIND.server,
      traceId: this.traceId,
      spanId: this.spanId,
      parent:
        remote === undefined || this.#tracer.restarts ? undefined : { spanId: remote.spanId, isRemote: true },
      link: remote !== undefined && this.#tracer.restarts ? remote : undefined,
      start: request.began + offset,
      end: performance.now() + offset,
      failed,
      attributes: serverAttributes(request, reply),
      events: gateEvents(request.trace, offset)
    })
  }
}
