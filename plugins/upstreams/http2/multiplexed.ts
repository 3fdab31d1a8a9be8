import type { Socket } from 'node:net'
import { Dispatcher, errors } from 'undici'
import type { Handler, Sender, Sending } from '../../../src/kit/index.ts'
import type { Connector } from '../connector.ts'
import type { Pool } from '../http1/pool.ts'
import { Connection, STREAMS } from './connection.ts'
import { Stream } from './stream.ts'

/** What the connections of a target have to keep to. */
export interface MultiplexedOptions {
  readonly origin: URL
  readonly connect: Connector
  /** The most connections at a time that take new requests. */
  readonly connections: number
  /** Milliseconds until a connection without a request is closed. */
  readonly keepAlive: number
  /** Milliseconds that the other side may take to say its settings, or to answer a ping. */
  readonly patience: number
  /** Sends by HTTP/1.1, where a target over TLS does not offer HTTP/2. */
  readonly plain: Pool
}

// How long a target over TLS that does not offer HTTP/2 is believed, in milliseconds.
const BELIEVED = 60_000

/** Sends requests by HTTP/2, many on a connection; a dispatcher as undici's pools are, with older handlers only. */
export class Multiplexed extends Dispatcher implements Sender {
  readonly plain: Pool
  readonly #options: MultiplexedOptions
  // Those that take new requests; one that is retired ends by itself, and holds nobody up.
  readonly #open: Connection[] = []
  readonly #all = new Set<Connection>()
  readonly #waiting: Stream[] = []
  readonly #over = Promise.withResolvers<void>()
  #opening = 0
  #plainUntil = 0
  #closed = false

  constructor(options: MultiplexedOptions) {
    super()
    this.#options = options
    this.plain = options.plain
  }

  get closed(): boolean {
    return this.#closed
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    this.send(options as unknown as Sending, handler as unknown as Handler)
    return true
  }

  /** Sends a request, once there is a connection for it. */
  send(sending: Sending, handler: Handler): void {
    if (this.#plainUntil !== 0 && this.#plainUntil > Date.now()) {
      this.plain.send(sending, handler)
      return
    }
    const stream = new Stream(sending, handler)
    if (this.#closed) {
      stream.fail(new errors.ClientClosedError())
      return
    }
    const free = this.#waiting.length === 0 ? this.#free() : undefined
    if (free === undefined) {
      this.#forgetLost()
      this.#waiting.push(stream)
      this.#grow()
    } else free.begin(stream)
  }

  /** Takes no more requests; settles once all that was begun has ended. */
  override async close(): Promise<void> {
    this.#closed = true
    this.#settle()
    await Promise.all([this.#over.promise, this.plain.close()])
  }

  /** Ends everything at once. */
  override async destroy(): Promise<void> {
    this.#closed = true
    for (const stream of this.#waiting.splice(0)) stream.fail(new errors.ClientDestroyedError())
    for (const connection of this.#all) connection.end(new errors.ClientDestroyedError())
    await this.plain.destroy()
  }

  // Who has left can't be taken out of the line at once: it is not known here before its turn.
  #forgetLost(): void {
    if (this.#waiting.length === 0 || this.#waiting.length % STREAMS !== 0) return
    const waits = this.#waiting.filter(({ handler }) => handler.lost !== true)
    this.#waiting.splice(0, this.#waiting.length, ...waits)
  }

  #free(): Connection | undefined {
    return this.#open.find(({ hasRoom }) => hasRoom)
  }

  /** Opens a connection where those that are being opened won't do for who waits. */
  #grow(): void {
    const { origin, connect, connections, patience } = this.#options
    if (this.#open.length + this.#opening >= connections) return
    if (this.#waiting.length <= this.#opening * STREAMS) return
    this.#opening++
    const { protocol, port, host, hostname: said } = origin
    const hostname = said.startsWith('[') ? said.slice(1, -1) : said
    connect({ protocol, port, host, hostname } as never, (...[error, socket]) => {
      if (error !== null || socket === null) return this.#failed(error ?? new errors.SocketError('closed'))
      if ((socket as Socket & { alpnProtocol?: unknown }).alpnProtocol !== 'h2') return this.#goPlain(socket)
      new Connection(socket, origin, patience, this.#options.keepAlive, {
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
    })
  }

  #serve(): void {
    while (this.#waiting.length > 0) {
      const free = this.#free()
      if (free === undefined) {
        this.#grow()
        break
      }
      free.begin(this.#waiting.shift() as Stream)
    }
    this.#settle()
  }

  #failed(error: Error): void {
    this.#opening--
    if (this.#open.length + this.#opening === 0)
      for (const stream of this.#waiting.splice(0)) stream.fail(error)
    this.#settle()
  }

  /** Goes on by HTTP/1.1, which is what the target has chosen. */
  #goPlain(socket: Socket): void {
    socket.destroy()
    this.#opening--
    this.#plainUntil = Date.now() + BELIEVED
    for (const { sending, handler } of this.#waiting.splice(0)) this.plain.send(sending, handler)
    this.#settle()
  }

  #settle(): void {
    if (!this.#closed || this.#waiting.length > 0) return
    for (const connection of [...this.#open]) connection.retire()
    if (this.#all.size + this.#opening === 0) this.#over.resolve()
  }
}
