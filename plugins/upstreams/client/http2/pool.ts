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

/** What the connections of a target have to keep to. */
export interface Http2PoolOptions {
  readonly origin: URL
  readonly connect: Connect
  /** The most connections at a time that take new requests. */
  readonly connections: number
  /** Milliseconds until a connection without a request is closed. */
  readonly keepAlive: number
  /** The most bytes that the head of an answer may have. */
  readonly maxHeaders: number
  /** Milliseconds that the other side may take to say its settings, or to answer a ping. */
  readonly replyTimeout: number
  /** Sends by HTTP/1.1, where a target over TLS does not offer HTTP/2. */
  readonly http1: Http1Pool
}

// How long a target over TLS that does not offer HTTP/2 is believed, in milliseconds.
const HTTP1_FALLBACK_MS = 60_000

/** Sends requests by HTTP/2, many on a connection. */
export class Http2Pool extends TargetDispatcher {
  readonly http1: Http1Pool
  readonly #options: Http2PoolOptions
  // Those that take new requests; one that is retired ends by itself, and holds nobody up.
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

  /** Sends a request, once there is a connection for it. */
  send(sending: DispatchOptions, handler: DispatchHandler): void {
    if (this.#http1Until !== 0 && this.#http1Until > monotonic()) {
      this.http1.send(sending, handler)
      return
    }
    const stream = new ClientStream(sending, handler)
    if (this.closed) {
      stream.fail(new errors.ClientClosedError())
      return
    }
    const free = this.#queue.length === 0 ? this.#findFree() : undefined
    if (free === undefined) {
      this.#queue.enqueue(stream)
      this.#grow()
    } else free.send(stream)
  }

  /** Takes no more requests; settles once all that was begun has ended. */
  override async close(): Promise<void> {
    this.markClosed()
    this.#finishClosing()
    await Promise.all([this.#closedPromise.promise, this.http1.close()])
  }

  /** Ends everything at once. */
  override async destroy(): Promise<void> {
    this.markClosed()
    for (const stream of this.#queue.clear()) stream.fail(new errors.ClientDestroyedError())
    for (const connection of this.#all) connection.end(new errors.ClientDestroyedError())
    await this.http1.destroy()
  }

  #findFree(): Http2Connection | undefined {
    return this.#open.find(({ hasRoom }) => hasRoom)
  }

  /** Opens a connection where those that are being opened won't do for who waits. */
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

  /** Goes on by HTTP/1.1, which is what the target has chosen. */
  #fallBackToHttp1(socket: Socket): void {
    socket.destroy()
    this.#opening--
    this.#http1Until = monotonic() + HTTP1_FALLBACK_MS
    for (const { options: sending, handler } of this.#queue.clear()) this.http1.send(sending, handler)
    this.#finishClosing()
  }

  #finishClosing(): void {
    if (!this.closed || this.#queue.length > 0) return
    for (const connection of [...this.#open]) connection.retire()
    if (this.#all.size + this.#opening === 0) this.#closedPromise.resolve()
  }
}
