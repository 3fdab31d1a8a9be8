import { METHODS } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { RouteInfo } from '../../src/kit/index.ts'
import {
  DurationBuckets,
  DurationHistogram,
  LabeledCounter,
  type MetricFamily,
  type RequestFigures,
  type RouteFigures
} from '../../src/lib/contracts/metrics.ts'
import { concernOfCode, elapsed, ownBytesOf, statusOf } from '../../src/lib/http/response-end.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'

// Over HTTP/2 a client may send any method; unknown ones share a label.
const KNOWN_METHODS: ReadonlySet<string> = new Set(METHODS)

const STATUS_CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const

/** The counts of one route. */
export interface RouteCounts {
  readonly name: string
  /** Responses by method, and in it by status class. */
  readonly responses: Map<string, Float64Array>
  readonly durations: DurationHistogram
  /** What its limits have let pass and refused, by the name of the limit. */
  readonly limits: Map<string, { passed: number; refused: number }>
  bytesIn: number
  bytesOut: number
  /** What `figures` returned last. */
  figures: RouteFigures | undefined
}

/** Records the metrics of one process, across reloads. */
export class Recorder {
  readonly #buckets: DurationBuckets
  readonly #routes = new Map<string, RouteCounts>()
  readonly #upstreams = new Map<string, DurationHistogram>()
  readonly #refusals = new LabeledCounter('gate', 'code')
  readonly #wouldRefuse = new LabeledCounter('gate', 'code')
  readonly #callers = new LabeledCounter('way', 'outcome')
  readonly #credentials = new LabeledCounter('reason')
  readonly #limits = new LabeledCounter('limit', 'outcome')
  readonly #gates = new Map<string, { seconds: number; count: number }>()

  constructor(bounds: readonly number[]) {
    this.#buckets = new DurationBuckets(bounds)
  }

