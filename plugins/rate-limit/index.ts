import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  type AboutRoute,
  createError,
  fp,
  type Hooks,
  perOptions,
  type RouteInfo
} from '../../src/kit/index.ts'
import { settleCallback } from '../../src/lib/callback.ts'
import { storeAway } from '../../src/lib/contracts/store.ts'
import { peerOf } from '../../src/lib/http/addresses.ts'
import { withHeaders } from '../../src/lib/refusals.ts'
import { isObject } from '../../src/lib/schema.ts'
import { leaveAtTheEnd } from './in-flight.ts'
import { isLate, type Limit, type LimitResult, makeLimit, type Tier } from './limit.ts'
import { faults, options, override, type RateLimitOptions } from './options.ts'

export const key = 'rateLimit'
export const counts = true

export type { RateLimitOptions }
export { faults, options, override }

/** The client came more often than the limit allows. */
export const RateLimitExceeded = createError<[number]>(
  'SP_ERR_RATE_LIMIT_EXCEEDED',
  'Too many requests; the next one may come in %s s',
  429
)
/** The client has as many requests under way as the limit allows. */
export const TooManyInFlight = createError(
  'SP_ERR_RATE_LIMIT_IN_FLIGHT',
  'Too many requests at a time; the next one may come when another is answered',
  429
)

declare module 'fastify' {
  interface FastifyRequest {
    /** Where the client stands with each limit that saw the request; null before the first. */
    rateLimits: LimitResult[] | null
  }
}

// What can be guessed, and is not throttled otherwise.
const GUESSABLE = ['apiKeys', 'basic', 'forward']

/** A limit by caller counts only those that have been let in, so that it does not hold for guesses. */
export function warnings(said: RateLimitOptions, { word }: AboutRoute): string[] {
  const auth = word('auth')
  if (!isObject(auth) || [said, ...Object.values(said.also)].some((limit) => !isLate(limit))) return []
  const by = auth['by']
  const guessable = GUESSABLE.filter(
    (way) => auth[way] !== undefined && auth[way] !== false && (!Array.isArray(by) || by.includes(way))
  )
  return guessable.length === 0
    ? []
    : [
        `counts only callers that auth has let in, so that keys and passwords can be guessed without a limit; say "by": "ip" and put the limit by caller under "also"`
      ]
}

type Done = (error?: Error) => void

export default fp<RateLimitOptions>(
  async function rateLimit(app, root) {
    app.decorateRequest('rateLimits', null)
    const build = (said: RateLimitOptions, route: RouteInfo): Hooks => {
      const place = route.scope(key)
      const limits = [
        makeLimit(app, place, 'default', said, route),
        ...Object.entries(said.also).map(([name, more]) => makeLimit(app, place, name, more, route))
      ]
      const early = limits.filter(({ late }) => !late)
      const late = limits.filter((limit) => limit.late)
      const fails = said.onStoreFailure === 'deny'
      return {
        // Who calls is known only after auth, so what depends on it is counted later.
        ...(early.length === 0 ? {} : { onRequest: warned(app, counting(early, fails)) }),
        ...(late.length === 0 ? {} : { preValidation: counting(late, fails) }),
        onHead: tell
      }
    }
    perOptions(app, key, root, build, (said, route) =>
      [said, ...Object.values(said.also)].some(({ by }) => by === 'route')
        ? route
        : `${route.kind === 'notFound'} ${route.scope(key)}`
    )
  },
  { name: key, fastify: '5.x', dependencies: ['store'] }
)

/** Tells a client where it stands (draft-ietf-httpapi-ratelimit-headers-10). */
function tell(
  { rateLimits }: FastifyRequest,
  _reply: unknown,
  head: { set(name: string, value: string): void }
): void {
  if (rateLimits === null) return
  let policies = ''
  let states = ''
  for (const { name, policy, standing } of rateLimits) {
    const state = `"${name}";r=${standing.remaining};t=${Math.ceil(standing.reset / 1000)}`
    policies = policies === '' ? policy : `${policies}, ${policy}`
    states = states === '' ? state : `${states}, ${state}`
  }
  if (policies === '') return
  head.set('ratelimit-policy', policies)
  head.set('ratelimit', states)
}

