import { monotonic, startTimer, stopTimer, type Timer } from './clock.ts'

/** The time that a request has until the head of its answer; it stands still while the gateway waits for bytes of the client. */
export class Deadline {
  #due: number
  #standsSince: number | undefined
  #timer: Timer | undefined
  #onDue: ((arg: never) => void) | undefined
  #arg: unknown

  /** Begins a time of `ms` milliseconds, which is only measured until `keep` is called. */
  constructor(ms: number) {
    this.#due = monotonic() + ms
  }

  /** The milliseconds that remain; negative after its end. */
  get remaining(): number {
    return this.#due - (this.#standsSince ?? monotonic())
  }

  /** Whether something is called at its end. */
  get isKept(): boolean {
    return this.#onDue !== undefined
  }

  /** Whether a wait of `ms` milliseconds ends in time; always where the time is only measured. */
  allows(ms: number): boolean {
    return this.#onDue === undefined || ms < this.remaining
  }

  /** Calls a function at its end, in the place of the one before. */
  keep<A>(onDue: (arg: A) => void, arg: A): this {
    this.#onDue = onDue
    this.#arg = arg
    this.#timer ??= startTimer(onTimer, Math.max(0, this.remaining), this)
    return this
  }

  /** Ends it after `ms` milliseconds, if that is sooner. */
  shorten(ms: number): void {
    if (ms >= this.remaining) return
    this.#due = (this.#standsSince ?? monotonic()) + ms
    if (this.#onDue === undefined) return
    stopTimer(this.#timer)
    this.#timer = startTimer(onTimer, Math.max(ms, 0), this)
  }

  /** Stands still until it goes on. */
  stand(): void {
    this.#standsSince ??= monotonic()
  }

  /** Goes on after it stood still. */
  go(): void {
    if (this.#standsSince === undefined) return
    this.#due += monotonic() - this.#standsSince
    this.#standsSince = undefined
    if (this.#timer === undefined && this.#onDue !== undefined)
      this.#timer = startTimer(onTimer, this.remaining, this)
  }

  /** Ends it without a call. */
  end(): void {
    stopTimer(this.#timer)
    this.#timer = undefined
    this.#onDue = undefined
  }

  /** Judges the time now that a timer has run: it may have stood still meanwhile. */
  check(): void {
    this.#timer = undefined
    if (this.#standsSince !== undefined || this.#onDue === undefined) return
    const left = this.remaining
    if (left > 0) this.#timer = startTimer(onTimer, Math.ceil(left), this)
    else {
      const onDue = this.#onDue
      this.#onDue = undefined
      onDue(this.#arg as never)
    }
  }
}

// One function for all timers: a request makes no closure.
const onTimer = (deadline: Deadline): void => deadline.check()
