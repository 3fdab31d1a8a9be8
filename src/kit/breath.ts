// How long work may go on before others have their turn, in milliseconds.
const SLICE = 2

// How many turns of the event loop they have then: a request that is forwarded takes some.
const TURNS = 3

/** Cuts long work into slices, so that it stands in nobody's way: a reload is made while requests are answered. */
export class Breath {
  #since = performance.now()

  /** Goes on at once, or lets others have their turn first where a slice is over. */
  async take(): Promise<void> {
    if (performance.now() - this.#since < SLICE) return
    for (let turn = 0; turn < TURNS; turn++) await new Promise(setImmediate)
    this.#since = performance.now()
  }
}
