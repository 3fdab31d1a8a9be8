import { errors } from 'undici'
import type { DispatchHandler, DispatchOptions } from '../../../../src/lib/contracts/dispatch.ts'
import type { Connect } from '../connect.ts'
import { TargetDispatcher } from '../dispatcher.ts'
import { type WaitQueue, waitQueue } from '../fair-queue.ts'
import { Http1Connection, type Http1ConnectionOwner } from './connection.ts'

/** The limits of a target's connections. */
export interface Http1PoolOptions {
  /** Opens a connection whose socket reads by `onread`. */
  readonly connect: Connect
  /** Opens a connection whose socket is a stream, for an upgrade. */
  readonly connectStream: Connect
  /** The maximum number of connections. */
  readonly connections: number
  /** Milliseconds until an idle connection is closed. */
  readonly keepAlive: number
  /** The maximum size of response headers, in bytes. */
  readonly maxHeaders: number
}

interface QueuedRequest {
  readonly options: DispatchOptions
  readonly handler: DispatchHandler
  /** The position in the order of arrival, over both queues. */
  readonly order: number
}

// An upstream closes an idle connection at its keep-alive timeout; a request that is in flight then would be lost.
const KEEP_ALIVE_MARGIN_MS = 1000

// Idle connections beyond this number are closed within a second or two.
const MAX_IDLE_CONNECTIONS = 64

const SWEEP_INTERVAL_MS = 1000

/** Sends requests over HTTP/1.1, one at a time per connection. */
export class Http1Pool extends TargetDispatcher implements Http1ConnectionOwner {
  readonly #options: Http1PoolOptions
  // Last in, first out, so that surplus connections age and expire.
  readonly #idle: Http1Connection[] = []
  readonly #all = new Set<Http1Connection>()
  readonly #queue: WaitQueue<QueuedRequest>
  // Requests that need a new connection: upgrades, and requests whose idle connection was dead.
  readonly #dedicatedQueue: WaitQueue<QueuedRequest>
  #nextOrder = 0
  #opening = 0
  #openingDedicated = 0
  // Connections with a complete response that will be free after a quiet poll phase.
  #awaitingQuietPoll = 0
  #sweepTimer: NodeJS.Timeout | undefined
  readonly #closedPromise = Promise.withResolvers<void>()

  constructor(options: Http1PoolOptions) {
    super()
    this.#options = options
    this.#queue = waitQueue(options.connections)
    this.#dedicatedQueue = waitQueue(options.connections)
  }

  /** Sends a request on an idle connection, or queues it. */
  send(options: DispatchOptions, handler: DispatchHandler): void {
    if (this.closed) {
      handler.onError(new errors.ClientClosedError())
      return
    }
    const alone = options.upgrade !== undefined || options.newConnection === true
    const free = alone || this.#queue.length > 0 ? undefined : this.#takeIdle()
    if (free !== undefined) {
      free.send(options, handler)
      return
    }
    const queue = alone ? this.#dedicatedQueue : this.#queue
    queue.enqueue({ options, handler, order: this.#nextOrder++ })
    this.#grow()
  }

  /** Refuses new requests; resolves when all current ones have ended. */
  override async close(): Promise<void> {
    this.markClosed()
    this.#finishClosing()
    await this.#closedPromise.promise
  }

  /** Fails all requests and closes all connections. */
  override async destroy(): Promise<void> {
    this.markClosed()
    const error = new errors.ClientDestroyedError()
    this.#failQueued(error)
    for (const connection of [...this.#all]) connection.end(error)
    this.#finishClosing()
  }

  #takeIdle(): Http1Connection | undefined {
    const now = performance.now()
    for (let last = this.#idle.pop(); last !== undefined; last = this.#idle.pop()) {
      if (last.isUsable && !this.#isExpired(last, now)) return last
      last.end()
    }
    return undefined
  }

  #isExpired({ keepAliveMs: keeps, idleSince }: Http1Connection, now: number): boolean {
    const { keepAlive } = this.#options
    const most = keeps === 0 ? keepAlive : Math.min(keepAlive, keeps - KEEP_ALIVE_MARGIN_MS)
    return now - idleSince >= most
  }

  get #hasRoom(): boolean {
    return this.#size < this.#options.connections
  }

  get #size(): number {
    return this.#all.size + this.#opening + this.#openingDedicated
  }

  /** Opens connections for queued requests in their order, up to the limit. */
  #grow(): void {
    while (this.#hasRoom) {
      const alone = this.#dedicatedQueue.peek()
      // Connections that are opening or almost free will serve some of the queue.
      const other =
        this.#queue.length > this.#opening + this.#awaitingQuietPoll ? this.#queue.peek() : undefined
      if (alone === undefined && other === undefined) return
      if (orderOf(alone) < orderOf(other))
        this.#openDedicated(this.#dedicatedQueue.dequeue() as QueuedRequest)
      else this.#open()
    }
    // At the limit, an idle connection is closed to make room for a new one.
    if (this.#dedicatedQueue.peek() !== undefined) this.#idle.pop()?.end()
  }

  #open(): void {
    this.#opening++
    this.#options.connect(
      (socket) => {
        this.#opening--
        const connection = new Http1Connection(socket, this, this.#options.maxHeaders)
        connection.idleSince = performance.now()
        this.#all.add(connection)
        this.#assign(connection)
      },
      (error) => {
        this.#opening--
        this.#onConnectError(error)
      }
    )
  }

