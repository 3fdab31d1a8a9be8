import type { Socket } from 'node:net'
import { errors } from 'undici'
import { monotonic } from '../../../../src/lib/clock.ts'
import type { DispatchHandler, DispatchOptions } from '../../../../src/lib/contracts/dispatch.ts'
import type { Connect } from '../connect.ts'
import { TargetDispatcher } from '../dispatcher.ts'
import { type WaitQueue, waitQueue } from '../fair-queue.ts'
import type { Http1Pool } from '../http1/pool.ts'
import { Http2Connection, MAX_CONCURRENT_STREAMS } from './connection.ts'
import { ClientStream } from './stream.ts'

/** The limits of a target's connections. */
export interface Http2PoolOptions {
  readonly origin: URL
  readonly connect: Connect
  /** The maximum number of connections that take new requests. */
  readonly connections: number
  /** Milliseconds until an idle connection is closed. */
  readonly keepAlive: number
  /** The maximum size of response headers, in bytes. */
  readonly maxHeaders: number
  /** Milliseconds to wait for SETTINGS, or for a ping's reply. */
  readonly replyTimeout: number
  /** Used when a target with TLS does not negotiate HTTP/2. */
  readonly http1: Http1Pool
}

// How long to use HTTP/1.1 for a target with TLS that did not negotiate HTTP/2.
const HTTP1_FALLBACK_MS = 60_000

/** Sends requests over HTTP/2, many at a time per connection. */
export class Http2Pool extends TargetDispatcher {
  readonly http1: Http1Pool
  readonly #options: Http2PoolOptions
  // The connections that take new requests. Retired ones end by themselves and do not count.
  readonly #open: Http2Connection[] = []
  readonly #all = new Set<Http2Connection>()
  readonly #queue: WaitQueue<ClientStream>
  readonly #closedPromise = Promise.withResolvers<void>()
  #opening = 0
  #http1Until = 0

  constructor(options: Http2PoolOptions) {
    super()
    this.#options = options
    this.#queue = waitQueue(options.connections)
    this.http1 = options.http1
  }

  /** Sends a request on a connection with room, or queues it. */
  send(options: DispatchOptions, handler: DispatchHandler): void {
    if (this.#http1Until !== 0 && this.#http1Until > monotonic()) {
      this.http1.send(options, handler)
      return
    }
    const stream = new ClientStream(options, handler)
    if (this.closed) {
      stream.fail(new errors.ClientClosedError())
      return
    }
    // Other idle connections may be dead as well.
    if (options.newConnection === true) for (const open of [...this.#open]) if (open.isIdle) open.retire()
    const free = this.#queue.length === 0 ? this.#findFree() : undefined
    if (free === undefined) {
      this.#queue.enqueue(stream)
      this.#grow()
    } else free.send(stream)
  }

  /** Refuses new requests; resolves when all current ones have ended. */
  override async close(): Promise<void> {
    this.markClosed()
    this.#finishClosing()
    await Promise.all([this.#closedPromise.promise, this.http1.close()])
  }

  /** Fails all requests and closes all connections. */
  override async destroy(): Promise<void> {
    this.markClosed()
    for (const stream of this.#queue.clear()) stream.fail(new errors.ClientDestroyedError())
    for (const connection of this.#all) connection.end(new errors.ClientDestroyedError())
    await this.http1.destroy()
  }

  #findFree(): Http2Connection | undefined {
    return this.#open.find(({ hasRoom }) => hasRoom)
  }

  /** Opens a connection if those that are opening cannot serve the whole queue. */
  #grow(): void {
    const { connect, connections } = this.#options
    if (this.#open.length + this.#opening >= connections) return
    if (this.#queue.length <= this.#opening * MAX_CONCURRENT_STREAMS) return
    this.#opening++
    connect(
      (socket) => this.#onConnect(socket),
      (error) => this.#onConnectError(error)
    )
  }

  #onConnect(socket: Socket & { alpnProtocol?: unknown }): void {
    if (socket.alpnProtocol !== 'h2') {
      this.#fallBackToHttp1(socket)
      return
    }
    new Http2Connection(socket, this.#options.origin, this.#options, {
      onOpen: (connection) => {
        this.#opening--
        this.#all.add(connection)
        this.#open.push(connection)
        this.#assignQueued()
      },
      onConnectError: (why) => this.#onConnectError(why),
      onCapacity: () => this.#assignQueued(),
      onRetired: (connection) => {
        const at = this.#open.indexOf(connection)
        if (at !== -1) this.#open.splice(at, 1)
      },
      onClosed: (connection) => {
        this.#all.delete(connection)
        this.#assignQueued()
      }
    })
  }

  #assignQueued(): void {
    for (let free = this.#findFree(); free !== undefined; free = this.#findFree()) {
      const next = this.#queue.dequeue()
      if (next === undefined) break
      free.send(next)
    }
    if (this.#queue.length > 0) this.#grow()
    this.#finishClosing()
  }

  #onConnectError(error: Error): void {
    this.#opening--
    if (this.#opening === 0 && !this.#open.some(({ takesRequests }) => takesRequests))
      for (const stream of this.#queue.clear()) stream.fail(error)
    this.#finishClosing()
  }

  /** Uses HTTP/1.1 for a while, since the target did not negotiate HTTP/2. */
  #fallBackToHttp1(socket: Socket): void {
    socket.destroy()
    this.#opening--
    this.#http1Until = monotonic() + HTTP1_FALLBACK_MS
    for (const { options, handler } of this.#queue.clear()) this.http1.send(options, handler)
    this.#finishClosing()
  }

  #finishClosing(): void {
    if (!this.closed || this.#queue.length > 0) return
    for (const connection of [...this.#open]) connection.retire()
    if (this.#all.size + this.#opening === 0) this.#closedPromise.resolve()
  }
}
