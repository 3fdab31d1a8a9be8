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
import type { RequestObserver, Simulation } from '../lib/contracts/simulation.ts'
import { withoutPort } from '../lib/http/addresses.ts'
import { rangeMatcher } from '../lib/http/networks.ts'
import { RouteUnknown } from '../lib/refusals.ts'
import { yieldIfDue } from '../lib/time-slicing.ts'
import { type AmbiguousPath, addRoutes, type BootStep } from './add-routes.ts'
import { fastifyWithDeferredRoutes } from './fastify-boot.ts'
import { lazyDescriber } from './lazy-describer.ts'
import { makeNormalizer, REFUSED } from './normalize-request.ts'
import type { Resources } from './resources.ts'
import { makeTable } from './route-table/index.ts'

/** Options of a gateway besides its config. */
export interface GatewayOptions {
  /** Whether the verdict of each gate is recorded on `request.trace`. */
  readonly trace?: boolean
}

/** The options of a process of the command line, which adds no code to the gateway. */
interface ProcessOptions extends GatewayOptions {
  /** Whether no other code has access to the instance. */
  readonly isAlone?: boolean
  /** What stands in for the services around the gateway. */
  readonly simulation?: Simulation
  /** What sees the requests; a simulation does by itself. */
  readonly observer?: RequestObserver
}

// How long one plugin may take to load, in ms. Routes are mounted in slices while requests are served, which takes long.
const PLUGIN_TIMEOUT_MS = 120_000

/** Builds a gateway from a plan: concerns in their order, then routes. The instance is ready and has no socket. */
export async function buildGateway(
  plan: Plan,
  resources: Resources,
  log: Logger,
  options: ProcessOptions = {}
): Promise<FastifyInstance> {
  const planned = new Map<string, RouteInfo>()
  const trusts = rangeMatcher(plan.trustedProxies)
  let table = await makeTable([])
  const normalizer = makeNormalizer(
    pathPolicyOf(plan),
    { trusts, clientIpHeader: plan.clientIp ?? null },
    () => table
  )
  const { app, settleRoutes } = fastifyWithDeferredRoutes(() =>
    fastify({
      logController: new LogController({ disableRequestLogging: true }),
      exposeHeadRoutes: true,
      return503OnClosing: false,
      pluginTimeout: PLUGIN_TIMEOUT_MS,
      trustProxy:
        plan.trustedProxies.length === 0 ? false : (address?: string) => trusts(withoutPort(address ?? '')),
      rewriteUrl: normalizer.rewriteUrl,
      serverFactory: (handler) => createServer(handler),
      routerOptions: { maxParamLength: 65_536, caseSensitive: !normalizer.ignoreCase }
    })
  )
  const kit: Kit = {
    trace: options.trace === true,
    findRoute: (url, methods) => planned.get(`${url} ${methods[0]}`)
  }
  for (const method of METHODS)
    if (method !== 'CONNECT' && !app.supportedMethods.includes(method))
      app.addHttpMethod(method, { hasBody: true })
  // With a logger option, Fastify would create a child logger and a response listener for each request.
  const logger = log as FastifyBaseLogger
  Object.assign(app, { log: logger })
  app.decorate('resources', resources)
  // Deprecated names.
  app.decorate('keep', resources)
  app.decorate('edge', {
    getter() {
      return app.tls
    }
  })
  app.decorate(
    'buffers',
    resources.lease(app, 'buffers', () => new BufferBudget())
  )
  app.decorate('ownsBodies', options.isAlone === true && plan.catalog.extensionKeys === undefined)
  app.decorate('simulation', options.simulation ?? null)
  app.decorate('observer', options.observer ?? options.simulation ?? null)
  app.decorate('acceptsUpgrades', false)
  app.decorate('tls', null)
  app.decorate('metrics', null)
  app.decorate('tracing', null)
  app.decorate('maxConnections', Number.POSITIVE_INFINITY)
  app.decorate('trusts', trusts)
  app.decorate('clientIpHeader', plan.clientIp ?? null)
  app.decorate('readiness', { ready: true })
  app.decorate('publicUrl', plan.publicUrl ?? null)
  app.decorate('describe', lazyDescriber(plan))
  app.decorate('ambiguousFor', () => undefined)
  app.decorate('ambiguousPairs', () => [])
  app.addHook('onReady', async function defaultBuffers() {
    app.buffers.limit = DEFAULT_BUFFERS
  })
  decorateApp(app, kit)
  app.addHook('onRequest', function restoreRequest(request, reply, done) {
    request.began = performance.now()
    request.response = reply.raw
    request.log = logger
    reply.log = logger
    normalizer.restore(request)
    done(
      normalizer.allowsEmptySegments && hasEmptyParameter(request.params as object)
        ? new RouteUnknown()
        : undefined
    )
  })
  if (plan.trustedProxies.length > 0)
    app.addHook('onRequest', function readScheme({ raw: { headers } }, _reply, done) {
      // Schemes are case-insensitive (RFC 3986 section 3.1), but Fastify compares them case-sensitively.
      const scheme = headers['x-forwarded-proto']
      if (typeof scheme === 'string') headers['x-forwarded-proto'] = scheme.toLowerCase()
      done()
    })
  const { observer } = app
  if (observer !== null)
    app.addHook('onRequest', function observeRequest(request, _reply, done) {
      observer.onRequest(request)
      done()
    })
  const pluginMethods: string[][] = []
  const step: BootStep = {}
  app.addHook('onRoute', function noticePlugins({ url, method, config }) {
    step.route = config?.sallyport?.route
    const kind = config?.sallyport?.route?.kind
    if (kind === 'plugin' && url !== REFUSED) pluginMethods.push([method].flat())
  })
  try {
    for (const { key, default: plugin } of plan.catalog.concerns) {
      await yieldIfDue()
      const options = plan.options[key]
      step.key = key
      if (options !== undefined)
        await app.register(unencapsulated(plugin as FastifyPluginCallback<object>, key), options as object)
    }
    delete step.key
    await addRoutes(app, plan, {
      step,
      planned,
      makeTable: async (entries) => {
        table = await makeTable(entries, { plugins: pluginMethods, ignoreCase: normalizer.ignoreCase })
        return table
      }
    })
    normalizer.useTable()
    await app.after()
    await settleRoutes()
    await app.ready()
  } catch (error) {
    // Releases the resources that it has leased so far.
    await app.close().catch(() => {})
    throw withPlace(error, plan, step, app.routeInfos ?? [])
  }
  return app
}

