import type { Socket } from 'node:net'
import { errors } from 'undici'
import { monotonic } from '../../../../src/lib/clock.ts'
import type { Handler, Sending } from '../../../../src/lib/contracts/dispatch.ts'
import type { Connect } from '../connect.ts'
import { TargetDispatcher } from '../dispatcher.ts'
import { FairQueue } from '../fair-queue.ts'
import type { Http1Pool } from '../http1/pool.ts'
import { Connection, STREAMS } from './connection.ts'
import { Stream } from './stream.ts'

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
  readonly patience: number
  /** Sends by HTTP/1.1, where a target over TLS does not offer HTTP/2. */
  readonly plain: Http1Pool
}

// How long a target over TLS that does not offer HTTP/2 is believed, in milliseconds.
const BELIEVED = 60_000

/** Sends requests by HTTP/2, many on a connection. */
export class Http2Pool extends TargetDispatcher {
  readonly plain: Http1Pool
  readonly #options: Http2PoolOptions
  // Those that take new requests; one that is retired ends by itself, and holds nobody up.
  readonly #open: Connection[] = []
  readonly #all = new Set<Connection>()
  readonly #waiting = new FairQueue<Stream>()
  readonly #over = Promise.withResolvers<void>()
  #opening = 0
  #plainUntil = 0

  constructor(options: Http2PoolOptions) {
    super()
    this.#options = options
    this.plain = options.plain
  }

  /** Sends a request, once there is a connection for it. */
  send(sending: Sending, handler: Handler): void {
    if (this.#plainUntil !== 0 && this.#plainUntil > monotonic()) {
      this.plain.send(sending, handler)
      return
    }
    const stream = new Stream(sending, handler)
    if (this.closed) {
      stream.fail(new errors.ClientClosedError())
      return
    }
    const free = this.#waiting.length === 0 ? this.#free() : undefined
    if (free === undefined) {
      this.#waiting.enqueue(stream)
      this.#grow()
    } else free.begin(stream)
  }

  /** Takes no more requests; settles once all that was begun has ended. */
  override async close(): Promise<void> {
    this.takeNoMore()
    this.#settle()
    await Promise.all([this.#over.promise, this.plain.close()])
  }

  /** Ends everything at once. */
  override async destroy(): Promise<void> {
    this.takeNoMore()
    for (const stream of this.#waiting.clear()) stream.fail(new errors.ClientDestroyedError())
    for (const connection of this.#all) connection.end(new errors.ClientDestroyedError())
    await this.plain.destroy()
  }

  #free(): Connection | undefined {
    return this.#open.find(({ hasRoom }) => hasRoom)
  }

  /** Opens a connection where those that are being opened won't do for who waits. */
  #grow(): void {
    const { connect, connections } = this.#options
    if (this.#open.length + this.#opening >= connections) return
    if (this.#waiting.length <= this.#opening * STREAMS) return
    this.#opening++
    connect(
      (socket) => this.#connected(socket),
      (error) => this.#failed(error)
    )
  }

  #connected(socket: Socket & { alpnProtocol?: unknown }): void {
    if (socket.alpnProtocol !== 'h2') {
      this.#goPlain(socket)
      return
    }
    new Connection(socket, this.#options.origin, this.#options, {
      opened: (connection) => {
        this.#opening--
        this.#all.add(connection)
        this.#open.push(connection)
        this.#serve()
      },
      failed: (why) => this.#failed(why),
      freed: () => this.#serve(),
      retired: (connection) => {
        const at = this.#open.indexOf(connection)
        if (at !== -1) this.#open.splice(at, 1)
      },
      ended: (connection) => {
        this.#all.delete(connection)
        this.#serve()
      }
    })
  }

  #serve(): void {
    for (let free = this.#free(); free !== undefined; free = this.#free()) {
      const next = this.#waiting.dequeue()
      if (next === undefined) break
      free.begin(next)
    }
    if (this.#waiting.length > 0) this.#grow()
    this.#settle()
  }

  #failed(error: Error): void {
    this.#opening--
    if (this.#opening === 0 && !this.#open.some(({ takesRequests }) => takesRequests))
      for (const stream of this.#waiting.clear()) stream.fail(error)
    this.#settle()
  }

  /** Goes on by HTTP/1.1, which is what the target has chosen. */
  #goPlain(socket: Socket): void {
    socket.destroy()
    this.#opening--
    this.#plainUntil = monotonic() + BELIEVED
    for (const { sending, handler } of this.#waiting.clear()) this.plain.send(sending, handler)
    this.#settle()
  }

  #settle(): void {
    if (!this.closed || this.#waiting.length > 0) return
    for (const connection of [...this.#open]) connection.retire()
    if (this.#all.size + this.#opening === 0) this.#over.resolve()
  }
}
