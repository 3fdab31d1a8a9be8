import { Dispatcher } from 'undici'
import type { DispatchHandler, DispatchOptions, Sender } from '../../../src/lib/contracts/dispatch.ts'

/** Sends requests to one target; a dispatcher as undici's pools are, for older handlers only. */
export abstract class TargetDispatcher extends Dispatcher implements Sender {
  #closed = false

  /** Whether it takes no more requests. */
  get closed(): boolean {
    return this.#closed
  }

  protected markClosed(): void {
    this.#closed = true
  }

  abstract send(sending: DispatchOptions, handler: DispatchHandler): void

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    this.send(options as unknown as DispatchOptions, handler as unknown as DispatchHandler)
    return true
  }
}
