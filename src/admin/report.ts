import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { RouteInfo } from '../kit/index.ts'
import { monotonic } from '../lib/clock.ts'
import type { CertificateState } from '../lib/contracts/certificates.ts'
import type { MetricFamily, UpstreamState } from '../lib/contracts/metrics.ts'
import { storeState } from '../lib/contracts/store.ts'
import type { Engine, Reloaded } from '../process/engine.ts'

/** The data of the admin listener, from one process or several. */
export interface AdminSource {
  /** Returns the report of each process. */
  reports(): Promise<readonly ProcessReport[]>
  /** Returns the metrics of each process. */
  metrics(): Promise<readonly (readonly MetricFamily[])[]>
  /** Returns the effective config without its secrets. */
  config(): Promise<unknown>
  /** Purges stored responses of all processes. */
  purge(body: unknown): Promise<Purged>
}

/** The result of a purge: the number of names, what is wrong with the request, or why nothing can be purged. */
export type Purged =
  | { readonly purged: number }
  | { readonly invalid: string }
  | { readonly failed: 'no cache' | 'store' | 'silent' }

/** The state and the load of one process. */
export interface ProcessState {
  readonly worker: number | undefined
  readonly pid: number
  /** In ISO 8601. */
  readonly startedAt: string
  readonly uptimeSeconds: number
  readonly generation: number
  readonly draining: boolean
  readonly inFlight: number
  readonly connections: number
  readonly webSockets: number
  readonly memoryBytes: number
}

/** The state of one process and of what it connects to. */
export interface ProcessSnapshot {
  readonly process: ProcessState
  readonly store: 'memory' | 'up' | 'away'
  readonly upstreams: readonly UpstreamState[]
  readonly certificates: readonly CertificateState[]
}

/** Everything that one process reports to the admin listener. */
export interface ProcessReport extends ProcessSnapshot {
  readonly routes: readonly ReportedRoute[]
  readonly lastReload: Reloaded | null
}

/** A route with its gates in the order in which they run. */
export interface ReportedRoute {
  readonly name: string
  readonly paths: readonly string[]
  readonly hosts: readonly string[]
  readonly methods: readonly string[] | null
  readonly target: string | null
  readonly gates: readonly string[]
}

/** Makes the admin data source of one process; Node.js is not measured before the first scrape. */
export function adminSourceOf(
  engine: Engine,
  worker?: number
): AdminSource & { report(): Promise<ProcessReport> } {
  let nodeMetrics: (() => Promise<MetricFamily[]>) | undefined
  const report = async (): Promise<ProcessReport> => ({
    ...(await snapshotOf(engine, worker)),
    routes: engine.app.routeInfos.map(reportRoute),
    lastReload: engine.lastReload ?? null
  })
  return {
    report,
    reports: async () => [await report()],
    config: async () => engine.redactedConfig(),
    purge: (body) => purgeResponses(engine, body),
    async metrics() {
      nodeMetrics ??= await openNodeMetrics()
      const builtin = builtinFamilies(engine, await snapshotOf(engine, worker))
      const { metrics, tracing, responseCache, responseFaults } = engine.app
      const own = [metrics, tracing, responseCache, responseFaults].flatMap(
        (source) => source?.families() ?? []
      )
      return [[...own, ...builtin, ...(await nodeMetrics())]]
    }
  }
}

async function purgeResponses({ app }: Engine, body: unknown): Promise<Purged> {
  if (app.responseCache === undefined) return { failed: 'no cache' }
  try {
    return { purged: await app.responseCache.purge(body) }
  } catch (error) {
    return error instanceof TypeError ? { invalid: error.message } : { failed: 'store' }
  }
}

async function snapshotOf(
  { startedAt, startedAtMonotonic, served, app }: Engine,
  worker?: number
): Promise<ProcessSnapshot> {
  return {
    process: {
      worker,
      pid: process.pid,
      startedAt: new Date(startedAt).toISOString(),
      uptimeSeconds: Math.round((monotonic() - startedAtMonotonic) / 1000),
      ...served.load(),
      connections: await served.connections(),
      memoryBytes: process.memoryUsage.rss()
    },
    store: storeState(app.store),
    upstreams: app.upstreamStates(),
    certificates: app.tls?.certificates() ?? []
  }
}

const reportRoute = ({ name, paths, hosts, methods, target, gates }: RouteInfo): ReportedRoute => ({
  name,
  paths,
  hosts,
  methods: methods ?? null,
  target: target ?? null,
  gates
})

