import { errors } from 'undici'
import { LONGEST_TIMER } from '../../../src/lib/units.ts'

/** Waits for the head of an answer while it is the other side's turn, for so long and no longer; one timer for one wait after the other. */
export class HeadersTimeout {
  readonly #onTimeout: (error: Error) => void
  #timer: NodeJS.Timeout | undefined
  #ms = 0
  #isRunning = false
  // How often it has begun to wait.
  #generation = 0

  /** Takes who is told once it has waited in vain. */
  constructor(over: (error: Error) => void) {
    this.#onTimeout = over
  }

  /** Waits from now on, for so many milliseconds; 0 is for ever. */
  start(ms: number): void {
    if (ms === 0) return
    this.#isRunning = true
    this.#generation++
    // What is cheapest is to wind it up again.
    if (this.#timer !== undefined && this.#ms === ms) this.#timer.refresh()
    else {
      clearTimeout(this.#timer)
      this.#ms = ms
      this.#timer = setTimeout(onTimer, Math.min(ms, LONGEST_TIMER), this).unref()
    }
  }

  /** Waits no more, until it begins again. */
  pause(): void {
    this.#isRunning = false
  }

  /** Waits no more, ever. */
  stop(): void {
    this.#isRunning = false
    clearTimeout(this.#timer)
  }

  /** Which wait it is in. */
  get generation(): number {
    return this.#generation
  }

  /** Tells that a wait was in vain, unless it is over by now. */
  expire(turn: number): void {
    if (!this.#isRunning || this.#generation !== turn) return
    this.#isRunning = false
    this.#onTimeout(new errors.HeadersTimeoutError())
  }
}

// What came while the process was busy is read first: it was not the other side that was late. Another wait may have begun by then.
function onTimer(timeout: HeadersTimeout): void {
  setImmediate(expire, timeout, timeout.generation)
}

const expire = (timeout: HeadersTimeout, generation: number): void => timeout.expire(generation)
