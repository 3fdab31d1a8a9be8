import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyPluginCallback } from 'fastify'
import { pathPolicyOf } from '../config/facets.ts'
import type { Plan } from '../config/plan-types.ts'
import type { BuiltinRoute } from '../kit/builtin.ts'
import { varyBy } from '../kit/conditions.ts'
import { type Mount, newRoute, type RouteInfo } from '../kit/route-info.ts'
import { canonicalHost } from '../lib/http/canonical-path.ts'
import { forEachSliced, yieldIfDue } from '../lib/time-slicing.ts'
import { findAmbiguities } from './ambiguous-paths/index.ts'
import { REFUSED } from './normalize-request.ts'
import { planRoutes, type TableRoutes } from './planned-routes.ts'
import { type Entry, symbolOf, type Table } from './route-table/index.ts'
import { notAllowed, notFoundHere, refusedHere, refusing } from './unmatched.ts'

/** Returns whether the upstream of a route may read the path of a request as one of another route. */
export type AmbiguousPath = (raw: IncomingMessage) => boolean

/** What is being registered, for the error message if that fails. */
export interface BootStep {
  key?: string
  route?: RouteInfo | undefined
}

/** What `addRoutes` shares with the rest of the boot. */
export interface RouteSetup {
  readonly step: BootStep
  /** Receives the routes by URL and method, as Fastify registers them. */
  readonly planned: Map<string, RouteInfo>
  makeTable(entries: readonly Entry[]): Promise<Table>
}

/** Registers the routes of a plan: configured and built-in ones, and the handlers of unmatched requests. */
export async function addRoutes(app: FastifyInstance, plan: Plan, setup: RouteSetup): Promise<void> {
  const { step, planned } = setup
  const { configured, builtin, notFound, entries } = await planRoutes(plan)
  app.decorate(
    'routeInfos',
    [...configured, ...builtin].map(([, info]) => info)
  )
  await yieldIfDue()
  const table = await setup.makeTable(entries())
  await yieldIfDue()
  for (const place of table.conditional) for (const info of place.infos) varyBy(info, place.conditions)
  addAmbiguities(app, plan, configured, table)
  await yieldIfDue()
  for (const [, info] of configured) {
    for (const { url, method } of table.mounts.get(info) ?? []) planned.set(`${url} ${method[0]}`, info)
  }
  for (const { key, default: plugin } of plan.catalog.targets) {
    step.key = key
    delete step.route
    const routes = configured
      .filter(([{ target }]) => target === key)
      .map(([{ targetOptions: options, inherited }, info]) => ({
        info,
        options: options as never,
        inherited,
        mounts: table.mounts.get(info) ?? []
      }))
    if (routes.length > 0)
      await app.register(
        app.simulation?.leavesOut(key) === true
          ? leftOutTarget
          : (plugin as FastifyPluginCallback<{ routes: unknown }>),
        { routes }
      )
  }
  delete step.key
  delete step.route
  await app.register(async function builtinRoutes(own) {
    plan.catalog.builtin.prepare?.(own)
    for (const [route, info] of builtin) addBuiltin(own, route, info, table)
  })
  await forEachSliced(table.mounts.get(notFound) ?? [], ({ url, method }) => {
    planned.set(`${url} ${method[0]}`, notFound)
    app.route({ url, method: [...method], exposeHeadRoute: false, ...refusing(notFoundHere) })
  })
  await addRefusals(app, table)
}

/** Registers the handlers of refused methods, of requests that normalization refused, and of paths without a route. */
async function addRefusals(app: FastifyInstance, table: Table): Promise<void> {
  await forEachSliced(table.notAllowed, ({ url, method, allow }) => {
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
  })
  await forEachSliced(table.unmet, ({ url, method, conditions }) => {
    const route = newRoute({ kind: 'notFound', name: 'no condition holds', path: url, methods: [] })
    varyBy(route, conditions)
    app.route({
      url,
      method: [...method],
      exposeHeadRoute: false,
      config: { sallyport: { route } },
      ...refusing(notFoundHere)
    })
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

/** Decorates the instance with the tests for ambiguous paths, which are compiled at boot only if such paths are refused. */
function addAmbiguities(
  app: FastifyInstance,
  plan: Plan,
  routes: TableRoutes['configured'],
  table: Table
): void {
  const { ambiguous } = pathPolicyOf(plan)
  const found = ambiguous === 'reject' ? findAmbiguities(plan, routes, table) : undefined
  const tests = new Map<RouteInfo, AmbiguousPath>()
  if (found !== undefined)
    for (const [, info] of routes) {
      const findOther = found.finderFor(info)
      if (findOther === undefined) continue
      tests.set(info, (raw) => {
        const url = raw.url ?? '/'
        const query = url.indexOf('?')
        const path = query === -1 ? url : url.slice(0, query)
        const host = canonicalHost(raw.headers.host ?? '') ?? ''
        return findOther(path, host, symbolOf(raw.method ?? 'GET', raw)) !== undefined
      })
    }
  app.ambiguousFor = (route) => tests.get(route)
  app.ambiguousPairs = () => (found ?? findAmbiguities(plan, routes, table)).pairs()
}

/** Registers the routes of a target that a simulation leaves out, because it might call a service. */
async function leftOutTarget(app: FastifyInstance, { routes }: { routes: unknown }): Promise<void> {
  for (const { mounts } of routes as readonly { mounts: readonly Mount[] }[])
    for (const { url, method } of mounts)
      app.route({
        url,
        method: [...method],
        exposeHeadRoute: false,
        handler: async function respondEmpty() {
          return ''
        }
      })
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
