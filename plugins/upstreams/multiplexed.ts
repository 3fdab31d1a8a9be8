import { Dispatcher, type Pool } from 'undici'

/** Sends requests by HTTP/2: on connections that they share where undici lets them, else on one that has nothing else meanwhile. */
export class Multiplexed extends Dispatcher {
  readonly #shared: Pool
  readonly #single: Pool

  /** Takes a pool whose connections have many requests at a time, and one whose connections have one. */
  constructor(shared: Pool, single: Pool) {
    super()
    this.#shared = shared
    this.#single = single
  }

  get closed(): boolean {
    return this.#shared.closed
  }

  // On a shared connection undici would let what it can't send again wait until all before it has ended, and a stream may last for hours.
  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const { method, body } = options
    const shares = (method === 'GET' || method === 'HEAD') && (body === null || body === undefined)
    return (shares ? this.#shared : this.#single).dispatch(options, handler)
  }

  override async close(): Promise<void> {
    await Promise.all([this.#shared.close(), this.#single.close()])
  }
}
