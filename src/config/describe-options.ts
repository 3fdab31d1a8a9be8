import { isObject } from '../lib/schema.ts'
import { type Path, showPath, showPlace } from './fault.ts'
import { describeOrigin, type Origin, originOf } from './origins.ts'
import type { Plan, PlannedRoute } from './plan-types.ts'
import { maskerOf } from './redact.ts'

/** One resolved option, with where it comes from. */
export interface DescribedOption {
  /** Its path, such as `rateLimit.max`. */
  readonly path: string
  /** Its value as JSON, with secrets masked. */
  readonly value: string
  /** Its place in the config with the `${…}` in it, or "default". */
  readonly from: string
  /** Whether the root, a group or the route itself sets it, or a default. */
  readonly level: 'root' | 'group' | 'route' | 'default'
}

/** The resolved options of the root, or of a route. */
export interface DescribedOptions {
  /** The name of the route; null for the root. */
  readonly route: string | null
  /** The place of the route in the config; null for the root. */
  readonly place: string | null
  readonly options: readonly DescribedOption[]
}

const MAX_VALUE = 500

/** Lists the resolved options of the root, or of the routes with a name; each with where it comes from. */
export function describeOptions(plan: Plan, name: string | undefined): DescribedOptions[] {
  if (name === undefined) return [{ route: null, place: null, options: describeRoot(plan) }]
  return plan.routes.filter((route) => route.name === name).map((route) => describeRoute(plan, route))
}

/** Lists the resolved options of a route's target and concerns. */
export function describeRoute(plan: Plan, route: PlannedRoute): DescribedOptions {
  const lines = linesOf(plan)
  return {
    route: route.name,
    place: showPlace(route.place()),
    options: [
      ...lines(route.target, route.targetOptions, route.targetOrigins),
      ...Object.entries(route.options).flatMap(([key, value]) =>
        // On a route, "global" has no effect: the route has the concern, or it is false.
        lines(key, value, route.origins.get(key) ?? []).filter(({ path }) => path !== `${key}.global`)
      )
    ]
  }
}

/** Lists the resolved options of the root. */
export function describeRoot(plan: Plan): DescribedOption[] {
  const lines = linesOf(plan)
  return Object.entries(plan.options).flatMap(([key, value]) =>
    lines(key, value, plan.origins.get(key) ?? [])
  )
}

function linesOf(plan: Plan): (key: string, value: unknown, origins: readonly Origin[]) => DescribedOption[] {
  const masked = maskerOf(plan)
  return (key, value, origins) =>
    leavesOf(masked(value, [key]), []).map(([path, leaf]) => ({
      path: showPath([key, ...path]),
      value: JSON.stringify(leaf).slice(0, MAX_VALUE),
      from: describeOrigin(origins, path),
      level: originOf(origins, path)?.level ?? 'default'
    }))
}

/** Lists the values in options; lists, and objects without properties, are one value. */
function leavesOf(value: unknown, path: Path): [Path, unknown][] {
  if (!isObject(value) || Object.keys(value).length === 0) return [[path, value ?? null]]
  return Object.entries(value).flatMap(([key, inner]) => leavesOf(inner, [...path, key]))
}
