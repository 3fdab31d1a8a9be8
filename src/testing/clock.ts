import { setImmediate } from 'node:timers/promises'
import { MAX_TIMER_MS, monotonic as realMonotonic, replaceClock, type Timer } from '../lib/clock.ts'
import { duration } from '../lib/units.ts'
import { atEnd, type TestScope } from './scope.ts'

/** The clock of the gateways in this process, which a test moves. It also goes on by itself, unless it begins at a date. */
export interface TestClock {
  /** Lets time pass, such as "90s" or "1h"; the timers that come due meanwhile run in their order, each at its time. */
  advance(time: string): Promise<void>
  /** Sets the date alone, forward or, after "-", back: `monotonic` time and timers don't move. */
  setDate(by: string): void
}

/** Replaces the clock of this process for a test: the dates, durations and timers of the gateway and of what reads the date from JavaScript's `Date`. With a date it stands still until it is moved. */
export function clock(t: TestScope, beginsAt?: string): TestClock {
  const begins = beginsAt === undefined ? undefined : Date.parse(beginsAt)
  if (Number.isNaN(begins))
    throw new RangeError(`expected a date such as "2026-11-30T12:00:00Z", got "${beginsAt}"`)
  const moved = moveClock(t, begins)
  return {
    async advance(time) {
      for (const timer of moved.due(duration(time))) {
        timer.fire()
        // What waits for this timer may start the next one.
        await setImmediate()
      }
    },
    setDate: (by) => moved.setDate(by.startsWith('-') ? -duration(by.slice(1)) : duration(by))
  }
}

/** A clock that is moved by milliseconds. */
export interface MovedClock {
  /** Lets time pass; iterates over the timers that come due meanwhile, with the clock at the time of each. */
  due(ms: number): Iterable<{ fire(): void }>
  /** Sets the date alone, by so many milliseconds. */
  setDate(ms: number): void
}

/** Replaces the clock of this process until the end of a test. */
export function moveClock(t: TestScope, beginsAt?: number): MovedClock {
  const { now } = Date
  let passed = 0
  let set = 0
  const offset = realMonotonic() - performance.now()
  const wall = (): number => (beginsAt ?? now.call(Date)) + passed + set
  const monotonic = (): number => (beginsAt ?? offset + performance.now()) + passed
  const timers = new Set<MovedTimer>()
  const start = (run: () => void, ms: number, repeats: boolean): MovedTimer =>
    new MovedTimer({ timers, monotonic, run, ms, repeats }).refresh()
  const restore = replaceClock({
    monotonic,
    wall,
    setTimeout: (run, ms, arg) => start(() => run(arg), ms, false),
    setInterval: (run, ms, arg) => start(() => run(arg), ms, true),
    clear: (timer) => (timer instanceof MovedTimer ? timer.stop() : clearTimeout(timer as NodeJS.Timeout))
  })
  Object.defineProperty(Date, 'now', { value: wall, writable: true, configurable: true })
  atEnd(t, () => {
    Object.defineProperty(Date, 'now', { value: now, writable: true, configurable: true })
    restore()
  })
  return {
    *due(ms) {
      // No timer comes due in a time that has been.
      if (ms < 0) {
        passed += ms
        return
      }
      const until = monotonic() + ms
      for (let next = earliest(timers, until); next !== undefined; next = earliest(timers, until)) {
        passed += Math.max(0, next.dueAt - monotonic())
        yield next
      }
      passed += Math.max(0, until - monotonic())
    },
    setDate: (ms) => {
      set += ms
    }
  }
}

/** Returns the timer that comes due first, at a time or before it. */
function earliest(timers: ReadonlySet<MovedTimer>, until: number): MovedTimer | undefined {
  let first: MovedTimer | undefined
  for (const timer of timers)
    if (timer.dueAt <= until && (first === undefined || timer.dueAt < first.dueAt)) first = timer
  return first
}

interface TimerParts {
  /** The running timers of the clock. */
  readonly timers: Set<MovedTimer>
  readonly monotonic: () => number
  readonly run: () => void
  readonly ms: number
  readonly repeats: boolean
}

/** A real timer that comes due earlier where its clock is moved. */
class MovedTimer implements Timer {
  readonly #parts: TimerParts
  #real: NodeJS.Timeout | undefined
  #holds = true
  dueAt = 0

  constructor(parts: TimerParts) {
    this.#parts = parts
  }

  refresh(): this {
    const { timers, monotonic, ms } = this.#parts
    clearTimeout(this.#real)
    // Node.js, too, waits for at least a millisecond.
    this.dueAt = monotonic() + Math.max(1, ms)
    this.#real = setTimeout(() => this.fire(), Math.min(ms, MAX_TIMER_MS))
    if (!this.#holds) this.#real.unref()
    timers.add(this)
    return this
  }

  ref(): this {
    this.#holds = true
    this.#real?.ref()
    return this
  }

  unref(): this {
    this.#holds = false
    this.#real?.unref()
    return this
  }

  stop(): void {
    clearTimeout(this.#real)
    this.#parts.timers.delete(this)
  }

  /** Runs what it waits for, and begins anew if it repeats. */
  fire(): void {
    const { repeats, run } = this.#parts
    this.stop()
    if (repeats) this.refresh()
    run()
  }
}
