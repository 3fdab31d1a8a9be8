import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Server, Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { descriptorLimit, isNearLimit } from '../lib/descriptors.ts'
import { isHttp2 } from '../lib/http/http2.ts'
import { ROUTABLE } from '../lib/http/methods.ts'
import { onResponseClosed } from '../lib/http/response-end.ts'
import { wantsWebSocket } from '../lib/http/upgrade.ts'
import { lingerAfterAnswer, lingerAfterHttp2Answer } from '../lib/linger.ts'
import { noteOtherProtocol } from '../lib/other-protocols.ts'
import { MethodRefused, withHeaders } from '../lib/refusals.ts'
import { Repeated } from '../lib/repeated.ts'
import { type Enter, enterInLine, hasWaiting, leaveLine, refuseInLine, Upgrades } from './connections.ts'
import { grounded } from './http2-socket.ts'
import { makeListener, makeRedirector, restartFor } from './listener.ts'

/** Where a gateway listens and how it ends. */
export interface ServeOptions {
  readonly host: string
  readonly port: number
  readonly log: Logger
  /** Sockets that are open already, by file descriptor, in the place of those that would be opened. */
  readonly inherited?: { readonly main?: number; readonly redirect?: number }
  /** Milliseconds between saying "not ready" and taking no more connections. */
  readonly drainDelay?: number
  /** Milliseconds that requests in flight may take after that, and WebSockets after a swap. */
  readonly drainTimeout?: number
}

/** The listening sockets of a gateway. */
export interface Served {
  readonly address: AddressInfo
  /** The plain port that sends everything to https; undefined where there is none. */
  readonly redirects: number | undefined
  /** Tells what it has to do now. */
  load(): Load
  /** Counts the connections that are open. */
  connections(): Promise<number>
  /** Puts another instance in the place of the current one, which closes once it owes nothing; throws a RestartNeeded. */
  swap(next: FastifyInstance): void
  /** Stops gently: not ready, then no more connections, then waits for what is owed; true when nothing was cut. */
  drain(): Promise<boolean>
  /** Stops at once. */
  close(): Promise<void>
}

/** What a listening socket has to do at a moment. */
export interface Load {
  /** The requests without an answer, WebSockets among them. */
  readonly inFlight: number
  readonly webSockets: number
  /** How often another instance was swapped in, the first one counted. */
  readonly generation: number
  readonly draining: boolean
}

/** What has changed takes a restart; the instance that was to take over is not used. */
export class RestartNeeded extends Error {}

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
    // Whatever writes to an answer that has ended does not end the process.
    response.on('error', ignore)
    onResponseClosed(response, answered, this, request.socket)
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

const answered = (generation: Generation, socket: Socket): void => generation.answered(socket)

const ignore = (): void => {}

