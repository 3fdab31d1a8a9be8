import type { MetricFamily, MetricValue } from '../lib/contracts/metrics.ts'

interface Past extends Omit<MetricFamily, 'values'> {
  readonly series: Map<string, MetricValue>
}

/** What workers have counted that are gone, so that no sum over all workers ever falls. */
export class PastCounts {
  readonly #families = new Map<string, Past>()

  /** Adds the counters and histograms of a worker that is gone; its gauges end with it. */
  add(families: readonly MetricFamily[]): void {
    for (const { values, ...family } of families) {
      if (family.type !== 'counter' && family.type !== 'histogram') continue
      let past = this.#families.get(family.name)
      if (past === undefined) {
        past = { ...family, series: new Map() }
        this.#families.set(family.name, past)
      }
      for (const one of values) {
        const key = keyOf(one)
        const before = past.series.get(key)?.value ?? 0
        const value = family.aggregator === 'max' ? Math.max(before, one.value) : before + one.value
        past.series.set(key, { ...one, value })
      }
    }
  }

  /** Lists the counts so far. */
  families(): MetricFamily[] {
    return [...this.#families.values()].map(({ series, ...family }) => ({
      ...family,
      values: [...series.values()]
    }))
  }
}

const keyOf = ({ labels, metricName = '' }: MetricValue): string =>
  JSON.stringify([metricName, ...Object.entries(labels).toSorted(([one], [other]) => (one < other ? -1 : 1))])
