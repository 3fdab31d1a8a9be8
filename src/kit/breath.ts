// How long work may go on before others have their turn, in milliseconds.
const SLICE = 1

// How many turns of the event loop they have then: a request that is forwarded takes some. Who finds much to do has more,
// so that what has come late meanwhile is made up for before the work goes on.
const TURNS = 3
const MOST_TURNS = 9

// A turn in which there is much to do, in milliseconds.
const BUSY = 0.5

// One slice for all who work: what goes on where another has just left off stands in the same way.
let since = 0

/** Cuts long work into slices, so that it stands in nobody's way (a reload is made while requests are answered): goes on at once, or lets others have their turn first where a slice is over. */
export function breathe(): Promise<void> {
  return performance.now() - since < SLICE ? GO_ON : rest()
}

// It is asked some twenty times a route.
const GO_ON = Promise.resolve()

async function rest(): Promise<void> {
  let busy = true
  since = performance.now()
  for (let turn = 0; turn < TURNS || (busy && turn < MOST_TURNS); turn++) {
    await new Promise(setImmediate)
    const now = performance.now()
    busy = now - since > BUSY
    since = now
  }
}

/** Does work that is given in steps, in slices. */
export async function inSlices<T>(steps: Generator<void, T>): Promise<T> {
  let step = steps.next()
  while (step.done !== true) {
    await breathe()
    step = steps.next()
  }
  return step.value
}
