import { type ShownCertificate, showCertificate } from '../lib/contracts/certificates.ts'
import type { TargetState, UpstreamState } from '../lib/contracts/metrics.ts'
import type { ProcessReport, ProcessState } from './report.ts'

/** The body of /status. */
export interface Status
  extends Pick<ProcessReport, 'routes' | 'upstreams' | 'store' | 'lastReload'>,
    Omit<ProcessState, 'worker' | 'pid' | 'memoryBytes'> {
  readonly version: string
  readonly certificates: readonly ShownCertificate[]
  readonly node: string
  /** The processes that serve requests. */
  readonly workers: readonly ProcessState[]
}

/** Combines the reports of all processes of a gateway; undefined where there is none. */
export function combineReports(reports: readonly ProcessReport[], version: string): Status | undefined {
  const [first] = reports
  if (first === undefined) return undefined
  const workers = reports.map(({ process: own }) => own)
  const sum = (of: (own: ProcessState) => number): number =>
    workers.reduce((total, own) => total + of(own), 0)
  const oldest = workers.reduce((one, other) => (other.startedAt < one.startedAt ? other : one))
  const away = reports.find(({ store }) => store === 'away')
  return {
    version,
    node: process.versions.node,
    startedAt: oldest.startedAt,
    uptimeSeconds: oldest.uptimeSeconds,
    generation: Math.max(...workers.map(({ generation }) => generation)),
    draining: workers.every(({ draining }) => draining),
    inFlight: sum(({ inFlight }) => inFlight),
    connections: sum(({ connections }) => connections),
    webSockets: sum(({ webSockets }) => webSockets),
    requests: sum(({ requests }) => requests),
    store: (away ?? first).store,
    lastReload: lastReloadOf(reports),
    upstreams: combineUpstreams(reports),
    certificates: first.certificates.map(showCertificate),
    routes: first.routes,
    workers
  }
}

/** Returns the latest reload over all processes; a worker that refuses a config is the last to try it. */
function lastReloadOf(reports: readonly ProcessReport[]): ProcessReport['lastReload'] {
  const last = reports.flatMap(({ lastReload }) => lastReload ?? [])
  last.sort((one, other) => other.at.localeCompare(one.at))
  return last[0] ?? null
}

/** Combines the states of the upstreams in all processes. */
export function combineUpstreams(reports: readonly Pick<ProcessReport, 'upstreams'>[]): UpstreamState[] {
  const byName = Map.groupBy(
    reports.flatMap(({ upstreams }) => upstreams),
    ({ name }) => name
  )
  return [...byName.values()].map(combineUpstream)
}

function combineUpstream(each: readonly UpstreamState[]): UpstreamState {
  const [first] = each as [UpstreamState]
  const sum = (of: (state: UpstreamState) => number): number =>
    each.reduce((total, state) => total + of(state), 0)
  const names = [...new Set(each.flatMap(({ targets }) => targets.map(({ name }) => name)))]
  return {
    name: first.name,
    inFlight: sum(({ inFlight }) => inFlight),
    retries: sum(({ retries }) => retries),
    retriesRefused: sum(({ retriesRefused }) => retriesRefused),
    targets: names.map((name) =>
      combineTarget(each.flatMap(({ targets }) => targets.filter((target) => target.name === name)))
    )
  }
}

/** Combines the states of a target: the worst that any process reports. */
function combineTarget(each: readonly TargetState[]): TargetState {
  const [first] = each as [TargetState]
  return {
    ...first,
    inFlight: each.reduce((total, { inFlight }) => total + inFlight, 0),
    ready: each.every(({ ready }) => ready),
    drained: each.some(({ drained }) => drained),
    healthy: each.every(({ healthy }) => healthy),
    ejected: each.some(({ ejected }) => ejected),
    breaker: each.find(({ breaker }) => breaker !== 'closed')?.breaker ?? 'closed'
  }
}
