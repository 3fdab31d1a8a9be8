import type { TracingOptions } from '../options.ts'
import { b3, b3multi } from './b3.ts'
import type { Format, RemoteContext, SpanContext, TraceHeaders } from './remote-context.ts'
import { isShortBaggage, isValidState, w3c } from './w3c.ts'

const FORMATS = { w3c, b3, b3multi } as const satisfies Record<string, Format>

/** What came with a request, and what of it may be passed on. */
export interface Incoming {
  readonly remote: RemoteContext | undefined
  /** A decision that came without a trace id, as B3 allows. */
  readonly decision: boolean | undefined
  /** Whether its `tracestate` belongs to the context, and is valid. */
  readonly keepsState: boolean
  readonly keepsBaggage: boolean
}

/** Reads and writes the headers that carry a trace. */
export class Propagator {
  readonly #formats: readonly Format[]
  readonly #own: ReadonlySet<string>

  constructor(names: TracingOptions['propagate']) {
    this.#formats = names.map((name) => FORMATS[name])
    // Headers of other formats are forwarded unchanged.
    this.#own = new Set(this.#formats.flatMap(({ headers }) => headers))
  }

  /** Reads the headers of a request; invalid ones count as none. */
  read(headers: TraceHeaders): Incoming {
    let remote: RemoteContext | undefined
    let decision: boolean | undefined
    for (const format of this.#formats) {
      remote ??= format.read(headers)
      decision ??= format.readDecision?.(headers)
    }
    return {
      remote,
      decision: remote === undefined ? decision : remote.sampled,
      keepsState: remote?.hasState === true && isValidState(headers),
      keepsBaggage: isShortBaggage(headers)
    }
  }

  /** Returns request headers with the context of a span instead of the client's. */
  write(
    headers: readonly string[],
    context: SpanContext,
    { keepsState, keepsBaggage }: Pick<Incoming, 'keepsState' | 'keepsBaggage'>
  ): string[] {
    const written: string[] = []
    for (let i = 0; i < headers.length; i += 2) {
      const name = headers[i] as string
      if (this.#own.has(name)) continue
      if (name === 'tracestate' && !keepsState) continue
      if (name === 'baggage' && !keepsBaggage) continue
      written.push(name, headers[i + 1] as string)
    }
    for (const format of this.#formats) format.write(written, context)
    return written
  }
}
