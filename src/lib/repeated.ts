import { startTimer, stopTimer, type Timer } from './clock.ts'

// How often the events after the first one are reported, in ms.
const INTERVAL_MS = 10_000

/** Aggregates equal events for the log: the first is reported at once, later ones as a count every 10 s. */
export class Repeated<T> {
  readonly #onReport: (count: number, last: T) => void
  #count = 0
  #last: T | undefined
  #timer: Timer | undefined

  /** Creates an aggregator; `report` gets the number of events since its last call, and the last event. */
  constructor(report: (count: number, last: T) => void) {
    this.#onReport = report
  }

  /** Counts one more event. */
  note(event: T): void {
    this.#count++
    this.#last = event
    if (this.#timer === undefined) this.#report()
  }

  /** Drops the events that have not been reported. */
  stop(): void {
    stopTimer(this.#timer)
    this.#timer = undefined
    this.#count = 0
  }

  #report(): void {
    this.#timer = undefined
    if (this.#count === 0) return
    this.#onReport(this.#count, this.#last as T)
    this.#count = 0
    this.#timer = startTimer(() => this.#report(), INTERVAL_MS).unref()
  }
}
