import { Readable } from 'node:stream'
import { startTimer, stopTimer, type Timer } from '../../../src/lib/clock.ts'

/** Told of by a flight. */
export interface FlightEvents {
  /** No further requests can follow. */
  closed(): void
  /** The response can't be shared. */
  notShared(): void
  shared(): void
}

/** How waiting for a head ended: it is shared, the follower has to ask by itself, or time ran out. */
export type HeadResult<H> = { readonly head: H } | 'alone' | 'timeout'

// How far the slowest follower may be behind once the body is larger than what is stored, in bytes.
const WINDOW_BYTES = 256 * 1024

/** One request to an upstream, and the requests that wait for its response. The leader calls `head`, `write` and `end`, or `fail`. */
export class Flight<H> {
  /** Called when the leader may go on after `write` returned false. */
  drained: (() => void) | undefined
  /** Called when the last follower has left. */
  abandoned: (() => void) | undefined
  readonly #events: FlightEvents
  readonly #followers = new Set<FlightFollower<H>>()
  #state: 'waiting' | 'streaming' | 'ended' | 'failed' | 'alone' = 'waiting'
  #head: H | undefined
  #chunks: Buffer[] = []
  // How many chunks were dropped before the first of #chunks.
  #dropped = 0
  #isPaused = false
  #isWindowed = false
  #unused: (() => void) | undefined

  constructor(events: FlightEvents) {
    this.#events = events
  }

  /** Whether requests wait for it. */
  get isAwaited(): boolean {
    return this.#followers.size > 0
  }

  /** Adds a request that waits. */
  follow(): FlightFollower<H> {
    const follower = new FlightFollower<H>(this)
    this.#followers.add(follower)
    return follower
  }

