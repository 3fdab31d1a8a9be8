import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Forwarding } from '../../../src/lib/caller.ts'
import type { Upgrade } from '../../../src/lib/http/upgrade.ts'
import { closeFrame, FrameTracker, GOING_AWAY } from './frames.ts'

/** The time limits of a tunnel, in milliseconds; undefined for none. */
export interface TunnelOptions {
  readonly idle: number | undefined
  readonly lifetime: number | undefined
  /** How long one side may be silent after the other has closed. */
  readonly closeTimeout: number
}

// How long to wait for the end of a frame, and then for the client to read the close frame.
const CLOSE_FRAME_TIMEOUT_MS = 1000

const TUNNEL = Symbol('tunnel')

interface Side extends Duplex {
  [TUNNEL]?: Tunnel
}

/** The connections of an accepted upgrade. */
export interface TunnelEnds {
  readonly response: ServerResponse
  readonly upgrade: Upgrade
  /** The connection to the upstream. */
  readonly socket: Duplex
  readonly forwarding: Forwarding
}

/** Connects a client and an upstream until one of them closes; what a side has sent before reaches the other completely. */
export function openTunnel(ends: TunnelEnds, options: TunnelOptions): void {
  const { response, upgrade } = ends
  response.detachSocket(upgrade.socket as never)
  const tunnel = new Tunnel(ends, options)
  upgrade.closeTunnel = (code) => tunnel.close(code)
  upgrade.onSwitched?.()
  tunnel.open(upgrade.head)
}

/** An upgraded connection. There may be tens of thousands: it has no closures, and keeps of the request only what the access log needs. */
class Tunnel {
  readonly #response: ServerResponse
  readonly #client: Side
  readonly #upstream: Side
  readonly #forwarding: Forwarding
  readonly #frames = new FrameTracker()
  readonly #closeTimeout: number
  #idleTimer: NodeJS.Timeout | undefined
  #lifetimeTimer: NodeJS.Timeout | undefined
  #closeFrameTimer: NodeJS.Timeout | undefined
  #closeTimer: NodeJS.Timeout | undefined
  #closeFrame: Buffer | undefined
  #closed = false

  constructor(
    { response, upgrade, socket, forwarding }: TunnelEnds,
    { idle, lifetime, closeTimeout }: TunnelOptions
  ) {
    this.#response = response
    this.#client = upgrade.socket
    this.#upstream = socket
    this.#forwarding = forwarding
    this.#closeTimeout = closeTimeout
    if (lifetime !== undefined) this.#lifetimeTimer = setTimeout(onGoingAway, lifetime, this)
    if (idle !== undefined) this.#idleTimer = setTimeout(onGoingAway, idle, this)
  }

  /** Starts to pass bytes both ways, first those that the client has sent after its request. */
  open(head: Buffer): void {
    this.#client[TUNNEL] = this
    this.#upstream[TUNNEL] = this
    for (const side of [this.#client, this.#upstream]) {
      // One direction may end before the other.
      side.allowHalfOpen = true
      side.on('error', ignore).on('close', onClose).on('end', onEnd).on('drain', onDrain).on('data', onData)
    }
    if (head.length > 0) this.onData(this.#client, head)
    // Without a listener the end of a client that has left meanwhile is lost.
    if (this.#client.readableEnded) this.onEnd(this.#client)
  }

  /** Passes bytes of one side to the other, as fast as that side reads. */
  onData(from: Side, chunk: Buffer): void {
    const to = this.#peerOf(from)
    // Keep reading: closing with unread bytes resets the connection, and the peer loses what it has not read (RFC 9112 section 9.6).
    if (to.writableEnded || to.destroyed) return
    this.#idleTimer?.refresh()
    this.#closeTimer?.refresh()
    if (from === this.#client) this.#forwarding.bytesIn += chunk.length
    else {
      this.#forwarding.bytesOut += chunk.length
      this.#frames.push(chunk)
    }
    if (!to.write(chunk)) from.pause()
    // The close frame waits for the end of the current frame.
    if (from === this.#upstream && this.#closeFrame !== undefined && this.#frames.isBetweenFrames)
      this.#sendCloseFrame()
  }

  /** Reads on from the other side. */
  onDrain(side: Side): void {
    this.#idleTimer?.refresh()
    this.#closeTimer?.refresh()
    this.#peerOf(side).resume()
  }

  /** Ends one direction; the other side may still send. */
  onEnd(side: Side): void {
    this.#peerOf(side).end()
    this.#startCloseTimer()
  }

  /** Sends the remaining bytes to the other side, then ends it. */
  onClose(side: Side): void {
    const peer = this.#peerOf(side)
    if (peer.destroyed) {
      this.#finish()
      return
    }
    peer.end()
    peer.resume()
    this.#startCloseTimer()
  }

  /** Closes both sides, unless one has bytes left to read. */
  onCloseTimeout(): void {
    // A slow reader is bounded by "idle" and by the limits of the listener.
    if (hasUnreadBytes(this.#client) || hasUnreadBytes(this.#upstream)) this.#closeTimer?.refresh()
    else this.destroy()
  }

  /** Sends the client a close frame with this code, and ends both sides. */
  close(code: number): void {
    if (this.#closed || this.#closeFrame !== undefined) return
    this.#closeFrame = closeFrame(code)
    // Within a frame it would be read as payload.
    if (this.#frames.isBetweenFrames) this.#sendCloseFrame()
    else this.#closeFrameTimer = setTimeout(onCloseFrameTimeout, CLOSE_FRAME_TIMEOUT_MS, this)
  }

  /** Closes both sides at once. */
  destroy(): void {
    this.#client.destroy()
    this.#upstream.destroy()
    this.#finish()
  }

  /** Sends the close frame and ends both sides; the client has a moment to read it. */
  #sendCloseFrame(): void {
    clearTimeout(this.#closeFrameTimer)
    this.#closeFrameTimer = setTimeout(onCloseFrameTimeout, CLOSE_FRAME_TIMEOUT_MS, this)
    this.#upstream.end()
    this.#upstream.resume()
    if (this.#client.writable) this.#client.end(this.#closeFrame)
    this.#client.resume()
  }

  #startCloseTimer(): void {
    this.#closeTimer ??= setTimeout(onCloseTimeout, this.#closeTimeout, this)
  }

  #finish(): void {
    if (this.#closed) return
    this.#closed = true
    for (const timer of [this.#idleTimer, this.#lifetimeTimer, this.#closeFrameTimer, this.#closeTimer])
      clearTimeout(timer)
    this.#response.emit('close')
  }

  #peerOf(side: Side): Side {
    return side === this.#client ? this.#upstream : this.#client
  }
}

const hasUnreadBytes = (side: Side): boolean => !side.destroyed && side.writableLength > 0

function onData(this: Side, chunk: Buffer): void {
  this[TUNNEL]?.onData(this, chunk)
}

function onDrain(this: Side): void {
  this[TUNNEL]?.onDrain(this)
}

function onEnd(this: Side): void {
  this[TUNNEL]?.onEnd(this)
}

function onClose(this: Side): void {
  this[TUNNEL]?.onClose(this)
}

// 'close' follows an error.
function ignore(): void {}

function onGoingAway(tunnel: Tunnel): void {
  tunnel.close(GOING_AWAY)
}

function onCloseFrameTimeout(tunnel: Tunnel): void {
  tunnel.destroy()
}

function onCloseTimeout(tunnel: Tunnel): void {
  tunnel.onCloseTimeout()
}
