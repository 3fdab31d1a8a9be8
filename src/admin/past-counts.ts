import type { MetricFamily, MetricValue } from '../lib/contracts/metrics.ts'

interface PastFamily extends Omit<MetricFamily, 'values'> {
  readonly series: Map<string, MetricValue>
}

/** The counts of workers that have exited, so that no sum over all workers ever decreases. */
export class PastCounts {
  readonly #families = new Map<string, PastFamily>()

  /** Adds the counters and histograms of a worker that has exited; its gauges are dropped. */
  add(families: readonly MetricFamily[]): void {
    for (const { values, ...family } of families) {
      if (family.type !== 'counter' && family.type !== 'histogram') continue
      let past = this.#families.get(family.name)
      if (past === undefined) {
        past = { ...family, series: new Map() }
        this.#families.set(family.name, past)
      }
      for (const sample of values) {
        const key = seriesKey(sample)
        const before = past.series.get(key)?.value ?? 0
        const value = family.aggregator === 'max' ? Math.max(before, sample.value) : before + sample.value
        past.series.set(key, { ...sample, value })
      }
    }
  }

  /** Returns the counts so far. */
  families(): MetricFamily[] {
    return [...this.#families.values()].map(({ series, ...family }) => ({
      ...family,
      values: [...series.values()]
    }))
  }
}

const seriesKey = ({ labels, metricName = '' }: MetricValue): string =>
  JSON.stringify([metricName, ...Object.entries(labels).toSorted(([one], [other]) => (one < other ? -1 : 1))])
