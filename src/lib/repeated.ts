import { startTimer, stopTimer, type Timer } from './clock.ts'

// How often the events that follow the first one are summed up, in milliseconds.
const EVERY = 10_000

/** Sums up like events, so that the log has one line for many: the first counts at once, those that follow it together every 10 s. */
export class Repeated<T> {
  readonly #tell: (count: number, last: T) => void
  #count = 0
  #last: T | undefined
  #timer: Timer | undefined

  /** Makes one that calls `tell` with the number of events since the last call, and what was noted of the last one. */
  constructor(tell: (count: number, last: T) => void) {
    this.#tell = tell
  }

  /** Counts one more event. */
  note(event: T): void {
    this.#count++
    this.#last = event
    if (this.#timer === undefined) this.#report()
  }

  /** Forgets what was not reported yet. */
  stop(): void {
    stopTimer(this.#timer)
    this.#timer = undefined
    this.#count = 0
  }

  #report(): void {
    this.#timer = undefined
    if (this.#count === 0) return
    this.#tell(this.#count, this.#last as T)
    this.#count = 0
    this.#timer = startTimer(() => this.#report(), EVERY).unref()
  }
}
