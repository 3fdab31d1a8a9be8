import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { CertificateState } from '../lib/contracts/certificates.ts'
import type { MetricFamily, UpstreamState } from '../lib/contracts/metrics.ts'
import type { Engine } from '../process/engine.ts'
import type { ProcessSnapshot } from './report.ts'

/** Lists the metrics that need no counting of requests. */
export function builtinFamilies(
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
      'sallyport_upstream_target_drained',
      'Whether an operator has drained a target.',
      perTarget(({ drained }) => Number(drained)),
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
export async function openNodeMetrics(): Promise<() => Promise<MetricFamily[]>> {
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