/** Opens the listening socket of this process; rejects where the port is taken. */
export async function serve(
  app: FastifyInstance,
  { host, port, log, inherited = {}, drainDelay = 0, drainTimeout = 30_000 }: ServeOptions
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
  let leaving = false
  let draining = false
  let generation = 1

  const listener = makeListener(
    app,
    (request) => wantsWebSocket(request) && current.app.acceptsUpgrades,
    () => current.app
  )
  const { server } = listener
  const detached = new Upgrades()
  const enterNow: Enter = (request, response) => {
    if (leaving && !hasWaiting(request.socket)) response.shouldKeepAlive = false
    current.take(request, response)
  }
  const upgradeNow: Enter = (request, response) => {
    detached.answerOn(request, response)
    current.take(request, response)
  }
  const take: Enter = (request, response) => {
    // HTTP/2 has a line for each request, and bounds how many there are.
    if (isHttp2(request)) {
      lingerAfterHttp2Answer(request)
      enterNow(grounded(request), response)
    } else {
      lingerAfterAnswer(request, response)
      if (request.httpVersionMinor === 0) noteOtherProtocol(request)
      enterInLine(enterNow, request, response)
    }
  }
  server.on('request', take)
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    continueOnRead(request, response)
    take(request, response)
  })
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    detached.own(socket, head)
    enterInLine(upgradeNow, request, listener.responseTo(request))
  })
  // Expectations that nobody knows are refused with all that a refusal has.
  server.on('checkExpectation', take)
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    const refuse = (): void => void current.app.server.emit('clientError', error, socket)
    if (isUnreadable(error)) refuseInLine(socket, refuse)
    else refuse()
  })
  // Nothing is tunnelled: a CONNECT never reaches a route (RFC 9110 section 9.3.6).
  server.on('connect', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    if (isHttp2(request)) {
      ;(socket as unknown as ServerResponse).writeHead(405, { allow: ROUTABLE.join(', ') }).end()
      return
    }
    detached.own(socket, head)
    const refusal = withHeaders(new MethodRefused('CONNECT'), { allow: ROUTABLE.join(', ') })
    refuseInLine(socket, () => current.app.server.emit('clientError', refusal, socket))
  })
  const drops = new Repeated<number>((dropped, maxConnections) =>
    log.warn({ dropped, maxConnections }, 'connections were refused: there are too many')
  )
  server.on('drop', () => drops.note(current.app.maxConnections))
  warnOfDescriptors(server, log)
  listener.apply(app)
  await listen(server, inherited.main === undefined ? { host, port } : { fd: inherited.main })
  const redirectFrom = app.tls?.redirectFrom
  const { port: own } = server.address() as AddressInfo
  const redirector =
    redirectFrom === undefined
      ? undefined
      : makeRedirector(
          () => own,
          () => current.app
        )
  if (redirector !== undefined)
    await listen(
      redirector,
      inherited.redirect === undefined ? { host, port: redirectFrom ?? 0 } : { fd: inherited.redirect }
    ).catch((error: Error) => {
      server.close()
      throw error
    })

  const owed = (): number => [...generations].reduce((sum, generation) => sum + generation.owed, 0)
  const nothingOwed = (): Promise<true> =>
    new Promise((resolve) => {
      idle = () => {
        if (owed() === 0) resolve(true)
        else if (draining) listener.closeIdle()
      }
      idle()
    })

  return {
    address: server.address() as AddressInfo,
    redirects: (redirector?.address() as AddressInfo | undefined)?.port,
    load: () => ({
      inFlight: owed(),
      webSockets: detached.joined,
      generation,
      draining: !current.app.readiness.ready
    }),
    connections: () =>
      new Promise((resolve) => server.getConnections((error, count) => resolve(error === null ? count : 0))),
    swap(next) {
      const why = restartFor(current.app, next)
      if (why !== undefined) throw new RestartNeeded(why)
      const old = current
      current = enter(next)
      generation++
      listener.apply(next)
      detached.retire(drainTimeout)
      old.retire()
      if (old.owed === 0) generations.delete(old)
    },
    async drain() {
      for (const { app: each } of generations) each.readiness.ready = false
      leaving = true
      listener.closeAfterAnswers()
      if (drainDelay > 0) await wait(drainDelay)
      draining = true
      redirector?.close()
      redirector?.closeAllConnections()
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      listener.closeIdle()
      const clean = await Promise.race([nothingOwed(), wait(drainTimeout, false, { ref: false })])
      if (!clean) log.warn({ owed: owed() }, 'the drain timeout is over: what is still in flight is cut')
      listener.closeAll()
      detached.end()
      await closed
      for (const { app: each } of generations) await each.close()
      return clean
    },
    async close() {
      redirector?.close()
      redirector?.closeAllConnections()
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      listener.closeAll()
      detached.end()
      await closed
      for (const { app: each } of generations) await each.close()
    }
  }
}

/** Warns when connections take the last file descriptors: beyond those the kernel's connections are closed without an event. */
function warnOfDescriptors(server: Server, log: Logger): void {
  const limit = descriptorLimit()
  if (limit === undefined) return
  const warnings = new Repeated<number>((connections) =>
    log.warn(
      { connections, descriptors: limit },
      'file descriptors are used up: further connections are refused; raise the limit (ulimit -n) or lower overload.maxConnections'
    )
  )
  server.on('connection', (socket: Socket & { readonly _handle?: { readonly fd?: number } | null }) => {
    const descriptor = socket._handle?.fd
    if (descriptor !== undefined && isNearLimit(descriptor, limit)) warnings.note(descriptor)
  })
}

/** Returns whether an error is about what a client sends, on a connection that works. */
const isUnreadable = ({ code = '' }: NodeJS.ErrnoException): boolean =>
  code.startsWith('HPE_') || code === 'ERR_HTTP_REQUEST_TIMEOUT'

function listen(server: Server, where: { host: string; port: number } | { fd: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () => {
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
