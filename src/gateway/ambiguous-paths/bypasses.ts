import type { AmbiguousPair } from '../../config/lint.ts'
import { PathError, type PathPattern, readPath } from '../../config/paths.ts'
import type { Plan, PlannedRoute } from '../../config/plan-types.ts'
import type { RouteInfo } from '../../kit/index.ts'
import { getOrCreate } from '../../lib/memoize.ts'
import { isObject } from '../../lib/schema.ts'
import { accessControls, type PlannedRoutes } from './access.ts'
import { samplePath } from './spellings.ts'

/** Returns the route of a path, as the router finds it. */
type RouteOf = (path: string, host: string, method: string) => RouteInfo | undefined

/** One path of a route, and what its upstream gets for it. */
interface Forwarding {
  readonly planned: PlannedRoute
  readonly info: RouteInfo
  readonly own: PathPattern
  readonly sent: PathPattern
  /** The gates that are enforced, by key. */
  readonly gates: readonly string[]
}

/** Returns the routes whose rewrite leads to what another route of the same upstream protects by a gate that they don't have, each with a URL. */
export function findBypasses(plan: Plan, routes: PlannedRoutes, routeOf: RouteOf): AmbiguousPair[] {
  const found = new Map<RouteInfo, AmbiguousPair>()
  for (const forwardings of byUpstream(plan, routes).values()) {
    const wide = byPrefix(forwardings)
    for (const other of forwardings) {
      const sample = other.gates.length === 0 ? undefined : samplePath(other.sent)
      if (sample === undefined) continue
      for (const prefix of prefixesOf(sample))
        for (const one of wide.get(prefix) ?? []) {
          const pair = found.has(one.info) ? undefined : bypass(one, other, { prefix, sample, routeOf })
          if (pair !== undefined) found.set(one.info, pair)
        }
    }
  }
  return [...found.values()]
}

/** Returns the forwardings of whole folders, by the path of the folder at the upstream. */
function byPrefix(forwardings: readonly Forwarding[]): ReadonlyMap<string, readonly Forwarding[]> {
  const found = new Map<string, Forwarding[]>()
  for (const each of forwardings)
    if (each.own.wildcard && each.sent.wildcard && each.sent.params.size === 0)
      getOrCreate(found, each.sent.text.slice(0, -2), (): Forwarding[] => []).push(each)
  return found
}

/** Returns the folders that a path is in, such as "" and "/a" for "/a/b". */
const prefixesOf = (path: string): string[] =>
  [...path.matchAll(/\//g)].map(({ index }) => path.slice(0, index))

/** What a protected route gets, and which folder of the upstream it is in. */
interface Reached {
  readonly prefix: string
  readonly sample: string
  readonly routeOf: RouteOf
}

/** Returns the pair of a route whose rewrite leads to a protected path; undefined where it does not. */
function bypass(
  one: Forwarding,
  other: Forwarding,
  { prefix, sample, routeOf }: Reached
): AmbiguousPair | undefined {
  const gates = other.gates.filter((gate) => !one.gates.includes(gate))
  const isRewritten = one.own.text !== one.sent.text || other.own.text !== other.sent.text
  if (gates.length === 0 || !isRewritten) return undefined
  const start = samplePath({ segments: one.own.segments, end: 'exact' })
  if (start === undefined) return undefined
  const path = (start === '/' ? '' : start) + sample.slice(prefix.length)
  const host = (one.info.hosts[0] ?? '').replace('*', 'any')
  const method = other.info.methods?.[0] ?? 'GET'
  return routeOf(path, host, method) === one.info
    ? { route: one.info, other: other.info, gates, method, url: host + path, sent: sample }
    : undefined
}

/** Returns what each upstream gets, by its name or URL. */
function byUpstream(plan: Plan, routes: PlannedRoutes): ReadonlyMap<string, readonly Forwarding[]> {
  const { targets, concerns } = plan.catalog
  const controls = accessControls(plan)
    // A limit is no protection of its own.
    .filter((key) => concerns.find((each) => each.key === key)?.counts !== true)
  const gatesOf = new Map<PlannedRoute['options'], readonly string[]>()
  const found = new Map<string, Forwarding[]>()
  for (const [planned, info] of routes) {
    const { targetOptions, inherited, options } = planned
    const target = targets.find(({ key }) => key === planned.target)
    const gates = getOrCreate(gatesOf, options, () =>
      controls.filter((key) => isObject(options[key]) && options[key]['mode'] !== 'report')
    )
    for (const own of planned.paths) {
      const text = target?.upstreamPath?.(targetOptions as never, own.text, inherited)
      const sent = text === undefined ? undefined : text === own.text ? own : patternOf(text)
      if (sent === undefined) continue
      for (const name of target?.upstreams?.(targetOptions as never) ?? [])
        getOrCreate(found, name, (): Forwarding[] => []).push({ planned, info, own, sent, gates })
    }
  }
  return found
}

function patternOf(text: string): PathPattern | undefined {
  try {
    return readPath(text)
  } catch (error) {
    if (error instanceof PathError) return undefined
    throw error
  }
}
