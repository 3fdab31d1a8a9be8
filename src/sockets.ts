import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { noteUpgrade, type Upgrade } from './kit/index.ts'

const LINE = Symbol('line')

interface Line {
  busy: boolean
  readonly waiting: (() => void)[]
}

interface Lined extends Socket {
  [LINE]?: Line
}

/** Lets the requests of one connection in one after another: a client that pipelines takes one place, not a hundred thousand. */
export function enterInLine(socket: Lined, enter: () => void): void {
  socket[LINE] ??= { busy: false, waiting: [] }
  const line = socket[LINE]
  if (line.busy) {
    line.waiting.push(enter)
    // What else the client sends stays with the kernel, whose buffer is bounded.
    socket.pause()
  } else {
    line.busy = true
    enter()
  }
}

/** Lets in the next request of a connection, now that the one before has its answer. */
export function leaveLine(socket: Lined): void {
  const line = socket[LINE]
  if (line === undefined) return
  const next = socket.destroyed ? undefined : line.waiting.shift()
  if (next !== undefined) {
    next()
    return
  }
  line.busy = false
  if (socket.isPaused()) socket.resume()
}

// How long a connection that was refused may take to read its answer, in milliseconds.
const LAST_WORD = 1000

/** Owns the connections that Node's HTTP parser has left: none of them can end the process, and all of them end with it. */
export class Detached {
  readonly #upgrades = new Map<Socket, Upgrade>()

  /** Takes a connection over; from here on somebody listens to what happens to it. */
  own(socket: Socket, head: Buffer): Upgrade {
    const upgrade: Upgrade = { socket, head }
    this.#upgrades.set(socket, upgrade)
    socket.on('error', () => {})
    socket.once('close', () => this.#upgrades.delete(socket))
    return upgrade
  }

  /** Makes an answer to write to for a request to switch protocols: every gate runs for it as for any other, and the connection ends with the answer unless a target takes it over. */
  answerOn(request: IncomingMessage, upgrade: Upgrade): ServerResponse {
    const { socket } = upgrade
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(socket as Socket)
    response.once('finish', () => {
      response.detachSocket(socket as Socket)
      const timer = setTimeout(() => socket.destroy(), LAST_WORD)
      socket.once('close', () => clearTimeout(timer))
      // What the client still sends is read and dropped, or its end would never be seen.
      socket.resume()
      socket.end()
      response.emit('close')
    })
    noteUpgrade(request, upgrade)
    return response
  }

  /** Ends all of them, the joined ones with a word. */
  end(): void {
    for (const { socket, leave } of this.#upgrades.values()) {
      if (leave === undefined) socket.destroy()
      else leave()
    }
  }
}
