import type { Socket } from 'node:net'
import { resetConnection } from '../lib/http/bodies.ts'
import { currentResponse } from '../lib/http/current-response.ts'
import { hasQueuedRequests } from './pipelining.ts'
import { CHECK_INTERVAL_MS, type ReaderLimits, StallDetector } from './stalled-clients.ts'

/** The open connections; one timer for all of them closes those whose client reads its response too slowly. */
export class Connections {
  readonly #limits: () => ReaderLimits
  readonly #open = new Map<Socket, StallDetector>()
  #timer: NodeJS.Timeout | undefined

  constructor(limits: () => ReaderLimits) {
    this.#limits = limits
  }

  /** Watches a connection until it closes. */
  add(socket: Socket): void {
    // Node.js looks the address up on first use and has none after the close, when the access log reads it.
    void socket.remoteAddress
    this.#open.set(socket, new StallDetector())
    socket.once('close', () => this.#open.delete(socket))
    this.#timer ??= setInterval(() => this.#check(), CHECK_INTERVAL_MS).unref()
  }

  /** Adds "Connection: close" to the last response in flight of each connection, if its head has not been sent. */
  closeAfterResponses(): void {
    for (const socket of this.#open.keys()) {
      const response = currentResponse(socket)
      if (response !== undefined && !hasQueuedRequests(socket)) response.shouldKeepAlive = false
    }
  }

  /** Destroys all connections. */
  destroy(): void {
    for (const socket of this.#open.keys()) socket.destroy()
    clearInterval(this.#timer)
  }

  #check(): void {
    const limits = this.#limits()
    for (const [socket, detector] of this.#open) {
      const pending = socket.writableLength
      const progress = { pending, read: socket.bytesWritten - pending }
      if (detector.observe(progress, limits) === 'stalled') resetConnection(socket)
    }
    if (this.#open.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
