import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { resetConnection } from '../lib/http/bodies.ts'
import { noteUpgrade, type Upgrade } from '../lib/http/upgrade.ts'
import { LOOK_EVERY, type ReaderLimits, ReaderWatch } from './stalled-clients.ts'

const LINE = Symbol('line')

/** Lets a request in. */
export type Enter = (request: IncomingMessage, response: ServerResponse) => void

interface Line {
  busy: boolean
  readonly waiting: (readonly [enter: Enter, request: IncomingMessage, response: ServerResponse])[]
  /** Refuses the bytes behind the last request, once that has its answer. */
  refuse?: () => void
}

interface Lined extends Socket {
  [LINE]?: Line
  _httpMessage?: (ServerResponse & { readonly req: IncomingMessage }) | null
}

/** Lets the requests of one connection in one after another: a client that pipelines takes one place, not a hundred thousand. */
export function enterInLine(enter: Enter, request: IncomingMessage, response: ServerResponse): void {
  const socket: Lined = request.socket
  socket[LINE] ??= { busy: false, waiting: [] }
  const line = socket[LINE]
  if (line.busy) {
    line.waiting.push([enter, request, response])
    // What else the client sends stays with the kernel, whose buffer is bounded.
    socket.pause()
  } else {
    line.busy = true
    enter(request, response)
  }
}

/** Returns whether requests wait on a connection behind the one that is being answered. */
export const hasWaiting = (socket: Lined): boolean => (socket[LINE]?.waiting.length ?? 0) > 0

/** Lets in the next request of a connection, now that the one before has its answer. */
export function leaveLine(socket: Lined): void {
  const line = socket[LINE]
  if (line === undefined) return
  // An answer that closes its connection is the last one: what was pipelined behind it is not done (RFC 9112 section 9.6).
  if (socket.writableEnded) {
    line.waiting.length = 0
    return
  }
  const next = socket.destroyed ? undefined : line.waiting.shift()
  if (next !== undefined) {
    const [enter, request, response] = next
    enter(request, response)
    return
  }
  line.busy = false
  if (line.refuse !== undefined) line.refuse()
  else if (socket.isPaused()) socket.resume()
}

/** Refuses bytes that are no request after the requests before them have their answers; at once where there are none. */
export function refuseInLine(socket: Lined, refuse: () => void): void {
  const line = socket[LINE]
  if (line === undefined || !line.busy) {
    refuse()
    return
  }
  const last = line.waiting.at(-1)?.[1]
  // The bytes are the body of a request that nothing was done for yet.
  if (last?.complete === false) line.waiting.pop()
  if (last === undefined && socket._httpMessage?.req.complete === false) refuse()
  else line.refuse ??= refuse
}

// What a WebSocket is told that ends through no fault of its own (RFC 6455 section 7.4.1 and its registry).
const GOING_AWAY = 1001
const SERVICE_RESTART = 1012

const NOTHING = Buffer.alloc(0)

// How long a connection that was refused may take to read its answer, in milliseconds.
const LAST_WORD = 1000

/** Owns the connections that Node's HTTP parser has left: none of them can end the process, and all of them end with it. */
export class Upgrades {
  readonly #upgrades = new Map<Socket, Upgrade>()

  /** Takes a connection over; from here on somebody listens to what happens to it. */
  own(socket: Socket, head: Buffer): void {
    // An empty one would keep all that was read with the request.
    this.#upgrades.set(socket, { socket, head: head.length === 0 ? NOTHING : Buffer.from(head) })
    socket.on('error', () => {})
    socket.once('close', () => this.#upgrades.delete(socket))
  }

  /** Puts an answer on the connection of a request to switch protocols: every gate runs for it as for any other, and the connection ends with the answer unless a target takes it over. */
  answerOn(request: IncomingMessage, response: ServerResponse): void {
    const upgrade = this.#upgrades.get(request.socket)
    if (upgrade === undefined) return
    const { socket } = upgrade
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
  }

  /** Counts those that have switched protocols. */
  get joined(): number {
    let count = 0
    for (const { leave } of this.#upgrades.values()) if (leave !== undefined) count++
    return count
  }

  /** Ends those that are joined now, after a while, since the config that they were opened under is gone. */
  retire(after: number): void {
    const joined = [...this.#upgrades.values()].filter(({ leave }) => leave !== undefined)
    if (joined.length === 0) return
    const timer = setTimeout(() => {
      for (const { socket, leave } of joined)
        if (this.#upgrades.has(socket as Socket)) leave?.(SERVICE_RESTART)
    }, after)
    timer.unref()
  }

  /** Ends all of them, the joined ones with a word. */
  end(): void {
    for (const { socket, leave } of this.#upgrades.values()) {
      if (leave === undefined) socket.destroy()
      else leave(GOING_AWAY)
    }
  }
}

/** The open connections: one timer for all of them ends those whose client takes its answer too slowly. */
export class Connections {
  readonly #limits: () => ReaderLimits
  readonly #open = new Map<Socket, ReaderWatch>()
  #timer: NodeJS.Timeout | undefined

  constructor(limits: () => ReaderLimits) {
    this.#limits = limits
  }

  /** Watches a connection until it ends. */
  add(socket: Socket): void {
    // Node finds out whose it is when it is first asked, which may be after the end: the log asks last.
    void socket.remoteAddress
    this.#open.set(socket, new ReaderWatch())
    socket.once('close', () => this.#open.delete(socket))
    this.#timer ??= setInterval(() => this.#look(), LOOK_EVERY).unref()
  }

  /** Makes the last answer of each connection that is under way, and whose head is not sent yet, say "Connection: close". */
  closeAfterAnswers(): void {
    for (const socket of this.#open.keys()) {
      const response = (socket as Lined)._httpMessage
      if (response !== undefined && response !== null && !hasWaiting(socket)) response.shouldKeepAlive = false
    }
  }

  /** Ends them at once. */
  destroy(): void {
    for (const socket of this.#open.keys()) socket.destroy()
    clearInterval(this.#timer)
  }

  #look(): void {
    const limits = this.#limits()
    for (const [socket, watch] of this.#open) {
      const waiting = socket.writableLength
      if (watch.isTooSlow(waiting, socket.bytesWritten - waiting, limits)) resetConnection(socket)
    }
    if (this.#open.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
