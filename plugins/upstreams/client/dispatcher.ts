import { Dispatcher } from 'undici'
import type { Handler, Sender, Sending } from '../../../src/lib/contracts/dispatch.ts'

/** Sends requests to one target; a dispatcher as undici's pools are, for older handlers only. */
export abstract class TargetDispatcher extends Dispatcher implements Sender {
  #closed = false

  /** Whether it takes no more requests. */
  get closed(): boolean {
    return this.#closed
  }

  protected takeNoMore(): void {
    this.#closed = true
  }

  abstract send(sending: Sending, handler: Handler): void

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    this.send(options as unknown as Sending, handler as unknown as Handler)
    return true
  }
}
