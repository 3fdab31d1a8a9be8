import { monotonic, startTimer, stopTimer, type Timer } from './clock.ts'

/** The time limit of a request until its response headers. It pauses while the gateway waits for the client. */
export class Deadline {
  #expiresAt: number
  #pausedSince: number | undefined
  #timer: Timer | undefined
  #onExpired: ((arg: never) => void) | undefined
  #arg: unknown

  /** Starts a deadline in `ms` milliseconds, which is not enforced before `enforce` is called. */
  constructor(ms: number) {
    this.#expiresAt = monotonic() + ms
  }

  /** The milliseconds that remain; negative once it has passed. */
  get remaining(): number {
    return this.#expiresAt - (this.#pausedSince ?? monotonic())
  }

  /** Whether a function is called when it passes. */
  get isEnforced(): boolean {
    return this.#onExpired !== undefined
  }

  /** Returns whether a wait of `ms` milliseconds ends before it; true where it is not enforced. */
  allows(ms: number): boolean {
    return this.#onExpired === undefined || ms < this.remaining
  }

  /** Calls a function when it passes; replaces the function of an earlier call. */
  enforce<A>(onExpired: (arg: A) => void, arg: A): this {
    this.#onExpired = onExpired
    this.#arg = arg
    this.#timer ??= startTimer(onTimer, Math.max(0, this.remaining), this)
    return this
  }

  /** Moves it to `ms` milliseconds from now, if that is sooner. */
  shorten(ms: number): void {
    if (ms >= this.remaining) return
    this.#expiresAt = (this.#pausedSince ?? monotonic()) + ms
    if (this.#onExpired === undefined) return
    stopTimer(this.#timer)
    this.#timer = startTimer(onTimer, Math.max(ms, 0), this)
  }

  /** Stops the clock of the deadline. */
  pause(): void {
    this.#pausedSince ??= monotonic()
  }

  /** Continues after `pause`. */
  resume(): void {
    if (this.#pausedSince === undefined) return
    this.#expiresAt += monotonic() - this.#pausedSince
    this.#pausedSince = undefined
    if (this.#timer === undefined && this.#onExpired !== undefined)
      this.#timer = startTimer(onTimer, this.remaining, this)
  }

  /** Cancels it. */
  cancel(): void {
    stopTimer(this.#timer)
    this.#timer = undefined
    this.#onExpired = undefined
  }

  /** Handles its timer, which may fire early where the deadline was paused. */
  onTimer(): void {
    this.#timer = undefined
    if (this.#pausedSince !== undefined || this.#onExpired === undefined) return
    const { remaining } = this
    if (remaining > 0) this.#timer = startTimer(onTimer, Math.ceil(remaining), this)
    else {
      const onExpired = this.#onExpired
      this.#onExpired = undefined
      onExpired(this.#arg as never)
    }
  }
}

// One function for all deadlines, so that a request needs no closure.
const onTimer = (deadline: Deadline): void => deadline.onTimer()
