import { answersPreflights, usesSession } from '../config/facets.ts'
import { pathsSetting } from '../config/origins.ts'
import type { Plan, PlannedRoute } from '../config/plan-types.ts'
import type { BuiltinRoute } from '../kit/builtin.ts'
import { newRoute, type RouteInfo } from '../kit/route-info.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { forEachSliced } from '../lib/time-slicing.ts'
import { type Entry, entryForPath } from './route-table/index.ts'

/** The routes of a gateway as its table has them. */
export interface TableRoutes {
  /** Those of the config. */
  readonly configured: readonly (readonly [PlannedRoute, RouteInfo])[]
  readonly builtin: readonly (readonly [BuiltinRoute, RouteInfo])[]
  /** The handler of unmatched requests. */
  readonly notFound: RouteInfo
  /** Makes the entries of the table. */
  entries(): readonly Entry[]
}

/** Describes the configured and the built-in routes of a plan, for the route table. */
export async function planRoutes(plan: Plan): Promise<TableRoutes> {
  const configured: (readonly [PlannedRoute, RouteInfo])[] = []
  await forEachSliced(plan.routes, (route) => configured.push([route, infoFor(plan, route)]))
  const builtin = builtinRoutesOf(plan)
  const notFound = newRoute({ kind: 'notFound', name: 'not found', path: '/*' })
  const preflights = onceForAlike((options) => answersPreflights(plan.catalog, options))
  return {
    configured,
    builtin,
    notFound,
    entries: () => [
      ...configured.map(
        ([{ paths, options }, info]): Entry => ({
          info,
          paths,
          preflights: preflights(options)
        })
      ),
      ...builtin.map(([{ options }, info]) => ({ ...entryForPath(info), preflights: preflights(options) })),
      { ...entryForPath(notFound), preflights: true }
    ]
  }
}

/** Makes a function that reads the options of routes once for all routes that share them. */
function onceForAlike<T>(read: (options: PlannedRoute['options']) => T): typeof read {
  const known = new WeakMap<PlannedRoute['options'], T>()
  return (options) => getOrCreate(known, options, () => read(options))
}

function builtinRoutesOf(plan: Plan): TableRoutes['builtin'] {
  const withSession = onceForAlike((options) => usesSession(plan.catalog, options))
  const context = {
    publicUrl: plan.publicUrl,
    options: plan.options,
    routes: plan.routes.map(({ hosts, options, origins }) => ({
      hosts,
      options,
      pathsSetting: (key: string, option: readonly (string | number)[]) =>
        pathsSetting(origins.get(key), option),
      usesSession: withSession(options)
    }))
  }
  return plan.catalog.builtin
    .routes(context)
    .map((route) => [route, newRoute({ kind: 'builtin', ...route })] as const)
}

function infoFor(plan: Plan, route: PlannedRoute): RouteInfo {
  const target = plan.catalog.targets.find(({ key }) => key === route.target)
  return newRoute({
    kind: 'config',
    name: route.name,
    path: route.paths.map(({ text }) => text).join(', '),
    paths: route.paths.map(({ text }) => text),
    hosts: route.hosts,
    methods: route.methods,
    when: route.when,
    target: route.target,
    streams: target?.streams === true,
    options: route.options,
    id: route.id,
    scope: (concern) => route.scopes[concern] ?? 'root',
    pathsSetting: (key, option) => pathsSetting(route.origins.get(key), option),
    mentionOf: (concern) =>
      route.overrides.includes(concern) ? 'inside' : route.mentioned.has(concern) ? 'root' : undefined
  })
}
