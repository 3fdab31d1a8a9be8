import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { RouteInfo } from '../kit/index.ts'
import { monotonic } from '../lib/clock.ts'
import type { CertificateState } from '../lib/contracts/certificates.ts'
import type { MetricFamily, UpstreamState } from '../lib/contracts/metrics.ts'
import { storeState } from '../lib/contracts/store.ts'
import type { Engine, Reloaded } from '../process/engine.ts'

/** What is told of a gateway, be it one process or many. */
export interface AdminSource {
  /** Tells of each process. */
  reports(): Promise<readonly ProcessReport[]>
  /** Tells what each process has counted. */
  metrics(): Promise<readonly (readonly MetricFamily[])[]>
  /** Shows the config without its secrets. */
  config(): Promise<unknown>
}

/** What one process has to do, and how it is. */
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

/** What one process knows of what it stands between. */
export interface Surroundings {
  readonly process: ProcessState
  readonly store: 'memory' | 'up' | 'away'
  readonly upstreams: readonly UpstreamState[]
  readonly certificates: readonly CertificateState[]
}

/** What one process tells of itself. */
export interface ProcessReport extends Surroundings {
  readonly routes: readonly ReportedRoute[]
  readonly lastReload: Reloaded | null
}

/** A route as it was built, with its gates in the order in which they run. */
export interface ReportedRoute {
  readonly name: string
  readonly paths: readonly string[]
  readonly hosts: readonly string[]
  readonly methods: readonly string[] | null
  readonly target: string | null
  readonly gates: readonly string[]
}

/** Makes what one process tells of itself; nothing is measured before somebody asks. */
export function adminSourceOf(
  engine: Engine,
  worker?: number
): AdminSource & { report(): Promise<ProcessReport> } {
  let defaults: (() => Promise<MetricFamily[]>) | undefined
  const report = async (): Promise<ProcessReport> => ({
    ...(await surroundingsOf(engine, worker)),
    routes: engine.app.routeInfos.map(routeOf),
    lastReload: engine.lastReload ?? null
  })
  return {
    report,
    reports: async () => [await report()],
    config: async () => engine.shown(),
    async metrics() {
      defaults ??= await openDefaults()
      const known = familiesOf(engine, await surroundingsOf(engine, worker))
      return [[...(engine.app.metrics?.families() ?? []), ...known, ...(await defaults())]]
    }
  }
}

async function surroundingsOf(
  { startedAt, began, served, app }: Engine,
  worker?: number
): Promise<Surroundings> {
  return {
    process: {
      worker,
      pid: process.pid,
      startedAt: new Date(startedAt).toISOString(),
      uptimeSeconds: Math.round((monotonic() - began) / 1000),
      ...served.load(),
      connections: await served.connections(),
      memoryBytes: process.memoryUsage.rss()
    },
    store: storeState(app.store),
    upstreams: app.upstreamStates(),
    certificates: app.tls?.certificates() ?? []
  }
}

const routeOf = ({ name, paths, hosts, methods, target, gates }: RouteInfo): ReportedRoute => ({
  name,
  paths,
  hosts,
  methods: methods ?? null,
  target: target ?? null,
  gates
})

/** Lists what is known without anybody counting requests. */
function familiesOf(
  { reloads }: Engine,
  { process: own, store, upstreams, certificates }: Surroundings
): MetricFamily[] {
  const gauge = (
    name: string,
    help: string,
    values: MetricFamily['values'],
    aggregator: MetricFamily['aggregator'] = 'sum'
  ): MetricFamily => ({ name, help, type: 'gauge', aggregator, values })
  const one = (value: number): MetricFamily['values'] => [{ value, labels: {} }]
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
    gauge('sallyport_workers', 'Processes that serve requests.', one(1)),
    gauge(
      'sallyport_requests_in_flight',
      'Requests without an answer, WebSockets among them.',
      one(own.inFlight)
    ),
    gauge('sallyport_connections', 'Connections that are open.', one(own.connections)),
    gauge('sallyport_websockets_open', 'WebSockets that are open.', one(own.webSockets)),
    gauge(
      'sallyport_generation',
      'How many configs were taken since the start, the first one counted.',
      one(own.generation),
      'max'
    ),
    {
      name: 'sallyport_reloads_total',
      help: 'Reloads, by whether the new config was taken.',
      type: 'counter',
      aggregator: 'max',
      values: Object.entries(reloads).map(([outcome, value]) => ({ value, labels: { outcome } }))
    },
    gauge(
      'sallyport_store_up',
      'Whether the store that instances share answers; absent where there is none.',
      store === 'memory' ? [] : one(store === 'up' ? 1 : 0),
      'min'
    ),
    gauge(
      'sallyport_certificate_expiry_seconds',
      'When a certificate ends, in seconds since 1970; 0 where there is none yet.',
      perCertificate(({ ends }) => ends / 1000),
      'min'
    ),
    gauge(
      'sallyport_certificate_trouble',
      'Whether a certificate could not be had or renewed.',
      perCertificate(({ trouble }) => Number(trouble !== undefined)),
      'max'
    ),
    gauge(
      'sallyport_upstream_target_up',
      'Whether the health checks find a target well.',
      perTarget(({ healthy }) => Number(healthy)),
      'min'
    ),
    gauge(
      'sallyport_upstream_target_ejected',
      'Whether a target is out since too many of its answers failed.',
      perTarget(({ ejected }) => Number(ejected)),
      'max'
    ),
    gauge(
      'sallyport_upstream_breaker_open',
      'Whether the circuit breaker keeps requests from a target: 1 open, 0.5 half-open.',
      perTarget(({ breaker }) => ({ closed: 0, 'half-open': 0.5, open: 1 })[breaker]),
      'max'
    ),
    gauge(
      'sallyport_upstream_requests_in_flight',
      'Requests that a target has now.',
      perTarget(({ inFlight }) => inFlight)
    ),
    {
      name: 'sallyport_upstream_retries_total',
      help: 'Tries that were not the first of their request.',
      type: 'counter',
      values: perUpstream(({ retries }) => retries)
    },
    {
      name: 'sallyport_upstream_retries_refused_total',
      help: 'Tries that the budget did not allow.',
      type: 'counter',
      values: perUpstream(({ retriesRefused }) => retriesRefused)
    }
  ]
}

// How often the event loop is looked at, in milliseconds.
const RESOLUTION = 20

/** Begins to measure the process itself: what prom-client gathers of Node.js, and the delay of the event loop since it was asked last. */
async function openDefaults(): Promise<() => Promise<MetricFamily[]>> {
  const { collectDefaultMetrics, Registry } = await import('prom-client')
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION })
  delay.enable()
  const quantiles = [0.5, 0.9, 0.99]
  return async () => {
    const own: MetricFamily = {
      name: 'sallyport_event_loop_delay_seconds',
      help: 'How late the event loop is, since the last scrape.',
      type: 'gauge',
      aggregator: 'max',
      values: quantiles.map((quantile) => ({
        labels: { quantile: String(quantile) },
        value: Math.max(0, delay.percentile(quantile * 100) / 1e9 - RESOLUTION / 1000)
      }))
    }
    delay.reset()
    return [own, ...((await registry.getMetricsAsJSON()) as unknown as MetricFamily[])]
  }
}
