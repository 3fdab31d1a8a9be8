import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import { wall } from '../../src/lib/clock.ts'
import type { OutboundRequest, UpstreamTarget } from '../../src/lib/contracts/upstream.ts'

// The numbers of @opentelemetry/api, which is not loaded for them.
const SAMPLED = 1
const ERROR = 2

/** The kinds of spans (SpanKind of @opentelemetry/api). */
export const KIND = { server: 1, client: 2 } as const

/** The attributes of a span; undefined ones are left out. */
export type Attributes = Readonly<Record<string, string | number | boolean | undefined>>

/** What one attempt sends, and where. */
export interface AttemptDescription {
  readonly upstream: string
  readonly target: UpstreamTarget
  readonly request: Pick<OutboundRequest, 'method' | 'path'>
  /** How many attempts preceded it. */
  readonly resends: number
}

/** A span that has ended; times are milliseconds since 1970. */
export interface EndedSpan {
  readonly name: string
  readonly kind: (typeof KIND)[keyof typeof KIND]
  readonly traceId: string
  readonly spanId: string
  readonly parent: { readonly spanId: string; readonly isRemote: boolean } | undefined
  readonly link: { readonly traceId: string; readonly spanId: string } | undefined
  readonly start: number
  readonly end: number
  readonly failed: boolean
  readonly attributes: Attributes
  readonly events: readonly {
    readonly name: string
    readonly time: number
    readonly attributes: Attributes
  }[]
}

/** Returns the difference between the wall clock and `performance.now()`, in milliseconds. The spans of a request share one reading, so that none begins before its parent or ends after it. */
export const wallOffset = (): number => wall() - performance.now()

/** What all spans of a gateway share. */
export type SpanOrigin = Pick<ReadableSpan, 'resource' | 'instrumentationScope'>

/** Returns a span in the form that OpenTelemetry's exporters read. */
export function readableSpan(span: EndedSpan, origin: SpanOrigin): ReadableSpan {
  const { traceId, spanId, parent, link } = span
  const context = { traceId, spanId, traceFlags: SAMPLED }
  return {
    name: span.name,
    kind: span.kind,
    spanContext: () => context,
    ...(parent === undefined ? {} : { parentSpanContext: { traceId, traceFlags: SAMPLED, ...parent } }),
    startTime: hrTime(span.start),
    endTime: hrTime(span.end),
    duration: hrTime(Math.max(0, span.end - span.start)),
    ended: true,
    status: { code: span.failed ? ERROR : 0 },
    attributes: defined(span.attributes),
    links: link === undefined ? [] : [{ context: { ...link, traceFlags: 0, isRemote: true } }],
    events: span.events.map(({ name, time, attributes }) => ({
      name,
      time: hrTime(time),
      attributes: defined(attributes)
    })),
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
    ...origin
  }
}

/** Returns a time as seconds and nanoseconds. */
function hrTime(ms: number): [number, number] {
  const seconds = Math.floor(ms / 1000)
  return [seconds, Math.min(999_999_999, Math.round((ms - seconds * 1000) * 1e6))]
}

function defined(attributes: Attributes): Record<string, string | number | boolean> {
  const present: Record<string, string | number | boolean> = {}
  for (const name in attributes) {
    const value = attributes[name]
    if (value !== undefined) present[name] = value
  }
  return present
}
