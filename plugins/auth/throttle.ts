import { createHash } from 'node:crypto'
import rateLimit from '@fastify/rate-limit'
import fastify from 'fastify'
import { createError } from '../../src/kit/index.ts'
import { monotonic } from '../../src/lib/clock.ts'
import type { Peers } from '../../src/lib/contracts/peers.ts'
import { type Store, storeUnavailable } from '../../src/lib/contracts/store.ts'
import { clientNetwork } from '../../src/lib/http/client-network.ts'
import { withHeaders } from '../../src/lib/refusals.ts'

/** Too many log-ins failed from this address or for this name. */
export const LoginThrottled = createError(
  'SP_ERR_AUTH_THROTTLED',
  'Too many failed log-ins: try again later',
  429
)

const MAX_FAILURES_PER_ADDRESS = 10
const MAX_FAILURES_PER_NAME = 50
const WINDOW_MS = 300_000
const MAX_COUNTERS = 10_000

const TOPIC = 'log-in'

/** The keys under which a failed log-in is counted. */
interface Failure {
  readonly address: string
  readonly name: string
}

type Limiter = (
  counted: { key: string },
  mode?: { increment: false }
) => Promise<{ remaining: number; ttlInSeconds: number }>

/** Limits failed log-ins per address (IPv6: per /64) and per name, known or not. @fastify/rate-limit counts them, in memory or in the shared store. */
export class Throttle {
  readonly #store: Store
  readonly #engine: Promise<{ address: Limiter; name: Limiter; close(): Promise<void> }>
  readonly #running = new Map<string, Set<Promise<void>>>()
  readonly #replicate: (failure: Failure) => unknown
  readonly #leave: () => void

  /** Opens the counters; without a shared store, workers replicate failures to each other. */
  constructor(store: Store, peers: Peers | null) {
    this.#store = store
    this.#engine = openEngine(store)
    const others = store.shared === null ? peers : null
    this.#replicate = (failure) => others?.broadcast(TOPIC, failure)
    // A new worker starts with empty counters.
    this.#leave =
      others?.join<Failure>(TOPIC, { receive: (failure) => void this.#count(failure), snapshot: () => [] }) ??
      (() => {})
  }

  /** Runs a log-in, which resolves to undefined if it fails; throws SP_ERR_AUTH_THROTTLED if its address or its name failed too often. Only as many run at a time as may still fail, so that a burst gets no extra tries. */
  async attempt<T>(
    address: string,
    name: string,
    logIn: () => Promise<T | undefined>
  ): Promise<T | undefined> {
    // Without the store, failures could not be counted, nor the session stored.
    if (this.#store.shared?.up === false) throw storeUnavailable()
    const limits = await this.#engine
    const addressKey = { key: `ip ${clientNetwork(address)}` }
    const nameKey = {
      key: `name ${createHash('sha256').update(name.normalize().toLowerCase()).digest('base64url')}`
    }
    const running = this.#running.get(addressKey.key) ?? new Set()
    for (;;) {
      const [byAddress, byName] = await Promise.all([
        limits.address(addressKey, { increment: false }),
        limits.name(nameKey, { increment: false })
      ])
      if (byAddress.remaining === 0) throw throttled(byAddress.ttlInSeconds)
      if (byName.remaining === 0) throw throttled(byName.ttlInSeconds)
      if (running.size < byAddress.remaining) break
      await Promise.race(running)
    }
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    running.add(ended)
    this.#running.set(addressKey.key, running)
    try {
      const found = await logIn()
      if (found === undefined) {
        const failure = { address: addressKey.key, name: nameKey.key }
        await Promise.all([this.#count(failure), this.#replicate(failure)])
      }
      return found
    } finally {
      running.delete(ended)
      if (running.size === 0) this.#running.delete(addressKey.key)
      end()
    }
  }

  async #count({ address, name }: Failure): Promise<void> {
    const limits = await this.#engine
    await Promise.all([limits.address({ key: address }), limits.name({ key: name })])
  }

  /** Closes the counters. */
  async close(): Promise<void> {
    this.#leave()
    await (await this.#engine).close()
  }
}

interface Counter {
  current: number
  startedAt: number
}

type Counts = (error: null, counts: { current: number; ttl: number }) => void

/** Counts in memory like @fastify/rate-limit's own store, but by the monotonic clock. */
class FailureCounts {
  readonly #counts = new Map<string, Counter>()

  incr(key: string, done: Counts, window: number): void {
    const now = monotonic()
    const known = this.#live(key, now, window)
    const entry = known ?? { current: 0, startedAt: now }
    entry.current++
    if (known === undefined) {
      this.#counts.delete(key)
      if (this.#counts.size >= MAX_COUNTERS) this.#counts.delete(this.#counts.keys().next().value ?? '')
      this.#counts.set(key, entry)
    }
    done(null, { current: entry.current, ttl: entry.startedAt + window - now })
  }

  read(key: string, done: Counts, window: number): void {
    const now = monotonic()
    const known = this.#live(key, now, window)
    done(
      null,
      known === undefined
        ? { current: 0, ttl: 0 }
        : { current: known.current, ttl: known.startedAt + window - now }
    )
  }

  child(): FailureCounts {
    return new FailureCounts()
  }

  #live(key: string, now: number, window: number): Counter | undefined {
    const known = this.#counts.get(key)
    return known !== undefined && known.startedAt + window > now ? known : undefined
  }
}

// A Fastify instance without requests, since the hooks of @fastify/rate-limit would apply to all routes.
async function openEngine({
  shared
}: Store): Promise<{ address: Limiter; name: Limiter; close(): Promise<void> }> {
  const engine = fastify()
  await engine.register(rateLimit, {
    global: false,
    ...(shared === null
      ? { store: FailureCounts as never }
      : { redis: shared.client, nameSpace: `${shared.prefix}login:` })
  })
  await engine.ready()
  const limiter = (max: number): Limiter => {
    const limit = engine.createRateLimit({
      max,
      timeWindow: WINDOW_MS,
      keyGenerator: (counted: unknown) => (counted as { key: string }).key
    } as never) as unknown as (counted: unknown, mode: unknown) => ReturnType<Limiter>
    const count: Limiter = ({ key }, mode) => limit({ key, routeOptions: {} }, mode)
    return shared === null ? count : (...args) => shared.run(() => count(...args))
  }
  return {
    address: limiter(MAX_FAILURES_PER_ADDRESS),
    name: limiter(MAX_FAILURES_PER_NAME),
    close: () => engine.close()
  }
}

const throttled = (seconds: number): Error =>
  withHeaders(new LoginThrottled(), { 'retry-after': String(Math.max(1, seconds)) })
