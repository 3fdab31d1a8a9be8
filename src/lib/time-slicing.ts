import { performance } from 'node:perf_hooks'
import { setTimeout as wait } from 'node:timers/promises'

// How long work may go on before others have their turn, in milliseconds.
const SLICE = 0.3

// How long they have it where there is anything to do for them, in milliseconds: it is most of the time, so that a request
// that is forwarded, which takes some turns of the event loop, hardly meets the work at all.
const REST = 4

// One slice for all who work: what goes on where another has just left off stands in the same way.
let since = 0

/** Cuts long work into slices, so that it stands in nobody's way (a reload is made while requests are answered): goes on at once, or lets others have their turn first where a slice is over. */
export function yieldIfDue(): Promise<void> {
  return isOver() ? rest() : GO_ON
}

const isOver = (): boolean => performance.now() - since >= SLICE

const GO_ON = Promise.resolve()

async function rest(): Promise<void> {
  const before = eventsSoFar()
  // What comes is seen in the first turn, and what that brings in the second.
  await new Promise(setImmediate)
  await new Promise(setImmediate)
  if (eventsSoFar() > before) await wait(REST)
  since = performance.now()
}

/** Tells what the event loop has had to do so far: nobody waits while it has nothing, and a boot is not held up. */
const eventsSoFar = (): number => performance.nodeTiming.uvMetricsInfo.events

/** Does something with each of many, in slices: what need not wait does not, since waiting takes memory even where nothing is waited for. */
export async function forEachSliced<T>(all: Iterable<T>, visit: (each: T) => void): Promise<void> {
  for (const each of all) {
    if (isOver()) await rest()
    visit(each)
  }
}
