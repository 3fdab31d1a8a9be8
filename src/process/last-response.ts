// How long the admin listener waits for a worker, in ms.
const TIMEOUT_MS = 500

/** The last response of a worker to a request of the admin listener. */
export class LastResponse<T> {
  readonly #request: () => Promise<unknown>
  readonly #onTimeout: () => void
  #pending: Promise<void> | undefined
  #last: T | undefined
  #timedOut = false

  /** Wraps `request`; `onTimeout` is called when no response comes in time, once until one does. */
  constructor(request: () => Promise<unknown>, onTimeout: () => void) {
    this.#request = request
    this.#onTimeout = onTimeout
  }

  get last(): T | undefined {
    return this.#last
  }

  /** Requests anew; resolves to the last known response where none comes within 500 ms. A worker that hangs has at most one request pending. */
  async get(): Promise<T | undefined> {
    this.#pending ??= this.#request().then((response) => {
      this.#pending = undefined
      this.#timedOut = false
      if (response !== undefined) this.#last = response as T
    })
    const timeout = Promise.withResolvers<boolean>()
    const timer = setTimeout(() => timeout.resolve(true), TIMEOUT_MS)
    const isLate = await Promise.race([this.#pending.then(() => false), timeout.promise])
    clearTimeout(timer)
    if (isLate && !this.#timedOut) {
      this.#timedOut = true
      this.#onTimeout()
    }
    return this.#last
  }
}
