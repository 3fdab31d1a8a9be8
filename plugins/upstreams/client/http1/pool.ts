import { errors } from 'undici'
import type { DispatchHandler, DispatchOptions } from '../../../../src/lib/contracts/dispatch.ts'
import type { Connect } from '../connect.ts'
import { TargetDispatcher } from '../dispatcher.ts'
import { type WaitQueue, waitQueue } from '../fair-queue.ts'
import { Http1Connection, type Http1ConnectionOwner } from './connection.ts'

/** What the connections of a target have to keep to. */
export interface Http1PoolOptions {
  /** Opens a connection whose socket reads as `onread` says. */
  readonly connect: Connect
  /** Opens one whose socket is a stream, for another protocol. */
  readonly connectStream: Connect
  /** The most connections at a time. */
  readonly connections: number
  /** Milliseconds until a connection without a request is closed. */
  readonly keepAlive: number
  /** The most bytes that the head of an answer may have. */
  readonly maxHeaders: number
}

interface QueuedRequest {
  readonly options: DispatchOptions
  readonly handler: DispatchHandler
  /** How many have waited before. */
  readonly order: number
}

// Who says how long it keeps an idle connection closes it at that time: a request that is on its way then is lost.
const KEEP_ALIVE_MARGIN_MS = 1000

// How many idle connections to a target are kept for longer than a moment.
const MAX_IDLE_CONNECTIONS = 64

// How often idle connections are looked at, in milliseconds.
const SWEEP_INTERVAL_MS = 1000

/** Sends requests by HTTP/1.1, one at a time on a connection. */
export class Http1Pool extends TargetDispatcher implements Http1ConnectionOwner {
  readonly #options: Http1PoolOptions
  // The one that was used last is used next, so that those too many grow old.
  readonly #idle: Http1Connection[] = []
  readonly #all = new Set<Http1Connection>()
  readonly #queue: WaitQueue<QueuedRequest>
  // Requests that want a new connection: to switch protocols, or since an idle one was dead.
  readonly #dedicatedQueue: WaitQueue<QueuedRequest>
  #nextOrder = 0
  // The connections that are being opened, for each line.
  #opening = 0
  #openingDedicated = 0
  // Connections whose answer is complete and that are free after a quiet poll phase.
  #awaitingQuietPoll = 0
  #sweepTimer: NodeJS.Timeout | undefined
  readonly #closedPromise = Promise.withResolvers<void>()

  constructor(options: Http1PoolOptions) {
    super()
    this.#options = options
    this.#queue = waitQueue(options.connections)
    this.#dedicatedQueue = waitQueue(options.connections)
  }

  /** Sends a request, once there is a connection for it. */
  send(sending: DispatchOptions, handler: DispatchHandler): void {
    if (this.closed) {
      handler.onError(new errors.ClientClosedError())
      return
    }
    const alone = sending.upgrade !== undefined || sending.newConnection === true
    const free = alone || this.#queue.length > 0 ? undefined : this.#takeIdle()
    if (free !== undefined) {
      free.send(sending, handler)
      return
    }
    const queue = alone ? this.#dedicatedQueue : this.#queue
    queue.enqueue({ options: sending, handler, order: this.#nextOrder++ })
    this.#grow()
  }

  /** Takes no more requests; settles once all that was begun has ended. */
  override async close(): Promise<void> {
    this.markClosed()
    this.#finishClosing()
    await this.#closedPromise.promise
  }

  /** Ends everything at once. */
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

  /** Opens connections for those who wait, in their order, as many as there may be. */
  #grow(): void {
    while (this.#hasRoom) {
      const alone = this.#dedicatedQueue.peek()
      // Some have a connection on its way to them: one that opens, or one about to be free.
      const other =
        this.#queue.length > this.#opening + this.#awaitingQuietPoll ? this.#queue.peek() : undefined
      if (alone === undefined && other === undefined) return
      if (orderOf(alone) < orderOf(other))
        this.#openDedicated(this.#dedicatedQueue.dequeue() as QueuedRequest)
      else this.#open()
    }
    // An idle one makes room for one that is wanted.
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

  #openDedicated({ options: sending, handler }: QueuedRequest): void {
    this.#openingDedicated++
    const { connect, connectStream, maxHeaders } = this.#options
    const switches = sending.upgrade !== undefined
    const open = switches ? connectStream : connect
    open(
      (socket) => {
        this.#openingDedicated--
        const connection = new Http1Connection(socket, this, maxHeaders)
        if (switches) connection.readAsStream()
        this.#all.add(connection)
        connection.send(sending, handler)
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
    // An upstream that keeps it for no longer than a request takes would close it under the next one.
    if (connection.keepAliveMs > 0 && connection.keepAliveMs <= KEEP_ALIVE_MARGIN_MS) connection.end()
  }

  onReusable(connection: Http1Connection): void {
    this.#awaitingQuietPoll--
    this.#assign(connection)
  }

  /** Gives a connection to the request that waits for one, or keeps it. */
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

  /** Takes the next request out of the queue; none while one that came before wants a new connection in the place of this one. */
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

  /** Fails who has waited longest, whose connection it was; all of them where there is no other to wait for. */
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

  /** Closes connections that were idle for long enough, and those beyond what is kept. */
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
