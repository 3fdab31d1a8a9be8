import { createServer, type IncomingMessage, METHODS } from 'node:http'
import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyPluginCallback,
  type FastifyReply,
  type FastifyRequest,
  LogController
} from 'fastify'
import { fastifyPlugin as fp } from 'fastify-plugin'
import type { Logger } from 'pino'
import { answersPreflights, pathPolicyOf, usesSession } from '../config/facets.ts'
import { ConfigError } from '../config/fault.ts'
import type { AmbiguousPair } from '../config/lint.ts'
import type { Plan, PlannedRoute } from '../config/plan-types.ts'
import type { BuiltinRoute } from '../kit/concern.ts'
import { decorateApp, type Kit } from '../kit/decorate.ts'
import { newRoute, type RouteInfo } from '../kit/route-info.ts'
import { BufferBudget, DEFAULT_BUFFERS } from '../lib/buffers.ts'
import { withoutPort } from '../lib/http/addresses.ts'
import { canonicalHost } from '../lib/http/canonical-path.ts'
import { ROUTABLE } from '../lib/http/methods.ts'
import { rangeMatcher } from '../lib/http/networks.ts'
import { MethodRefused, RouteUnknown } from '../lib/refusals.ts'
import { forEachSliced, yieldIfDue } from '../lib/time-slicing.ts'
import { findAmbiguities } from './ambiguous-paths/index.ts'
import { fastifyWithDeferredRoutes } from './fastify-boot.ts'
import { makeNormalizer, REFUSED, refusalOf } from './normalize-request.ts'
import type { Resources } from './resources.ts'
import { type Entry, entryForPath, makeTable, symbolOf, type Table } from './route-table/index.ts'

/** What may be asked of a gateway beyond its config. */
export interface GatewayOptions {
  /** Record every gate's verdict on `request.trace`. */
  readonly trace?: boolean
}

// How long one plugin may take to load, in milliseconds.
const SLOWEST_PLUGIN = 120_000

/** Builds a gateway from a plan: concerns in their order, then routes; the instance is ready and has no socket. */
export async function buildGateway(
  plan: Plan,
  keep: Resources,
  log: Logger,
  options: GatewayOptions = {}
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
  // Fastify is told of no logger: it would make a child of it for each request, and listen to each answer for a line that it
  // does not write.
  const logger = log as FastifyBaseLogger
  Object.assign(app, { log: logger })
  app.decorate('resources', keep)
  // The name of one release ago.
  app.decorate('keep', keep)
  app.decorate(
    'buffers',
    keep.lease(app, 'buffers', () => new BufferBudget())
  )
  app.decorate('ownsBodies', plan.catalog.hasExtensions !== true)
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
      const word = plan.words[key]
      under.word = key
      if (word !== undefined)
        await app.register(shared(plugin as FastifyPluginCallback<object>, key), word as object)
    }
    delete under.word
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

/** What was being set up when something failed. */
interface UnderWay {
  word?: string
  route?: RouteInfo | undefined
}

/** Says where in the config that is written which can't be set up: what an extension or the router throws has no place. */
function placed(error: unknown, plan: Plan, { word, route }: UnderWay, infos: readonly RouteInfo[]): Error {
  if (error instanceof ConfigError) return error
  const why = error instanceof Error ? error.message : String(error)
  const planned = route === undefined ? undefined : plan.routes[infos.indexOf(route)]
  const start = { file: plan.file, line: 1, column: 1 }
  const fault =
    planned !== undefined
      ? { ...planned.place, message: `The route ${planned.name} can't be set up: ${why}` }
      : word !== undefined
        ? { ...(plan.mentions.get(word) ?? start), message: `"${word}" can't be set up: ${why}` }
        : { ...start, message: `The gateway can't be built: ${why}` }
  return new ConfigError([{ path: '', ...fault }], { cause: error })
}

// A concern works on the routes of the whole gateway, so it is never encapsulated, even where its author forgot to say so.
const shared = (plugin: FastifyPluginCallback<object>, key: string): FastifyPluginCallback<object> =>
  Reflect.has(plugin, Symbol.for('skip-override')) ? plugin : fp(plugin, { name: key, fastify: '5.x' })

