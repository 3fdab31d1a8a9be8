import { monotonic } from '../../src/lib/clock.ts'

/** Returns monotonic time in whole milliseconds: a fraction would make a new window report one second too many. */
export const nowMs = (): number => Math.floor(monotonic())

/** The requests that a limit allows in a window. */
export interface Quota {
  readonly max: number
  /** Milliseconds. */
  readonly window: number
  /** The capacity of a token bucket; the window algorithms ignore it. */
  readonly burst: number
}

/** The state of a key after a request was counted; times are in milliseconds. */
export interface CounterState {
  readonly allowed: boolean
  readonly remaining: number
  /** Time until the full quota is available again. */
  readonly reset: number
  /** Time until the next request is allowed; 0 if this one was. */
  readonly retryAfter: number
}

/** Counts requests by key. The quota comes with each request, so that a new `max` or `burst` keeps the counts. */
export interface Counter {
  /** Counts a request; a cost of 0 tells the state and counts nothing. */
  hit(key: string, cost: number, quota: Quota): CounterState | Promise<CounterState>
}

/** One counted request, or several of one key, as workers send them to each other. */
export interface Increment {
  readonly key: string
  cost: number
  /** When the window began or the request came, by the machine's monotonic clock. */
  readonly at: number
}

/** A counter in the memory of this process that applies the increments of other processes. */
export interface LocalCounter extends Counter {
  hit(key: string, cost: number, quota: Quota): CounterState
  /** Describes a counted request for other processes; undefined if it consumed nothing. */
  incrementOf(key: string, cost: number, state: CounterState): Increment | undefined
  /** Adds what another process has counted. */
  applyIncrement(increment: Increment): void
  /** Lists the current counts. */
  increments(): Increment[]
  /** Forgets all counts. */
  clear(): void
}

// The maximum number of keys of one limit; beyond it the key with the oldest window is dropped.
const MAX_KEYS = 65_536

/** A map of at most MAX_KEYS entries; the oldest entry is dropped first. */
export class BoundedMap<T> {
  readonly #map = new Map<string, T>()

  get(key: string): T | undefined {
    return this.#map.get(key)
  }

  entries(): [string, T][] {
    return [...this.#map]
  }

  clear(): void {
    this.#map.clear()
  }

  /** Sets a value and makes the key the last one to be dropped. */
  setNewest(key: string, value: T): T {
    if (!this.#map.delete(key) && this.#map.size >= MAX_KEYS)
      this.#map.delete(this.#map.keys().next().value as string)
    this.#map.set(key, value)
    return value
  }
}
