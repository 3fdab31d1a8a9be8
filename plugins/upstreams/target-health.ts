import type { FastifyBaseLogger } from 'fastify'
import { monotonic } from '../../src/lib/clock.ts'
import { duration, LONGEST_TIMER } from '../../src/lib/units.ts'
import { Breaker } from './breaker.ts'
import type { BreakerOptions, EjectOptions } from './options.ts'

// A target that fails again and again stays out longer each time, as in Envoy's outlier detection.
const MAX_EJECTION_FACTOR = 10

/** How a target fares: what the checks say, what its answers say, and its circuit breaker; it outlives a reload. */
export class TargetHealth {
  readonly #name: string
  readonly #log: FastifyBaseLogger
  readonly #eject: EjectOptions | undefined
  readonly #breaker: Breaker | undefined
  readonly #watchers = new Set<() => void>()
  #healthy = true
  #ejected = false
  #failures = 0
  #ejections = 0
  #returnTimer: NodeJS.Timeout | undefined
  #since = 0

  constructor(
    name: string,
    log: FastifyBaseLogger,
    eject: EjectOptions | undefined,
    breaker: BreakerOptions | undefined
  ) {
    this.#name = name
    this.#log = log
    this.#eject = eject
    this.#breaker =
      breaker === undefined
        ? undefined
        : new Breaker(breaker, () => {
            this.#changed(`breaker ${this.#breaker?.state}`, this.#breaker?.state === 'closed')
          })
  }

  /** Whether nothing speaks against it but perhaps its breaker. */
  get isEligible(): boolean {
    return this.#healthy && !this.#ejected
  }

  /** Whether the checks, if there are any, find it well. */
  get healthy(): boolean {
    return this.#healthy
  }

  get ejected(): boolean {
    return this.#ejected
  }

  /** Whether its breaker, if it has one, lets all requests through. */
  get breakerClosed(): boolean {
    return this.#breaker === undefined || this.#breaker.state === 'closed'
  }

  /** Whether its breaker keeps all requests from it. */
  get breakerOpen(): boolean {
    return this.#breaker?.state === 'open'
  }

  /** Whether it takes one more request now. */
  get admits(): boolean {
    return this.#breaker?.admits ?? true
  }

  /** Milliseconds until it may be tried again; 0 where nothing tells. */
  get breakerRemaining(): number {
    return this.#breaker?.remaining ?? 0
  }

  /** When it came, or came back, in milliseconds by the monotonic clock; 0 for one that was there from the beginning. */
  get since(): number {
    return this.#since
  }

  /** Marks it as one that has just come, for a slow start. */
  startSlowly(): void {
    this.#since = monotonic()
  }

  /** Calls back whenever it changes, until the returned function is called. */
  watch(changed: () => void): () => void {
    this.#watchers.add(changed)
    return () => void this.#watchers.delete(changed)
  }

  /** Notes that a request is sent; tells whether it tries a target whose breaker is half-open. */
  acquire(): boolean {
    return this.#breaker?.acquire() ?? false
  }

  /** Notes a request that was left before it told anything. */
  abandon(probe: boolean): void {
    if (probe) this.#breaker?.abandon()
  }

  /** Notes how a request went; `mayEject` is asked before the target is taken out. */
  report(ok: boolean, probe: boolean, mayEject: () => boolean): void {
    this.#breaker?.report(ok, probe)
    const eject = this.#eject
    if (eject === undefined) return
    if (ok) {
      this.#failures = 0
      if (!this.#ejected && this.#ejections > 0 && this.#hasRecovered(eject)) this.#ejections = 0
    } else if (++this.#failures >= eject.failures && !this.#ejected && mayEject()) this.#ejectTarget(eject)
  }

  /** Notes what the checks say. */
  setHealthy(healthy: boolean): void {
    if (this.#healthy === healthy) return
    this.#healthy = healthy
    if (healthy) this.startSlowly()
    this.#changed(healthy ? 'healthy' : 'unhealthy', healthy)
  }

  stop(): void {
    clearTimeout(this.#returnTimer)
    this.#breaker?.stop()
  }

  // One that has done well for as long as it was out is trusted like any other.
  #hasRecovered(eject: EjectOptions): boolean {
    return monotonic() - this.#since > duration(eject.for)
  }

  #ejectTarget(eject: EjectOptions): void {
    this.#ejected = true
    this.#failures = 0
    this.#ejections = Math.min(this.#ejections + 1, MAX_EJECTION_FACTOR)
    this.#returnTimer = setTimeout(
      () => {
        this.#ejected = false
        this.startSlowly()
        this.#changed('back', true)
      },
      Math.min(duration(eject.for) * this.#ejections, LONGEST_TIMER)
    )
    this.#returnTimer.unref()
    this.#changed('ejected', false)
  }

  #changed(state: string, good: boolean): void {
    this.#log[good ? 'info' : 'warn']({ target: this.#name, state }, 'the condition of a target has changed')
    for (const changed of this.#watchers) changed()
  }
}
