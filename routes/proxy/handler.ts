import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  duration,
  durationOrNone,
  fraction,
  LONGEST_TIMER,
  makeRewrite,
  originMatcher,
  pathOf,
  peerOf,
  queryOf,
  restOf,
  scatter,
  shapeOf,
  share,
  type TargetRoute,
  upgradeOf
} from '../../src/kit/index.ts'
import { makeBack } from './back.ts'
import type { UpstreamTarget } from './contract.ts'
import { Exchange } from './exchange.ts'
import { makeFallback } from './fallback.ts'
import { type AnswerHead, answerKinds, type RequestHead, requestHeadFor } from './head.ts'
import type { Joint } from './joint.ts'
import { Mirror } from './mirror.ts'
import { type ProxyOptions, WEBSOCKET } from './options.ts'
import { OriginRefused } from './refusals.ts'
import { isIdempotent, makeRetry } from './retry.ts'
import { stillnessOf } from './stillness.ts'
import { bodyOf } from './upload.ts'
import type { Errand, Lane, Way } from './way.ts'

/** Answers one request. */
export type Handler = (request: FastifyRequest, reply: FastifyReply) => void

/** Makes the handler of a route; all that depends on options alone is done here, once. */
export function makeHandler(
  app: FastifyInstance,
  { info, options: said }: TargetRoute<ProxyOptions>
): Handler {
  const patterns = info.paths
  const rewrite = said.rewrite === undefined ? undefined : makeRewrite(said.rewrite, patterns)
  const stripped = strippedBy(said.rewrite, patterns)
  const requestId = info.words['requestId'] as { header: string } | false | undefined
  const head: RequestHead = {
    preserveHost: said.preserveHost,
    requestId: typeof requestId === 'object' ? requestId.header : undefined,
    own: app.hasDecorator('identityNames') ? app.identityNames : new Set(),
    cookie: app.hasDecorator('sessionCookie') ? app.sessionCookie : null
  }
  const requestHead = requestHeadFor(head)
  const answers = new WeakMap<UpstreamTarget, AnswerHead>()
  // What concerns want of the head is known whole once all of them have seen the route, which is after this.
  let sorted: AnswerHead['kinds'] | undefined
  const kinds = (): AnswerHead['kinds'] => (sorted ??= answerKinds(info.head))
  const mirror =
    said.mirror === undefined ? undefined : new Mirror(app.upstream(said.mirror.upstream), said.mirror)
  if (mirror !== undefined) app.addHook('preClose', async () => mirror.close())
  const way: Way = {
    head,
    retry: said.retry === undefined ? undefined : makeRetry(said.retry),
    hedge: said.hedge === undefined ? undefined : duration(said.hedge.after),
    fallback: said.fallback === undefined ? undefined : makeFallback(said.fallback),
    mirror: mirror === undefined ? undefined : (...copy) => mirror.send(...copy),
    answerFor(target) {
      let answer = answers.get(target)
      if (answer === undefined) {
        const back = said.rewriteBack ? makeBack(target, said.rewrite, stripped) : undefined
        answer = { plan: info.head, back, cookie: head.cookie, kinds: kinds() }
        answers.set(target, answer)
      }
      return answer
    }
  }
  const keepIdempotent = Math.max(way.retry?.maxBody ?? 0, mirror?.keep ?? 0)
  const laneOf = makeLanes(app, said)
  const joint = jointOf(said.websocket)
  if (joint !== undefined) app.takesUpgrades = true
  const mayOpen =
    typeof said.websocket === 'object' && said.websocket.origins !== undefined
      ? originMatcher(said.websocket.origins)
      : () => true
  return function forward(request, reply) {
    const upgrades = joint !== undefined && upgradeOf(request.raw) !== undefined
    if (upgrades && request.headers.origin !== undefined && !mayOpen(request.headers.origin))
      throw new OriginRefused()
    const path = pathOf(request)
    const query = queryOf(request.raw.url ?? '')
    const idempotent = isIdempotent(request.method)
    const errand: Errand = {
      path:
        (rewrite === undefined ? path : rewrite(path, request)) +
        (request.changeQuery ? request.changeQuery(query) : query),
      head: requestHead(request, app.trusts(peerOf(request)), stripped(path)),
      body: upgrades ? null : bodyOf(request),
      keep: idempotent ? keepIdempotent : (mirror?.keep ?? 0),
      idempotent,
      joint: upgrades ? joint : undefined
    }
    new Exchange(request, reply, way, laneOf(request), errand).start()
  }
}

// Bytes; what is longer is sent once.
const REPLAY = 65_536

/** Compiles which upstream a request goes to: the one there is, or one of several by their shares. */
function makeLanes(
  app: FastifyInstance,
  { upstream, split, timeouts }: ProxyOptions
): (request: FastifyRequest) => Lane {
  const lane = (name: string): Lane => {
    const found = app.upstream(name)
    return {
      upstream: found,
      headersTimeout: orElse(timeouts?.headers, found.timeouts.headers),
      replay: found.http2 ? REPLAY : 0,
      stillness: stillnessOf(orElse(timeouts?.body, found.timeouts.body))
    }
  }
  if (split === undefined) {
    const only = lane(upstream ?? '')
    return () => only
  }
  let upTo = 0
  const lanes = split.map((part) => {
    upTo += share(part.share)
    return { upTo, lane: lane(part.upstream) }
  })
  const last = (lanes.at(-1) as { lane: Lane }).lane
  return ({ caller }) => {
    // Nobody is kept where nobody is known: an address may stand for a whole company.
    const at = caller === null ? Math.random() : fraction(scatter(caller.id))
    return lanes.find(({ upTo: end }) => at < end)?.lane ?? last
  }
}

function jointOf(said: ProxyOptions['websocket']): Joint | undefined {
  if (said === false) return undefined
  const { idle, lifetime } = said === true ? WEBSOCKET : said
  return { idle: durationOrNone(idle), lifetime: longest(durationOrNone(lifetime)) }
}

const longest = (ms: number | undefined): number | undefined =>
  ms === undefined ? undefined : Math.min(ms, LONGEST_TIMER)

const orElse = (own: string | false | undefined, upstreams: number): number =>
  own === undefined ? upstreams : (durationOrNone(own) ?? 0)

/** Tells what a rewrite takes off the front of a path: what the upstream does not see, and the client does. */
function strippedBy(rewrite: string | undefined, patterns: readonly string[]): (path: string) => string {
  if (rewrite === undefined || !patterns.every((pattern) => pattern.endsWith('/*'))) return () => ''
  const depths = [...new Set(patterns.map((pattern) => shapeOf(pattern).depth))]
  const [depth] = depths
  if (depths.length !== 1 || depth === undefined || depth === 0) return () => ''
  return (path) => path.slice(0, path.length - restOf(path, depth).length)
}
