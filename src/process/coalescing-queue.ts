/** Runs a task one at a time. Callers that ask while a run is waiting share that run, since it sees the latest state when it begins. */
export class CoalescingQueue<T> {
  readonly #task: (why: string) => Promise<T>
  #current: Promise<unknown> = Promise.resolve()
  #next: Promise<T> | undefined

  constructor(task: (why: string) => Promise<T>) {
    this.#task = task
  }

  /** Requests a run; resolves to its result. */
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
