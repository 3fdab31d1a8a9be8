import rateLimit, { normalizeIP } from '@fastify/rate-limit'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import {
  addressOf,
  createError,
  Duration,
  duration,
  fp,
  gate,
  overrideOf,
  partReader,
  peerOf,
  perRoute,
  type RouteInfo,
  type Static,
  Type,
  withHeaders
} from '../src/kit/index.ts'

export const key = 'rateLimit'

export const options = Type.Object(
  {
    ...gate,
    max: Type.Integer({
      minimum: 1,
      description: 'How many requests of one key pass in a window; refused ones count, too.'
    }),
    window: Duration({ default: '1m', description: 'The time after which a key starts anew.' }),
    by: Type.String({
      default: 'ip',
      pattern: '^(ip|caller|route|header:[A-Za-z0-9-]+|cookie:[\\w.-]+)$',
      'x-says': '"ip", "caller", "route", "header:NAME" or "cookie:NAME"',
      description:
        'What is counted: ip (an IPv6 client is its /64), caller, route, header:NAME or cookie:NAME.'
    })
  },
  {
    additionalProperties: false,
    description: 'How often one and the same client may come; the count is kept where the word was written.'
  }
)

export const override = overrideOf(options)
export type RateLimitOptions = Static<typeof options>

/** The client came more often than the limit allows. */
export const RateLimitExceeded = createError<[number]>(
  'SP_ERR_RATE_LIMIT_EXCEEDED',
  'Too many requests; the next one may come in %s s',
  429
)

// How many keys one limit remembers at most; beyond that the one longest not seen is forgotten.
const KEYS_REMEMBERED = 65_536

type Limiter = (request: FastifyRequest) => Promise<{
  isAllowed: boolean
  max?: number
  remaining?: number
  ttlInSeconds?: number
  isExceeded?: boolean
}>

export default fp<RateLimitOptions>(
  async function rateLimitConcern(app, root) {
    // The counting is @fastify/rate-limit's, on an instance of its own that no request goes through and that outlives a reload.
    const engine = await app.keep.lease(
      app,
      key,
      async () => {
        const counting = fastify()
        await counting.register(rateLimit, { global: false })
        await counting.ready()
        return counting
      },
      async (counting) => (await counting).close()
    )

    perRoute(app, key, root, ({ max, window, by }, route) => {
      const ms = duration(window)
      const policy = `"default";q=${max};w=${Math.ceil(ms / 1000)}`
      const scope = by === 'route' ? `${route.scope(key)} ${nameOf(route)}` : route.scope(key)
      const limiter: Limiter = app.keep.lease(app, `${key} ${scope} ${max} ${ms} ${by}`, () =>
        engine.createRateLimit({
          max,
          timeWindow: ms,
          cache: KEYS_REMEMBERED,
          keyGenerator: keyOf(by)
        } as never)
      )
      const count = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
        const { remaining = 0, ttlInSeconds = 0, isExceeded } = await limiter(request)
        reply
          .header('ratelimit-policy', policy)
          .header('ratelimit', `"default";r=${remaining};t=${ttlInSeconds}`)
        if (isExceeded !== true) return
        throw withHeaders(new RateLimitExceeded(ttlInSeconds), { 'retry-after': String(ttlInSeconds) })
      }
      // Who calls is known only after auth, so a limit by caller counts later; where no route is, nobody asks who calls.
      return by === 'caller' && route.kind !== 'notFound'
        ? { preValidation: count }
        : { onRequest: warned(app, count) }
    })
  },
  { name: key, fastify: '5.x' }
)

/** Tells a route from all others: routes of the same path differ in methods or hosts. */
const nameOf = ({ name, path, methods, hosts }: RouteInfo): string =>
  JSON.stringify([name, path, methods, hosts])

/** Warns once where a proxy in front is not trusted: all its clients would share one count. */
function warned(
  app: FastifyInstance,
  count: (request: FastifyRequest, reply: FastifyReply) => Promise<void>
): typeof count {
  const told = app.keep.lease(app, `${key} told`, () => ({ once: false }))
  return (request, reply) => {
    if (!told.once && request.headers['x-forwarded-for'] !== undefined && !app.trusts(peerOf(request))) {
      told.once = true
      app.log.warn(
        'A request came with X-Forwarded-For from a peer that "trustedProxies" does not name: limits count the peer, not the client behind it'
      )
    }
    return count(request, reply)
  }
}

function keyOf(by: string): (request: FastifyRequest) => string {
  const address = (request: FastifyRequest): string => normalizeIP(addressOf(request), 64)
  if (by === 'ip') return address
  if (by === 'route') return () => ''
  if (by === 'caller')
    return (request) => (request.caller === null ? address(request) : `caller ${request.caller.id}`)
  const read = partReader(by)
  return (request) => {
    const value = read(request)
    return value === undefined || value === '' ? address(request) : `${by} ${value}`
  }
}
