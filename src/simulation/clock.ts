import { type Clock, replaceClock, type Timer } from '../lib/clock.ts'

interface Scheduled {
  at: number
  readonly ms: number
  readonly repeats: boolean
  readonly run: () => void
}

// How many turns of the event loop without a change count as idle.
const IDLE_TURNS = 4
const BUSY_PAUSE_MS = 1

/** A clock that stands still until it is moved; it replaces the clock of the process. */
export class SimulatedClock {
  readonly #timers = new Set<Scheduled>()
  readonly #restore: () => void
  #elapsed = 0
  #began: number

  /** Starts at `wall`, in milliseconds since 1970. */
  constructor(wall: number) {
    this.#began = wall
    this.#restore = replaceClock(this.#clock())
  }

  /** Restores the clock of the process; running timers never fire. */
  close(): void {
    this.#timers.clear()
    this.#restore()
  }

  /** Drops all timers, and sets the date. */
  reset(wall: number): void {
    this.#timers.clear()
    this.#began = wall - this.#elapsed
  }

  /** Moves the time on by `ms`, and fires each timer at its time. */
  async advance(ms: number): Promise<void> {
    const until = this.#elapsed + ms
    for (let next = this.#next(until); next !== undefined; next = this.#next(until)) {
      this.#fire(next)
      await settled()
    }
    this.#elapsed = until
  }

  /** Waits for a promise; whenever only timers are left to wait for, the time moves on to the next one. */
  async whileWaiting<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false
    const end = (): void => {
      isSettled = true
    }
    promise.then(end, end)
    for (;;) {
      await settled()
      if (isSettled) return promise
      const next = this.#next(Number.POSITIVE_INFINITY)
      if (next !== undefined) this.#fire(next)
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

/** Resolves once the process only waits for timers: its threads (hashes, files) are done, and some turns have passed. */
async function settled(): Promise<void> {
  for (let idle = 0; idle < IDLE_TURNS; idle++) {
    await new Promise((resolve) => setImmediate(resolve))
    if (isWorking()) {
      idle = 0
      await new Promise((resolve) => setTimeout(resolve, BUSY_PAUSE_MS))
    }
  }
}

const isWorking = (): boolean => process.getActiveResourcesInfo().some((kind) => /Req|Job|Work/.test(kind))