/** Makes the hook that counts a request in each of some limits, and refuses what one of them does; nothing waits where the counts are here. */
function counting(
  limits: readonly Limit[],
  fails: boolean
): (request: FastifyRequest, reply: FastifyReply, done: Done) => void {
  const [only] = limits
  const single = limits.length === 1 ? only : undefined
  return (request, reply, done) => {
    request.rateLimits ??= []
    if (single !== undefined) {
      const refusal = count(single, request, reply, fails)
      if (refusal instanceof Promise) settleCallback<Refused>(refusal, later(done))
      else done(refusal)
      return
    }
    const found = limits.map((limit) => count(limit, request, reply, fails))
    if (found.some((each) => each instanceof Promise))
      settleCallback<Refused>(Promise.all(found.map(async (each) => each)).then(worst), later(done))
    else done(worst(found as Refused[]))
  }
}

const later =
  (done: Done) =>
  (error: unknown, refusal?: FastifyError): void =>
    done((error as Error | null) ?? refusal)

type Refused = FastifyError | undefined

/** Counts a request in one limit; tells why it is refused. What is counted here makes no closures. */
function count(
  limit: Limit,
  request: FastifyRequest,
  reply: FastifyReply,
  fails: boolean
): Refused | Promise<Refused> {
  const name = limit.keyOf(request)
  const tier = limit.tierOf(request)
  const standing = tier.counter?.hit(name, limit.cost, tier.quota)
  if (standing instanceof Promise)
    return standing
      .then((there) => settle(limit, tier, request, there) ?? enter(tier, reply, name))
      .catch(withoutStore(fails))
  const refusal = standing === undefined ? undefined : settle(limit, tier, request, standing)
  if (refusal !== undefined || tier.inFlight === undefined) return refusal
  const entered = enter(tier, reply, name)
  return entered instanceof Promise ? entered.catch(withoutStore(fails)) : entered
}

/** Notes where the client stands; tells why it is refused. */
function settle(
  limit: Limit,
  { policy }: Tier,
  request: FastifyRequest,
  standing: LimitResult['standing']
): Refused {
  request.rateLimits?.push({ name: limit.name, policy, standing })
  if (standing.allowed) return undefined
  const seconds = Math.max(1, Math.ceil(standing.wait / 1000))
  return withHeaders(new RateLimitExceeded(seconds), { 'retry-after': String(seconds) })
}

/** Takes a place for as long as the request lasts; tells why there is none. */
function enter(
  { inFlight, maxInFlight }: Tier,
  { raw }: FastifyReply,
  name: string
): Refused | Promise<Refused> {
  if (inFlight === undefined) return undefined
  const entered = (yes: boolean): Refused => {
    if (!yes) return withHeaders(new TooManyInFlight(), { 'retry-after': '1' })
    leaveAtTheEnd(raw, inFlight, name)
    return undefined
  }
  const may = inFlight.enter(name, maxInFlight)
  return may instanceof Promise ? may.then(entered) : entered(may)
}

/** Of several refusals the one that lasts longest. */
function worst(refusals: readonly Refused[]): FastifyError | undefined {
  let found: FastifyError | undefined
  for (const refusal of refusals)
    if (refusal !== undefined && waitOf(refusal) > waitOf(found)) found = refusal
  return found
}

const waitOf = (refusal: (FastifyError & { headers?: Record<string, string> }) | undefined): number =>
  refusal === undefined ? -1 : Number(refusal.headers?.['retry-after'] ?? 0)

const withoutStore =
  (fails: boolean) =>
  (error: FastifyError): FastifyError | undefined => {
    if (error.code !== 'SP_ERR_STORE_UNAVAILABLE') throw error
    return fails ? storeAway() : undefined
  }

/** Warns once where a proxy in front is not trusted: all its clients would share one count. */
function warned(app: FastifyInstance, count: ReturnType<typeof counting>): typeof count {
  const told = app.resources.lease(app, `${key} told`, () => ({ once: false }))
  return (request, reply, done) => {
    if (!told.once && request.headers['x-forwarded-for'] !== undefined && !app.trusts(peerOf(request))) {
      told.once = true
      app.log.warn(
        'A request came with X-Forwarded-For from a peer that "trustedProxies" does not name: limits count the peer, not the client behind it'
      )
    }
    count(request, reply, done)
  }
}