  /** Shares the head; the followers stream along. */
  share(head: H): void {
    if (this.#state !== 'waiting') return
    this.#state = 'streaming'
    this.#head = head
    this.#events.shared()
    for (const follower of this.#followers) follower.settle({ head })
  }

  /** Ends the waiting, because the response can't be shared; further requests of the key don't wait for a while. */
  refuse(): void {
    if (this.#state !== 'waiting') return
    this.#events.notShared()
    this.#end('alone')
  }

  /** Passes on a part of the body, whose bytes must not change afterwards; returns false to pause until `drained`. */
  write(chunk: Buffer): boolean {
    if (this.#state !== 'streaming') return true
    if (this.#isWindowed && this.#followers.size === 0) return true
    this.#chunks.push(chunk)
    for (const follower of this.#followers) follower.wake()
    if (this.#isWindowed) this.#dropRead()
    return !this.#isPaused
  }

  /** Keeps only what followers have not read yet from now on: the body is too large to be stored. */
  keepWindow(): void {
    if (this.#isWindowed) return
    this.#isWindowed = true
    this.#events.notShared()
    this.#events.closed()
    this.#dropRead()
  }

  end(): void {
    if (this.#state === 'streaming') this.#end('ended')
    else this.fail()
  }

  /** Gives up: those that wait for the head ask by themselves, and those that stream are cut. */
  fail(): void {
    if (this.#state === 'waiting' || this.#state === 'streaming') this.#end('failed')
  }

  #end(state: 'ended' | 'failed' | 'alone'): void {
    const wasWaiting = this.#state === 'waiting'
    this.#state = state
    this.#events.closed()
    for (const follower of this.#followers) {
      if (wasWaiting) follower.settle('alone')
      follower.wake()
    }
    if (wasWaiting) this.#followers.clear()
  }

  /** Calls a function once no request reads on what was written: at once where none follows. */
  whenUnused(callback: () => void): void {
    this.#unused = callback
    this.#reportUnused()
  }

  #reportUnused(): void {
    if (this.#followers.size > 0) return
    this.#unused?.()
    this.#unused = undefined
  }

  /** The result of waiting that is known already; undefined for none. */
  get result(): HeadResult<H> | undefined {
    if (this.#state === 'waiting') return undefined
    return this.#head === undefined || this.#state === 'failed' ? 'alone' : { head: this.#head }
  }

  /** Reads the chunk at a place: 'wait' where it has not come yet. */
  read(index: number): Buffer | 'wait' | 'ended' | 'failed' {
    const chunk = this.#chunks[index - this.#dropped]
    if (chunk !== undefined) return chunk
    return this.#state === 'streaming' ? 'wait' : this.#state === 'ended' ? 'ended' : 'failed'
  }

  /** Notes that a follower has read on. */
  onRead(): void {
    if (this.#isWindowed) this.#dropRead()
  }

  /** Removes a follower. */
  leave(follower: FlightFollower<H>): void {
    if (!this.#followers.delete(follower)) return
    if (this.#isWindowed) this.#dropRead()
    this.#reportUnused()
    if (this.#followers.size === 0 && (this.#state === 'waiting' || this.#state === 'streaming'))
      this.abandoned?.()
  }

  /** Lets no further requests follow, because the head takes longer than they can wait. */
  close(): void {
    if (this.#state === 'waiting') this.#events.closed()
  }

  /** Drops what every follower has read, and pauses the leader while the slowest one is too far behind. */
  #dropRead(): void {
    let slowest = this.#dropped + this.#chunks.length
    for (const { index } of this.#followers) slowest = Math.min(slowest, index)
    this.#chunks.splice(0, slowest - this.#dropped)
    this.#dropped = slowest
    const bytes = this.#chunks.reduce((sum, { length }) => sum + length, 0)
    const wasPaused = this.#isPaused
    this.#isPaused = bytes > WINDOW_BYTES
    if (wasPaused && !this.#isPaused) this.drained?.()
  }
}

/** A request that waits for the response to another one. */
export class FlightFollower<H> {
  /** The place of the next chunk to read. */
  index = 0
  readonly #flight: Flight<H>
  #settle: ((result: HeadResult<H>) => void) | undefined
  #timer: Timer | undefined
  #body: Readable | undefined
  #wantsData = false

  constructor(flight: Flight<H>) {
    this.#flight = flight
  }

  /** Waits for the head for at most `ms`. */
  wait(ms: number): Promise<HeadResult<H>> {
    const known = this.#flight.result
    if (known !== undefined) return Promise.resolve(known)
    return new Promise((resolve) => {
      this.#settle = resolve
      this.#timer = startTimer(() => this.#giveUp(), ms)
    })
  }

  /** Returns the body as it comes. */
  body(): Readable {
    if (this.#body !== undefined) return this.#body
    this.#body = new Readable({
      read: () => {
        this.#wantsData = true
        this.wake()
      },
      destroy: (error, done) => {
        this.leave()
        done(error)
      }
    })
    // A body that is cut before anything reads it must not end the process.
    this.#body.on('error', () => {})
    return this.#body
  }

  /** Leaves the flight: the client has gone, or the response is not for it. */
  leave(): void {
    this.settle('alone')
    this.#flight.leave(this)
  }

  /** Ends the waiting for the head. */
  settle(result: HeadResult<H>): void {
    stopTimer(this.#timer)
    this.#settle?.(result)
    this.#settle = undefined
  }

  /** Hands on what has come since. */
  wake(): void {
    const body = this.#body
    if (body === undefined) return
    while (this.#wantsData) {
      const chunk = this.#flight.read(this.index)
      if (chunk === 'wait') return
      this.#wantsData = false
      if (chunk === 'ended') body.push(null)
      else if (chunk === 'failed') body.destroy(new Error('the response to the leading request was cut'))
      else {
        this.index++
        this.#wantsData = body.push(chunk)
        this.#flight.onRead()
      }
    }
  }

  #giveUp(): void {
    this.settle('timeout')
    this.#flight.close()
    this.#flight.leave(this)
  }
}
