import type { Lookup } from '../../src/lib/contracts/cache.ts'
import type { MetricFamily } from '../../src/lib/contracts/metrics.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'

/** What became of the requests of a route: `hit`, `fill` (a miss), `follow`, `pass` and `refuse`. */
export type RouteCounts = Record<Lookup['kind'], number>

// The values of the label "result", by the kind of lookup.
const RESULTS: Readonly<Record<Lookup['kind'], string>> = {
  hit: 'hit',
  fill: 'miss',
  follow: 'collapsed',
  pass: 'bypass',
  refuse: 'refused'
}

/** What memory stores hold. */
export interface Held {
  readonly bytes: number
  readonly size: number
}

interface Place {
  readonly labels: Readonly<Record<string, string>>
  readonly counts: RouteCounts
}

/** Counts requests by route or leg, and result. */
export class CacheCounts {
  readonly #places = new Map<string, Place>()

  /** Returns the counts of a route, or of one of its legs, which its cache increments. */
  of(route: string, leg?: string): RouteCounts {
    const labels = leg === undefined ? { route } : { route, leg }
    return getOrCreate(this.#places, JSON.stringify(labels), () => ({
      labels,
      counts: { hit: 0, fill: 0, follow: 0, pass: 0, refuse: 0 }
    })).counts
  }

  /** Lists the metrics; `held` is what is in memory. */
  families({ bytes, size }: Held): MetricFamily[] {
    const gauge = (name: string, help: string, value: number): MetricFamily => ({
      name,
      help,
      type: 'gauge',
      values: [{ value, labels: {} }]
    })
    return [
      {
        name: 'sallyport_cache_requests_total',
        help: 'Requests of routes and legs with a cache, by result: hit, miss, collapsed, bypass or refused.',
        type: 'counter',
        values: [...this.#places.values()].flatMap(({ labels, counts }) =>
          Object.entries(RESULTS).map(([kind, result]) => ({
            value: counts[kind as Lookup['kind']],
            labels: { ...labels, result }
          }))
        )
      },
      gauge('sallyport_cache_bytes', 'Memory that stored responses take, in bytes.', bytes),
      gauge('sallyport_cache_entries', 'Stored responses in memory.', size)
    ]
  }
}
