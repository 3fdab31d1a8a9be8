import {
  BoundedMap,
  type CounterState,
  type Increment,
  type LocalCounter,
  nowMs,
  type Quota
} from './counters.ts'

/** A token bucket: refilled with `max` tokens per window, holding at most `burst`. */
export class TokenBucket implements LocalCounter {
  // Stores the tokens used instead of those left, so that the count survives a change of `burst`.
  readonly #keys = new BoundedMap<{ used: number; refilledAt: number }>()
  /** The quota of the last request; increments of other workers carry none. */
  #quota: Quota

  constructor(quota: Quota) {
    this.#quota = quota
  }

  hit(key: string, cost: number, quota: Quota): CounterState {
    this.#quota = quota
    const { burst } = quota
    const rate = this.#rate
    const entry = this.#refilled(key)
    const allowed = entry.used + cost <= burst
    if (allowed) entry.used += cost
    const tokens = burst - entry.used
    return {
      allowed,
      remaining: Math.max(0, Math.floor(tokens)),
      reset: Math.ceil(entry.used / rate),
      retryAfter: allowed ? 0 : Math.max(1, Math.ceil((cost - tokens) / rate))
    }
  }

  incrementOf(key: string, cost: number, { allowed }: CounterState): Increment | undefined {
    return allowed ? { key, cost, at: nowMs() } : undefined
  }

  applyIncrement({ key, cost }: Increment): void {
    const entry = this.#refilled(key)
    // Workers may overdraw the bucket together; the debt is limited to one bucket.
    entry.used = Math.min(2 * this.#quota.burst, entry.used + cost)
  }

  clear(): void {
    this.#keys.clear()
  }

  increments(): Increment[] {
    return this.#keys.entries().map(([key]) => ({ key, cost: this.#refilled(key).used, at: nowMs() }))
  }

  get #rate(): number {
    return this.#quota.max / this.#quota.window
  }

  /** Returns the bucket of a key, refilled up to now. */
  #refilled(key: string): { used: number; refilledAt: number } {
    const now = nowMs()
    const entry = this.#keys.get(key) ?? this.#keys.setNewest(key, { used: 0, refilledAt: now })
    entry.used = Math.max(0, entry.used - (now - entry.refilledAt) * this.#rate)
    entry.refilledAt = now
    return entry
  }
}
