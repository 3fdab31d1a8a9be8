import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { TargetRoute } from '../../src/kit/index.ts'
import { originMatcher } from '../../src/lib/caller.ts'
import type { UpstreamTarget } from '../../src/lib/contracts/upstream.ts'
import { hash32, unitInterval } from '../../src/lib/hash.ts'
import { peerOf } from '../../src/lib/http/addresses.ts'
import { makeRewrite, restOf, shapeOf } from '../../src/lib/http/rewrite.ts'
import { upgradeOf } from '../../src/lib/http/upgrade.ts'
import { duration, durationOrNone, LONGEST_TIMER, share, sizeOrNone } from '../../src/lib/units.ts'
import { pathOf, queryOf } from '../../src/lib/values.ts'
import { makeDestination } from './destination.ts'
import { Exchange } from './exchange.ts'
import { makeFallback } from './fallback.ts'
import { Mirror } from './mirror.ts'
import { type ProxyOptions, WEBSOCKET } from './options.ts'
import type { ForwardPlan, PreparedRequest, UpstreamRoute } from './plan.ts'
import { OriginRefused } from './refusals.ts'
import { bodyOf } from './request-body.ts'
import { headerKinds, type ResponseHeadPlan } from './response.ts'
import { isIdempotent } from './retry.ts'
import { makeResponseRewrite } from './rewrite-response.ts'
import type { SharedPlans } from './shared.ts'
import type { TunnelOptions } from './websocket/tunnel.ts'

/** Answers one request. */
export type Handler = (request: FastifyRequest, reply: FastifyReply) => void

/** Makes the handler of a route; all that depends on options alone is done here, once. */
export function makeHandler(
  app: FastifyInstance,
  common: SharedPlans,
  { info, options: said }: TargetRoute<ProxyOptions>
): Handler {
  const patterns = info.paths
  const rewrite = said.rewrite === undefined ? undefined : makeRewrite(said.rewrite, patterns)
  const stripped = strippedBy(said.rewrite, patterns)
  const requestId = info.words['requestId'] as { header: string } | false | undefined
  const { head, write } = common.headsFor(
    said.preserveHost,
    typeof requestId === 'object' ? requestId.header : undefined
  )
  // A route that nobody asks for has none.
  let answers: WeakMap<UpstreamTarget, ResponseHeadPlan> | undefined
  const mirror =
    said.mirror === undefined ? undefined : new Mirror(app.upstream(said.mirror.upstream), said.mirror)
  if (mirror !== undefined) app.addHook('preClose', async () => mirror.close())
  const way: ForwardPlan = {
    head,
    fallback: said.fallback === undefined ? undefined : makeFallback(said.fallback),
    mirror: mirror === undefined ? undefined : (...copy) => mirror.send(...copy),
    answerFor(target) {
      const known = answers?.get(target)
      if (known !== undefined) return known
      const back = said.rewriteBack ? makeResponseRewrite(target, said.rewrite, stripped) : undefined
      const made = { plan: info.head, back, cookie: head.cookie, kinds: headerKinds(info.head) }
      answers ??= new WeakMap()
      answers.set(target, made)
      return made
    }
  }
  const keepIdempotent = Math.max(
    said.retry === undefined ? 0 : sizeOrNone(said.retry.maxBody),
    mirror?.keep ?? 0
  )
  const destinationOf = makeDestination(app, patterns, rewrite, head)
  const laneOf = makeUpstreamRoutes(common, said)
  const joint = tunnelOptionsOf(said.websocket)
  if (joint !== undefined) app.acceptsUpgrades = true
  const mayOpen =
    typeof said.websocket === 'object' && said.websocket.origins !== undefined
      ? originMatcher(said.websocket.origins)
      : anybody
  return function forward(request, reply) {
    const upgrades = joint !== undefined && upgradeOf(request.raw) !== undefined
    if (upgrades && request.headers.origin !== undefined && !mayOpen(request.headers.origin))
      throw new OriginRefused()
    const path = pathOf(request)
    const query = queryOf(request.raw.url ?? '')
    const idempotent = isIdempotent(request.method)
    const { method } = request
    const errand: PreparedRequest = {
      path:
        (rewrite === undefined ? path : rewrite(path, request)) +
        (request.changeQuery ? request.changeQuery(query) : query),
      head: write(request, app.trusts(peerOf(request)), stripped(path)),
      body: upgrades ? null : bodyOf(request),
      keep: idempotent ? keepIdempotent : (mirror?.keep ?? 0),
      idempotent,
      destination: method === 'COPY' || method === 'MOVE' ? destinationOf(request) : undefined,
      joint: upgrades ? joint : undefined
    }
    new Exchange(request, reply, way, laneOf(request), errand).start()
  }
}

/** Compiles which upstream a request goes to: the one there is, or one of several by their shares. */
function makeUpstreamRoutes(
  common: SharedPlans,
  options: ProxyOptions
): (request: FastifyRequest) => UpstreamRoute {
  const { upstream, split } = options
  if (split === undefined) {
    const only = common.routeTo(upstream ?? '', options)
    return () => only
  }
  let upTo = 0
  const lanes = split.map((part) => {
    upTo += share(part.share)
    return { upTo, lane: common.routeTo(part.upstream, options) }
  })
  const last = (lanes.at(-1) as { lane: UpstreamRoute }).lane
  return ({ caller }) => {
    // Nobody is kept where nobody is known: an address may stand for a whole company.
    const at = caller === null ? Math.random() : unitInterval(hash32(caller.id))
    return lanes.find(({ upTo: end }) => at < end)?.lane ?? last
  }
}

function tunnelOptionsOf(said: ProxyOptions['websocket']): TunnelOptions | undefined {
  if (said === false) return undefined
  const { idle, lifetime, closeTimeout } = said === true ? WEBSOCKET : said
  return {
    idle: durationOrNone(idle),
    lifetime: longest(durationOrNone(lifetime)),
    closeTimeout: duration(closeTimeout)
  }
}

const longest = (ms: number | undefined): number | undefined =>
  ms === undefined ? undefined : Math.min(ms, LONGEST_TIMER)

/** Tells what a rewrite takes off the front of a path: what the upstream does not see, and the client does. */
function strippedBy(rewrite: string | undefined, patterns: readonly string[]): (path: string) => string {
  if (rewrite === undefined || !patterns.every((pattern) => pattern.endsWith('/*'))) return nothing
  const depths = [...new Set(patterns.map((pattern) => shapeOf(pattern).depth))]
  const [depth] = depths
  if (depths.length !== 1 || depth === undefined || depth === 0) return nothing
  return (path) => path.slice(0, path.length - restOf(path, depth).length)
}

const nothing = (): string => ''

const anybody = (): boolean => true
