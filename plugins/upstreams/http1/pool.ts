import { errors } from 'undici'
import type { Handler, Sending } from '../../../src/kit/index.ts'
import type { Connect } from '../connector.ts'
import { lineUp, TargetDispatcher } from '../target-dispatcher.ts'
import { Connection } from './connection.ts'

/** What the connections of a target have to keep to. */
export interface PoolOptions {
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

interface Waiting {
  readonly sending: Sending
  readonly handler: Handler
  /** How many have waited before. */
  readonly turn: number
}

// Who says how long it keeps an idle connection closes it at that time: a request that is on its way then is lost.
const MARGIN = 1000

// How often idle connections are looked at, in milliseconds.
const LOOK_EVERY = 1000

/** Sends requests by HTTP/1.1, one at a time on a connection. */
export class Pool extends TargetDispatcher {
  readonly #options: PoolOptions
  // The one that was used last is used next, so that those too many grow old.
  readonly #idle: Connection[] = []
  readonly #all = new Set<Connection>()
  readonly #waiting: Waiting[] = []
  // Those that take a connection for themselves.
  readonly #switching: Waiting[] = []
  #turn = 0
  // The connections that are being opened, for each line.
  #opening = 0
  #openingAlone = 0
  // Connections whose answer is complete and that are free after a quiet poll phase.
  #proving = 0
  #looking: NodeJS.Timeout | undefined
  readonly #over = Promise.withResolvers<void>()

  constructor(options: PoolOptions) {
    super()
    this.#options = options
  }

  /** Sends a request, once there is a connection for it. */
  send(sending: Sending, handler: Handler): void {
    if (this.closed) {
      handler.onError(new errors.ClientClosedError())
      return
    }
    const free = this.#waiting.length === 0 && sending.upgrade === undefined ? this.#free() : undefined
    if (free !== undefined) {
      free.begin(sending, handler)
      return
    }
    const line = sending.upgrade === undefined ? this.#waiting : this.#switching
    lineUp(line, { sending, handler, turn: this.#turn++ })
    this.#grow()
  }

  /** Takes no more requests; settles once all that was begun has ended. */
  override async close(): Promise<void> {
    this.takeNoMore()
    this.#settle()
    await this.#over.promise
  }

  /** Ends everything at once. */
  override async destroy(): Promise<void> {
    this.takeNoMore()
    const error = new errors.ClientDestroyedError()
    this.#failAll(error)
    for (const connection of [...this.#all]) connection.end(error)
    this.#settle()
  }

  #free(): Connection | undefined {
    const now = performance.now()
    for (let last = this.#idle.pop(); last !== undefined; last = this.#idle.pop()) {
      if (last.usable && !this.#isOld(last, now)) return last
      last.end()
    }
    return undefined
  }

  #isOld({ keeps, idleSince }: Connection, now: number): boolean {
    const { keepAlive } = this.#options
    const most = keeps === 0 ? keepAlive : Math.min(keepAlive, keeps - MARGIN)
    return now - idleSince >= most
  }

  get #hasRoom(): boolean {
    return this.#size < this.#options.connections
  }

  get #size(): number {
    return this.#all.size + this.#opening + this.#openingAlone
  }

  /** Opens connections for those who wait, in their order, as many as there may be. */
  #grow(): void {
    while (this.#hasRoom) {
      const alone = this.#alone
      // The requests before it have one on its way to them: one that opens, or one about to be free.
      const other = this.#waiting[this.#opening + this.#proving]
      if (alone === undefined && other === undefined) return
      if (turnOf(alone) < turnOf(other)) this.#openFor(this.#switching.shift() as Waiting)
      else this.#open()
    }
    // One that nobody uses makes room for one that is wanted.
    if (this.#alone !== undefined) this.#idle.pop()?.end()
  }

  /** Who has waited longest for a connection of his own. */
  get #alone(): Waiting | undefined {
    while (this.#switching[0]?.handler.lost === true) this.#switching.shift()
    return this.#switching[0]
  }

  #open(): void {
    this.#opening++
    this.#options.connect(
      (socket) => {
        this.#opening--
        const connection = new Connection(socket, this, this.#options.maxHeaders)
        connection.idleSince = performance.now()
        this.#all.add(connection)
        this.#serve(connection)
      },
      (error) => {
        this.#opening--
        this.#failed(error)
      }
    )
  }

  #openFor({ sending, handler }: Waiting): void {
    this.#openingAlone++
    this.#options.connectStream(
      (socket) => {
        this.#openingAlone--
        const connection = new Connection(socket, this, this.#options.maxHeaders)
        connection.readAsStream()
        this.#all.add(connection)
        connection.begin(sending, handler)
      },
      (error) => {
        this.#openingAlone--
        handler.onError(error)
        this.#served()
      }
    )
  }

  answered(connection: Connection): void {
    this.#proving++
    connection.idleSince = performance.now()
    // An upstream that keeps it for no longer than a request takes would close it under the next one.
    if (connection.keeps > 0 && connection.keeps <= MARGIN) connection.end()
  }

  proven(connection: Connection): void {
    this.#proving--
    this.#serve(connection)
  }

  /** Gives a connection to the request that waits for one, or keeps it. */
  #serve(connection: Connection): void {
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      if (next.handler.lost === true) continue
      connection.begin(next.sending, next.handler)
      return
    }
    this.#idle.push(connection)
    this.#looking ??= setInterval(() => this.#look(), Math.min(LOOK_EVERY, this.#options.keepAlive)).unref()
    if (this.closed || this.#switching.length > 0) this.#served()
  }

  /** Takes who waits for this connection out of the line; nobody while one who came before wants a new one in its place. */
  #next(): Waiting | undefined {
    return turnOf(this.#waiting[0]) < turnOf(this.#alone) ? this.#waiting.shift() : undefined
  }

  ended(connection: Connection): void {
    if (connection.proving) this.#proving--
    connection.proving = false
    this.#all.delete(connection)
    const at = this.#idle.indexOf(connection)
    if (at !== -1) this.#idle.splice(at, 1)
    this.#served()
  }

  /** Fails who has waited longest, whose connection it was; all of them where there is no other to wait for. */
  #failed(error: Error): void {
    if (this.#size === 0) this.#failAll(error)
    else this.#waiting.shift()?.handler.onError(error)
    this.#served()
  }

  #failAll(error: Error): void {
    for (const { handler } of [...this.#waiting.splice(0), ...this.#switching.splice(0)])
      handler.onError(error)
  }

  #served(): void {
    this.#grow()
    this.#settle()
  }

  #settle(): void {
    if (!this.closed || this.#waiting.length + this.#switching.length > 0) return
    for (const connection of this.#idle.splice(0)) connection.end()
    clearInterval(this.#looking)
    if (this.#size === 0) this.#over.resolve()
  }

  /** Closes connections that nobody has used for long enough. */
  #look(): void {
    const now = performance.now()
    const old = this.#idle.filter((connection) => this.#isOld(connection, now))
    for (const connection of old) {
      this.#idle.splice(this.#idle.indexOf(connection), 1)
      connection.end()
    }
    if (this.#idle.length > 0) return
    clearInterval(this.#looking)
    this.#looking = undefined
  }
}

const turnOf = (waiting: Waiting | undefined): number => waiting?.turn ?? Number.POSITIVE_INFINITY
