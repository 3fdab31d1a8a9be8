/** Runs a task one time after the other; whoever asks while one waits gets that one, since it begins later and sees what is there then. */
export class CoalescingQueue<T> {
  readonly #task: (why: string) => Promise<T>
  #current: Promise<unknown> = Promise.resolve()
  #next: Promise<T> | undefined

  constructor(task: (why: string) => Promise<T>) {
    this.#task = task
  }

  /** Asks for a run. */
  run(why: string): Promise<T> {
    this.#next ??= this.#current.then(() => {
      this.#next = undefined
      const running = this.#task(why)
      this.#current = running
      return running
    })
    return this.#next
  }
}
