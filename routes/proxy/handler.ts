import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type TargetRoute, varyBy } from '../../src/kit/index.ts'
import { originMatcher } from '../../src/lib/caller.ts'
import { MAX_TIMER_MS } from '../../src/lib/clock.ts'
import type { ResponseSource } from '../../src/lib/contracts/cache.ts'
import { peerOf } from '../../src/lib/http/addresses.ts'
import { type RequestHead, setHeader } from '../../src/lib/http/flat-head.ts'
import { forwardedNames, keepsUnderscores } from '../../src/lib/http/headers.ts'
import { makeRewrite, restOf, shapeOf } from '../../src/lib/http/rewrite.ts'
import { upgradeOf } from '../../src/lib/http/upgrade.ts'
import { pathOf, queryOf } from '../../src/lib/http/url-parts.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import { isIdempotent } from '../../src/lib/retry.ts'
import { isObject } from '../../src/lib/schema.ts'
import { duration, durationOrNone, sizeOrNone } from '../../src/lib/units.ts'
import { CachedRoute } from './cached.ts'
import { makeDestination } from './destination.ts'
import { Exchange } from './exchange.ts'
import { makeFallback } from './fallback.ts'
import { Mirror } from './mirror.ts'
import { type ProxyOptions, WEBSOCKET_DEFAULTS } from './options.ts'
import type { ForwardPlan, PreparedRequest, UpstreamRoute } from './plan.ts'
import { OriginNotAllowed } from './refusals.ts'
import { bodyOf } from './request-body.ts'
import { headerKinds, type ResponseHeadPlan } from './response-head.ts'
import { makeResponseRewrite } from './rewrite-response.ts'
import type { SharedPlans } from './shared.ts'
import { type ChooseUpstream, makeSplit, splitConditions } from './split.ts'
import type { TunnelOptions } from './websocket/tunnel.ts'

/** Forwards one request. */
export type Handler = (request: FastifyRequest, reply: FastifyReply) => void

/** Compiles the handler of a route at boot. */
export function makeHandler(
  app: FastifyInstance,
  shared: SharedPlans,
  { info, options, inherited }: TargetRoute<ProxyOptions>
): Handler {
  if (options.split !== undefined) varyBy(info, splitConditions(options.split))
  const patterns = rewritePatterns(info.paths, inherited)
  const rewrite = options.rewrite === undefined ? undefined : makeRewrite(options.rewrite, patterns)
  const stripped = strippedPrefix(options.rewrite, patterns)
  const requestId = info.options['requestId'] as { header: string } | false | undefined
  const { options: requestHeadOptions, write } = shared.requestHeadFor({
    preserveHost: options.preserveHost,
    requestId: typeof requestId === 'object' ? requestId.header : undefined,
    keepsUnderscores: keepsUnderscores(info.options),
    only: forwardedNames(info.options)
  })
  // Created by the first request: most routes of a large config get none for long.
  let headPlans: WeakMap<ResponseSource, ResponseHeadPlan> | undefined
  const mirror =
    options.mirror === undefined
      ? undefined
      : new Mirror(app.upstream(options.mirror.upstream), options.mirror)
  if (mirror !== undefined)
    app.addHook('preClose', async function closeMirror() {
      mirror.close()
    })
  const plan: ForwardPlan = {
    requestHeadOptions,
    fallback: options.fallback === undefined ? undefined : makeFallback(options.fallback),
    mirror: mirror === undefined ? undefined : (...copy) => mirror.send(...copy),
    responseHeadFor(target) {
      headPlans ??= new WeakMap()
      return getOrCreate(headPlans, target, () => ({
        head: info.head,
        rewrite: options.rewriteBack ? makeResponseRewrite(target, options.rewrite, stripped) : undefined,
        source: options.rewriteBack ? sourceOf(target) : undefined,
        sessionCookie: requestHeadOptions.cookie,
        kinds: headerKinds(info.head)
      }))
    }
  }
  const mirroredBytes = mirror?.maxBody ?? 0
  const retriedBytes = options.retry === undefined ? 0 : sizeOrNone(options.retry.maxBody)
  const destinationOf = makeDestination(app, patterns, rewrite, requestHeadOptions)
  const routeOf = makeUpstreamRoutes(app, shared, options)
  const tunnel = tunnelOptionsOf(options.websocket)
  if (tunnel !== undefined) app.acceptsUpgrades = true
  const isAllowedOrigin =
    typeof options.websocket === 'object' && options.websocket.origins !== undefined
      ? originMatcher(options.websocket.origins)
      : anyOrigin
  const changedPath = (path: string, request: FastifyRequest): string =>
    rewrite === undefined ? path : rewrite(path, request)
  const changedQuery = (request: FastifyRequest): string => {
    const query = queryOf(request.raw.url ?? '')
    return request.changeQuery ? request.changeQuery(query) : query
  }
  const prepare = (request: FastifyRequest, route: UpstreamRoute): PreparedRequest => {
    const upgrades = tunnel !== undefined && upgradeOf(request.raw) !== undefined
    if (upgrades && request.headers.origin !== undefined && !isAllowedOrigin(request.headers.origin))
      throw new OriginNotAllowed()
    const path = pathOf(request)
    const idempotent = isIdempotent(request.method)
    const { method } = request
    const { retry } = route.policy
    const mayReplay = retry !== undefined && (retry.wait > 0 || retry.allows({ method, idempotent }))
    const head = write(request, app.trusts(peerOf(request)), stripped(path))
    if (info.head.readsBodies) askForWholeBody(head)
    return {
      route,
      path: changedPath(path, request) + changedQuery(request),
      head,
      body: upgrades ? null : bodyOf(request),
      replayBytes: mayReplay ? Math.max(retriedBytes, mirroredBytes) : mirroredBytes,
      idempotent,
      destination: method === 'COPY' || method === 'MOVE' ? destinationOf(request) : undefined,
      tunnel: upgrades ? tunnel : undefined,
      makeWriter: undefined
    }
  }
  const { responseCache } = app
  if (responseCache === undefined || !isObject(info.options['cache']))
    return function forward(request, reply) {
      new Exchange(request, reply, plan, prepare(request, routeOf(request, reply))).start()
    }
  const cached = new CachedRoute(responseCache, info, {
    plan,
    routeOf,
    prepare,
    path: (request) => changedPath(pathOf(request), request),
    query: changedQuery,
    dependsOn: [
      options.rewrite,
      options.preserveHost,
      options.rewriteBack,
      options.fallback?.on,
      ...upstreamNames(options).map((name) => app.upstream(name).optionsHash)
    ]
  })
  app.addHook('preClose', async function closeCached() {
    cached.close()
  })
  return function answer(request, reply) {
    cached.answer(request, reply)
  }
}

