import { wall } from '../clock.ts'

/** A metric with its values, in the form that prom-client uses between processes. */
export interface MetricFamily {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary'
  /** How the values of several workers are combined; by default their sum. */
  readonly aggregator?: 'sum' | 'max' | 'min' | 'first'
  readonly values: MetricValue[]
}

/** One value of a metric, with its labels. */
export interface MetricValue {
  readonly value: number
  readonly labels: Readonly<Record<string, string>>
  /** The name of the series where a metric has several, such as the buckets of a histogram. */
  readonly metricName?: string
  /** A trace behind the value, in the form of OpenMetrics; times are in seconds. */
  readonly exemplar?: Exemplar
}

/** An observation whose trace was exported. */
export interface Exemplar {
  readonly labelSet: { readonly trace_id: string }
  readonly value: number
  readonly timestamp: number
}

/** The buckets of histograms: those of the metrics, each divided into finer ones for percentiles. */
export class DurationBuckets {
  /** The upper bounds for metrics, in ascending milliseconds. */
  readonly bounds: readonly number[]
  /** The upper bounds of the finer buckets, which include those for metrics. */
  readonly fine: readonly number[]

  constructor(bounds: readonly number[]) {
    const [first = 0] = bounds
    this.bounds = bounds
    this.fine = [
      ...FIRST_DIVISIONS.map((share) => first * share),
      ...bounds.flatMap((bound, i) => (i === 0 ? [bound] : [Math.sqrt(bound * (bounds[i - 1] ?? 0)), bound]))
    ]
  }
}

// The first bucket begins at 0, and fast responses are all in it.
const FIRST_DIVISIONS = [1 / 16, 1 / 8, 1 / 4, 1 / 2]

/** A histogram of durations. Observing costs no work on labels, which are added at the scrape. */
export class DurationHistogram {
  readonly #buckets: DurationBuckets
  readonly #counts: Float64Array
  /** The last exemplar of each finer bucket; absent until there is one. */
  #exemplars: Exemplar[] | undefined
  #sum = 0

  constructor(buckets: DurationBuckets) {
    this.#buckets = buckets
    this.#counts = new Float64Array(buckets.fine.length + 1)
  }

  /** The number of durations in each finer bucket, and of those above the last one. */
  get counts(): Readonly<Float64Array> {
    return this.#counts
  }

  /** Records one duration, in milliseconds, and the trace that it can be looked up by. */
  observe(ms: number, traceId?: string): void {
    const { fine } = this.#buckets
    let at = 0
    while (at < fine.length && ms > (fine[at] as number)) at++
    this.#counts[at] = (this.#counts[at] as number) + 1
    this.#sum += ms
    if (traceId === undefined) return
    this.#exemplars ??= []
    this.#exemplars[at] = { labelSet: { trace_id: traceId }, value: ms / 1000, timestamp: wall() / 1000 }
  }

  /** Lists the series of a histogram, in seconds. */
  values(name: string, labels: Readonly<Record<string, string>>): MetricValue[] {
    const { bounds, fine } = this.#buckets
    let sum = 0
    let next = 0
    const bucket = (le: string, end: number): MetricValue => {
      let exemplar: Exemplar | undefined
      for (; next < end; next++) {
        sum += this.#counts[next] as number
        const other = this.#exemplars?.[next]
        if (other !== undefined && other.timestamp >= (exemplar?.timestamp ?? 0)) exemplar = other
      }
      return {
        metricName: `${name}_bucket`,
        labels: { le, ...labels },
        value: sum,
        ...(exemplar === undefined ? {} : { exemplar })
      }
    }
    return [
      ...bounds.map((bound) => bucket(String(bound / 1000), fine.indexOf(bound) + 1)),
      bucket('+Inf', this.#counts.length),
      { metricName: `${name}_sum`, labels, value: this.#sum / 1000 },
      { metricName: `${name}_count`, labels, value: sum }
    ]
  }
}

/** What one process has counted of requests. */
export interface RequestFigures {
  /** The upper bounds of the buckets of durations, in ascending milliseconds. */
  readonly bounds: readonly number[]
  readonly routes: readonly RouteFigures[]
  /** The durations of the requests to each upstream. */
  readonly upstreams: readonly { readonly name: string; readonly durations: readonly number[] }[]
}

/** What one process has counted of the requests of a route. */
export interface RouteFigures {
  readonly name: string
  /** The number of responses by class of status, from 1xx to 5xx. */
  readonly responses: readonly number[]
  /** The number of requests in each bucket of durations, and above the last one. */
  readonly durations: readonly number[]
  /** What its limits have let pass and refused. */
  readonly limits: readonly { readonly name: string; readonly passed: number; readonly refused: number }[]
  readonly bytesIn: number
  readonly bytesOut: number
}

/** A counter with labels. Pass only label values from a bounded set. */
export class LabeledCounter {
  readonly #labels: readonly string[]
  readonly #counts = new Map<string, number>()

  constructor(...labels: readonly string[]) {
    this.#labels = labels
  }

  count(...labelValues: readonly string[]): void {
    const key = labelValues.length === 1 ? (labelValues[0] as string) : labelValues.join('\0')
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
  }

  values(): MetricValue[] {
    return [...this.#counts].map(([key, value]) => {
      const labelValues = key.split('\0')
      return {
        value,
        labels: Object.fromEntries(this.#labels.map((label, i) => [label, labelValues[i] ?? '']))
      }
    })
  }
}

/** The state of an upstream. */
export interface UpstreamState {
  /** Its name, or the URL that a route has instead of one. */
  readonly name: string
  readonly inFlight: number
  /** The retries so far, and those that the retry budget refused. */
  readonly retries: number
  readonly retriesRefused: number
  readonly targets: readonly TargetState[]
}

/** Whether a target is drained, by the names that `UpstreamState` has. */
export interface TargetDrain {
  readonly upstream: string
  readonly target: string
  readonly drained: boolean
}

/** The state of one target of an upstream. */
export interface TargetState {
  /** Host and port, or the path of a socket. */
  readonly name: string
  readonly weight: number
  readonly backup: boolean
  readonly inFlight: number
  /** Whether it gets requests now. */
  readonly ready: boolean
  /** Whether an operator has drained it. */
  readonly drained: boolean
  /** The result of the health checks. */
  readonly healthy: boolean
  readonly ejected: boolean
  readonly breaker: 'closed' | 'open' | 'half-open'
}
