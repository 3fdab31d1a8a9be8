import { showPlace } from '../config/fault.ts'
import { lastPlace } from '../config/origins.ts'
import type { Plan, PlannedRoute } from '../config/plan-types.ts'
import { redact } from '../config/redact.ts'
import type { RequestFigures, UpstreamState } from '../lib/contracts/metrics.ts'
import { getOrCreate } from '../lib/memoize.ts'
import type { RecentRefusal } from '../lib/recent-refusals.ts'
import type { Engine } from '../process/engine.ts'
import type { ProcessSnapshot, ProcessState } from './report.ts'

/** What the dashboard shows of one process: counts so far, and states. */
export interface ProcessFigures {
  readonly process: ProcessState
  readonly store: ProcessSnapshot['store']
  readonly logLevel: string
  readonly reloads: Readonly<Record<'taken' | 'refused', number>>
  /** The counts of requests; null without `metrics`. */
  readonly requests: RequestFigures | null
  /** The number of requests that the gateway itself refused, with a status below 500 and with another one. */
  readonly refused: { readonly client: number; readonly server: number }
  readonly refusals: readonly ShownRefusal[]
  readonly upstreams: readonly UpstreamState[]
  readonly caches: readonly CacheFigures[]
  /** The stored responses in memory. */
  readonly cacheMemory: { readonly bytes: number; readonly entries: number } | null
}

/** A kind of refusal at one route, with where the option that refuses is configured. */
export type ShownRefusal = Omit<RecentRefusal, 'routeId'> & { readonly from: string | null }

/** The requests of a route with a cache, by result: hit, miss, collapsed, bypass or refused. */
export interface CacheFigures {
  readonly name: string
  readonly results: Readonly<Record<string, number>>
}

/** Returns the figures of this process. */
export function figuresOf(
  { app, plan, reloads, logLevel }: Engine,
  snapshot: ProcessSnapshot
): ProcessFigures {
  const { process: own, store, upstreams } = snapshot
  const families = new Map(app.responseCache?.families().map(({ name, values }) => [name, values]) ?? [])
  const single = (name: string): number => families.get(name)?.[0]?.value ?? 0
  const byRoute = Object.groupBy(
    families.get('sallyport_cache_requests_total') ?? [],
    ({ labels }) => labels['route'] ?? ''
  )
  return {
    process: own,
    store,
    logLevel,
    reloads: { ...reloads },
    requests: app.metrics?.figures() ?? null,
    refused: { ...app.recentRefusals.counts },
    refusals: app.recentRefusals.list().map((refusal) => showRefusal(plan, refusal)),
    upstreams,
    caches: Object.entries(byRoute).map(([name, values = []]) => ({
      name,
      results: Object.fromEntries(values.map(({ labels, value }) => [labels['result'] ?? '', value]))
    })),
    cacheMemory:
      app.responseCache === undefined
        ? null
        : { bytes: single('sallyport_cache_bytes'), entries: single('sallyport_cache_entries') }
  }
}

function showRefusal(plan: Plan, { routeId, ...refusal }: RecentRefusal): ShownRefusal {
  const places = getOrCreate(knownPlaces, plan, () => new Map<string, string | null>())
  const key = `${refusal.gate} ${routeId}`
  let from = places.get(key)
  if (from === undefined) {
    from = placeOf(plan, refusal.gate, routeId)
    places.set(key, from)
  }
  return { ...refusal, reason: redact(refusal.reason), url: redact(refusal.url), from }
}

// Finding a place parses the text of the config file.
const knownPlaces = new WeakMap<Plan, Map<string, string | null>>()

/** Returns where the option of a gate is configured for a route; the place of the route itself where no option is. */
function placeOf(plan: Plan, gate: string, routeId: string): string | null {
  const route = plan.routes.find(({ id }) => id === routeId)
  return (
    lastPlace(route?.origins.get(gate)) ??
    lastPlace(isOfTarget(route, gate) ? route?.targetOrigins : undefined) ??
    lastPlace(plan.origins.get(gate)) ??
    (route === undefined ? null : showPlace(route.place()))
  )
}

const isOfTarget = (route: PlannedRoute | undefined, gate: string): boolean =>
  gate === 'upstream' || gate === route?.target
