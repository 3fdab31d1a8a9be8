import type { DispatchHandler, DispatchOptions } from '../../../src/lib/contracts/dispatch.ts'
import { clientNetwork } from '../../../src/lib/http/client-network.ts'

/** A request that waits for a connection. */
export interface QueuedDispatch {
  readonly options: DispatchOptions
  readonly handler: DispatchHandler
}

// How many wait before those are taken out whose client has left: that is not known here before their turn.
const PRUNE_EVERY = 100

/** Requests that wait for a connection. */
export interface WaitQueue<Q extends QueuedDispatch> {
  /** The requests that wait, among them some whose client may have left. */
  readonly length: number
  enqueue(queued: Q): void
  /** Returns the request whose turn is next; undefined where none waits. */
  peek(): Q | undefined
  /** Takes the request whose turn is next out of the queue. */
  dequeue(): Q | undefined
  /** Takes all of them out of the queue. */
  clear(): Q[]
}

/** Makes the queue of a pool: without a limit a request waits for no other client's, and the order of arrival is fair. */
export const waitQueue = <Q extends QueuedDispatch>(maxConnections: number): WaitQueue<Q> =>
  maxConnections === Number.POSITIVE_INFINITY ? new ArrivalQueue() : new FairQueue()

/** A queue in the order of arrival. */
class ArrivalQueue<Q extends QueuedDispatch> implements WaitQueue<Q> {
  #queued: Q[] = []

  get length(): number {
    return this.#queued.length
  }

  enqueue(queued: Q): void {
    if (this.#queued.length > 0 && this.#queued.length % PRUNE_EVERY === 0)
      this.#queued = this.#queued.filter(({ handler }) => handler.abandoned !== true)
    this.#queued.push(queued)
  }

  peek(): Q | undefined {
    while (this.#queued[0]?.handler.abandoned === true) this.#queued.shift()
    return this.#queued[0]
  }

  dequeue(): Q | undefined {
    return this.peek() === undefined ? undefined : this.#queued.shift()
  }

  clear(): Q[] {
    const all = this.#queued
    this.#queued = []
    return all
  }
}

/** A queue whose turns go round by client address, so that a client with many requests delays its own. */
class FairQueue<Q extends QueuedDispatch> implements WaitQueue<Q> {
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
