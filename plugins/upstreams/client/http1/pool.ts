import { errors } from 'undici'
import type { Handler, Sending } from '../../../../src/lib/contracts/dispatch.ts'
import type { Connect } from '../connect.ts'
import { TargetDispatcher } from '../dispatcher.ts'
import { FairQueue } from '../fair-queue.ts'
import { Connection } from './connection.ts'

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

interface Waiting {
  readonly sending: Sending
  readonly handler: Handler
  /** How many have waited before. */
  readonly turn: number
}

// Who says how long it keeps an idle connection closes it at that time: a request that is on its way then is lost.
const MARGIN = 1000

// How many idle connections to a target are kept for longer than a moment.
const MOST_IDLE = 64

// How often idle connections are looked at, in milliseconds.
const LOOK_EVERY = 1000

/** Sends requests by HTTP/1.1, one at a time on a connection. */
export class Http1Pool extends TargetDispatcher {
  readonly #options: Http1PoolOptions
  // The one that was used last is used next, so that those too many grow old.
  readonly #idle: Connection[] = []
  readonly #all = new Set<Connection>()
  readonly #waiting = new FairQueue<Waiting>()
  // Requests that want a new connection: to switch protocols, or since an idle one was dead.
  readonly #alone = new FairQueue<Waiting>()
  #turn = 0
  // The connections that are being opened, for each line.
  #opening = 0
  #openingAlone = 0
  // Connections whose answer is complete and that are free after a quiet poll phase.
  #proving = 0
  #looking: NodeJS.Timeout | undefined
  readonly #over = Promise.withResolvers<void>()

  constructor(options: Http1PoolOptions) {
    super()
    this.#options = options
  }

  /** Sends a request, once there is a connection for it. */
  send(sending: Sending, handler: Handler): void {
    if (this.closed) {
      handler.onError(new errors.ClientClosedError())
      return
    }
    const alone = sending.upgrade !== undefined || sending.fresh === true
    const free = alone || this.#waiting.length > 0 ? undefined : this.#free()
    if (free !== undefined) {
      free.begin(sending, handler)
      return
    }
    const queue = alone ? this.#alone : this.#waiting
    queue.enqueue({ sending, handler, turn: this.#turn++ })
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
      const alone = this.#alone.peek()
      // Some have a connection on its way to them: one that opens, or one about to be free.
      const other = this.#waiting.length > this.#opening + this.#proving ? this.#waiting.peek() : undefined
      if (alone === undefined && other === undefined) return
      if (turnOf(alone) < turnOf(other)) this.#openFor(this.#alone.dequeue() as Waiting)
      else this.#open()
    }
    // An idle one makes room for one that is wanted.
    if (this.#alone.peek() !== undefined) this.#idle.pop()?.end()
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
    const { connect, connectStream, maxHeaders } = this.#options
    const switches = sending.upgrade !== undefined
    const open = switches ? connectStream : connect
    open(
      (socket) => {
        this.#openingAlone--
        const connection = new Connection(socket, this, maxHeaders)
        if (switches) connection.readAsStream()
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
    const next = this.#next()
    if (next !== undefined) {
      connection.begin(next.sending, next.handler)
      return
    }
    this.#idle.push(connection)
    this.#looking ??= setInterval(() => this.#look(), Math.min(LOOK_EVERY, this.#options.keepAlive)).unref()
    if (this.closed || this.#alone.length > 0) this.#served()
  }

  /** Takes the next request out of the queue; none while one that came before wants a new connection in the place of this one. */
  #next(): Waiting | undefined {
    return turnOf(this.#waiting.peek()) < turnOf(this.#alone.peek()) ? this.#waiting.dequeue() : undefined
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
    else this.#waiting.dequeue()?.handler.onError(error)
    this.#served()
  }

  #failAll(error: Error): void {
    for (const { handler } of [...this.#waiting.clear(), ...this.#alone.clear()]) handler.onError(error)
  }

  #served(): void {
    this.#grow()
    this.#settle()
  }

  #settle(): void {
    if (!this.closed || this.#waiting.length + this.#alone.length > 0) return
    for (const connection of this.#idle.splice(0)) connection.end()
    clearInterval(this.#looking)
    if (this.#size === 0) this.#over.resolve()
  }

  /** Closes connections that were idle for long enough, and those beyond what is kept. */
  #look(): void {
    const now = performance.now()
    const beyond = this.#idle.length - MOST_IDLE
    const old = this.#idle.filter(
      (connection, i) =>
        this.#isOld(connection, now) || (i < beyond && now - connection.idleSince >= LOOK_EVERY)
    )
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
