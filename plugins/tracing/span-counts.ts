import type { MetricFamily } from '../../src/lib/contracts/metrics.ts'

/** Counts the spans of a process, across reloads. */
export class SpanCounts {
  exported = 0
  readonly dropped = { queue_full: 0, export_failed: 0 }

  /** All that were dropped since the process began. */
  get droppedInTotal(): number {
    return this.dropped.queue_full + this.dropped.export_failed
  }

  /** Returns the metric families for a scrape. */
  families(): MetricFamily[] {
    return [
      {
        name: 'sallyport_spans_exported_total',
        help: 'Spans that the receiver has accepted.',
        type: 'counter',
        values: [{ labels: {}, value: this.exported }]
      },
      {
        name: 'sallyport_spans_dropped_total',
        help: 'Spans that were lost, because the queue was full or the receiver did not accept them.',
        type: 'counter',
        values: Object.entries(this.dropped).map(([reason, value]) => ({ labels: { reason }, value }))
      }
    ]
  }
}
