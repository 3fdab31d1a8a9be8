import { getOrCreate } from '../../src/lib/memoize.ts'

/** A body that may be idle for some time only. */
export interface WatchedBody {
  /** The tick at which a byte came last. */
  lastActiveTick: number
  /** Whether it waits for the client, which is not the upstream's fault. */
  readonly paused: boolean
  onIdle(): void
}

// How many times a body is looked at before it counts as idle: a quarter of the time is exact enough.
const TICKS_PER_TIMEOUT = 4
const MIN_TICK_MS = 5

/** Watches bodies that may not be idle for longer than some time: one timer for all of them, which costs a chunk nothing. */
export class IdleTimeout {
  tick = 0
  readonly #bodies = new Set<WatchedBody>()
  readonly #tickMs: number
  #timer: NodeJS.Timeout | undefined

  constructor(ms: number) {
    this.#tickMs = Math.max(MIN_TICK_MS, Math.ceil(ms / TICKS_PER_TIMEOUT))
  }

  add(body: WatchedBody): void {
    body.lastActiveTick = this.tick
    this.#bodies.add(body)
    if (this.#timer === undefined) {
      this.#timer = setInterval(() => this.#onTick(), this.#tickMs)
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
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

const timeoutsByMs = new Map<number, IdleTimeout>()

/** Returns the watch for a time in milliseconds; undefined for 0, which is no limit. */
export const idleTimeoutFor = (ms: number): IdleTimeout | undefined =>
  ms === 0 ? undefined : getOrCreate(timeoutsByMs, ms, () => new IdleTimeout(ms))
