import { type Clock, replaceClock, type Timer } from '../lib/clock.ts'
import { PendingWork } from './pending-work.ts'

interface Scheduled {
  at: number
  readonly ms: number
  readonly repeats: boolean
  readonly run: () => void
}

// How many turns of the event loop without a change count as idle.
const IDLE_TURNS = 4
const BUSY_PAUSE_MS = 1
// How many pauses without any timer are long enough for whatever Node.js does not report as active.
const MAX_IDLE_PAUSES = 500

// How often one repeating timer fires within a wait before it skips to the end, and how many timers fire at all.
const MAX_REPEATS = 1000
const MAX_FIRED = 100_000

/** Nothing is left that could end the wait. */
export class StillWaiting extends Error {}

/** A clock that stands still until it is moved; it replaces the clock of the process. */
export class SimulatedClock {
  readonly #timers = new Set<Scheduled>()
  readonly #restore: () => void
  readonly #work = new PendingWork()
  #elapsed = 0
  #began: number

  /** Starts at `wall`, in milliseconds since 1970. */
  constructor(wall: number) {
    this.#began = wall
    const restore = replaceClock(this.#clock())
    // Packages read the date themselves.
    const { now } = Date
    setDateNow(() => this.#began + this.#elapsed)
    this.#restore = () => {
      setDateNow(now)
      restore()
    }
  }

  /** Restores the clock of the process; running timers never fire. */
  close(): void {
    this.#timers.clear()
    this.#work.close()
    this.#restore()
  }

  /** Drops all timers, and sets the date. */
  reset(wall: number): void {
    this.#timers.clear()
    this.#began = wall - this.#elapsed
  }

  /** Returns a function that tells whether, since now, no time has passed, and the same timers run. */
  watch(): () => boolean {
    const elapsed = this.#elapsed
    const timers = new Set(this.#timers)
    return () =>
      this.#elapsed === elapsed &&
      this.#timers.size === timers.size &&
      [...this.#timers].every((timer) => timers.has(timer))
  }

  /** Moves the time on by `ms`, and fires each timer at its time. */
  async advance(ms: number): Promise<void> {
    const until = this.#elapsed + ms
    const fired = new Map<Scheduled, number>()
    let count = 0
    for (let next = this.#next(until); next !== undefined; next = this.#next(until)) {
      if (++count > MAX_FIRED) throw new Error(`More than ${MAX_FIRED} timers are due; wait for less`)
      const times = (fired.get(next) ?? 0) + 1
      fired.set(next, times)
      if (next.repeats && times > MAX_REPEATS && next.at < until) {
        next.at = until
        continue
      }
      this.#fire(next)
      await this.settle()
    }
    this.#elapsed = until
  }

  /** Resolves once only timers are left to wait for: threads (hashes, files) are done, and some turns have passed. */
  async settle(): Promise<void> {
    for (let idle = 0; idle < IDLE_TURNS; idle++) {
      await new Promise((resolve) => setImmediate(resolve))
      if (this.#work.isWorking) {
        idle = 0
        await new Promise((resolve) => setTimeout(resolve, BUSY_PAUSE_MS))
      }
    }
  }

  /** Waits for a promise; whenever only timers are left to wait for, the time moves on to the next one. Throws a StillWaiting after `limit` milliseconds, or where nothing is left to wait for. */
  async whileWaiting<T>(promise: Promise<T>, limit: number = Number.POSITIVE_INFINITY): Promise<T> {
    const until = this.#elapsed + limit
    let idle = 0
    let isSettled = false
    const end = (): void => {
      isSettled = true
    }
    promise.then(end, end)
    for (;;) {
      await this.settle()
      if (isSettled) return promise
      const next = this.#next(until)
      if (next !== undefined) this.#fire(next)
      else if (limit !== Number.POSITIVE_INFINITY && ++idle > MAX_IDLE_PAUSES) throw new StillWaiting()
      else await new Promise((resolve) => setTimeout(resolve, BUSY_PAUSE_MS))
    }
  }

  #next(until: number): Scheduled | undefined {
    let first: Scheduled | undefined
    for (const timer of this.#timers)
      if (timer.at <= until && (first === undefined || timer.at < first.at)) first = timer
    return first
  }

  #fire(timer: Scheduled): void {
    this.#elapsed = Math.max(this.#elapsed, timer.at)
    if (timer.repeats) timer.at += Math.max(1, timer.ms)
    else this.#timers.delete(timer)
    timer.run()
  }

  #clock(): Clock {
    const start = (run: () => void, ms: number, repeats: boolean): Timer => {
      const scheduled: Scheduled = { at: this.#elapsed + Math.max(0, ms), ms, repeats, run }
      this.#timers.add(scheduled)
      const timer: Timer = {
        ref: () => timer,
        unref: () => timer,
        refresh: () => {
          scheduled.at = this.#elapsed + Math.max(0, ms)
          this.#timers.add(scheduled)
          return timer
        }
      }
      this.#scheduled.set(timer, scheduled)
      return timer
    }
    return {
      monotonic: () => this.#elapsed,
      wall: () => this.#began + this.#elapsed,
      setTimeout: (run, ms, arg) => start(() => run(arg), ms, false),
      setInterval: (run, ms, arg) => start(() => run(arg), ms, true),
      clear: (timer) => {
        const scheduled = this.#scheduled.get(timer)
        if (scheduled !== undefined) this.#timers.delete(scheduled)
      }
    }
  }

  readonly #scheduled = new WeakMap<Timer, Scheduled>()
}

const setDateNow = (value: () => number): void => {
  Object.defineProperty(Date, 'now', { value, writable: true, configurable: true })
}
