import { errors } from 'undici'
import { MAX_TIMER_MS } from '../../../src/lib/clock.ts'

/** The time limit for response headers, which only runs while the gateway waits for the upstream. It reuses one timer. */
export class HeadersTimeout {
  readonly #onTimeout: (error: Error) => void
  #timer: NodeJS.Timeout | undefined
  #ms = 0
  #isRunning = false
  // Counts the starts, to recognize a timer that belongs to an earlier one.
  #generation = 0

  /** Calls `onTimeout` with the error when the time is up. */
  constructor(over: (error: Error) => void) {
    this.#onTimeout = over
  }

  /** Starts the timeout anew; 0 means no limit. */
  start(ms: number): void {
    if (ms === 0) return
    this.#isRunning = true
    this.#generation++
    // Refreshing a timer is cheaper than setting a new one.
    if (this.#timer !== undefined && this.#ms === ms) this.#timer.refresh()
    else {
      clearTimeout(this.#timer)
      this.#ms = ms
      this.#timer = setTimeout(onTimer, Math.min(ms, MAX_TIMER_MS), this).unref()
    }
  }

  /** Stops until the next start; the timer is kept. */
  pause(): void {
    this.#isRunning = false
  }

  /** Stops for good and clears the timer. */
  stop(): void {
    this.#isRunning = false
    clearTimeout(this.#timer)
  }

  /** The number of the current start. */
  get generation(): number {
    return this.#generation
  }

  /** Reports the timeout of a start, unless that has ended since. */
  expire(turn: number): void {
    if (!this.#isRunning || this.#generation !== turn) return
    this.#isRunning = false
    this.#onTimeout(new errors.HeadersTimeoutError())
  }
}

// Pending input is read first: if this process was busy, the upstream may have answered in time. A new start may have begun by then.
function onTimer(timeout: HeadersTimeout): void {
  setImmediate(expire, timeout, timeout.generation)
}

const expire = (timeout: HeadersTimeout, generation: number): void => timeout.expire(generation)
