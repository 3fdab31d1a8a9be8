import { type ShownCertificate, showCertificate, type TargetState, type UpstreamState } from './kit/index.ts'
import type { Report } from './report.ts'

// What is the same in every process is told once.
type Own = Omit<Report, 'routes' | 'upstreams' | 'certificates' | 'store' | 'lastReload'>

/** What /status says of a gateway. */
export interface Status extends Pick<Report, 'routes' | 'upstreams' | 'store' | 'lastReload'> {
  readonly version: string
  readonly certificates: readonly ShownCertificate[]
  readonly node: string
  /** In ISO 8601. */
  readonly startedAt: string
  readonly uptimeSeconds: number
  readonly generation: number
  readonly draining: boolean
  readonly inFlight: number
  readonly connections: number
  readonly webSockets: number
  /** The processes that serve requests. */
  readonly workers: readonly Own[]
}

/** Adds up what the processes of a gateway tell of themselves; undefined where none of them does. */
export function statusOf(reports: readonly Report[], version: string): Status | undefined {
  const [first] = reports
  if (first === undefined) return undefined
  const sum = (of: (report: Report) => number): number =>
    reports.reduce((total, report) => total + of(report), 0)
  const oldest = reports.reduce((one, other) => (other.startedAt < one.startedAt ? other : one))
  const away = reports.find(({ store }) => store === 'away')
  return {
    version,
    node: process.versions.node,
    startedAt: oldest.startedAt,
    uptimeSeconds: oldest.uptimeSeconds,
    generation: Math.max(...reports.map(({ generation }) => generation)),
    draining: reports.every(({ draining }) => draining),
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
    workers: reports.map(ownOf)
  }
}

const ownOf = ({
  worker,
  pid,
  startedAt,
  uptimeSeconds,
  generation,
  draining,
  inFlight,
  connections,
  webSockets,
  memoryBytes
}: Report): Own => ({
  worker,
  pid,
  startedAt,
  uptimeSeconds,
  generation,
  draining,
  inFlight,
  connections,
  webSockets,
  memoryBytes
})

/** Finds the last reload; where one process has refused what others took, that one. */
function lastOf(reports: readonly Report[]): Report['lastReload'] {
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
