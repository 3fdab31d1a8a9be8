import { guardsAccess, originsOf } from '../../config/facets.ts'
import type { PathPattern } from '../../config/paths.ts'
import type { Plan, PlannedRoute } from '../../config/plan-types.ts'
import type { RouteInfo } from '../../kit/index.ts'
import { getOrCreate } from '../../lib/memoize.ts'
import { foldSegment } from '../../lib/path-readings.ts'
import { isObject } from '../../lib/schema.ts'

/** What decides whether a request to one route bypasses the gates of another; equal routes share one object. */
export interface RouteAccess {
  /** The origins that its requests are sent to. */
  readonly origins: readonly string[]
  readonly hosts: readonly string[]
  /** The gates that are enforced, by key, each with a text that stands for its options. */
  readonly gates: ReadonlyMap<string, string>
  /** Whether some servers compare a literal of its paths in another form. */
  readonly folded: boolean
}

interface EnforcedGates extends Pick<RouteAccess, 'gates'> {
  readonly text: string
}

export type PlannedRoutes = readonly (readonly [PlannedRoute, RouteInfo])[]

/** Returns the keys of the concerns that control access to routes. */
export const accessControls = ({ catalog }: Plan): string[] =>
  catalog.concerns
    .filter((concern) => concern.override !== false && guardsAccess(concern))
    .map(({ key }) => key)

/** Returns the access of each route that sends requests to an upstream; routes whose upstreams compare paths byte by byte have none. */
export function accessOf(
  plan: Plan,
  routes: PlannedRoutes,
  ignoreCase: boolean
): Map<RouteInfo, RouteAccess> {
  const accesses = new Map<RouteInfo, RouteAccess>()
  const known = new Map<string, RouteAccess>()
  const { catalog } = plan
  const guards = accessControls(plan)
  const textOf = optionTexts()
  // Most routes share their options.
  const gatesOf = new Map<PlannedRoute['options'], EnforcedGates>()
  const enforced = (all: PlannedRoute['options']): EnforcedGates => {
    const gates = new Map<string, string>()
    for (const key of guards) {
      const options = all[key]
      // A gate in report mode refuses no request.
      if (isObject(options) && options['mode'] !== 'report') gates.set(key, textOf(options))
    }
    return { gates, text: JSON.stringify([...gates]) }
  }
  const originsFor = new Map<unknown, readonly string[]>()
  const sentTo = ({ target, targetOptions }: PlannedRoute): readonly string[] => {
    const names = catalog.targets.find(({ key }) => key === target)?.upstreams?.(targetOptions as never) ?? []
    return [...new Set(names.flatMap((name) => originsOf(plan, name)))].toSorted()
  }
  for (const [planned, info] of routes) {
    const origins = getOrCreate(originsFor, planned.targetOptions, () => sentTo(planned))
    if (origins.length === 0) continue
    const { gates, text: gatesText } = getOrCreate(gatesOf, planned.options, () => enforced(planned.options))
    const folded = planned.paths.some((path) =>
      literalsOf(path, ignoreCase).some((literal) => foldSegment(literal) !== literal)
    )
    const text = JSON.stringify([origins, info.hosts, gatesText, folded])
    let access = known.get(text)
    if (access === undefined) {
      access = { origins, hosts: info.hosts, gates, folded }
      known.set(text, access)
    }
    accesses.set(info, access)
  }
  return accesses
}

/** Makes a function that returns the same text for equal options; each options object is serialized once. */
function optionTexts(): (options: object) => string {
  const written = new WeakMap<object, string>()
  const short = new Map<string, string>()
  const functions = new Map<unknown, number>()
  const plain = (key: string, value: unknown): unknown => {
    if (key === 'global') return undefined
    if (typeof value === 'function') {
      if (!functions.has(value)) functions.set(value, functions.size)
      return `function ${functions.get(value)}`
    }
    return isObject(value)
      ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : value
  }
  return (options) => {
    const known = written.get(options)
    if (known !== undefined) return known
    const made = JSON.stringify(options, plain)
    const name = getOrCreate(short, made, () => String(short.size))
    written.set(options, name)
    return name
  }
}

/** Returns the gates of `other` that a request to `own` bypasses, where the two share an upstream and a host. */
export function bypassedGates(own: RouteAccess, other: RouteAccess): readonly string[] {
  if (own === other || !own.origins.some((origin) => other.origins.includes(origin))) return []
  if (!shareHost(own.hosts, other.hosts)) return []
  return [...other.gates].filter(([key, options]) => own.gates.get(key) !== options).map(([key]) => key)
}

const shareHost = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === 0 ||
  b.length === 0 ||
  a.some((one) => b.some((other) => one === other || hostIsWithin(one, other) || hostIsWithin(other, one)))

const hostIsWithin = (host: string, wildcard: string): boolean =>
  wildcard.startsWith('*.') && host.slice(host.indexOf('.')) === wildcard.slice(1)

/** Returns the literal segments of a pattern, in the form in which the gateway compares them. */
export const literalsOf = ({ segments }: PathPattern, ignoreCase: boolean): string[] =>
  segments.flatMap((segment) =>
    'parameter' in segment ? [] : ignoreCase ? segment.literal.toLowerCase() : segment.literal
  )
