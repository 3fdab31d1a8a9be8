import type { FastifyBaseLogger } from 'fastify'
import { monotonic, startTimer, stopTimer, type Timer } from '../../src/lib/clock.ts'
import { duration } from '../../src/lib/units.ts'
import { Breaker } from './breaker.ts'
import type { BreakerOptions, EjectOptions } from './health-options.ts'

// Repeated ejections last longer, up to this multiple of `for`, as in Envoy's outlier detection.
const MAX_EJECTION_FACTOR = 10

/** The health of a target: active checks, ejection and circuit breaker. It survives a reload. */
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
  #returnTimer: Timer | undefined
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
        : new Breaker(breaker, (breakerState) => this.#changed(`breaker ${breakerState}`))
  }

  /** Whether the target may get requests, apart from its circuit breaker. */
  get isEligible(): boolean {
    return this.#healthy && !this.#ejected
  }

  /** Whether the active checks pass; true without checks. */
  get healthy(): boolean {
    return this.#healthy
  }

  get ejected(): boolean {
    return this.#ejected
  }

  /** Whether the circuit breaker is closed; true without one. */
  get breakerClosed(): boolean {
    return this.#breaker === undefined || this.#breaker.state === 'closed'
  }

  /** Whether the circuit breaker blocks all requests. */
  get breakerOpen(): boolean {
    return this.#breaker?.state === 'open'
  }

  /** Whether the target accepts one more request now. */
  get admits(): boolean {
    return this.#breaker?.admits ?? true
  }

  /** Milliseconds until the circuit breaker becomes half-open; 0 unless it is open. */
  get breakerRemaining(): number {
    return this.#breaker?.remaining ?? 0
  }

  /** When the target was added or recovered, in milliseconds of the monotonic clock; 0 if it was there from the start. */
  get since(): number {
    return this.#since
  }

  /** Starts the slow start of a target that was added or recovered. */
  startSlowly(): void {
    this.#since = monotonic()
  }

  /** Calls `changed` on every change; returns a function that stops it. */
  watch(changed: () => void): () => void {
    this.#watchers.add(changed)
    return () => void this.#watchers.delete(changed)
  }

  /** Registers a request; returns whether it is the probe of a half-open circuit breaker. */
  acquire(): boolean {
    return this.#breaker?.acquire() ?? false
  }

  /** Frees the probe's slot after a request without a result. */
  abandon(probe: boolean): void {
    if (probe) this.#breaker?.abandon()
  }

  /** Records the result of a request; `canEject` is asked before the target is ejected. */
  report(ok: boolean, probe: boolean, canEject: () => boolean): void {
    this.#breaker?.report(ok, probe)
    const eject = this.#eject
    if (eject === undefined) return
    if (ok) {
      this.#failures = 0
      if (!this.#ejected && this.#ejections > 0 && this.#hasRecovered(eject)) this.#ejections = 0
    } else if (++this.#failures >= eject.failures && !this.#ejected && canEject()) this.#ejectTarget(eject)
  }

  /** Records the result of the active checks. */
  setHealthy(healthy: boolean): void {
    if (this.#healthy === healthy) return
    this.#healthy = healthy
    if (healthy) this.startSlowly()
    this.#changed(healthy ? 'healthy' : 'unhealthy')
  }

  stop(): void {
    stopTimer(this.#returnTimer)
    this.#breaker?.stop()
  }

  // After as long without failures as it was ejected, a target's earlier ejections are forgotten.
  #hasRecovered(eject: EjectOptions): boolean {
    return monotonic() - this.#since > duration(eject.for)
  }

  #ejectTarget(eject: EjectOptions): void {
    this.#ejected = true
    this.#failures = 0
    this.#ejections = Math.min(this.#ejections + 1, MAX_EJECTION_FACTOR)
    this.#returnTimer = startTimer(() => {
      this.#ejected = false
      this.startSlowly()
      this.#changed('back')
    }, duration(eject.for) * this.#ejections)
    this.#returnTimer.unref()
    this.#changed('ejected')
  }

  #changed(state: keyof typeof MESSAGES): void {
    const level = IMPROVED.has(state) ? 'info' : 'warn'
    this.#log[level]({ target: this.#name, state }, MESSAGES[state])
    for (const notify of this.#watchers) notify()
  }
}

const MESSAGES = {
  healthy: 'target recovered',
  unhealthy: 'target unhealthy',
  back: 'target recovered',
  ejected: 'target ejected',
  'breaker open': 'circuit breaker opened',
  'breaker half-open': 'circuit breaker half-open',
  'breaker closed': 'circuit breaker closed'
} as const

const IMPROVED: ReadonlySet<string> = new Set(['healthy', 'back', 'breaker closed'])
