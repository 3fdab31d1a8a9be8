import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  type AboutRoute,
  defineWarning,
  fp,
  type HeadHook,
  type Hooks,
  perOptions,
  type RouteInfo,
  type Warning
} from '../../src/kit/index.ts'
import { identityHeadersOf, strategiesIn } from '../../src/lib/caller.ts'
import { addressOf, peerOf } from '../../src/lib/http/addresses.ts'
import { clientNetwork } from '../../src/lib/http/client-network.ts'
import { exemptMatcher } from '../../src/lib/http/exempt-addresses.ts'
import { cgiName } from '../../src/lib/http/headers.ts'
import { statusMatcher } from '../../src/lib/http/statuses.ts'
import { isObject } from '../../src/lib/schema.ts'
import { countingHook, type Done } from './count.ts'
import { compileLimit, isCountedAfterAuth, type Limit, type LimitResult } from './limit.ts'
import { faults, options, override, type QuotaOptions, type RateLimitOptions } from './options.ts'

export const key = 'rateLimit'
export const counts = true
export const usesStore = true
// Its counts in memory are forgotten on renewal; tests never use Redis.
export const stateless = true

export { comparison } from './compare.ts'
export { RateLimitExceeded, TooManyInFlight } from './count.ts'
export { describes } from './describe.ts'
export type { RateLimitOptions }
export { faults, options, override }

declare module 'fastify' {
  interface FastifyRequest {
    /** The results of the limits that counted the request; null before the first. */
    rateLimits: LimitResult[] | null
  }
}

/** Returns whether a limit counts requests before auth, by something that the client does not choose. */
const slowsGuessing = (limit: QuotaOptions): boolean =>
  limit.max !== undefined &&
  !isCountedAfterAuth(limit) &&
  !isChosenByClient(limit) &&
  (limit.count === undefined || statusMatcher(limit.count)(401))

const isChosenByClient = ({ by }: QuotaOptions): boolean => /^(header|cookie|query):/.test(by)

// Strategies whose credentials can be guessed and have no throttle of their own.
const GUESSABLE = ['apiKeys', 'basic', 'forward']

const byIdentity = defineWarning(
  'SP_WARN_RATE_LIMIT_IDENTITY_HEADER',
  'medium',
  'A limit by a header that only the gateway sets'
)
const chosenByClient = defineWarning(
  'SP_WARN_RATE_LIMIT_CHOSEN_BY_CLIENT',
  'high',
  'A limit that clients leave with a new value'
)
const guessing = defineWarning(
  'SP_WARN_RATE_LIMIT_GUESSING',
  'high',
  'Keys and passwords can be guessed without a limit'
)

/** Warns of routes whose limits all run after auth, and so do not count guessed credentials. */
export function warnings(options: RateLimitOptions, { optionsOf }: AboutRoute): Warning[] {
  const auth = optionsOf('auth')
  const choice = choiceWarnings(options, auth)
  // A limit that clients leave does not slow guesses either, and is mended alike.
  return choice.length > 0 ? choice : guessingWarnings(options, auth)
}

/** Warns of limits by a header that auth writes, and of limits that a client leaves with a new value. */
function choiceWarnings(options: RateLimitOptions, auth: unknown): Warning[] {
  const limits = [options, ...Object.values(options.also)]
  const { everywhere } = identityHeadersOf(auth)
  const identity = limits.find(
    ({ by }) => by.startsWith('header:') && everywhere.includes(cgiName(by.slice(7).toLowerCase()))
  )
  if (identity !== undefined)
    return [
      byIdentity(
        `counts by "${identity.by}", which only the gateway sets, for upstreams: it is removed from requests, and all clients are counted by their address; set "by": "caller"`
      )
    ]
  const chosen = limits.find(isChosenByClient)
  return chosen === undefined || !limits.every(isChosenByClient)
    ? []
    : [
        chosenByClient(
          `counts by "${chosen.by}", which clients can choose: each new value starts a new count; set "by": "ip" or "caller", and put this limit under "also"`
        )
      ]
}

