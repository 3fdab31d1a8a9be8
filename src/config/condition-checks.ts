import { isDeepStrictEqual } from 'node:util'
import { defineWarning } from '../kit/warning.ts'
import { conditionKey } from '../lib/conditions/options.ts'
import { cgiName } from '../lib/http/headers.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { isObject } from '../lib/schema.ts'
import type { Catalog } from './catalog.ts'
import { placesOf } from './conflicts.ts'
import { type Fault, showPlace } from './fault.ts'
import { type Finding, findingAt } from './finding.ts'
import type { PlannedRoute } from './plan-types.ts'

const noDefault = defineWarning(
  'SP_WARN_WHEN_INCOMPLETE',
  'low',
  'Requests at a path that no condition takes'
)

/** The routes of a config, with the modules that their options belong to. */
export interface ConditionalRoutes {
  readonly catalog: Catalog
  readonly routes: readonly PlannedRoute[]
  /** The resolved root options of each installed concern. */
  readonly root: Readonly<Record<string, unknown>>
  readonly ignoreCase: boolean
}

/** Returns the errors in the conditions of routes that no schema can express. */
export function conditionFaults(config: ConditionalRoutes): Fault[] {
  const conditional = config.routes.filter(({ when }) => when.length > 0)
  if (conditional.length === 0) return []
  const reserved = reservedHeaders(config)
  const places = routesByPlace(config)
  return [
    ...conditional.flatMap((route) => reservedFaults(route, reserved)),
    ...unlikePreflights(config.catalog, places)
  ]
}

/** Returns a warning for each place whose requests get a 404 where none of the conditions holds. */
export function conditionWarnings(config: ConditionalRoutes): Finding[] {
  if (config.routes.every(({ when }) => when.length === 0)) return []
  const warned = new Set<PlannedRoute>()
  for (const routes of routesByPlace(config).values()) {
    const [first] = routes
    if (first !== undefined && routes.every(({ when }) => when.length > 0)) warned.add(first)
  }
  return [...warned].map((route) =>
    findingAt(
      noDefault(
        `The route ${route.name} answers 404 where none of the conditions ("when") at its path holds; a route without "when" at the same path would take these requests`
      ),
      route
    )
  )
}

function routesByPlace({ routes, ignoreCase }: ConditionalRoutes): Map<string, PlannedRoute[]> {
  const found = new Map<string, PlannedRoute[]>()
  for (const route of routes)
    for (const place of placesOf(route, ignoreCase))
      getOrCreate(found, place, (): PlannedRoute[] => []).push(route)
  return found
}

/** Returns the headers that the gateway sets itself, by name, each with the concern that does so. */
function reservedHeaders({ catalog, routes, root }: ConditionalRoutes): Map<string, string> {
  const reserved = new Map<string, string>()
  for (const { key, reservedHeaders: namesIn } of catalog.concerns) {
    if (namesIn === undefined) continue
    const all = new Set([root[key], ...routes.map(({ options }) => options[key])].filter(isObject))
    for (const options of all) for (const name of namesIn(options as never)) reserved.set(name, key)
  }
  return reserved
}

const reservedFaults = (route: PlannedRoute, reserved: ReadonlyMap<string, string>): Fault[] =>
  route.when.flat().flatMap((condition) => {
    const by = condition.kind === 'header' ? reserved.get(cgiName(condition.name)) : undefined
    return by === undefined
      ? []
      : [
          {
            ...route.place(),
            path: 'when',
            message: `"${conditionKey(condition)}" can't be a condition: "${by}" sets this header itself, and a client could send it as well; use another header`
          }
        ]
  })

/** Returns an error for each route whose preflights would be answered unlike those of another one at its place. */
function unlikePreflights(catalog: Catalog, places: ReadonlyMap<string, readonly PlannedRoute[]>): Fault[] {
  const keys = catalog.concerns.filter(({ preflights }) => preflights === true).map(({ key }) => key)
  const faults = new Map<PlannedRoute, Fault>()
  for (const [first, ...others] of places.values())
    for (const route of others)
      for (const key of keys)
        if (
          first !== undefined &&
          (first.when.length > 0 || route.when.length > 0) &&
          !isDeepStrictEqual(first.options[key], route.options[key])
        )
          faults.set(route, {
            ...route.place(),
            path: key,
            message: `expected the same "${key}" as the route at ${showPlace(first.place())}: a preflight of a browser can't be told apart by their conditions; set "${key}" on a group around both`
          })
  return [...faults.values()]
}