async function addRoutes(
  app: FastifyInstance,
  plan: Plan,
  under: UnderWay,
  planned: Map<string, RouteInfo>,
  tabulate: (entries: readonly Entry[]) => Promise<Table>
): Promise<void> {
  const infos: (readonly [PlannedRoute, RouteInfo])[] = []
  await forEachSliced(plan.routes, (route) => void infos.push([route, infoFor(plan, route)]))
  const standing = plan.catalog.standing
    .routes({
      publicUrl: plan.publicUrl,
      words: plan.words,
      routes: plan.routes.map(({ hosts, words }) => ({
        hosts,
        words,
        usesSession: usesSession(plan.catalog, words)
      }))
    })
    .map((route) => [route, newRoute({ kind: 'standing', ...route })] as const)
  app.decorate(
    'routeInfos',
    [...infos, ...standing].map(([, info]) => info)
  )
  const notFound = newRoute({ kind: 'notFound', name: 'not found', path: '/*' })
  const table = await tabulate([
    ...infos.map(
      ([{ paths, words }, info]): Entry => ({
        info,
        paths,
        preflights: answersPreflights(plan.catalog, words)
      })
    ),
    ...standing.map(([, info]) => entryForPath(info)),
    { ...entryForPath(notFound), preflights: true }
  ])
  await addAmbiguities(app, plan, infos, table)
  const plant = (info: RouteInfo): void => {
    for (const { url, method } of table.mounts.get(info) ?? []) planned.set(`${url} ${method[0]}`, info)
  }
  await forEachSliced(infos, ([, info]) => plant(info))
  for (const { key, default: plugin } of plan.catalog.targets) {
    under.word = key
    delete under.route
    const routes = infos
      .filter(([{ target }]) => target === key)
      .map(([{ options }, info]) => ({
        info,
        options: options as never,
        mounts: table.mounts.get(info) ?? []
      }))
    if (routes.length > 0)
      await app.register(plugin as FastifyPluginCallback<{ routes: unknown }>, { routes })
  }
  delete under.word
  delete under.route
  await app.register(async function standingRoutes(own) {
    plan.catalog.standing.prepare?.(own)
    for (const [route, info] of standing) addStanding(own, route, info, table)
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

function addStanding(app: FastifyInstance, route: BuiltinRoute, info: RouteInfo, table: Table): void {
  for (const { url, method } of table.mounts.get(info) ?? [])
    app.route({
      url,
      method: [...method],
      exposeHeadRoute: false,
      config: { sallyport: { ...route.words, route: info } },
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
    words: route.words,
    id: route.id,
    scope: (word) => route.scopes[word] ?? 'root',
    mentionOf: (word) =>
      route.said.includes(word) ? 'inside' : route.mentioned.has(word) ? 'root' : undefined
  })
}

/** Tells whether a parameter is empty, which a segment never is; the rest behind a wildcard may be. */
const hasEmpty = (params: object): boolean =>
  Object.entries(params).some(([name, value]) => value === '' && name !== '*')

type Refuse = (request: FastifyRequest, reply: FastifyReply) => Promise<never>

// Refused after the gates and before the body is looked at: what it holds is no longer of interest.
const refusing = (refuse: Refuse): { preParsing: Refuse; handler: Refuse } => ({
  preParsing: refuse,
  handler: refuse
})

type AmbiguousPath = (raw: IncomingMessage) => boolean

async function notFoundHere(): Promise<never> {
  throw new RouteUnknown()
}

const notAllowed = (allow: readonly string[]) => {
  const header = allow.join(', ')
  return async function methodNotAllowed(request: FastifyRequest, reply: FastifyReply): Promise<never> {
    reply.header('allow', header)
    throw new MethodRefused(request.method)
  }
}

async function refusedHere(request: FastifyRequest, reply: FastifyReply): Promise<never> {
  const refusal = refusalOf(request.raw)
  if (refusal.code === 'SP_ERR_ROUTE_METHOD') reply.header('allow', ROUTABLE.join(', '))
  throw refusal
}

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
