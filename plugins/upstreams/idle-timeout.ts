import { startInterval, stopTimer, type Timer } from '../../src/lib/clock.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'

/** A response body with an idle timeout. */
export interface WatchedBody {
  /** The tick at which the last byte arrived. */
  lastActiveTick: number
  /** Whether reading is paused for the client: that time does not count. */
  readonly paused: boolean
  onIdle(): void
}

// The timeout is exact to a quarter of its length.
const TICKS_PER_TIMEOUT = 4
const MIN_TICK_MS = 5

/** Ends bodies that are idle for too long. One interval timer serves all bodies, so a chunk costs one assignment. */
export class IdleTimeout {
  tick = 0
  readonly #bodies = new Set<WatchedBody>()
  readonly #tickMs: number
  #timer: Timer | undefined

  constructor(ms: number) {
    this.#tickMs = Math.max(MIN_TICK_MS, Math.ceil(ms / TICKS_PER_TIMEOUT))
  }

  add(body: WatchedBody): void {
    body.lastActiveTick = this.tick
    this.#bodies.add(body)
    if (this.#timer === undefined) {
      this.#timer = startInterval(() => this.#onTick(), this.#tickMs)
      this.#timer.unref()
    }
  }

  delete(body: WatchedBody): void {
    this.#bodies.delete(body)
  }

  #onTick(): void {
    this.tick++
    for (const body of this.#bodies)
      if (body.paused) body.lastActiveTick = this.tick
      else if (this.tick - body.lastActiveTick > TICKS_PER_TIMEOUT) {
        this.#bodies.delete(body)
        body.onIdle()
      }
    if (this.#bodies.size > 0) return
    stopTimer(this.#timer)
    this.#timer = undefined
  }
}

const timeoutsByMs = new Map<number, IdleTimeout>()

/** Returns the shared idle timeout for a number of milliseconds; undefined for 0, which is no limit. */
export const idleTimeoutFor = (ms: number): IdleTimeout | undefined =>
  ms === 0 ? undefined : getOrCreate(timeoutsByMs, ms, () => new IdleTimeout(ms))
