import type { DispatchHandler, DispatchOptions } from '../../../src/lib/contracts/dispatch.ts'
import { clientNetwork } from '../../../src/lib/http/client-network.ts'

/** A request that waits for a connection. */
export interface QueuedDispatch {
  readonly options: DispatchOptions
  readonly handler: DispatchHandler
}

// Requests whose client has left are removed each time the queue grows by this many, since the queue gets no notice of it.
const PRUNE_EVERY = 100

/** A queue of requests that wait for a connection. */
export interface WaitQueue<Q extends QueuedDispatch> {
  /** The number of queued requests, some of which may be abandoned. */
  readonly length: number
  enqueue(queued: Q): void
  /** Returns the next request without removing it; undefined if the queue is empty. */
  peek(): Q | undefined
  /** Removes and returns the next request. */
  dequeue(): Q | undefined
  /** Removes and returns all requests. */
  clear(): Q[]
}

/** Returns the queue of a pool. Without a connection limit, no client waits for another one, so the order of arrival is fair. */
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

/** A queue that serves client addresses in turn, so that a client with many requests only delays its own. */
class FairQueue<Q extends QueuedDispatch> implements WaitQueue<Q> {
  // A Map keeps insertion order: its first client is next.
  readonly #byClient = new Map<string, Q[]>()
  #length = 0

  /** The number of queued requests, some of which may be abandoned. */
  get length(): number {
    return this.#length
  }

  /** Adds a request behind the other requests of its client. */
  enqueue(queued: Q): void {
    if (this.#length > 0 && this.#length % PRUNE_EVERY === 0) this.#prune()
    const client = clientKey(queued)
    const line = this.#byClient.get(client)
    if (line === undefined) this.#byClient.set(client, [queued])
    else line.push(queued)
    this.#length++
  }

  /** Returns the next request without removing it; undefined if the queue is empty. */
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

  /** Removes and returns the next request, and moves its client behind the others. */
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

  /** Removes and returns all requests. */
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

// The gateway's own requests count as one client.
const clientKey = ({ options: { source } }: QueuedDispatch): string =>
  source === undefined || source === null ? '' : clientNetwork(source.ip)
