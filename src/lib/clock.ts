/** The source of time and timers of a process. */
export interface Clock {
  /** Returns the time of a clock that is never set, in milliseconds. */
  monotonic(): number
  /** Returns the date, in milliseconds since 1970. */
  wall(): number
  setTimeout<A>(run: (arg: A) => void, ms: number, arg: A): Timer
  setInterval<A>(run: (arg: A) => void, ms: number, arg: A): Timer
  clear(timer: Timer): void
}

/** A running timer. */
export interface Timer {
  ref(): this
  unref(): this
  /** Restarts the timer with the same delay. */
  refresh(): this
}

/** The maximum delay of a timer, in ms (2^31 - 1, about 24.8 days); Node.js fires a longer one at once. */
export const MAX_TIMER_MS = 2_147_483_647

// CLOCK_MONOTONIC is one clock for all processes of a machine; performance.now() starts with the process.
const processStart = Number(process.hrtime.bigint()) / 1e6 - performance.now()

const real: Clock = {
  monotonic: () => processStart + performance.now(),
  wall: () => Date.now(),
  setTimeout: (run, ms, arg) => setTimeout(run, Math.min(ms, MAX_TIMER_MS), arg),
  setInterval: (run, ms, arg) => setInterval(run, Math.min(ms, MAX_TIMER_MS), arg),
  clear: (timer) => clearTimeout(timer as NodeJS.Timeout)
}

let clock = real

/** Replaces the clock of this process for a test; returns a function that restores it. */
export function replaceClock(other: Clock): () => void {
  const before = clock
  clock = other
  return () => {
    clock = before
  }
}

/** Returns the time in milliseconds by a clock that never goes back, the same for all processes of a machine. Use it to measure, to count and to expire. */
export const monotonic = (): number => clock.monotonic()

/** Returns the milliseconds since 1970. It may jump either way, so use it only for dates and for what other machines read. */
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

/** Stops a timer; does nothing where it has fired or was never started. */
export function stopTimer(timer: Timer | null | undefined): void {
  if (timer !== null && timer !== undefined) clock.clear(timer)
}

/** Resolves after `ms` milliseconds. */
export const waitFor = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    startTimer(resolve, ms)
  })
