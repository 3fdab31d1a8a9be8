import type { DispatchHandler, DispatchOptions } from '../../../src/lib/contracts/dispatch.ts'
import { clientNetwork } from '../../../src/lib/http/client-network.ts'

/** A request that waits for a connection. */
export interface QueuedDispatch {
  readonly options: DispatchOptions
  readonly handler: DispatchHandler
}

// How many wait before those are taken out whose client has left: that is not known here before their turn.
const PRUNE_EVERY = 100

/** A queue whose turns go round by client address, so that a client with many requests delays its own. */
export class FairQueue<Q extends QueuedDispatch> {
  // Maps keep their order: the client whose turn is next comes first.
  readonly #byClient = new Map<string, Q[]>()
  #length = 0

  /** The requests that wait, among them some whose client may have left. */
  get length(): number {
    return this.#length
  }

  /** Adds a request behind those of its client. */
  enqueue(queued: Q): void {
    if (this.#length > 0 && this.#length % PRUNE_EVERY === 0) this.#prune()
    const client = clientKey(queued)
    const line = this.#byClient.get(client)
    if (line === undefined) this.#byClient.set(client, [queued])
    else line.push(queued)
    this.#length++
  }

  /** Returns the request whose turn is next; undefined where none waits. */
  peek(): Q | undefined {
    for (const [client, line] of this.#byClient) {
      while (line[0]?.handler.abandoned === true) {
        line.shift()
        this.#length--
      }
      if (line[0] !== undefined) return line[0]
      this.#byClient.delete(client)
    }
    return undefined
  }

  /** Takes the request whose turn is next out of the queue, and puts its client behind the others. */
  dequeue(): Q | undefined {
    const next = this.peek()
    if (next === undefined) return undefined
    const client = clientKey(next)
    const line = this.#byClient.get(client) ?? []
    line.shift()
    this.#length--
    this.#byClient.delete(client)
    if (line.length > 0) this.#byClient.set(client, line)
    return next
  }

  /** Takes all of them out of the queue. */
  clear(): Q[] {
    const all = [...this.#byClient.values()].flat()
    this.#byClient.clear()
    this.#length = 0
    return all
  }

  #prune(): void {
    const waiting = this.clear().filter(({ handler }) => handler.abandoned !== true)
    for (const queued of waiting) {
      const client = clientKey(queued)
      const line = this.#byClient.get(client)
      if (line === undefined) this.#byClient.set(client, [queued])
      else line.push(queued)
    }
    this.#length = waiting.length
  }
}

// What the gateway asks for itself is one client.
const clientKey = ({ options: { source } }: QueuedDispatch): string =>
  source === undefined ? '' : clientNetwork(source.ip)