function guessingWarnings(options: RateLimitOptions, auth: unknown): Warning[] {
  if (!isObject(auth)) return []
  if ([options, ...Object.values(options.also)].some(slowsGuessing)) return []
  const by = auth['by']
  const guessable = GUESSABLE.filter(
    (strategy) =>
      auth[strategy] !== undefined &&
      auth[strategy] !== false &&
      (!Array.isArray(by) || strategiesIn(by as string[]).includes(strategy))
  )
  return guessable.length === 0
    ? []
    : [
        guessing(
          `counts only authenticated callers, or by what the client chooses, so that keys and passwords can be guessed without a limit; set "by": "ip" and put the limit by caller under "also"`
        )
      ]
}

/** Says by which key each limit counts, and that nothing is counted yet. */
export function assumes(options: RateLimitOptions, request: FastifyRequest): string[] {
  const address = addressOf(request)
  if (exemptMatcher(options.exempt)(request)) return [`"${key}" exempts ${address}, and counts nothing`]
  const network = clientNetwork(address)
  return [['default', options] as const, ...Object.entries(options.also)].map(
    ([name, { by }]) =>
      `The limit "${name}" of "${key}" counts by ${by}${by === 'ip' ? ` (${network})` : ''}; nothing is counted yet`
  )
}

export default fp<RateLimitOptions>(
  async function rateLimit(app, root) {
    app.decorateRequest('rateLimits', null)
    const build = (options: RateLimitOptions, route: RouteInfo): Hooks => {
      const scope = route.scope(key)
      const limits = [
        compileLimit(app, { scope, name: 'default', route }, options),
        ...Object.entries(options.also).map(([name, quota]) =>
          compileLimit(app, { scope, name, route }, quota)
        )
      ]
      const beforeAuth = limits.filter((limit) => !limit.afterAuth)
      const afterAuth = limits.filter((limit) => limit.afterAuth)
      const { onStoreFailure } = options
      const counting = (some: readonly Limit[]): RequestHook =>
        unlessExempt(options.exempt, countingHook(some, onStoreFailure))
      return {
        ...(beforeAuth.length === 0 ? {} : { onRequest: warningOfUntrustedProxy(app, counting(beforeAuth)) }),
        // The caller is known only after auth.
        ...(afterAuth.length === 0 ? {} : { preValidation: counting(afterAuth) }),
        onHead: setRateLimitHeaders
      }
    }
    perOptions(app, key, root, build, (options, route) =>
      [options, ...Object.values(options.also)].some(({ by }) => by === 'route')
        ? route
        : `${route.kind === 'notFound'} ${route.scope(key)}`
    )
  },
  { name: key, fastify: '5.x', dependencies: ['store'] }
)

/** Sets RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10). */
const setRateLimitHeaders: HeadHook = ({ rateLimits }, _reply, head) => {
  if (rateLimits === null) return
  let policies = ''
  let states = ''
  for (const { name, policy, state } of rateLimits) {
    const item = `"${name}";r=${state.remaining};t=${Math.ceil(state.reset / 1000)}`
    policies = policies === '' ? policy : `${policies}, ${policy}`
    states = states === '' ? item : `${states}, ${item}`
  }
  if (policies === '') return
  head.set('ratelimit-policy', policies)
  head.set('ratelimit', states)
}

/** Lets requests of some addresses pass uncounted. */
function unlessExempt(exempt: readonly string[], count: RequestHook): RequestHook {
  if (exempt.length === 0) return count
  const isExempt = exemptMatcher(exempt)
  return (request, reply, done) => {
    if (isExempt(request)) done()
    else count(request, reply, done)
  }
}

type RequestHook = (request: FastifyRequest, reply: FastifyReply, done: Done) => void

/** Warns once of a proxy that is not trusted: all its clients share one count. */
function warningOfUntrustedProxy(app: FastifyInstance, count: RequestHook): RequestHook {
  const warning = app.resources.lease(app, `${key} warning`, () => ({ logged: false }))
  return (request, reply, done) => {
    if (!warning.logged && request.headers['x-forwarded-for'] !== undefined && !app.trusts(peerOf(request))) {
      warning.logged = true
      app.log.warn(
        'X-Forwarded-For from a peer that "trustedProxies" does not name: rate limits count the peer, not its clients'
      )
    }
    count(request, reply, done)
  }
}
