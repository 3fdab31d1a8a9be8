import {
  BoundedMap,
  type CounterState,
  type Increment,
  type LocalCounter,
  nowMs,
  type Quota
} from './counters.ts'

/** Counts in windows that begin with the first request of a key. */
export class FixedWindow implements LocalCounter {
  readonly #keys = new BoundedMap<{ count: number; readonly expires: number }>()
  readonly #window: number

  constructor({ window }: Quota) {
    this.#window = window
  }

  hit(key: string, cost: number, { max, window }: Quota): CounterState {
    const now = nowMs()
    const existing = this.#keys.get(key)
    const entry =
      existing !== undefined && existing.expires > now
        ? existing
        : this.#keys.setNewest(key, { count: 0, expires: now + window })
    entry.count += cost
    const reset = entry.expires - now
    const allowed = entry.count <= max
    return { allowed, remaining: allowed ? max - entry.count : 0, reset, retryAfter: allowed ? 0 : reset }
  }

  incrementOf(key: string, cost: number, { reset }: CounterState): Increment {
    return { key, cost, at: nowMs() + reset - this.#window }
  }

  applyIncrement({ key, cost, at }: Increment): void {
    const existing = this.#keys.get(key)
    const expires = at + this.#window
    if (existing !== undefined && existing.expires > nowMs()) existing.count += cost
    else if (expires > nowMs()) this.#keys.setNewest(key, { count: cost, expires })
  }

  clear(): void {
    this.#keys.clear()
  }

  increments(): Increment[] {
    return this.#keys
      .entries()
      .map(([key, { count, expires }]) => ({ key, cost: count, at: expires - this.#window }))
  }
}
