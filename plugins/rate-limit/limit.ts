import { createHash, hash } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { RouteInfo } from '../../src/kit/index.ts'
import { type Caller, callerBy, callerIdentity, partReader, STRATEGIES } from '../../src/lib/caller.ts'
import { addressOf } from '../../src/lib/http/addresses.ts'
import { clientNetwork } from '../../src/lib/http/client-network.ts'
import { statusMatcher } from '../../src/lib/http/statuses.ts'
import { duration } from '../../src/lib/units.ts'
import { template } from '../../src/lib/values.ts'
import type { Counter, CounterState, Quota } from './counters.ts'
import { FixedWindow } from './fixed-window.ts'
import { type InFlight, LocalInFlight, SharedInFlight } from './in-flight.ts'
import type { QuotaOptions } from './options.ts'
import { PeerCounter } from './peers.ts'
import { sharedCounter } from './shared.ts'
import { SlidingWindow } from './sliding-window.ts'
import { TokenBucket } from './token-bucket.ts'

/** The quota of all clients of a limit, or of those with a role. */
export interface Tier {
  /** The member of the RateLimit-Policy header. */
  readonly policy: string
  readonly counter: Counter | undefined
  readonly quota: Quota
  /** The quota that a request is compared with before it counts: what is left after one more. */
  readonly before: Quota
  readonly inFlight: InFlight | undefined
  readonly maxInFlight: number
}

/** One limit of a route, compiled at boot. */
export interface Limit {
  readonly name: string
  /** Whether the limit depends on the caller, and so runs after auth. */
  readonly afterAuth: boolean
  readonly cost: number
  /** Returns whether a response of this status counts; undefined where every request does. */
  readonly countsStatus: ((status: number) => boolean) | undefined
  keyOf(request: FastifyRequest): string
  tierOf(request: FastifyRequest): Tier
}

/** The result of one limit for a request. */
export interface LimitResult {
  readonly name: string
  readonly policy: string
  readonly state: CounterState
}

/** Where a limit is defined: its scope, its name, and the route that it is compiled for. */
export interface LimitPlace {
  readonly scope: string
  readonly name: string
  readonly route: RouteInfo
}

const COUNTERS = { fixedWindow: FixedWindow, slidingWindow: SlidingWindow, tokenBucket: TokenBucket }

const CLAIMS = 'caller.claims.'

/** Returns whether a limit counts after auth, because it depends on the caller. */
export const isCountedAfterAuth = ({ by, tiers }: QuotaOptions): boolean =>
  by === 'caller' || by.startsWith(CLAIMS) || isStrategy(by) || Object.keys(tiers).length > 0

/**
 * Compiles one limit. Its counts survive a reload and a changed "max", and are shared by all gateways with the same
 * store; a changed window, algorithm or "by" starts a new count.
 */
export function compileLimit(app: FastifyInstance, place: LimitPlace, options: QuotaOptions): Limit {
  const { name, route } = place
  const { by, cost, count, tiers } = options
  const defaultTier = compileTier(app, place, options, '')
  const callerOf = callerReader(by)
  // The largest quota first, because it applies to a caller with several roles.
  const byRole = Object.entries(tiers)
    .map(([role, tier]) => [role, compileTier(app, place, { ...options, ...tier }, role)] as const)
    .sort(([, one], [, other]) => other.quota.max - one.quota.max)
  return {
    name,
    afterAuth: isCountedAfterAuth(options) && route.kind !== 'notFound',
    cost,
    countsStatus: count === undefined ? undefined : statusMatcher(count),
    keyOf: keyReader(by),
    tierOf:
      byRole.length === 0
        ? () => defaultTier
        : (request) => {
            const caller = callerOf(request)
            return (caller && byRole.find(([role]) => caller.roles.includes(role))?.[1]) ?? defaultTier
          }
  }
}

