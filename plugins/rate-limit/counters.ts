import { monotonic } from '../../src/lib/clock.ts'

/** Whole milliseconds, so that a window that has just begun is no fraction longer than it is. */
const ticks = (): number => Math.floor(monotonic())

/** How much of what passes in which time. */
export interface Quota {
  readonly max: number
  /** Milliseconds. */
  readonly window: number
  /** How many may come at once, where tokens are counted. */
  readonly burst: number
}

/** Where a key stands after a request of it was counted; times in milliseconds. */
export interface CounterState {
  readonly allowed: boolean
  readonly remaining: number
  /** Until all of the quota is there again. */
  readonly reset: number
  /** Until the next request may come; 0 where this one passed. */
  readonly wait: number
}

/** Counts requests by key; what it has counted stays when the next request comes with another `max` or `burst`. */
export interface Counter {
  hit(key: string, cost: number, quota: Quota): CounterState | Promise<CounterState>
}

/** What was counted of a key, for a worker that counts the same. */
export interface Increment {
  readonly key: string
  cost: number
  /** When its window began, or when it came, by the monotonic clock of the machine. */
  readonly at: number
}

/** Counts in the memory of this process, and takes what others have counted. */
export interface OwnCounter extends Counter {
  hit(key: string, cost: number, quota: Quota): CounterState
  /** Describes a request that was counted; undefined for one that takes no room. */
  noted(key: string, cost: number, standing: CounterState): Increment | undefined
  /** Takes what another process has counted. */
  note(noted: Increment): void
  /** Lists what is counted now. */
  all(): Increment[]
}

// How many keys one limit remembers at most; beyond that the one whose window began first is forgotten.
const KEYS_REMEMBERED = 65_536

/** Keeps what is known of keys, bounded; the oldest go first. */
class Keys<T> {
  readonly #entries = new Map<string, T>()

  get(key: string): T | undefined {
    return this.#entries.get(key)
  }

