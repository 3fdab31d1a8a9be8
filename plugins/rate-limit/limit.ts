import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { RouteInfo } from '../../src/kit/index.ts'
import { partReader } from '../../src/lib/caller.ts'
import { addressOf } from '../../src/lib/http/addresses.ts'
import { clientNetwork } from '../../src/lib/http/client-network.ts'
import { duration } from '../../src/lib/units.ts'
import {
  type Counter,
  type CounterState,
  FixedWindow,
  type Quota,
  SlidingWindow,
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
  readonly quota: Quota
  readonly inFlight: InFlight | undefined
  readonly maxInFlight: number
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
export interface LimitResult {
  readonly name: string
  readonly policy: string
  readonly standing: CounterState
}

const COUNTERS = { fixedWindow: FixedWindow, slidingWindow: SlidingWindow, tokenBucket: TokenBucket }

/** Whether a limit counts after auth, since it depends on the caller. */
export const isLate = ({ by, tiers }: QuotaOptions): boolean =>
  by === 'caller' || Object.keys(tiers).length > 0

/** Compiles one limit. What it counts outlives a reload and is known to every gateway with the same store, whatever its "max"; another window, algorithm or "by" begins anew. */
export function makeLimit(
  app: FastifyInstance,
  place: string,
  name: string,
  said: QuotaOptions,
  route: RouteInfo
): Limit {
  const { by, algorithm, cost, tiers } = said
  const counted = by.startsWith('header:') ? by.toLowerCase() : by
  const scope = [place, name, counted, ...(by === 'route' ? [route.id] : [])]
  const { shared } = app.store
  const { peers } = app.resources
  const make = (tier: Pick<QuotaOptions, 'max' | 'window' | 'burst' | 'maxInFlight'>, role: string): Tier => {
    const { max, maxInFlight = 0 } = tier
    const window = duration(tier.window)
    const quota: Quota = { max: max ?? 0, window, burst: tier.burst ?? max ?? 0 }
    const lease = <T>(
      what: string,
      where: readonly unknown[],
      made: (id: string) => T,
      end?: (value: T) => void
    ): T => {
      const key = JSON.stringify([what, ...scope, role, ...where])
      const id = createHash('sha256').update(key).digest('base64url').slice(0, 16)
      return app.resources.lease(
        app,
        `rateLimit ${shared === null ? '' : shared.id} ${key}`,
        () => made(id),
        end
      )
    }
    return {
      quota,
      maxInFlight,
      policy: `"${name}";q=${quota.max};w=${Math.ceil(window / 1000)}`,
      counter: max === undefined ? undefined : counterOf(quota),
      inFlight: tier.maxInFlight === undefined ? undefined : inFlightOf()
    }

    function counterOf(first: Quota): Counter {
      const where = [algorithm, window]
      if (shared !== null) return lease('counter', where, (id) => sharedCounter(shared, algorithm, id))
      if (peers === null) return lease('counter', where, () => new COUNTERS[algorithm](first))
      return lease(
        'counter',
        where,
        (id) => new PeerCounter(new COUNTERS[algorithm](first), peers, `rateLimit ${id}`),
        (kept) => kept.close()
      )
    }

    function inFlightOf(): InFlight {
      if (shared === null) return lease('in flight', [], () => new OwnInFlight())
      return lease(
        'in flight',
        [],
        (id) => new SharedInFlight(shared, id),
        (kept) => kept.close()
      )
    }
  }
  const everybody = make(said, '')
  // The largest first: it holds for who has several roles.
  const byRole = Object.entries(tiers)
    .map(([role, tier]) => [role, make({ ...said, ...tier }, role)] as const)
    .sort(([, one], [, other]) => other.quota.max - one.quota.max)
  return {
    name,
    late: isLate(said) && route.kind !== 'notFound',
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

function keyOf(by: string): (request: FastifyRequest) => string {
  const address = (request: FastifyRequest): string => clientNetwork(addressOf(request))
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
