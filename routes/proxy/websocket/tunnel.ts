import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Forwarding } from '../../../src/lib/caller.ts'
import type { Upgrade } from '../../../src/lib/http/upgrade.ts'
import { closeFrame, Frames, GOING_AWAY } from './frames.ts'

/** What a joined connection may take, in milliseconds; undefined for no limit. */
export interface TunnelOptions {
  readonly idle: number | undefined
  readonly lifetime: number | undefined
  /** How long one side may be silent once the other has ended. */
  readonly closeTimeout: number
}

// How long a frame may take to end, and then a client to read the close frame, in milliseconds.
const LAST_WORD = 1000

const JOINED = Symbol('joined')

interface Side extends Duplex {
  [JOINED]?: Tunnel
}

/** Joins two WebSocket connections from here on; what one side ends, the other gets to its last byte. */
export function openTunnel(
  response: ServerResponse,
  upgrade: Upgrade,
  upstream: Duplex,
  joint: TunnelOptions,
  forwarding: Forwarding
): void {
  response.detachSocket(upgrade.socket as never)
  const joined = new Tunnel(response, upgrade.socket, upstream, joint, forwarding)
  upgrade.leave = (code) => joined.leave(code)
  joined.begin(upgrade.head)
}

/** Two connections that are one. There may be tens of thousands: it has no closures, and nothing of the request but what the log asks for. */
class Tunnel {
  readonly #response: ServerResponse
  readonly #client: Side
  readonly #upstream: Side
  readonly #forwarding: Forwarding
  readonly #frames = new Frames()
  readonly #closeTimeout: number
  #idle: NodeJS.Timeout | undefined
  #ending: NodeJS.Timeout | undefined
  #lifetime: NodeJS.Timeout | undefined
  #closing: NodeJS.Timeout | undefined
  #last: Buffer | undefined
  #over = false

  constructor(
    response: ServerResponse,
    client: Duplex,
    upstream: Duplex,
    { idle, lifetime, closeTimeout }: TunnelOptions,
    forwarding: Forwarding
  ) {
    this.#response = response
    this.#client = client
    this.#upstream = upstream
    this.#forwarding = forwarding
    this.#closeTimeout = closeTimeout
    if (lifetime !== undefined) this.#lifetime = setTimeout(onAway, lifetime, this)
    if (idle !== undefined) this.#idle = setTimeout(onAway, idle, this)
  }

  /** Lets bytes flow both ways, first what the client has sent behind its request. */
  begin(head: Buffer): void {
    this.#client[JOINED] = this
    this.#upstream[JOINED] = this
    for (const side of [this.#client, this.#upstream]) {
      // The end of one direction is not the end of the other.
      side.allowHalfOpen = true
      side.on('error', ignore).on('close', onClose).on('end', onEnd).on('drain', onDrain).on('data', onData)
    }
    if (head.length > 0) this.take(this.#client, head)
  }

  /** Passes bytes of one side to the other, as fast as that takes them. */
  take(from: Side, chunk: Buffer): void {
    const to = this.#otherThan(from)
    // Still read, or closing the connection would reset it and lose what the other side has not read yet (RFC 9112 section 9.6).
    if (to.writableEnded || to.destroyed) return
    this.#idle?.refresh()
    this.#closing?.refresh()
    if (from === this.#client) this.#forwarding.bytesIn += chunk.length
    else {
      this.#forwarding.bytesOut += chunk.length
      this.#frames.take(chunk)
    }
    if (!to.write(chunk)) from.pause()
    // The rest of a frame is on its way before the close frame.
    if (from === this.#upstream && this.#last !== undefined && this.#frames.between) this.#part()
  }

  /** Lets the other side send on, now that this one has taken what there was. */
  drained(side: Side): void {
    this.#idle?.refresh()
    this.#closing?.refresh()
    this.#otherThan(side).resume()
  }

  /** Passes on that a side sends nothing more; the other one may send on. */
  ended(side: Side): void {
    this.#otherThan(side).end()
    this.#await()
  }

  /** Lets the other side have what is on its way to it, now that this one is gone. */
  closed(side: Side): void {
    const other = this.#otherThan(side)
    if (other.destroyed) {
      this.#finish()
      return
    }
    other.end()
    other.resume()
    this.#await()
  }

  /** Ends both sides if the one that was waited for stays silent. */
  silent(): void {
    // What a side has not taken yet is bounded by "idle" and by the limits of the listener.
    if (hasBytesToTake(this.#client) || hasBytesToTake(this.#upstream)) this.#closing?.refresh()
    else this.end()
  }

  /** Tells the client to leave, with a close code, and ends both sides. */
  leave(code: number): void {
    if (this.#over || this.#last !== undefined) return
    this.#last = closeFrame(code)
    // In the middle of a frame a close would be read as a part of it.
    if (this.#frames.between) this.#part()
    else this.#ending = setTimeout(onEnding, LAST_WORD, this)
  }

  /** Ends both sides at once. */
  end(): void {
    this.#client.destroy()
    this.#upstream.destroy()
    this.#finish()
  }

  /** Ends both sides with the close frame, which the client gets a moment to read. */
  #part(): void {
    clearTimeout(this.#ending)
    this.#ending = setTimeout(onEnding, LAST_WORD, this)
    this.#upstream.end()
    this.#upstream.resume()
    if (this.#client.writable) this.#client.end(this.#last)
    this.#client.resume()
  }

  #await(): void {
    this.#closing ??= setTimeout(onSilent, this.#closeTimeout, this)
  }

  #finish(): void {
    if (this.#over) return
    this.#over = true
    for (const timer of [this.#idle, this.#lifetime, this.#ending, this.#closing]) clearTimeout(timer)
    this.#response.emit('close')
  }

  #otherThan(side: Side): Side {
    return side === this.#client ? this.#upstream : this.#client
  }
}

const hasBytesToTake = (side: Side): boolean => !side.destroyed && side.writableLength > 0

function onData(this: Side, chunk: Buffer): void {
  this[JOINED]?.take(this, chunk)
}

function onDrain(this: Side): void {
  this[JOINED]?.drained(this)
}

function onEnd(this: Side): void {
  this[JOINED]?.ended(this)
}

function onClose(this: Side): void {
  this[JOINED]?.closed(this)
}

// The end of a connection shows by its 'close'.
function ignore(): void {}

function onAway(joined: Tunnel): void {
  joined.leave(GOING_AWAY)
}

function onEnding(joined: Tunnel): void {
  joined.end()
}

function onSilent(joined: Tunnel): void {
  joined.silent()
}
