import { createHash } from 'node:crypto'
import { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { addressOf, duration, partReader, type RouteInfo } from '../../src/kit/index.ts'
import {
  type Counter,
  FixedWindow,
  type OwnCounter,
  type Quota,
  SlidingWindow,
  type Standing,
  TokenBucket
} from './counters.ts'
import { type InFlight, OwnInFlight, SharedInFlight } from './in-flight.ts'
import type { QuotaOptions } from './options.ts'
import { PeerCounter } from './peers.ts'
import { sharedCounter } from './shared.ts'

/** What one limit lets through: of everybody, or of those with a role. */
export interface Tier {
  /** What RateLimit-Policy says of it. */
  readonly policy: string
  readonly counter: Counter | undefined
  readonly inFlight: InFlight | undefined
  readonly max: number
}

/** One limit on a route, compiled at boot. */
export interface Limit {
  readonly name: string
  /** Whether it has to know who calls. */
  readonly late: boolean
  readonly cost: number
  keyOf(request: FastifyRequest): string
  tierOf(request: FastifyRequest): Tier
}

/** What a request was told of one limit. */
export interface Seen {
  readonly name: string
  readonly policy: string
  readonly standing: Standing
}

const COUNTERS = { fixedWindow: FixedWindow, slidingWindow: SlidingWindow, tokenBucket: TokenBucket }

/** Compiles one limit; what it counts outlives a reload for as long as the same words stand at the same place. */
export function makeLimit(
  app: FastifyInstance,
  place: string,
  name: string,
  said: QuotaOptions,
  route: RouteInfo
): Limit {
  const { by, algorithm, cost, tiers } = said
  const scope = `${place} ${name}${by === 'route' ? ` ${nameOf(route)}` : ''}`
  const { shared } = app.store
  const { peers } = app.keep
  const make = (tier: Pick<QuotaOptions, 'max' | 'window' | 'burst' | 'maxInFlight'>, role: string): Tier => {
    const { max, maxInFlight } = tier
    const window = duration(tier.window)
    const quota: Quota = { max: max ?? 0, window, burst: tier.burst ?? max ?? 0 }
    // The same words at the same place are one count, in every gateway that shares the store.
    const where = [scope, role, by, algorithm, quota.max, window, quota.burst, maxInFlight].join(' ')
    const id = createHash('sha256').update(where).digest('base64url').slice(0, 16)
    const lease = <T>(what: string, made: () => T, end?: (value: T) => void): T =>
      app.keep.lease(app, `rateLimit ${what} ${shared === null ? '' : shared.id} ${where}`, made, end)
    const leaseOwn = (made: () => OwnCounter, topic: string): Counter =>
      peers === null
        ? lease('counter', made)
        : lease(
            'counter',
            () => new PeerCounter(made(), peers, `rateLimit ${topic}`),
            (kept) => kept.close()
          )
    return {
      max: quota.max,
      policy: `"${name}";q=${quota.max};w=${Math.ceil(window / 1000)}`,
      counter:
        max === undefined
          ? undefined
          : shared === null
            ? leaseOwn(() => new COUNTERS[algorithm](quota), id)
            : lease('counter', () => sharedCounter(shared, algorithm, id, quota)),
      inFlight:
        maxInFlight === undefined
          ? undefined
          : shared === null
            ? lease('in flight', () => new OwnInFlight(maxInFlight))
            : lease(
                'in flight',
                () => new SharedInFlight(shared, id, maxInFlight),
                (kept) => kept.close()
              )
    }
  }
  const everybody = make(said, '')
  // The largest first: it holds for who has several roles.
  const byRole = Object.entries(tiers)
    .map(([role, tier]) => [role, make({ ...said, ...tier }, role)] as const)
    .sort(([, one], [, other]) => other.max - one.max)
  return {
    name,
    late: (by === 'caller' || byRole.length > 0) && route.kind !== 'notFound',
    cost,
    keyOf: keyOf(by),
    tierOf:
      byRole.length === 0
        ? () => everybody
        : ({ caller }) =>
            (caller === null ? undefined : byRole.find(([role]) => caller.roles.includes(role))?.[1]) ??
            everybody
  }
}

/** Tells a route from all others: routes of the same path differ in methods or hosts. */
const nameOf = ({ name, path, methods, hosts }: RouteInfo): string =>
  JSON.stringify([name, path, methods, hosts])

function keyOf(by: string): (request: FastifyRequest) => string {
  const address = (request: FastifyRequest): string => {
    const ip = addressOf(request)
    return ip.includes(':') ? normalizeIP(ip, 64) : ip
  }
  if (by === 'ip') return address
  if (by === 'route') return () => ''
  if (by === 'caller')
    return (request) => (request.caller === null ? address(request) : `caller ${request.caller.id}`)
  const read = partReader(by)
  return (request) => {
    const value = read(request)
    // It may be a secret, and as long as a client likes: what is kept is neither.
    return value === undefined || value === ''
      ? address(request)
      : createHash('sha256').update(value).digest('base64url')
  }
}
