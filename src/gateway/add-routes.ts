import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyPluginCallback } from 'fastify'
import { answersPreflights, pathPolicyOf, usesSession } from '../config/facets.ts'
import type { Plan, PlannedRoute } from '../config/plan-types.ts'
import type { BuiltinRoute } from '../kit/builtin.ts'
import { newRoute, type RouteInfo } from '../kit/route-info.ts'
import { canonicalHost } from '../lib/http/canonical-path.ts'
import { forEachSliced } from '../lib/time-slicing.ts'
import { findAmbiguities } from './ambiguous-paths/index.ts'
import { REFUSED } from './normalize-request.ts'
import { type Entry, entryForPath, symbolOf, type Table } from './route-table/index.ts'
import { notAllowed, notFoundHere, refusedHere, refusing } from './unmatched.ts'

/** Returns whether the upstream of a route may read the path of a request as one of another route. */
export type AmbiguousPath = (raw: IncomingMessage) => boolean

/** What is being set up, for the message if it fails. */
export interface UnderWay {
  key?: string
  route?: RouteInfo | undefined
}

/** Registers all routes of a plan: those of its targets, the gateway's own, and the handlers for unmatched requests. */
export async function addRoutes(
  app: FastifyInstance,
  plan: Plan,
  under: UnderWay,
  planned: Map<string, RouteInfo>,
  tabulate: (entries: readonly Entry[]) => Promise<Table>
): Promise<void> {
  const infos: (readonly [PlannedRoute, RouteInfo])[] = []
  await forEachSliced(plan.routes, (route) => void infos.push([route, infoFor(plan, route)]))
  const builtin = plan.catalog.builtin
    .routes({
      publicUrl: plan.publicUrl,
      options: plan.options,
      routes: plan.routes.map(({ hosts, options }) => ({
        hosts,
        options,
        usesSession: usesSession(plan.catalog, options)
      }))
    })
    .map((route) => [route, newRoute({ kind: 'builtin', ...route })] as const)
  app.decorate(
    'routeInfos',
    [...infos, ...builtin].map(([, info]) => info)
  )
  const notFound = newRoute({ kind: 'notFound', name: 'not found', path: '/*' })
  const table = await tabulate([
    ...infos.map(
      ([{ paths, options }, info]): Entry => ({
        info,
        paths,
        preflights: answersPreflights(plan.catalog, options)
      })
    ),
    ...builtin.map(([, info]) => entryForPath(info)),
    { ...entryForPath(notFound), preflights: true }
  ])
  await addAmbiguities(app, plan, infos, table)
  const plant = (info: RouteInfo): void => {
    for (const { url, method } of table.mounts.get(info) ?? []) planned.set(`${url} ${method[0]}`, info)
  }
  await forEachSliced(infos, ([, info]) => plant(info))
  for (const { key, default: plugin } of plan.catalog.targets) {
    under.key = key
    delete under.route
    const routes = infos
      .filter(([{ target }]) => target === key)
      .map(([{ targetOptions: options }, info]) => ({
        info,
        options: options as never,
        mounts: table.mounts.get(info) ?? []
      }))
    if (routes.length > 0)
      await app.register(plugin as FastifyPluginCallback<{ routes: unknown }>, { routes })
  }
  delete under.key
  delete under.route
  await app.register(async function builtinRoutes(own) {
    plan.catalog.builtin.prepare?.(own)
    for (const [route, info] of builtin) addBuiltin(own, route, info, table)
  })
  for (const { url, method } of table.mounts.get(notFound) ?? []) {
    planned.set(`${url} ${method[0]}`, notFound)
    app.route({ url, method: [...method], exposeHeadRoute: false, ...refusing(notFoundHere) })
  }
  for (const { url, method, allow } of table.notAllowed)
    app.route({
      url,
      method: [...method],
      exposeHeadRoute: false,
      config: {
        sallyport: {
          route: newRoute({ kind: 'notFound', name: 'method not allowed', path: url, methods: [] })
        }
      },
      ...refusing(notAllowed(allow))
    })
  app.route({
    url: REFUSED,
    method: 'GET',
    exposeHeadRoute: false,
    config: { sallyport: { route: newRoute({ kind: 'notFound', name: 'refused', path: '' }) } },
    ...refusing(refusedHere)
  })
  app.setNotFoundHandler(notFoundHere)
}

/** Works out which routes have paths that an upstream may read as one of another route; only where that is refused, since it costs some time at boot. */
async function addAmbiguities(
  app: FastifyInstance,
  plan: Plan,
  infos: readonly (readonly [PlannedRoute, RouteInfo])[],
  table: Table
): Promise<void> {
  const { ambiguous } = pathPolicyOf(plan)
  const found = ambiguous === 'reject' ? await findAmbiguities(plan, infos, table) : undefined
  const judges = new Map<RouteInfo, AmbiguousPath>()
  if (found !== undefined)
    await forEachSliced(infos, ([, info]) => {
      const find = found.finderFor(info)
      if (find === undefined) return
      judges.set(info, (raw) => {
        const url = raw.url ?? '/'
        const query = url.indexOf('?')
        const path = query === -1 ? url : url.slice(0, query)
        const host = canonicalHost(raw.headers.host ?? '') ?? ''
        return find(path, host, symbolOf(raw.method ?? 'GET', raw)) !== undefined
      })
    })
  app.ambiguousFor = (route) => judges.get(route)
  app.ambiguousPairs = async () => (found ?? (await findAmbiguities(plan, infos, table))).pairs()
}

function addBuiltin(app: FastifyInstance, route: BuiltinRoute, info: RouteInfo, table: Table): void {
  for (const { url, method } of table.mounts.get(info) ?? [])
    app.route({
      url,
      method: [...method],
      exposeHeadRoute: false,
      config: { sallyport: { ...route.options, route: info } },
      handler: route.handler
    })
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
    target: route.target,
    streams: target?.streams === true,
    options: route.options,
    id: route.id,
    scope: (concern) => route.scopes[concern] ?? 'root',
    mentionOf: (concern) =>
      route.overrides.includes(concern) ? 'inside' : route.mentioned.has(concern) ? 'root' : undefined
  })
}
