import { Dispatcher } from 'undici'
import type { DispatchHandler, DispatchOptions, Sender } from '../../../src/lib/contracts/dispatch.ts'

/** Sends requests to one target. It is an undici Dispatcher as well, so that `pool.request()` works for health checks. */
export abstract class TargetDispatcher extends Dispatcher implements Sender {
  #closed = false

  /** Whether the pool refuses new requests. */
  get closed(): boolean {
    return this.#closed
  }

  protected markClosed(): void {
    this.#closed = true
  }

  abstract send(options: DispatchOptions, handler: DispatchHandler): void

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    this.send(options as unknown as DispatchOptions, handler as unknown as DispatchHandler)
    return true
  }
}