  /** Adds a route. */
  add(name: string): RouteCounts {
    const counts = {
      name,
      responses: new Map<string, Float64Array>(),
      durations: new DurationHistogram(this.#buckets),
      limits: new Map<string, { passed: number; refused: number }>(),
      bytesIn: 0,
      bytesOut: 0,
      figures: undefined
    }
    this.#routes.set(name, counts)
    return counts
  }

  /** Removes a route that no config has any more. */
  remove(name: string): void {
    this.#routes.delete(name)
  }

  /** Records a response that is finished or aborted. */
  count(counts: RouteCounts, request: FastifyRequest, reply: FastifyReply, { gates }: RouteInfo): void {
    const status = statusOf(reply)
    const method = KNOWN_METHODS.has(request.method) ? request.method : 'other'
    let responses = counts.responses.get(method)
    if (responses === undefined) {
      responses = new Float64Array(STATUS_CLASSES.length)
      counts.responses.set(method, responses)
    }
    const index = Math.min(4, Math.max(0, Math.floor(status / 100) - 1))
    responses[index] = (responses[index] as number) + 1
    // The duration of an upgraded connection says nothing about latency.
    const traceId = request.traceContext?.sampled === true ? request.traceContext.traceId : undefined
    if (status !== 101) counts.durations.observe(elapsed(request), traceId)
    const { forwarding, refusal, reported, caller, rateLimits, wrongCredential } = request
    if (forwarding === null) {
      counts.bytesIn += Number(request.headers['content-length']) || 0
      counts.bytesOut += ownBytesOf(request, reply)
    } else {
      counts.bytesIn += forwarding.bytesIn
      counts.bytesOut += forwarding.bytesOut
      if (forwarding.ms >= 0) this.#upstream(forwarding.upstream).observe(forwarding.ms, traceId)
    }
    if (refusal !== null) this.#refusals.count(concernOfCode(refusal.code, gates) ?? 'none', refusal.code)
    if (reported !== null) for (const { gate, code = '' } of reported) this.#wouldRefuse.count(gate, code)
    if (caller !== null) this.#callers.count(caller.by, refusal?.statusCode === 403 ? 'refused' : 'passed')
    else if (refusal !== null && concernOfCode(refusal.code, gates) === 'auth')
      this.#callers.count('none', 'refused')
    if (wrongCredential) this.#credentials.count(wrongCredential)
    if (rateLimits !== null && rateLimits !== undefined)
      for (const { name, state } of rateLimits) {
        const outcome = state.allowed ? 'passed' : 'refused'
        this.#limits.count(name, outcome)
        getOrCreate(counts.limits, name, () => ({ passed: 0, refused: 0 }))[outcome]++
      }
  }

  /** Adds the duration of a gate for a sampled request, in milliseconds. */
  cost(gate: string, ms: number): void {
    const spent = this.#gates.get(gate)
    if (spent === undefined) this.#gates.set(gate, { seconds: ms / 1000, count: 1 })
    else {
      spent.seconds += ms / 1000
      spent.count++
    }
  }

  /** Returns the counts so far, without labels and texts: a dashboard reads them every few seconds. */
  figures(): RequestFigures {
    return {
      bounds: this.#buckets.fine,
      routes: [...this.#routes.values()].filter(({ responses }) => responses.size > 0).map(routeFigures),
      upstreams: [...this.#upstreams].map(([name, { counts }]) => ({ name, durations: [...counts] }))
    }
  }

  /** Returns the metric families for a scrape. */
  families(): MetricFamily[] {
    const routes = [...this.#routes.values()].filter(({ responses }) => responses.size > 0)
    const bytes = (which: 'bytesIn' | 'bytesOut'): MetricFamily['values'] =>
      routes.map((counts) => ({ labels: { route: counts.name }, value: counts[which] }))
    return [
      {
        name: 'sallyport_requests_total',
        help: 'Answers by route, method and class of status.',
        type: 'counter',
        values: routes.flatMap(({ name, responses }) =>
          [...responses].flatMap(([method, classes]) =>
            STATUS_CLASSES.flatMap((status, i) =>
              classes[i] === 0
                ? []
                : [{ labels: { route: name, method, status }, value: classes[i] as number }]
            )
          )
        )
      },
      {
        name: 'sallyport_request_duration_seconds',
        help: 'Time from a request to the end of its answer; connections that switched protocols are not in it.',
        type: 'histogram',
        values: routes.flatMap(({ name, durations }) =>
          durations.values('sallyport_request_duration_seconds', { route: name })
        )
      },
      {
        name: 'sallyport_request_bytes_total',
        help: 'Bytes of the bodies of requests.',
        type: 'counter',
        values: bytes('bytesIn')
      },
      {
        name: 'sallyport_response_bytes_total',
        help: 'Bytes of the bodies of responses.',
        type: 'counter',
        values: bytes('bytesOut')
      },
      {
        name: 'sallyport_upstream_duration_seconds',
        help: 'Time from the first try of a request to the head of its answer.',
        type: 'histogram',
        values: [...this.#upstreams].flatMap(([upstream, durations]) =>
          durations.values('sallyport_upstream_duration_seconds', { upstream })
        )
      },
      {
        name: 'sallyport_refusals_total',
        help: 'Requests that were refused or failed, by gate and code.',
        type: 'counter',
        values: this.#refusals.values()
      },
      {
        name: 'sallyport_would_refuse_total',
        help: 'Requests that a gate in report mode would have refused.',
        type: 'counter',
        values: this.#wouldRefuse.values()
      },
      {
        name: 'sallyport_auth_total',
        help: 'Requests by authentication strategy, and whether they were accepted; "none" for those without a caller.',
        type: 'counter',
        values: this.#callers.values()
      },
      {
        name: 'sallyport_token_refusals_total',
        help: 'JSON Web Tokens that were refused, by reason.',
        type: 'counter',
        values: this.#credentials.values()
      },
      {
        name: 'sallyport_rate_limit_total',
        help: 'Requests that a limit has counted, and whether it let them pass.',
        type: 'counter',
        values: this.#limits.values()
      },
      {
        name: 'sallyport_gate_duration_seconds',
        help: 'Time that gates take, measured at one request of 64.',
        type: 'summary',
        values: [...this.#gates].flatMap(([gate, { seconds, count }]) => [
          { metricName: 'sallyport_gate_duration_seconds_sum', labels: { gate }, value: seconds },
          { metricName: 'sallyport_gate_duration_seconds_count', labels: { gate }, value: count }
        ])
      }
    ]
  }

  #upstream(name: string): DurationHistogram {
    let durations = this.#upstreams.get(name)
    if (durations === undefined) {
      durations = new DurationHistogram(this.#buckets)
      this.#upstreams.set(name, durations)
    }
    return durations
  }
}

/** Returns the figures of a route; the same object as before where no response was counted since. */
function routeFigures(counts: RouteCounts): RouteFigures {
  const { name, durations, limits, bytesIn, bytesOut } = counts
  const responses = STATUS_CLASSES.map(() => 0)
  for (const classes of counts.responses.values())
    for (let i = 0; i < classes.length; i++) responses[i] = (responses[i] ?? 0) + (classes[i] ?? 0)
  if (counts.figures?.responses.every((value, i) => value === responses[i]) === true) return counts.figures
  counts.figures = {
    name,
    responses,
    durations: [...durations.counts],
    limits: [...limits].map(([limit, counted]) => ({ name: limit, ...counted })),
    bytesIn,
    bytesOut
  }
  return counts.figures
}
