/** One metric with its values, in the form in which prom-client hands metrics from process to process. */
export interface MetricFamily {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary'
  /** How the values of several workers become one; their sum unless it says otherwise. */
  readonly aggregator?: 'sum' | 'max' | 'min' | 'first'
  readonly values: MetricValue[]
}

/** One value of a metric, and what it is of. */
export interface MetricValue {
  readonly value: number
  readonly labels: Readonly<Record<string, string>>
  /** The name of the series where a metric has several, such as the buckets of a histogram. */
  readonly metricName?: string
}

/** Counts durations into buckets by plain numbers: what a histogram of a library spends on labels is spent at the scrape. */
export class Durations {
  /** The upper bounds of the buckets, in milliseconds, rising. */
  readonly #bounds: readonly number[]
  readonly #counts: Float64Array
  #sum = 0

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = new Float64Array(bounds.length + 1)
  }

  /** Counts one, in milliseconds. */
  count(ms: number): void {
    const bounds = this.#bounds
    let at = 0
    while (at < bounds.length && ms > (bounds[at] as number)) at++
    this.#counts[at] = (this.#counts[at] as number) + 1
    this.#sum += ms
  }

  /** Lists the series of a histogram, in seconds. */
  values(name: string, labels: Readonly<Record<string, string>>): MetricValue[] {
    let sum = 0
    const bucket = (le: string, i: number): MetricValue => {
      sum += this.#counts[i] as number
      return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: sum }
    }
    const bounds = this.#bounds.map((bound, i) => bucket(String(bound / 1000), i))
    return [
      ...bounds,
      bucket('+Inf', bounds.length),
      { metricName: `${name}_sum`, labels, value: this.#sum / 1000 },
      { metricName: `${name}_count`, labels, value: sum }
    ]
  }
}

/** Counts what goes by a few words, such as a gate and a code; how many of them there are is bounded by who names them. */
export class Tally {
  readonly #labels: readonly string[]
  readonly #counts = new Map<string, number>()

  constructor(...labels: readonly string[]) {
    this.#labels = labels
  }

  count(...words: readonly string[]): void {
    const key = words.length === 1 ? (words[0] as string) : words.join('\0')
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
  }

  values(): MetricValue[] {
    return [...this.#counts].map(([key, value]) => {
      const words = key.split('\0')
      return { value, labels: Object.fromEntries(this.#labels.map((label, i) => [label, words[i] ?? ''])) }
    })
  }
}

/** How an upstream fares. */
export interface UpstreamState {
  /** Its name, or the URL of a one-off. */
  readonly name: string
  readonly inFlight: number
  /** The tries so far that were not the first, and those that the budget did not allow. */
  readonly retries: number
  readonly retriesRefused: number
  readonly targets: readonly TargetState[]
}

/** How one target of an upstream fares. */
export interface TargetState {
  /** Host and port, or the path of a socket. */
  readonly name: string
  readonly weight: number
  readonly backup: boolean
  readonly inFlight: number
  /** Whether it is asked now. */
  readonly ready: boolean
  /** What the health checks say. */
  readonly healthy: boolean
  readonly ejected: boolean
  readonly breaker: 'closed' | 'open' | 'half-open'
}
