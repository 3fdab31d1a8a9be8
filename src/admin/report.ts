import { describeOptions } from '../config/describe-options.ts'
import { redact } from '../config/redact.ts'
import type { RouteInfo } from '../kit/index.ts'
import { monotonic } from '../lib/clock.ts'
import type { CertificateState } from '../lib/contracts/certificates.ts'
import type { MetricFamily, TargetDrain, UpstreamState } from '../lib/contracts/metrics.ts'
import { storeState } from '../lib/contracts/store.ts'
import type { Engine, Reloaded } from '../process/engine.ts'
import { builtinFamilies, openNodeMetrics } from './builtin-metrics.ts'
import { type AdminQuestion, answerQuestion } from './explain.ts'
import { figuresOf, type ProcessFigures } from './figures.ts'
import { limitsOf } from './limits.ts'

/** The data of the admin listener, from one process or several. */
export interface AdminSource {
  /** Returns the report of each process. */
  reports(): Promise<readonly ProcessReport[]>
  /** Returns the metrics of each process. */
  metrics(): Promise<readonly (readonly MetricFamily[])[]>
  /** Returns the figures of each process, for the dashboard. */
  figures(): Promise<readonly ProcessFigures[]>
  /** Returns the effective config without its secrets. */
  config(): Promise<unknown>
  /** Returns what all processes have in common; undefined where none responds. */
  view(view: AdminView): Promise<unknown>
  /** Purges stored responses of all processes. */
  purge(body: unknown): Promise<Purged>
  /** Drains a target or takes it back into use, in all processes. */
  drainTarget(drain: TargetDrain): Promise<Drained>
  /** Changes the level of the log of all processes, until they end. */
  setLogLevel(level: string): Promise<void>
}

/** What can be read of a gateway beside its config: the history of reloads, the limits, the options of the root or a route with their origins, the explained requests, or the explanation of one. */
export type AdminView =
  | { readonly kind: 'reloads' }
  | { readonly kind: 'limits' }
  | { readonly kind: 'options'; readonly route: string | undefined }
  | { readonly kind: 'explained' }
  | { readonly kind: 'explanation'; readonly id: string }
  | { readonly kind: 'explain'; readonly question: AdminQuestion }

/** The result of a purge: the number of names, what is wrong with the request, or why nothing can be purged. */
export type Purged =
  | { readonly purged: number }
  | { readonly invalid: string }
  | { readonly failed: 'no cache' | 'store' | 'silent' }

/** The result of draining a target: what of its names is unknown, or that no process responds. */
export type Drained = 'done' | 'unknown upstream' | 'unknown target' | 'silent'

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
  /** The requests so far. */
  readonly requests: number
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
    figures: async () => [figuresOf(engine, await snapshotOf(engine, worker))],
    config: async () => engine.redactedConfig(),
    view: async (view) => viewOf(engine, view),
    purge: (body) => purgeResponses(engine, body),
    drainTarget: (drain) => drainTarget(engine, drain),
    setLogLevel: async (level) => {
      engine.logLevel = level
    },
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

function viewOf(engine: Engine, view: AdminView): unknown {
  switch (view.kind) {
    case 'reloads':
      return engine.history()
    case 'limits':
      return limitsOf(engine.plan)
    case 'options':
      return describeOptions(engine.plan, view.route)
    case 'explained':
      return engine.explainer?.list() ?? []
    case 'explanation':
      // Another worker may have it.
      return engine.explainer?.find(view.id)
    case 'explain':
      return answerQuestion(engine.plan, view.question)
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

async function drainTarget({ app }: Engine, drain: TargetDrain): Promise<Drained> {
  const states = app.upstreamStates()
  const at = withoutPasswords(states).findIndex(({ name }) => name === drain.upstream)
  const unknown = await app.drainTarget({ ...drain, upstream: states[at]?.name ?? drain.upstream })
  return unknown === undefined ? 'done' : `unknown ${unknown}`
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
    upstreams: withoutPasswords(app.upstreamStates()),
    certificates: app.tls?.certificates() ?? []
  }
}

/** Masks the users and passwords in the names of upstreams that are URLs; each name stays unique. */
function withoutPasswords(states: readonly UpstreamState[]): UpstreamState[] {
  const known = new Map<string, number>()
  return states.map((state) => {
    const name = redact(state.name)
    const count = (known.get(name) ?? 0) + 1
    known.set(name, count)
    return { ...state, name: count === 1 ? name : `${name} (${count})` }
  })
}

const reportRoute = ({ name, paths, hosts, methods, target, gates }: RouteInfo): ReportedRoute => ({
  name,
  paths,
  hosts,
  methods: methods ?? null,
  target: target ?? null,
  gates
})