const sourceOf = ({ host, origin, base }: ResponseSource): ResponseSource => ({ host, origin, base })

const upstreamNames = ({ upstream, split }: ProxyOptions): string[] =>
  split === undefined ? [upstream ?? ''] : split.map((part) => part.upstream)

/** Returns the patterns whose part before `/*` the rewrite replaces: the paths of the route, or of the group that has set it. */
export function rewritePatterns(
  paths: readonly string[],
  { rewrite: groupPaths }: TargetRoute<ProxyOptions>['inherited']
): readonly string[] {
  return groupPaths?.map((path) => `${path.replace(/\/(\*)?$/, '')}/*`) ?? paths
}

/** Asks for a response that stages can read: the whole of it, without a content coding. */
function askForWholeBody(head: RequestHead): void {
  setHeader(head, 'accept-encoding', 'identity')
  setHeader(head, 'range', undefined)
  setHeader(head, 'if-range', undefined)
}

/** Compiles which upstream a request goes to: the only one, or one of several. */
function makeUpstreamRoutes(
  app: FastifyInstance,
  shared: SharedPlans,
  options: ProxyOptions
): ChooseUpstream {
  const { upstream, split, sticky } = options
  if (split !== undefined) return makeSplit(app, { split, sticky }, (name) => shared.routeTo(name, options))
  const only = shared.routeTo(upstream ?? '', options)
  return () => only
}

function tunnelOptionsOf(websocket: ProxyOptions['websocket']): TunnelOptions | undefined {
  if (websocket === false) return undefined
  const { idle, lifetime, closeTimeout } = websocket === true ? WEBSOCKET_DEFAULTS : websocket
  return {
    idle: durationOrNone(idle),
    lifetime: clampToTimer(durationOrNone(lifetime)),
    closeTimeout: duration(closeTimeout)
  }
}

const clampToTimer = (ms: number | undefined): number | undefined =>
  ms === undefined ? undefined : Math.min(ms, MAX_TIMER_MS)

/** Compiles which prefix of a path the rewrite strips: the client sees it, the upstream does not. */
function strippedPrefix(rewrite: string | undefined, patterns: readonly string[]): (path: string) => string {
  if (rewrite === undefined || !patterns.every((pattern) => pattern.endsWith('/*'))) return noPrefix
  const depths = [...new Set(patterns.map((pattern) => shapeOf(pattern).depth))]
  const [depth] = depths
  if (depths.length !== 1 || depth === undefined || depth === 0) return noPrefix
  return (path) => path.slice(0, path.length - restOf(path, depth).length)
}

const noPrefix = (): string => ''

const anyOrigin = (): boolean => true
