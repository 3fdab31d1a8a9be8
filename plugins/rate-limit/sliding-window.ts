import {
  BoundedMap,
  type CounterState,
  type Increment,
  type LocalCounter,
  nowMs,
  type Quota
} from './counters.ts'

interface SlidingEntry {
  readonly index: number
  current: number
  previous: number
  /** When the last request of the current window was counted, and of the previous one. */
  lastInCurrent: number
  lastInPrevious: number
}

/**
 * Estimates the count of the last window: the part of the previous window that still overlaps it, plus the
 * current one. A count older than a window is ignored.
 */
export class SlidingWindow implements LocalCounter {
  readonly #keys = new BoundedMap<SlidingEntry>()
  readonly #window: number

  constructor({ window }: Quota) {
    this.#window = window
  }

  hit(key: string, cost: number, quota: Quota): CounterState {
    const { max, window } = quota
    const now = nowMs()
    const entry = this.#at(key, now)
    const passed = (now % window) / window
    if (now - entry.lastInPrevious > window) entry.previous = 0
    const allowed = entry.previous * (1 - passed) + entry.current + cost <= max
    // A refused request is not counted: a client slightly over the limit would never be allowed again.
    if (allowed && cost > 0) {
      entry.current += cost
      entry.lastInCurrent = now
    }
    return slidingState(allowed, entry, now, cost, quota)
  }

  incrementOf(key: string, cost: number, { allowed }: CounterState): Increment | undefined {
    return allowed ? { key, cost, at: nowMs() } : undefined
  }

  applyIncrement({ key, cost, at }: Increment): void {
    const existing = this.#keys.get(key)
    const index = Math.floor(at / this.#window)
    if (existing !== undefined && existing.index === index + 1) {
      existing.previous += cost
      existing.lastInPrevious = Math.max(existing.lastInPrevious, at)
    } else if (existing === undefined || existing.index <= index) {
      const entry = this.#at(key, at)
      entry.current += cost
      entry.lastInCurrent = Math.max(entry.lastInCurrent, at)
    }
  }

  clear(): void {
    this.#keys.clear()
  }

  increments(): Increment[] {
    return this.#keys
      .entries()
      .flatMap(
        ([key, { current: now, previous: before, lastInCurrent: last, lastInPrevious: lastBefore }]) => [
          { key, cost: before, at: lastBefore },
          { key, cost: now, at: last }
        ]
      )
  }

  /** Returns the entry of the window that contains `at`, and creates it if needed. */
  #at(key: string, at: number): SlidingEntry {
    const index = Math.floor(at / this.#window)
    const existing = this.#keys.get(key)
    if (existing !== undefined && existing.index === index) return existing
    const follows = existing?.index === index - 1 ? existing : undefined
    const start = index * this.#window
    return this.#keys.setNewest(key, {
      index,
      current: 0,
      previous: follows?.current ?? 0,
      lastInCurrent: start,
      lastInPrevious: follows?.lastInCurrent ?? start - this.#window
    })
  }
}

function slidingState(
  allowed: boolean,
  { previous: before, current: counted, lastInCurrent: last, lastInPrevious: lastBefore }: SlidingEntry,
  now: number,
  cost: number,
  { max, window }: Quota
): CounterState {
  const passed = (now % window) / window
  const remaining = Math.max(0, Math.floor(max - before * (1 - passed) - counted))
  const reset = Math.ceil((1 - passed + (counted > 0 ? 1 : 0)) * window)
  if (allowed) return { allowed, remaining, reset, retryAfter: 0 }
  const room = max - cost - counted
  // Room appears when enough of the previous window has passed, or in the next window when enough of this one has.
  const share = room >= 0 ? 1 - room / before - passed : 1 - passed + 1 - Math.max(0, max - cost) / counted
  const atMost = (room >= 0 ? lastBefore : last) + window - now + 1
  return { allowed, remaining, reset, retryAfter: Math.max(1, Math.min(atMost, Math.ceil(share * window))) }
}
