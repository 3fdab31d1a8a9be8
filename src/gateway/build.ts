import { createServer, METHODS } from 'node:http'
import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyPluginCallback,
  LogController
} from 'fastify'
import { fastifyPlugin as fp } from 'fastify-plugin'
import type { Logger } from 'pino'
import { pathPolicyOf } from '../config/facets.ts'
import { ConfigError } from '../config/fault.ts'
import type { AmbiguousPair } from '../config/lint.ts'
import type { Plan } from '../config/plan-types.ts'
import { decorateApp, type Kit } from '../kit/decorate.ts'
import type { RouteInfo } from '../kit/route-info.ts'
import { BufferBudget, DEFAULT_BUFFERS } from '../lib/buffers.ts'
import { withoutPort } from '../lib/http/addresses.ts'
import { rangeMatcher } from '../lib/http/networks.ts'
import { RouteUnknown } from '../lib/refusals.ts'
import { yieldIfDue } from '../lib/time-slicing.ts'
import { type AmbiguousPath, addRoutes, type UnderWay } from './add-routes.ts'
import { fastifyWithDeferredRoutes } from './fastify-boot.ts'
import { makeNormalizer, REFUSED } from './normalize-request.ts'
import type { Resources } from './resources.ts'
import { makeTable } from './route-table/index.ts'

/** What may be asked of a gateway beyond its config. */
export interface GatewayOptions {
  /** Record every gate's verdict on `request.trace`. */
  readonly trace?: boolean
}

/** What the process itself, which adds nothing to the gateway, may ask for beyond that. */
interface ProcessOptions extends GatewayOptions {
  /** Whether no other code gets the instance. */
  readonly isAlone?: boolean
}

// How long one plugin may take to load, in milliseconds.
const SLOWEST_PLUGIN = 120_000

/** Builds a gateway from a plan: concerns in their order, then routes; the instance is ready and has no socket. */
export async function buildGateway(
  plan: Plan,
  keep: Resources,
  log: Logger,
  options: ProcessOptions = {}
): Promise<FastifyInstance> {
  const planned = new Map<string, RouteInfo>()
  const trusts = rangeMatcher(plan.trustedProxies)
  let table = await makeTable([])
  const entrance = makeNormalizer(pathPolicyOf(plan), () => table)
  const { app, settleRoutes } = fastifyWithDeferredRoutes(() =>
    fastify({
      logController: new LogController({ disableRequestLogging: true }),
      exposeHeadRoutes: true,
      return503OnClosing: false,
      // Many routes are mounted in slices while requests are answered: that is slow, and no sign of a plugin that hangs.
      pluginTimeout: SLOWEST_PLUGIN,
      trustProxy:
        plan.trustedProxies.length === 0 ? false : (address?: string) => trusts(withoutPort(address ?? '')),
      rewriteUrl: entrance.rewriteUrl,
      serverFactory: (handler) => createServer(handler),
      routerOptions: { maxParamLength: 65_536, caseSensitive: !entrance.ignoreCase }
    })
  )
  const kit: Kit = {
    trace: options.trace === true,
    findRoute: (url, methods) => planned.get(`${url} ${methods[0]}`)
  }
  for (const method of METHODS)
    if (method !== 'CONNECT' && !app.supportedMethods.includes(method))
      app.addHttpMethod(method, { hasBody: true })
  // Fastify gets no logger: it would make a child of it for each request, and listen to each answer for a line that it
  // does not write.
  const logger = log as FastifyBaseLogger
  Object.assign(app, { log: logger })
  app.decorate('resources', keep)
  // The names of one release ago.
  app.decorate('keep', keep)
  app.decorate('edge', {
    getter() {
      return app.tls
    }
  })
  app.decorate(
    'buffers',
    keep.lease(app, 'buffers', () => new BufferBudget())
  )
  app.decorate('ownsBodies', options.isAlone === true && plan.catalog.hasExtensions !== true)
  app.decorate('acceptsUpgrades', false)
  app.decorate('tls', null)
  app.decorate('metrics', null)
  app.decorate('maxConnections', Number.POSITIVE_INFINITY)
  app.decorate('trusts', trusts)
  app.decorate('readiness', { ready: true })
  app.decorate('publicUrl', plan.publicUrl ?? null)
  app.decorate('ambiguousFor', () => undefined)
  app.decorate('ambiguousPairs', async () => [])
  app.addHook('onReady', async function defaultBuffers() {
    app.buffers.limit = DEFAULT_BUFFERS
  })
  decorateApp(app, kit)
  app.addHook('onRequest', function enter(request, reply, done) {
    request.began = performance.now()
    request.response = reply.raw
    request.log = logger
    reply.log = logger
    entrance.restore(request)
    done(entrance.keepsEmpty && hasEmpty(request.params as object) ? new RouteUnknown() : undefined)
  })
  if (plan.trustedProxies.length > 0)
    app.addHook('onRequest', function readScheme({ raw: { headers } }, _reply, done) {
      // Schemes are the same in either case (RFC 3986 section 3.1); Fastify compares them as they are.
      const scheme = headers['x-forwarded-proto']
      if (typeof scheme === 'string') headers['x-forwarded-proto'] = scheme.toLowerCase()
      done()
    })
  const pluginMethods: string[][] = []
  const under: UnderWay = {}
  app.addHook('onRoute', function noticePlugins({ url, method, config }) {
    under.route = config?.sallyport?.route
    const kind = config?.sallyport?.route?.kind
    if (kind === 'plugin' && url !== REFUSED) pluginMethods.push([method].flat())
  })
  try {
    for (const { key, default: plugin } of plan.catalog.concerns) {
      await yieldIfDue()
      const options = plan.options[key]
      under.key = key
      if (options !== undefined)
        await app.register(shared(plugin as FastifyPluginCallback<object>, key), options as object)
    }
    delete under.key
    await addRoutes(
      app,
      plan,
      under,
      planned,
      async (entries) =>
        (table = await makeTable(entries, { plugins: pluginMethods, ignoreCase: entrance.ignoreCase }))
    )
    entrance.seal()
    await app.after()
    await settleRoutes()
    await app.ready()
  } catch (error) {
    // What it has taken so far, others may need no longer.
    await app.close().catch(() => {})
    throw placed(error, plan, under, app.routeInfos ?? [])
  }
  return app
}

