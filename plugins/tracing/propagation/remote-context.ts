/** The trace context that came with a request. */
export interface RemoteContext {
  readonly traceId: string
  readonly spanId: string
  /** Whether the sender samples the trace; undefined where it leaves that to others. */
  readonly sampled: boolean | undefined
  /** Whether the trace id has the random bits of W3C Trace Context Level 2. */
  readonly random: boolean
  /** Whether `tracestate` belongs to it. */
  readonly hasState: boolean
}

/** The trace headers of a request, as Node.js gives them. */
export type TraceHeaders = Readonly<Record<string, string | string[] | undefined>>

/** A header that carries the context: how it is read and written. */
export interface Format {
  /** The headers that belong to it, in lower case. */
  readonly headers: readonly string[]
  /** Reads the context of a request; undefined where there is none, or an invalid one. */
  read(headers: TraceHeaders): RemoteContext | undefined
  /** Reads a sampling decision that came without a trace id. */
  readDecision?(headers: TraceHeaders): boolean | undefined
  /** Adds the context of a span to the headers of a request. */
  write(headers: string[], context: SpanContext): void
}

/** The context of a span, as the next service gets it. */
export interface SpanContext {
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
  readonly random: boolean
}

const ALL_ZERO = /^0+$/

/** Returns whether an id has hexadecimal digits only, in lower case, and not all are zero. */
export const isValidId = (id: string): boolean => /^[0-9a-f]+$/.test(id) && !ALL_ZERO.test(id)

/** Returns a header that occurs once; undefined where it is absent or came several times. */
export function singleHeader(headers: TraceHeaders, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' ? value : undefined
}
