import { createHash } from 'node:crypto'
import rateLimit from '@fastify/rate-limit'
import fastify from 'fastify'
import { createError } from '../../src/kit/index.ts'
import { monotonic } from '../../src/lib/clock.ts'
import type { Peers } from '../../src/lib/contracts/peers.ts'
import { type Store, storeAway } from '../../src/lib/contracts/store.ts'
import { clientNetwork } from '../../src/lib/http/client-network.ts'
import { withHeaders } from '../../src/lib/refusals.ts'

/** Too many log-ins failed, from this address or for this name. */
export const LoginThrottled = createError(
  'SP_ERR_AUTH_THROTTLED',
  'Too many failed log-ins; wait before the next one',
  429
)

/** How many log-ins may fail within a window, before any hashing is done: from one address, and for one name from anywhere. */
const OF_AN_ADDRESS = 10
const OF_A_NAME = 50
const WINDOW = 300_000
const REMEMBERED = 10_000

const TOPIC = 'log-in'

/** The keys under which a log-in that failed is counted. */
interface Failed {
  readonly address: string
  readonly name: string
}

type Limiter = (
  asked: { key: string },
  how?: { increment: false }
) => Promise<{ remaining: number; ttlInSeconds: number }>

/** Keeps log-ins from being guessed: counts failed ones by address, an IPv6 client by its /64, and by name, whether there is such a user or not. The counting is @fastify/rate-limit's, in memory or in the store that gateways share. */
export class Throttle {
  readonly #store: Store
  readonly #engine: Promise<{ address: Limiter; name: Limiter; close(): Promise<void> }>
  readonly #running = new Map<string, Set<Promise<void>>>()
  readonly #tell: (failed: Failed) => unknown
  readonly #leave: () => void

  /** Opens it; workers without a store tell each other of log-ins that failed. */
  constructor(store: Store, peers: Peers | null) {
    this.#store = store
    this.#engine = openEngine(store)
    const others = store.shared === null ? peers : null
    this.#tell = (failed) => others?.tell(TOPIC, failed)
    // What failed before a worker began is not told: its count begins with it.
    this.#leave =
      others?.join<Failed>(TOPIC, { take: (failed) => void this.#count(failed), all: () => [] }) ?? (() => {})
  }

  /** Lets a log-in try; throws SP_ERR_AUTH_THROTTLED where its address or its name failed too often. As many as may still fail run at a time, so that a burst gets no more tries than a queue. */
  async attempt<T>(address: string, name: string, log: () => Promise<T | undefined>): Promise<T | undefined> {
    // Nobody guesses uncounted; a log-in could not be kept anyway.
    if (this.#store.shared?.up === false) throw storeAway()
    const limits = await this.#engine
    const from = { key: `ip ${clientNetwork(address)}` }
    const whose = {
      key: `name ${createHash('sha256').update(name.normalize().toLowerCase()).digest('base64url')}`
    }
    const running = this.#running.get(from.key) ?? new Set()
    for (;;) {
      const [byAddress, byName] = await Promise.all([
        limits.address(from, { increment: false }),
        limits.name(whose, { increment: false })
      ])
      if (byAddress.remaining === 0) throw throttled(byAddress.ttlInSeconds)
      if (byName.remaining === 0) throw throttled(byName.ttlInSeconds)
      if (running.size < byAddress.remaining) break
      await Promise.race(running)
    }
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    running.add(ended)
    this.#running.set(from.key, running)
    try {
      const found = await log()
      if (found === undefined) {
        const failed = { address: from.key, name: whose.key }
        await Promise.all([this.#count(failed), this.#tell(failed)])
      }
      return found
    } finally {
      running.delete(ended)
      if (running.size === 0) this.#running.delete(from.key)
      end()
    }
  }

  async #count({ address, name }: Failed): Promise<void> {
    const limits = await this.#engine
    await Promise.all([limits.address({ key: address }), limits.name({ key: name })])
  }

  /** Ends what it counts with. */
  async close(): Promise<void> {
    this.#leave()
    await (await this.#engine).close()
  }
}

interface Counted {
  current: number
  begins: number
}

type Counts = (error: null, counts: { current: number; ttl: number }) => void

/** Counts in memory as the vendor's own store does, but by a clock that is never set. */
class FailureCounts {
  readonly #counts = new Map<string, Counted>()

  incr(key: string, done: Counts, window: number): void {
    const now = monotonic()
    const known = this.#live(key, now, window)
    const entry = known ?? { current: 0, begins: now }
    entry.current++
    if (known === undefined) {
      this.#counts.delete(key)
      if (this.#counts.size >= REMEMBERED) this.#counts.delete(this.#counts.keys().next().value ?? '')
      this.#counts.set(key, entry)
    }
    done(null, { current: entry.current, ttl: entry.begins + window - now })
  }

  read(key: string, done: Counts, window: number): void {
    const now = monotonic()
    const known = this.#live(key, now, window)
    done(
      null,
      known === undefined
        ? { current: 0, ttl: 0 }
        : { current: known.current, ttl: known.begins + window - now }
    )
  }

  child(): FailureCounts {
    return new FailureCounts()
  }

  #live(key: string, now: number, window: number): Counted | undefined {
    const known = this.#counts.get(key)
    return known !== undefined && known.begins + window > now ? known : undefined
  }
}

// An instance of its own that no request goes through: the vendor's hooks would hold for all routes.
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
      timeWindow: WINDOW,
      keyGenerator: (asked: unknown) => (asked as { key: string }).key
    } as never) as unknown as (asked: unknown, how: unknown) => ReturnType<Limiter>
    const asked: Limiter = ({ key }, how) => limit({ key, routeOptions: {} }, how)
    return shared === null ? asked : (...about) => shared.ask(() => asked(...about))
  }
  return { address: limiter(OF_AN_ADDRESS), name: limiter(OF_A_NAME), close: () => engine.close() }
}

const throttled = (seconds: number): Error =>
  withHeaders(new LoginThrottled(), { 'retry-after': String(Math.max(1, seconds)) })