  #openDedicated({ options, handler }: QueuedRequest): void {
    this.#openingDedicated++
    const { connect, connectStream, maxHeaders } = this.#options
    const switches = options.upgrade !== undefined
    const open = switches ? connectStream : connect
    open(
      (socket) => {
        this.#openingDedicated--
        const connection = new Http1Connection(socket, this, maxHeaders)
        if (switches) connection.readAsStream()
        this.#all.add(connection)
        connection.send(options, handler)
      },
      (error) => {
        this.#openingDedicated--
        handler.onError(error)
        this.#growOrClose()
      }
    )
  }

  onResponseComplete(connection: Http1Connection): void {
    this.#awaitingQuietPoll++
    connection.idleSince = performance.now()
    // The upstream may close it before a request arrives, so it is not reused.
    if (connection.keepAliveMs > 0 && connection.keepAliveMs <= KEEP_ALIVE_MARGIN_MS) connection.end()
  }

  onReusable(connection: Http1Connection): void {
    this.#awaitingQuietPoll--
    this.#assign(connection)
  }

  /** Assigns a connection to the next queued request, or keeps it idle. */
  #assign(connection: Http1Connection): void {
    const next = this.#dequeueShared()
    if (next !== undefined) {
      connection.send(next.options, next.handler)
      return
    }
    this.#idle.push(connection)
    this.#sweepTimer ??= setInterval(
      () => this.#sweepIdle(),
      Math.min(SWEEP_INTERVAL_MS, this.#options.keepAlive)
    ).unref()
    if (this.closed || this.#dedicatedQueue.length > 0) this.#growOrClose()
  }

  /** Removes the next shared request; none if an older request needs a new connection in place of this one. */
  #dequeueShared(): QueuedRequest | undefined {
    return orderOf(this.#queue.peek()) < orderOf(this.#dedicatedQueue.peek())
      ? this.#queue.dequeue()
      : undefined
  }

  onClosed(connection: Http1Connection): void {
    if (connection.awaitsQuietPoll) this.#awaitingQuietPoll--
    connection.awaitsQuietPoll = false
    this.#all.delete(connection)
    const at = this.#idle.indexOf(connection)
    if (at !== -1) this.#idle.splice(at, 1)
    this.#growOrClose()
  }

  /** A connect failed: fail the oldest queued request, or all of them if no connection is left to serve them. */
  #onConnectError(error: Error): void {
    if (this.#size === 0) this.#failQueued(error)
    else this.#queue.dequeue()?.handler.onError(error)
    this.#growOrClose()
  }

  #failQueued(error: Error): void {
    for (const { handler } of [...this.#queue.clear(), ...this.#dedicatedQueue.clear()])
      handler.onError(error)
  }

  #growOrClose(): void {
    this.#grow()
    this.#finishClosing()
  }

  #finishClosing(): void {
    if (!this.closed || this.#queue.length + this.#dedicatedQueue.length > 0) return
    for (const connection of this.#idle.splice(0)) connection.end()
    clearInterval(this.#sweepTimer)
    if (this.#size === 0) this.#closedPromise.resolve()
  }

  /** Closes expired idle connections, and those beyond the maximum. */
  #sweepIdle(): void {
    const now = performance.now()
    const beyond = this.#idle.length - MAX_IDLE_CONNECTIONS
    const old = this.#idle.filter(
      (connection, i) =>
        this.#isExpired(connection, now) || (i < beyond && now - connection.idleSince >= SWEEP_INTERVAL_MS)
    )
    for (const connection of old) {
      this.#idle.splice(this.#idle.indexOf(connection), 1)
      connection.end()
    }
    if (this.#idle.length > 0) return
    clearInterval(this.#sweepTimer)
    this.#sweepTimer = undefined
  }
}

const orderOf = (waiting: QueuedRequest | undefined): number => waiting?.order ?? Number.POSITIVE_INFINITY
