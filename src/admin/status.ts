import { type ShownCertificate, showCertificate } from '../lib/contracts/certificates.ts'
import type { TargetState, UpstreamState } from '../lib/contracts/metrics.ts'
import type { ProcessReport, ProcessState } from './report.ts'

/** What /status says of a gateway. */
export interface Status
  extends Pick<ProcessReport, 'routes' | 'upstreams' | 'store' | 'lastReload'>,
    Omit<ProcessState, 'worker' | 'pid' | 'memoryBytes'> {
  readonly version: string
  readonly certificates: readonly ShownCertificate[]
  readonly node: string
  /** The processes that serve requests. */
  readonly workers: readonly ProcessState[]
}

/** Adds up what the processes of a gateway tell of themselves; undefined where none of them does. */
export function statusOf(reports: readonly ProcessReport[], version: string): Status | undefined {
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
    store: (away ?? first).store,
    lastReload: lastOf(reports),
    upstreams: first.upstreams.map((upstream) =>
      together(reports.flatMap(({ upstreams }) => upstreams.filter(({ name }) => name === upstream.name)))
    ),
    certificates: first.certificates.map(showCertificate),
    routes: first.routes,
    workers
  }
}

/** Finds the last reload; where one process has refused what others took, that one. */
function lastOf(reports: readonly ProcessReport[]): ProcessReport['lastReload'] {
  const last = reports.flatMap(({ lastReload }) => lastReload ?? [])
  last.sort((one, other) => other.at.localeCompare(one.at))
  return last[0] ?? null
}

function together(each: readonly UpstreamState[]): UpstreamState {
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
      targetTogether(each.flatMap(({ targets }) => targets.filter((target) => target.name === name)))
    )
  }
}

/** Describes a target as the worst that a process knows of it. */
function targetTogether(each: readonly TargetState[]): TargetState {
  const [first] = each as [TargetState]
  return {
    ...first,
    inFlight: each.reduce((total, { inFlight }) => total + inFlight, 0),
    ready: each.every(({ ready }) => ready),
    healthy: each.every(({ healthy }) => healthy),
    ejected: each.some(({ ejected }) => ejected),
    breaker: each.find(({ breaker }) => breaker !== 'closed')?.breaker ?? 'closed'
  }
}