function compileTier(
  app: FastifyInstance,
  { scope, name, route }: LimitPlace,
  options: QuotaOptions,
  role: string
): Tier {
  const { by, algorithm, max, maxInFlight, cost, count } = options
  const { shared } = app.store
  const { peers } = app.resources
  const window = duration(options.window)
  const quota: Quota = { max: max ?? 0, window, burst: options.burst ?? max ?? 0 }
  const countedBy = by.startsWith('header:') ? by.toLowerCase() : by
  const scopeKey = [
    scope,
    name,
    countedBy,
    ...(by === 'route' ? [route.id] : []),
    ...(count === undefined ? [] : [count])
  ]
  const lease = <T>(
    kind: string,
    parts: readonly unknown[],
    create: (id: string) => T,
    close?: (value: T) => void
  ): T => {
    const key = JSON.stringify([kind, ...scopeKey, role, ...parts])
    const id = createHash('sha256').update(key).digest('base64url').slice(0, 16)
    const storeId = shared === null ? '' : shared.id
    return app.resources.lease(app, `rateLimit ${storeId} ${key}`, () => create(id), close)
  }
  const leaseCounter = (): Counter => {
    const parts = [algorithm, window]
    if (shared !== null) return lease('counter', parts, (id) => sharedCounter(shared, algorithm, id))
    if (peers === null) {
      const counter = lease('counter', parts, () => new COUNTERS[algorithm](quota))
      app.simulation?.onRenew(() => counter.clear())
      return counter
    }
    return lease(
      'counter',
      parts,
      (id) => new PeerCounter(new COUNTERS[algorithm](quota), peers, `rateLimit ${id}`),
      (counter) => counter.close()
    )
  }
  const leaseInFlight = (): InFlight => {
    if (shared === null) return lease('in flight', [], () => new LocalInFlight())
    return lease(
      'in flight',
      [],
      (id) => new SharedInFlight(shared, id),
      (inFlight) => inFlight.close()
    )
  }
  return {
    quota,
    before:
      algorithm === 'tokenBucket'
        ? { ...quota, burst: quota.burst - cost }
        : { ...quota, max: quota.max - cost },
    maxInFlight: maxInFlight ?? 0,
    policy: `"${name}";q=${quota.max};w=${Math.ceil(window / 1000)}`,
    counter: max === undefined ? undefined : leaseCounter(),
    inFlight: maxInFlight === undefined ? undefined : leaseInFlight()
  }
}

function keyReader(by: string): (request: FastifyRequest) => string {
  const address = (request: FastifyRequest): string => clientNetwork(addressOf(request))
  if (by === 'ip') return address
  if (by === 'route') return () => ''
  if (by.startsWith(CLAIMS)) {
    const read = callerValue(by)
    const byCaller = keyReader('caller')
    return (request) => {
      const value = read(request)
      return value === undefined || value === ''
        ? byCaller(request)
        : `claim ${hash('sha256', value, 'base64url')}`
    }
  }
  if (by === 'caller' || isStrategy(by)) {
    const callerOf = callerReader(by)
    return (request) => {
      const caller = callerOf(request)
      // The identity may be of any length.
      return caller ? `caller ${hash('sha256', callerIdentity(caller), 'base64url')}` : address(request)
    }
  }
  const read = partReader(by)
  return (request) => {
    const value = read(request)
    // The value may be secret and of any length; only its hash is stored.
    return value === undefined || value === ''
      ? address(request)
      : createHash('sha256').update(value).digest('base64url')
  }
}

/** Compiles the name of a claim into a function that reads it; undefined where the caller has none. */
function callerValue(by: string): (request: FastifyRequest) => string | undefined {
  const { renderWhole } = template(`{${by}}`)
  return (request) => renderWhole(request)
}

const isStrategy = (by: string): boolean => (STRATEGIES as readonly string[]).includes(by)

/** Compiles whom a limit judges: the caller that the strategy in `by` has found, else the caller of the request. */
const callerReader = (by: string): ((request: FastifyRequest) => Caller | null | undefined) =>
  isStrategy(by) ? (request) => callerBy(request, by) : ({ caller }) => caller
