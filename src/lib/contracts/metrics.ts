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

/** A histogram of durations. Observing costs no work on labels, which are added at the scrape. */
export class DurationHistogram {
  /** The upper bounds of the buckets, in ascending milliseconds. */
  readonly #bounds: readonly number[]
  readonly #counts: Float64Array
  /** The last exemplar of each bucket; absent until there is one. */
  #exemplars: Exemplar[] | undefined
  #sum = 0

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = new Float64Array(bounds.length + 1)
  }

  /** Records one duration, in milliseconds, and the trace that it can be looked up by. */
  observe(ms: number, traceId?: string): void {
    const bounds = this.#bounds
    let at = 0
    while (at < bounds.length && ms > (bounds[at] as number)) at++
    this.#counts[at] = (this.#counts[at] as number) + 1
    this.#sum += ms
    if (traceId === undefined) return
    this.#exemplars ??= []
    this.#exemplars[at] = { labelSet: { trace_id: traceId }, value: ms / 1000, timestamp: wall() / 1000 }
  }

  /** Lists the series of a histogram, in seconds. */
  values(name: string, labels: Readonly<Record<string, string>>): MetricValue[] {
    let sum = 0
    const bucket = (le: string, i: number): MetricValue => {
      sum += this.#counts[i] as number
      const exemplar = this.#exemplars?.[i]
      return {
        metricName: `${name}_bucket`,
        labels: { le, ...labels },
        value: sum,
        ...(exemplar === undefined ? {} : { exemplar })
      }
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

/** The state of one target of an upstream. */
export interface TargetState {
  /** Host and port, or the path of a socket. */
  readonly name: string
  readonly weight: number
  readonly backup: boolean
  readonly inFlight: number
  /** Whether it gets requests now. */
  readonly ready: boolean
  /** The result of the health checks. */
  readonly healthy: boolean
  readonly ejected: boolean
  readonly breaker: 'closed' | 'open' | 'half-open'
}
