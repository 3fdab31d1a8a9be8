// How long work may go on before others have their turn, in milliseconds.
const SLICE = 4

/** Cuts long work into slices, so that it stands in nobody's way: a reload is made while requests are answered. */
export class Breath {
  #since = performance.now()

  /** Goes on at once, or lets others have their turn first where a slice is over. */
  async take(): Promise<void> {
    if (performance.now() - this.#since < SLICE) return
    await new Promise(setImmediate)
    this.#since = performance.now()
  }
}