/** Returns an error of an extension or of the router as a config error with its place. */
function withPlace(error: unknown, plan: Plan, { key, route }: BootStep, infos: readonly RouteInfo[]): Error {
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

// A concern applies to all routes, so it is never encapsulated, even if its author has not used fastify-plugin.
const unencapsulated = (plugin: FastifyPluginCallback<object>, key: string): FastifyPluginCallback<object> =>
  Reflect.has(plugin, Symbol.for('skip-override')) ? plugin : fp(plugin, { name: key, fastify: '5.x' })

/** Returns whether a parameter is empty; what a wildcard matches may be empty. */
const hasEmptyParameter = (params: object): boolean =>
  Object.entries(params).some(([name, value]) => value === '' && name !== '*')

declare module 'fastify' {
  interface FastifyInstance {
    /** The origin that browsers see; null without `publicUrl` in the config. */
    publicUrl: string | null
    /** The configured and the built-in routes, each with its gates. */
    routeInfos: readonly RouteInfo[]
    /** Returns the OpenAPI document of what requests to a host can reach; it is made at first use. */
    describe(host: string): Promise<Readonly<Record<string, unknown>>>
    /** Returns the test for ambiguous paths of a route; undefined where none of its paths is ambiguous. */
    ambiguousFor(route: RouteInfo): AmbiguousPath | undefined
    /** Returns the routes whose paths an upstream may read as those of another route, each with a URL. */
    ambiguousPairs(): readonly AmbiguousPair[]
    /** Whether a target accepts upgrade requests. */
    acceptsUpgrades: boolean
    /** The budget for bodies that the process buffers. */
    buffers: BufferBudget
    /** Whether only the gateway's own code sees request bodies, so that their memory may be reused. */
    ownsBodies: boolean
    /** The maximum number of connections of the process. */
    maxConnections: number
    /** Returns whether the X-Forwarded-* headers of a peer are trusted. */
    trusts(address: string): boolean
    /** The header, in lower case, in which trusted proxies name the client (`clientIp`); null for X-Forwarded-For alone. */
    clientIpHeader: string | null
  }
}
