import { randomUUID } from 'node:crypto'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BatchSpanProcessor, type ReadableSpan } from '@opentelemetry/sdk-trace'
import type { FastifyBaseLogger } from 'fastify'
import { startTimer, stopTimer } from '../../src/lib/clock.ts'
import { Repeated } from '../../src/lib/repeated.ts'
import type { TracingOptions } from './options.ts'
import { type EndedSpan, readableSpan, type SpanOrigin } from './span.ts'
import type { SpanCounts } from './span-counts.ts'

const QUEUE = 2048
const BATCH = 512
const INTERVAL_MS = 5000

// One batch with all its retries; the processor waits a little longer, so that it never sends two at a time.
const EXPORT_TIMEOUT_MS = 5000
const BATCH_TIMEOUT_MS = 10_000

// How long the end of a process or of a config may wait for the receiver.
const FLUSH_TIMEOUT_MS = 2000

// A final flush sends the whole queue at once, beside the batch that is under way.
const MAX_REQUESTS = QUEUE / BATCH + 1

/** Where spans are sent, and under which name. */
export type SpanReceiver = Pick<TracingOptions, 'endpoint' | 'headers' | 'service'>

// ExportResultCode.SUCCESS of @opentelemetry/core.
const SUCCESS = 0

/** Sends spans to an OpenTelemetry receiver in batches. A full queue and a failed batch lose spans, which are counted; nothing waits for it. */
export class SpanExport {
  readonly #counts: SpanCounts
  readonly #processor: BatchSpanProcessor
  readonly #origin: SpanOrigin
  readonly #warnings: Repeated<string>
  #queued = 0
  #sending = 0
  #closed = false

  constructor({ endpoint, headers, service }: SpanReceiver, counts: SpanCounts, log: FastifyBaseLogger) {
    this.#counts = counts
    this.#warnings = new Repeated((_times, cause) =>
      log.warn({ cause, dropped: counts.droppedInTotal }, 'spans dropped')
    )
    this.#origin = {
      resource: resourceFromAttributes({ 'service.name': service, 'service.instance.id': randomUUID() }),
      instrumentationScope: { name: 'sallyport' }
    }
    const exporter = new OTLPTraceExporter({
      url: tracesUrl(endpoint),
      // One spelling, so that a header of the config replaces that of the environment.
      headers: Object.fromEntries(
        Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])
      ),
      timeoutMillis: EXPORT_TIMEOUT_MS,
      concurrencyLimit: MAX_REQUESTS
    })
    this.#processor = new BatchSpanProcessor({
      exporter: {
        export: (spans, done) => {
          this.#queued -= spans.length
          this.#sending += spans.length
          exporter.export(spans, (result) => {
            this.#onSent(spans, result.code === SUCCESS ? undefined : (result.error ?? new Error('unknown')))
            done(result)
          })
        },
        forceFlush: () => exporter.forceFlush(),
        shutdown: () => exporter.shutdown()
      },
      maxQueueSize: QUEUE,
      maxExportBatchSize: BATCH,
      scheduledDelayMillis: INTERVAL_MS,
      exportTimeoutMillis: BATCH_TIMEOUT_MS
    })
  }

  /** Queues a span, or drops it where the queue is full. */
  add(span: EndedSpan): void {
    if (this.#closed || this.#queued >= QUEUE) {
      this.#drop('queue_full', 1)
      return
    }
    this.#queued++
    this.#processor.onEnd(readableSpan(span, this.#origin))
  }

  /** Sends what is queued, for at most 2 s. */
  async close(): Promise<void> {
    this.#closed = true
    await withinTime(this.#processor.shutdown())
    const lost = this.#queued + this.#sending
    if (lost > 0) this.#drop('export_failed', lost)
    this.#warnings.stop()
  }

  #onSent(spans: readonly ReadableSpan[], error: (Error & { code?: string | number }) | undefined): void {
    this.#sending -= spans.length
    if (error === undefined) this.#counts.exported += spans.length
    // A message may contain the address, or what the receiver has said.
    else this.#drop('export_failed', spans.length, String(error.code ?? error.name))
  }

  #drop(reason: 'queue_full' | 'export_failed', spans: number, cause: string = reason): void {
    this.#counts.dropped[reason] += spans
    this.#warnings.note(cause)
  }
}

const tracesUrl = (endpoint: string): string => {
  const url = new URL(endpoint)
  if (!url.pathname.endsWith('/v1/traces')) url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/traces`
  return url.href
}

/** Waits until a promise settles, for at most 2 s. */
function withinTime(done: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const timer = startTimer(resolve, FLUSH_TIMEOUT_MS)
    const settle = (): void => {
      stopTimer(timer)
      resolve()
    }
    done.then(settle, settle)
  })
}