/** Lists the metrics that need no counting of requests. */
function builtinFamilies(
  { reloads }: Engine,
  { process: own, store, upstreams, certificates }: ProcessSnapshot
): MetricFamily[] {
  const gauge = (
    name: string,
    help: string,
    values: MetricFamily['values'],
    aggregator: MetricFamily['aggregator'] = 'sum'
  ): MetricFamily => ({ name, help, type: 'gauge', aggregator, values })
  const single = (value: number): MetricFamily['values'] => [{ value, labels: {} }]
  const perTarget = (of: (target: UpstreamState['targets'][number]) => number): MetricFamily['values'] =>
    upstreams.flatMap(({ name, targets }) =>
      targets.map((target) => ({
        value: of(target),
        labels: { upstream: name, target: target.name }
      }))
    )
  const perCertificate = (of: (certificate: CertificateState) => number): MetricFamily['values'] =>
    certificates.map((each) => ({
      value: of(each),
      labels: { names: each.names.join(), from: each.from }
    }))
  const perUpstream = (of: (upstream: UpstreamState) => number): MetricFamily['values'] =>
    upstreams.map((upstream) => ({ value: of(upstream), labels: { upstream: upstream.name } }))
  return [
    gauge('sallyport_workers', 'Processes that serve requests.', single(1)),
    gauge(
      'sallyport_requests_in_flight',
      'Requests without a response, including WebSockets.',
      single(own.inFlight)
    ),
    gauge('sallyport_connections', 'Open connections.', single(own.connections)),
    gauge('sallyport_websockets_open', 'Open WebSockets.', single(own.webSockets)),
    gauge(
      'sallyport_generation',
      'Configs loaded since the start, including the first one.',
      single(own.generation),
      'max'
    ),
    {
      name: 'sallyport_reloads_total',
      help: 'Reloads, by outcome: taken or refused.',
      type: 'counter',
      aggregator: 'max',
      values: Object.entries(reloads).map(([outcome, value]) => ({ value, labels: { outcome } }))
    },
    gauge(
      'sallyport_store_up',
      'Whether the shared store is available; absent without a store.',
      store === 'memory' ? [] : single(store === 'up' ? 1 : 0),
      'min'
    ),
    gauge(
      'sallyport_certificate_expiry_seconds',
      'When a certificate expires, in seconds since 1970; 0 before it is issued.',
      perCertificate(({ ends }) => ends / 1000),
      'min'
    ),
    gauge(
      'sallyport_certificate_trouble',
      'Whether the last issuance or renewal of a certificate failed.',
      perCertificate(({ trouble }) => Number(trouble !== undefined)),
      'max'
    ),
    gauge(
      'sallyport_upstream_target_up',
      'Whether health checks find a target healthy.',
      perTarget(({ healthy }) => Number(healthy)),
      'min'
    ),
    gauge(
      'sallyport_upstream_target_ejected',
      'Whether a target is ejected because too many of its responses failed.',
      perTarget(({ ejected }) => Number(ejected)),
      'max'
    ),
    gauge(
      'sallyport_upstream_breaker_open',
      'State of the circuit breaker of a target: 0 closed, 0.5 half-open, 1 open.',
      perTarget(({ breaker }) => ({ closed: 0, 'half-open': 0.5, open: 1 })[breaker]),
      'max'
    ),
    gauge(
      'sallyport_upstream_requests_in_flight',
      'Requests in flight to a target.',
      perTarget(({ inFlight }) => inFlight)
    ),
    {
      name: 'sallyport_upstream_retries_total',
      help: 'Retries of requests.',
      type: 'counter',
      values: perUpstream(({ retries }) => retries)
    },
    {
      name: 'sallyport_upstream_retries_refused_total',
      help: 'Retries that the retry budget refused.',
      type: 'counter',
      values: perUpstream(({ retriesRefused }) => retriesRefused)
    }
  ]
}

// How often the delay of the event loop is sampled, in ms.
const RESOLUTION_MS = 20

/** Starts measuring the process: the default metrics of prom-client, and the delay of the event loop since the last scrape. */
async function openNodeMetrics(): Promise<() => Promise<MetricFamily[]>> {
  const { collectDefaultMetrics, Registry } = await import('prom-client')
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delay.enable()
  const quantiles = [0.5, 0.9, 0.99]
  return async () => {
    const own: MetricFamily = {
      name: 'sallyport_event_loop_delay_seconds',
      help: 'Delay of the event loop since the last scrape.',
      type: 'gauge',
      aggregator: 'max',
      values: quantiles.map((quantile) => ({
        labels: { quantile: String(quantile) },
        value: Math.max(0, delay.percentile(quantile * 100) / 1e9 - RESOLUTION_MS / 1000)
      }))
    }
    delay.reset()
    return [own, ...((await registry.getMetricsAsJSON()) as unknown as MetricFamily[])]
  }
}