  entries(): [string, T][] {
    return [...this.#entries]
  }

  /** Puts a key at the end of those that may be forgotten. */
  renew(key: string, value: T): T {
    if (!this.#entries.delete(key) && this.#entries.size >= KEYS_REMEMBERED)
      this.#entries.delete(this.#entries.keys().next().value as string)
    this.#entries.set(key, value)
    return value
  }
}

/** Counts in windows that begin with the first request of a key. */
export class FixedWindow implements OwnCounter {
  readonly #keys = new Keys<{ count: number; readonly ends: number }>()
  readonly #window: number

  constructor({ window }: Quota) {
    this.#window = window
  }

  hit(key: string, cost: number, { max, window }: Quota): CounterState {
    const now = ticks()
    const known = this.#keys.get(key)
    const entry =
      known !== undefined && known.ends > now
        ? known
        : this.#keys.renew(key, { count: 0, ends: now + window })
    entry.count += cost
    const reset = entry.ends - now
    const allowed = entry.count <= max
    return { allowed, remaining: allowed ? max - entry.count : 0, reset, wait: allowed ? 0 : reset }
  }

  noted(key: string, cost: number, { reset }: CounterState): Increment {
    return { key, cost, at: ticks() + reset - this.#window }
  }

  note({ key, cost, at }: Increment): void {
    const known = this.#keys.get(key)
    const ends = at + this.#window
    if (known !== undefined && known.ends > ticks()) known.count += cost
    else if (ends > ticks()) this.#keys.renew(key, { count: cost, ends })
  }

  all(): Increment[] {
    return this.#keys
      .entries()
      .map(([key, { count, ends }]) => ({ key, cost: count, at: ends - this.#window }))
  }
}

interface Slide {
  readonly index: number
  now: number
  before: number
  /** When the last one was counted in this window, and in the one before. */
  last: number
  lastBefore: number
}

/** Counts over the last window, as the share of the window before that still lies in it plus what came in this one. What came longer ago than a window counts no more, whatever its share. */
export class SlidingWindow implements OwnCounter {
  readonly #keys = new Keys<Slide>()
  readonly #window: number

  constructor({ window }: Quota) {
    this.#window = window
  }

  hit(key: string, cost: number, quota: Quota): CounterState {
    const { max, window } = quota
    const now = ticks()
    const entry = this.#at(key, now)
    const passed = (now % window) / window
    if (now - entry.lastBefore > window) entry.before = 0
    const allowed = entry.before * (1 - passed) + entry.now + cost <= max
    // What is refused takes no room: who asks a little too often would never get in again.
    if (allowed) {
      entry.now += cost
      entry.last = now
    }
    return slidingStanding(allowed, entry, now, cost, quota)
  }

  noted(key: string, cost: number, { allowed }: CounterState): Increment | undefined {
    return allowed ? { key, cost, at: ticks() } : undefined
  }

  note({ key, cost, at }: Increment): void {
    const known = this.#keys.get(key)
    const index = Math.floor(at / this.#window)
    if (known !== undefined && known.index === index + 1) {
      known.before += cost
      known.lastBefore = Math.max(known.lastBefore, at)
    } else if (known === undefined || known.index <= index) {
      const entry = this.#at(key, at)
      entry.now += cost
      entry.last = Math.max(entry.last, at)
    }
  }

  all(): Increment[] {
    return this.#keys.entries().flatMap(([key, { now, before, last, lastBefore }]) => [
      { key, cost: before, at: lastBefore },
      { key, cost: now, at: last }
    ])
  }

  /** Finds what is counted of a key in the window of a moment. */
  #at(key: string, at: number): Slide {
    const index = Math.floor(at / this.#window)
    const known = this.#keys.get(key)
    if (known !== undefined && known.index === index) return known
    const follows = known?.index === index - 1 ? known : undefined
    const start = index * this.#window
    return this.#keys.renew(key, {
      index,
      now: 0,
      before: follows?.now ?? 0,
      last: start,
      lastBefore: follows?.last ?? start - this.#window
    })
  }
}

function slidingStanding(
  allowed: boolean,
  { before, now: counted, last, lastBefore }: Slide,
  now: number,
  cost: number,
  { max, window }: Quota
): CounterState {
  const passed = (now % window) / window
  const remaining = Math.max(0, Math.floor(max - before * (1 - passed) - counted))
  const reset = Math.ceil((1 - passed + (counted > 0 ? 1 : 0)) * window)
  if (allowed) return { allowed, remaining, reset, wait: 0 }
  const room = max - cost - counted
  // Either enough of the window before has left within this one, or of this one within the next; all of it has after a window.
  const share = room >= 0 ? 1 - room / before - passed : 1 - passed + 1 - Math.max(0, max - cost) / counted
  const atMost = (room >= 0 ? lastBefore : last) + window - now + 1
  return { allowed, remaining, reset, wait: Math.max(1, Math.min(atMost, Math.ceil(share * window))) }
}

/** Counts tokens, which come back at a steady rate: `max` in a window, `burst` of them at once. */
export class TokenBucket implements OwnCounter {
  // What was taken and has not come back is kept, not what is there, so that it outlives a change of the burst.
  readonly #keys = new Keys<{ taken: number; seen: number }>()
  /** The one of the last request; what other workers tell comes without. */
  #quota: Quota

  constructor(quota: Quota) {
    this.#quota = quota
  }

  hit(key: string, cost: number, quota: Quota): CounterState {
    this.#quota = quota
    const { burst } = quota
    const rate = this.#rate
    const entry = this.#refilled(key)
    const allowed = entry.taken + cost <= burst
    if (allowed) entry.taken += cost
    const tokens = burst - entry.taken
    return {
      allowed,
      remaining: Math.max(0, Math.floor(tokens)),
      reset: Math.ceil(entry.taken / rate),
      wait: allowed ? 0 : Math.max(1, Math.ceil((cost - tokens) / rate))
    }
  }

  noted(key: string, cost: number, { allowed }: CounterState): Increment | undefined {
    return allowed ? { key, cost, at: ticks() } : undefined
  }

  note({ key, cost }: Increment): void {
    const entry = this.#refilled(key)
    // What several workers let through at a time is owed, up to a bucket.
    entry.taken = Math.min(2 * this.#quota.burst, entry.taken + cost)
  }

  all(): Increment[] {
    return this.#keys.entries().map(([key]) => ({ key, cost: this.#refilled(key).taken, at: ticks() }))
  }

  get #rate(): number {
    return this.#quota.max / this.#quota.window
  }

  /** Finds the bucket of a key, with the tokens that have come back since it was seen. */
  #refilled(key: string): { taken: number; seen: number } {
    const now = ticks()
    const entry = this.#keys.get(key) ?? this.#keys.renew(key, { taken: 0, seen: now })
    entry.taken = Math.max(0, entry.taken - (now - entry.seen) * this.#rate)
    entry.seen = now
    return entry
  }
}