/** Says where in the config that is written which can't be set up: what an extension or the router throws has no place. */
function placed(error: unknown, plan: Plan, { key, route }: UnderWay, infos: readonly RouteInfo[]): Error {
  if (error instanceof ConfigError) return error
  const why = error instanceof Error ? error.message : String(error)
  const planned = route === undefined ? undefined : plan.routes[infos.indexOf(route)]
  const start = { file: plan.file, line: 1, column: 1 }
  const fault =
    planned !== undefined
      ? { ...planned.place(), message: `The route ${planned.name} can't be set up: ${why}` }
      : key !== undefined
        ? { ...(plan.firstMentions.get(key)?.() ?? start), message: `"${key}" can't be set up: ${why}` }
        : { ...start, message: `The gateway can't be built: ${why}` }
  return new ConfigError([{ path: '', ...fault }], { cause: error })
}

// A concern works on the routes of the whole gateway, so it is never encapsulated, even where its author forgot to say so.
const shared = (plugin: FastifyPluginCallback<object>, key: string): FastifyPluginCallback<object> =>
  Reflect.has(plugin, Symbol.for('skip-override')) ? plugin : fp(plugin, { name: key, fastify: '5.x' })

/** Tells whether a parameter is empty, which a segment never is; the rest behind a wildcard may be. */
const hasEmpty = (params: object): boolean =>
  Object.entries(params).some(([name, value]) => value === '' && name !== '*')

declare module 'fastify' {
  interface FastifyInstance {
    /** The origin that browsers see; null where the config does not say. */
    publicUrl: string | null
    /** The routes of the config and the gateway's own, each with the gates on it. */
    routeInfos: readonly RouteInfo[]
    /** Finds what tells whether the upstream may read the path of a request as one of another route; undefined for a route that needs no look. */
    ambiguousFor(route: RouteInfo): AmbiguousPath | undefined
    /** Lists the routes whose paths an upstream may read as those of another one, each with a URL. */
    ambiguousPairs(): Promise<readonly AmbiguousPair[]>
    /** Whether some target takes connections that switch protocols. */
    acceptsUpgrades: boolean
    /** What the bodies that the process holds in memory are counted against. */
    buffers: BufferBudget
    /** Whether nothing but the gateway's own code sees the bodies of requests: an extension may keep what passes through its hooks. */
    ownsBodies: boolean
    /** How many connections the process takes. */
    maxConnections: number
    /** Tells whether the X-Forwarded-* headers of a peer are believed. */
    trusts(address: string): boolean
  }
}
