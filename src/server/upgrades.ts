import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { noteUpgrade, type Upgrade } from '../lib/http/upgrade.ts'

// Close codes of WebSockets (RFC 6455 section 7.4.1 and its registry).
const GOING_AWAY = 1001
const SERVICE_RESTART = 1012

const NO_BYTES = Buffer.alloc(0)

// How long the client of a refused connection may take to read the response, in ms.
const READ_TIMEOUT_MS = 1000

/** Owns the connections that Node's HTTP parser has released: an error on one never ends the process, and all end with it. */
export class Upgrades {
  readonly #upgrades = new Map<Socket, Upgrade>()

  /** Adopts a connection and handles its errors from now on. */
  adopt(socket: Socket, head: Buffer): void {
    // A view of an empty head would retain the whole buffer that was read with the request.
    this.#upgrades.set(socket, { socket, head: head.length === 0 ? NO_BYTES : Buffer.from(head) })
    socket.on('error', () => {})
    socket.once('close', () => this.#upgrades.delete(socket))
  }

  /** Attaches a response to the connection of an upgrade request, so that gates run as for any other request; the connection ends with the response unless a target takes it over. */
  attachResponse(request: IncomingMessage, response: ServerResponse): void {
    const upgrade = this.#upgrades.get(request.socket)
    if (upgrade === undefined) return
    const { socket } = upgrade
    response.shouldKeepAlive = false
    response.assignSocket(socket as Socket)
    response.once('finish', () => {
      response.detachSocket(socket as Socket)
      const timer = setTimeout(() => socket.destroy(), READ_TIMEOUT_MS)
      socket.once('close', () => clearTimeout(timer))
      // What the client still sends is read and dropped; otherwise the end of the connection is never seen.
      socket.resume()
      socket.end()
      response.emit('close')
    })
    noteUpgrade(request, upgrade)
  }

  /** The number of connections that have switched protocols. */
  get switched(): number {
    let count = 0
    for (const { closeTunnel } of this.#upgrades.values()) if (closeTunnel !== undefined) count++
    return count
  }

  /** Closes the connections that have switched protocols by now after `delay` ms, since their config has been replaced. */
  retire(delay: number): void {
    const switched = [...this.#upgrades.values()].filter(({ closeTunnel }) => closeTunnel !== undefined)
    if (switched.length === 0) return
    const timer = setTimeout(() => {
      for (const { socket, closeTunnel } of switched)
        if (this.#upgrades.has(socket as Socket)) closeTunnel?.(SERVICE_RESTART)
    }, delay)
    timer.unref()
  }

  /** Closes all of them, WebSockets with a close frame. */
  closeAll(): void {
    for (const { socket, closeTunnel } of this.#upgrades.values()) {
      if (closeTunnel === undefined) socket.destroy()
      else closeTunnel(GOING_AWAY)
    }
  }
}
