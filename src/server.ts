import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { MethodRefused, ROUTABLE, wantsWebSocket, withHeaders } from './kit/index.ts'
import { Detached, Drops, type Enter, enterInLine, leaveLine } from './sockets.ts'

/** Where a gateway listens and how it ends. */
export interface ServeOptions {
  readonly host: string
  readonly port: number
  readonly log: Logger
  /** Milliseconds between saying "not ready" and taking no more connections. */
  readonly drainDelay?: number
  /** Milliseconds that requests in flight may take after that, and WebSockets after a swap. */
  readonly drainTimeout?: number
}

/** The listening sockets of a gateway. */
export interface Served {
  readonly address: AddressInfo
  /** Puts another instance in the place of the current one, which closes once it owes nothing. */
  swap(next: FastifyInstance): void
  /** Stops gently: not ready, then no more connections, then waits for what is owed; true when nothing was cut. */
  drain(): Promise<boolean>
  /** Stops at once. */
  close(): Promise<void>
}

const TAKEN = Symbol('taken')

interface Taken extends ServerResponse {
  [TAKEN]?: { readonly generation: Generation; readonly socket: Socket } | undefined
}

// One function for all answers: a request makes no closure.
function onAnswered(this: Taken): void {
  const taken = this[TAKEN]
  // An answer on a connection that was handed over may close twice; it was owed once.
  this[TAKEN] = undefined
  taken?.generation.answered(taken.socket)
}

/** One instance and the requests that it owes an answer. */
class Generation {
  readonly app: FastifyInstance
  #owed = 0
  #retired = false
  readonly #idle: () => void

  constructor(app: FastifyInstance, idle: () => void) {
    this.app = app
    this.#idle = idle
  }

  get owed(): number {
    return this.#owed
  }

  take(request: IncomingMessage, response: ServerResponse): void {
    this.#owed++
    const taken: Taken = response
    taken[TAKEN] = { generation: this, socket: request.socket }
    taken.on('close', onAnswered)
    this.app.routing(request, response)
  }

  /** Counts an answer that was owed, and lets in the next request of its connection. */
  answered(socket: Socket): void {
    leaveLine(socket)
    this.#owed--
    if (this.#owed === 0) this.#settled()
  }

  retire(): void {
    this.#retired = true
    if (this.#owed === 0) this.#settled()
  }

  #settled(): void {
    this.#idle()
    if (this.#retired) void this.app.close()
  }
}

/** How often Node.js looks for connections that took too long, in milliseconds. */
const CHECK_EVERY = 1000

/** Opens the listening socket of this process; rejects where the port is taken. */
export async function serve(
  app: FastifyInstance,
  { host, port, log, drainDelay = 0, drainTimeout = 30_000 }: ServeOptions
): Promise<Served> {
  let idle: () => void = () => {}
  const generations = new Set<Generation>()
  const enter = (next: FastifyInstance): Generation => {
    const made: Generation = new Generation(next, () => {
      if (made.owed === 0 && made !== current) generations.delete(made)
      idle()
    })
    generations.add(made)
    return made
  }
  let current: Generation = enter(app)
  let draining = false

  // What a connection may take is watched by the limits of each route; Node's own clock would end a steady long upload.
  const server = createServer({
    requestTimeout: 0,
    connectionsCheckingInterval: CHECK_EVERY,
    optimizeEmptyRequests: true,
    // Whatever else asks to switch protocols (h2c) is an ordinary request.
    shouldUpgradeCallback: (request: IncomingMessage) => wantsWebSocket(request) && current.app.takesUpgrades,
    insecureHTTPParser: false
  } as never)
  const detached = new Detached()
  const enterNow: Enter = (request, response) => {
    if (draining) response.shouldKeepAlive = false
    current.take(request, response)
  }
  const upgradeNow: Enter = (request, response) => {
    detached.answerOn(request, response)
    current.take(request, response)
  }
  const take: Enter = (request, response) => enterInLine(enterNow, request, response)
  server.on('request', take)
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    continueOnRead(request, response)
    take(request, response)
  })
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    detached.own(socket, head)
    enterInLine(upgradeNow, request, new ServerResponse(request))
  })
  // Expectations that nobody knows are refused with all that a refusal has.
  server.on('checkExpectation', take)
  server.on(
    'clientError',
    (error: Error, socket: Socket) => void current.app.server.emit('clientError', error, socket)
  )
  // Nothing is tunnelled: a CONNECT never reaches a route (RFC 9110 section 9.3.6).
  server.on('connect', (_request: IncomingMessage, socket: Socket, head: Buffer) => {
    detached.own(socket, head)
    const refusal = withHeaders(new MethodRefused('CONNECT'), { allow: ROUTABLE.join(', ') })
    current.app.server.emit('clientError', refusal, socket)
  })
  const drops = new Drops(log)
  server.on('drop', () => drops.note(current.app.maxConnections))
  apply(server, app)
  await listen(server, host, port)

  const owed = (): number => [...generations].reduce((sum, generation) => sum + generation.owed, 0)
  const nothingOwed = (): Promise<true> =>
    new Promise((resolve) => {
      idle = () => {
        if (owed() === 0) resolve(true)
        else if (draining) server.closeIdleConnections()
      }
      idle()
    })

  return {
    address: server.address() as AddressInfo,
    swap(next) {
      const old = current
      current = enter(next)
      apply(server, next)
      detached.retire(drainTimeout)
      old.retire()
      if (old.owed === 0) generations.delete(old)
    },
    async drain() {
      for (const { app: each } of generations) each.readiness.ready = false
      if (drainDelay > 0) await wait(drainDelay)
      draining = true
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      const clean = await Promise.race([nothingOwed(), wait(drainTimeout, false, { ref: false })])
      if (!clean) log.warn({ owed: owed() }, 'the drain timeout is over: what is still in flight is cut')
      server.closeAllConnections()
      detached.end()
      await closed
      for (const { app: each } of generations) await each.close()
      return clean
    },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      detached.end()
      await closed
      for (const { app: each } of generations) await each.close()
    }
  }
}

/** Applies what an instance says of connections; Node.js reads these at each use, so they change without a restart. */
function apply(server: Server, { socketLimits, maxConnections }: FastifyInstance): void {
  const settings = server as Server & { maxHeaderSize?: number }
  settings.maxHeaderSize = socketLimits.headers
  server.headersTimeout = socketLimits.headerTime
  server.keepAliveTimeout = socketLimits.idle
  server.maxConnections = maxConnections
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

// Node would say "100 Continue" before any gate has run: it is said when somebody begins to read the body.
function continueOnRead(request: IncomingMessage, response: ServerResponse): void {
  const read = request._read
  request._read = function readOn(size) {
    request._read = read
    if (!response.headersSent) response.writeContinue()
    read.call(request, size)
  }
}
