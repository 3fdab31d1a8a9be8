import { Dispatcher } from 'undici'
import type { Handler, Sender, Sending } from '../../src/kit/index.ts'

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

/** Who waits for a connection. */
interface Waiting {
  readonly handler: Handler
}

// How many wait before it is looked whether somebody is among them who has left: it is not known here before his turn.
const LONG = 100

/** Lets somebody wait behind the others. */
export function lineUp<W extends Waiting>(line: W[], who: W): void {
  if (line.length > 0 && line.length % LONG === 0) {
    const waits = line.filter(({ handler }) => handler.lost !== true)
    line.splice(0, line.length, ...waits)
  }
  line.push(who)
}
