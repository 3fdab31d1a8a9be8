import { performance } from 'node:perf_hooks'
import { setTimeout as wait } from 'node:timers/promises'

// The length of a slice of long work, in milliseconds.
const SLICE_MS = 0.3

// The pause between slices while other events wait, in milliseconds. It is much longer than a slice, so that a forwarded
// request, which takes several turns of the event loop, is hardly delayed.
const PAUSE_MS = 4

// Shared by all callers, because consecutive slices of different callers block the event loop as one long slice does.
let sliceStart = 0

/** Yields to the event loop if the slice is over, so that long work (such as a reload) does not block requests; resolves at once otherwise. */
export function yieldIfDue(): Promise<void> {
  return isOver() ? pause() : RESOLVED
}

/** Ends the pauses, for a process that serves no requests: they take a tenth of the time of its commands. */
export function neverYield(): void {
  sliceStart = Number.POSITIVE_INFINITY
}

const isOver = (): boolean => performance.now() - sliceStart >= SLICE_MS

const RESOLVED = Promise.resolve()

async function pause(): Promise<void> {
  const before = eventsSoFar()
  // The first turn handles new events, the second what follows from them.
  await new Promise(setImmediate)
  await new Promise(setImmediate)
  if (eventsSoFar() > before) await wait(PAUSE_MS)
  sliceStart = performance.now()
}

/** Returns how many events the event loop has handled. Without new ones there is no pause, so that the boot is not delayed. */
const eventsSoFar = (): number => performance.nodeTiming.uvMetricsInfo.events

/** Calls `visit` for each item, in slices. It awaits only between slices, because each await allocates memory. */
export async function forEachSliced<T>(all: Iterable<T>, visit: (each: T) => void): Promise<void> {
  for (const each of all) {
    if (isOver()) await pause()
    visit(each)
  }
}

/** Runs a generator to its end in slices, and returns its result. */
export async function runSliced<T>(steps: Generator<unknown, T>): Promise<T> {
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
    if (isOver()) await pause()
  }
}

/** Runs a generator to its end without a pause, and returns its result. */
export function runAtOnce<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}
