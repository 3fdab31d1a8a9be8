import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Forwarding, Upgrade } from '../../src/kit/index.ts'
import { closeFrame, Frames, GOING_AWAY } from './frames.ts'

/** What a joined connection may take, in milliseconds; undefined for no limit. */
export interface Joint {
  readonly idle: number | undefined
  readonly lifetime: number | undefined
}

// How long a frame may take to end, and then a client to read its last one, in milliseconds.
const LAST_WORD = 1000

const JOINED = Symbol('joined')

interface Side extends Duplex {
  [JOINED]?: Joined
}

/** Joins two WebSocket connections from here on; the end of one is the end of the other. */
export function join(
  response: ServerResponse,
  upgrade: Upgrade,
  upstream: Duplex,
  joint: Joint,
  forwarding: Forwarding
): void {
  response.detachSocket(upgrade.socket as never)
  const joined = new Joined(response, upgrade.socket, upstream, joint, forwarding)
  upgrade.leave = (code) => joined.leave(code)
  joined.begin(upgrade.head)
}

/** Two connections that are one. There may be tens of thousands: it has no closures, and nothing of the request but what the log asks for. */
class Joined {
  readonly #response: ServerResponse
  readonly #client: Side
  readonly #upstream: Side
  readonly #forwarding: Forwarding
  readonly #frames = new Frames()
  #idle: NodeJS.Timeout | undefined
  #ending: NodeJS.Timeout | undefined
  #lifetime: NodeJS.Timeout | undefined
  #last: Buffer | undefined
  #over = false

  constructor(
    response: ServerResponse,
    client: Duplex,
    upstream: Duplex,
    { idle, lifetime }: Joint,
    forwarding: Forwarding
  ) {
    this.#response = response
    this.#client = client
    this.#upstream = upstream
    this.#forwarding = forwarding
    if (lifetime !== undefined) this.#lifetime = setTimeout(onAway, lifetime, this)
    if (idle !== undefined) this.#idle = setTimeout(onAway, idle, this)
  }

  /** Lets bytes flow both ways, first what the client has sent behind its request. */
  begin(head: Buffer): void {
    this.#client[JOINED] = this
    this.#upstream[JOINED] = this
    for (const side of [this.#client, this.#upstream])
      side.on('error', onOver).on('close', onOver).on('end', onEnd).on('drain', onDrain).on('data', onData)
    if (head.length > 0) this.take(this.#client, head)
  }

  /** Passes bytes of one side to the other, as fast as that takes them. */
  take(from: Side, chunk: Buffer): void {
    this.#idle?.refresh()
    if (from === this.#client) {
      this.#forwarding.bytesIn += chunk.length
      if (!this.#upstream.write(chunk)) from.pause()
      return
    }
    this.#forwarding.bytesOut += chunk.length
    this.#frames.take(chunk)
    if (!this.#client.write(chunk)) from.pause()
    // The rest of a frame is on its way before the last word.
    if (this.#last !== undefined && this.#frames.between) this.end()
  }

  /** Finds the side that is not this one. */
  other(side: Side): Side {
    return side === this.#client ? this.#upstream : this.#client
  }

  /** Tells the client to leave, with a close code, and ends both sides. */
  leave(code: number): void {
    if (this.#over || this.#last !== undefined) return
    this.#last = closeFrame(code)
    // In the middle of a frame a close would be read as a part of it.
    if (this.#frames.between) this.end()
    else this.#ending = setTimeout(onEnding, LAST_WORD, this)
  }

  /** Ends both sides. */
  end(): void {
    if (this.#over) return
    this.#over = true
    for (const timer of [this.#idle, this.#lifetime, this.#ending]) clearTimeout(timer)
    const client = this.#client
    this.#upstream.destroy()
    if (this.#last === undefined || !client.writable || !this.#frames.between) client.destroy()
    else {
      // A client that no longer reads does not get to hold the connection.
      const timer = setTimeout(() => client.destroy(), LAST_WORD)
      client.end(this.#last, () => {
        clearTimeout(timer)
        client.destroy()
      })
    }
    this.#response.emit('close')
  }
}

function onData(this: Side, chunk: Buffer): void {
  this[JOINED]?.take(this, chunk)
}

function onDrain(this: Side): void {
  this[JOINED]?.other(this).resume()
}

function onEnd(this: Side): void {
  this[JOINED]?.other(this).end()
}

function onOver(this: Side): void {
  this[JOINED]?.end()
}

function onAway(joined: Joined): void {
  joined.leave(GOING_AWAY)
}

function onEnding(joined: Joined): void {
  joined.end()
}
