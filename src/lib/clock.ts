/** What tells the time and runs timers in this process. */
export interface Clock {
  /** Tells the time of a clock that nobody sets, in milliseconds. */
  monotonic(): number
  /** Tells the date, in milliseconds since 1970. */
  wall(): number
  setTimeout<A>(run: (arg: A) => void, ms: number, arg: A): Timer
  setInterval<A>(run: (arg: A) => void, ms: number, arg: A): Timer
  clear(timer: Timer): void
}

/** A timer that has been started. */
export interface Timer {
  ref(): this
  unref(): this
  /** Begins anew with the same time. */
  refresh(): this
}

// Node's timers fire at once beyond this, which is some 24 days, in milliseconds.
const LONGEST_TIMER = 2_147_483_647

// CLOCK_MONOTONIC is one clock for all processes of a machine, while performance.now() begins with the process.
const began = Number(process.hrtime.bigint()) / 1e6 - performance.now()

const real: Clock = {
  monotonic: () => began + performance.now(),
  wall: () => Date.now(),
  setTimeout: (run, ms, arg) => setTimeout(run, Math.min(ms, LONGEST_TIMER), arg),
  setInterval: (run, ms, arg) => setInterval(run, Math.min(ms, LONGEST_TIMER), arg),
  clear: (timer) => clearTimeout(timer as NodeJS.Timeout)
}

let clock = real

/** Replaces the clock of this process for a test; returns what puts the former one back. */
export function replaceClock(other: Clock): () => void {
  const before = clock
  clock = other
  return () => {
    clock = before
  }
}

/** Tells the time in milliseconds by a clock that never goes back; the same for all processes of a machine. For measuring, counting and ageing. */
export const monotonic = (): number => clock.monotonic()

/** Tells the milliseconds since 1970; it may jump in either direction, so use it only for dates and for what other machines read. */
export const wall = (): number => clock.wall()

/** Runs a function once after `ms` milliseconds, at most after 24 days. */
export function startTimer(run: () => void, ms: number): Timer
export function startTimer<A>(run: (arg: A) => void, ms: number, arg: A): Timer
export function startTimer(run: (arg: unknown) => void, ms: number, arg?: unknown): Timer {
  return clock.setTimeout(run, ms, arg)
}

/** Runs a function every `ms` milliseconds until its timer is stopped. */
export function startInterval(run: () => void, ms: number): Timer
export function startInterval<A>(run: (arg: A) => void, ms: number, arg: A): Timer
export function startInterval(run: (arg: unknown) => void, ms: number, arg?: unknown): Timer {
  return clock.setInterval(run, ms, arg)
}

/** Stops a timer; nothing happens for one that has run or was never started. */
export function stopTimer(timer: Timer | null | undefined): void {
  if (timer !== null && timer !== undefined) clock.clear(timer)
}
