// A wait is made of so many steps.
const STEPS = 10

/** A timer that counts the time in which this process runs: while it stands still, as on a busy machine, no more than a step passes, so that what has arrived meanwhile is read before the time is over. */
export class PatientTimer {
  readonly #run: () => void
  #timer: NodeJS.Timeout | undefined

  /** Calls `run` when the time is over. */
  constructor(run: () => void) {
    this.#run = run
  }

  /** Starts it, or starts it anew. */
  start(ms: number): void {
    clearInterval(this.#timer)
    let left = STEPS
    this.#timer = setInterval(() => {
      if (--left > 0) return
      this.stop()
      this.#run()
    }, ms / STEPS)
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

/** Waits while this process runs for so many milliseconds. */
export const patiently = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    new PatientTimer(resolve).start(ms)
  })
