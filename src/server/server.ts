import type { Server as HttpServer, IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { startTimer, stopTimer, type Timer } from '../lib/clock.ts'
import { isHttp2 } from '../lib/http/http2.ts'
import { ROUTABLE } from '../lib/http/methods.ts'
import { isClosed } from '../lib/http/response.ts'
import { wantsWebSocket } from '../lib/http/upgrade.ts'
import { lingerAfterHttp2Response, lingerAfterResponse } from '../lib/linger.ts'
import { markOtherProtocol } from '../lib/other-protocols.ts'
import { MethodRefused, withHeaders } from '../lib/refusals.ts'
import { Generation, type Handled } from './generation.ts'
import type { Listener } from './http-listener.ts'
import { withSocketInfo } from './http2-socket.ts'
import { makeListener, restartReason } from './listener.ts'
import {
  handleInOrder,
  handleNext,
  hasQueuedRequests,
  type RequestHandler,
  rejectInOrder
} from './pipelining.ts'
import { makeRedirector } from './redirector.ts'
import { listen, warnOfDescriptors, warnOfDrops } from './sockets.ts'
import { Upgrades } from './upgrades.ts'

/** Where a gateway listens, and how it stops. */
export interface ServeOptions {
  readonly host: string
  readonly port: number
  readonly log: Logger
  /** Sockets that are open already, by file descriptor, instead of `host` and `port`. */
  readonly inherited?: { readonly main?: number; readonly redirect?: number }
  /** Time between "not ready" and the end of new connections, in ms; 0 by default. */
  readonly drainDelay?: number
  /** How long requests in flight may take after that, and WebSockets after a swap, in ms; 30,000 by default. */
  readonly drainTimeout?: number
  readonly tracedRequests?: TracedRequests
  /** Whether connections come without TLS, whatever the config says. */
  readonly isPlain?: boolean
}

/** Handles signed requests in an instance beside the current one, which traces them. */
export interface TracedRequests {
  /** Returns whether a request is to be traced; called with each. */
  wants(request: IncomingMessage): boolean
  /** Returns the instance beside the current one, built at first use. */
  instanceFor(current: FastifyInstance): Promise<FastifyInstance>
  /** Called just before the instance handles a request. */
  begin(current: FastifyInstance, request: IncomingMessage, response: ServerResponse): void
  /** Forgets the instance, and returns it: after a reload, or after a minute without a request. */
  release(current: FastifyInstance): Promise<FastifyInstance> | undefined
}

/** The listening sockets of a gateway. */
export interface Served {
  readonly address: AddressInfo
  /** The plain port that redirects to https; undefined where there is none. */
  readonly redirects: number | undefined
  /** Returns the current load. */
  load(): Load
  /** Counts the open connections. */
  connections(): Promise<number>
  /** Replaces the current instance, which closes after its last response; throws a RestartNeeded. */
  swap(next: FastifyInstance): void
  /** Stops gracefully: not ready, then no new connections, then waits for requests in flight. Resolves to false where some were cut. */
  drain(): Promise<boolean>
  /** Stops at once. */
  close(): Promise<void>
}

/** The load of a listening socket at a moment. */
export interface Load {
  /** The requests without a response, including WebSockets. */
  readonly inFlight: number
  readonly webSockets: number
  /** The requests so far. */
  readonly requests: number
  /** The number of instances that have been swapped in, including the first. */
  readonly generation: number
  readonly draining: boolean
}

/** The config change needs a restart; the new instance is not used. */
export class RestartNeeded extends Error {}

/** Opens the listening sockets of this process; rejects where a port is taken. */
export async function serve(app: FastifyInstance, options: ServeOptions): Promise<Served> {
  const server = new GatewayServer(app, options)
  await server.listen()
  return {
    address: server.address,
    redirects: server.redirectPort,
    load: () => server.load(),
    connections: () => server.connections(),
    swap: (next) => server.swap(next),
    drain: () => server.drain(),
    close: () => server.close()
  }
}

/** A gateway that is given its connections. */
export interface Unbound {
  /** Handles a connection, which may be a stream in memory. */
  accept(socket: Duplex): void
  /** Closes the instance and its connections. */
  close(): Promise<void>
}

/** Serves the connections that it is given, and opens no socket. */
export function serveUnbound(app: FastifyInstance, log: Logger): Unbound {
  const server = new GatewayServer(app, { host: '', port: 0, log, isPlain: true })
  return {
    accept: (socket) => server.accept(socket),
    close: () => server.close()
  }
}

// How long the instance of diverted requests stays after the last one, in ms.
const DIVERSION_IDLE_MS = 60_000

/** The instance of diverted requests. */
interface Diverted {
  readonly generation: Generation
  readonly timer: Timer
}

type DrainState = 'serving' | 'leaving' | 'draining'

class GatewayServer {
  readonly #options: ServeOptions
  readonly #drainTimeout: number
  readonly #listener: Listener
  readonly #redirector: HttpServer | undefined
  readonly #upgrades = new Upgrades()
  readonly #generations = new Set<Generation>()
  readonly #handled: Handled = { requests: 0 }
  #current: Generation
  #diverted: Diverted | undefined
  // The requests that wait for the instance that traces them.
  #diverting = 0
  #generationNumber = 1
  #state: DrainState = 'serving'
  #onIdle: () => void = () => {}

  constructor(app: FastifyInstance, options: ServeOptions) {
    this.#options = options
    this.#drainTimeout = options.drainTimeout ?? 30_000
    this.#current = this.#addGeneration(app)
    const currentApp = (): FastifyInstance => this.#current.app
    this.#listener = makeListener(app.tls === null || options.isPlain === true ? null : app.tls, {
      acceptsUpgrade: (request) => wantsWebSocket(request) && currentApp().acceptsUpgrades,
      currentApp
    })
    this.#redirector =
      app.tls?.redirectFrom === undefined ? undefined : makeRedirector(() => this.address.port, currentApp)
    this.#handleEvents()
    this.#listener.apply(app)
  }

  async listen(): Promise<void> {
    const { host, port, inherited = {} } = this.#options
    const { server } = this.#listener
    await listen(server, inherited.main === undefined ? { host, port } : { fd: inherited.main })
    if (this.#redirector === undefined) return
    const redirectFrom = this.#current.app.tls?.redirectFrom ?? 0
    await listen(
      this.#redirector,
      inherited.redirect === undefined ? { host, port: redirectFrom } : { fd: inherited.redirect }
    ).catch((error: Error) => {
      server.close()
      throw error
    })
  }

  get address(): AddressInfo {
    return this.#listener.server.address() as AddressInfo
  }

  get redirectPort(): number | undefined {
    return (this.#redirector?.address() as AddressInfo | null | undefined)?.port
  }

  load(): Load {
    return {
      inFlight: this.#inFlight,
      webSockets: this.#upgrades.switched,
      requests: this.#handled.requests,
      generation: this.#generationNumber,
      draining: !this.#current.app.readiness.ready
    }
  }

  connections(): Promise<number> {
    return new Promise((resolve) =>
      this.#listener.server.getConnections((error, count) => resolve(error === null ? count : 0))
    )
  }

  swap(next: FastifyInstance): void {
    const reason = restartReason(this.#current.app, next)
    if (reason !== undefined) throw new RestartNeeded(reason)
    const old = this.#current
    this.#endDiversion()
    this.#current = this.#addGeneration(next)
    this.#generationNumber++
    this.#listener.apply(next)
    this.#upgrades.retire(this.#drainTimeout)
    old.retire()
    if (old.inFlight === 0) this.#generations.delete(old)
  }

  accept(socket: Duplex): void {
    this.#listener.server.emit('connection', socket)
  }

  async drain(): Promise<boolean> {
    const { drainDelay = 0, log } = this.#options
    for (const { app } of this.#generations) app.readiness.ready = false
    this.#state = 'leaving'
    this.#listener.closeAfterResponses()
    if (drainDelay > 0) await wait(drainDelay)
    this.#state = 'draining'
    const closed = this.#stopListening()
    this.#listener.closeIdle()
    const clean = await Promise.race([this.#allIdle(), wait(this.#drainTimeout, false, { ref: false })])
    if (!clean) log.warn({ owed: this.#inFlight }, 'drain timeout exceeded, closing connections')
    await this.#closeAll(closed)
    return clean
  }

  async close(): Promise<void> {
    await this.#closeAll(this.#stopListening())
  }

  get #inFlight(): number {
    return [...this.#generations].reduce((sum, { inFlight }) => sum + inFlight, this.#diverting)
  }

  #addGeneration(app: FastifyInstance): Generation {
    const added: Generation = new Generation(app, this.#handled, () => {
      if (added.inFlight === 0 && added !== this.#current) this.#generations.delete(added)
      this.#onIdle()
    })
    this.#generations.add(added)
    return added
  }

  #handleEvents(): void {
    const { server } = this.#listener
    server.on('request', this.#onRequest)
    server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
      continueOnRead(request, response)
      this.#onRequest(request, response)
    })
    // The gateway refuses an unknown expectation itself, with an access-log line.
    server.on('checkExpectation', this.#onRequest)
    server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      this.#upgrades.adopt(socket, head)
      handleInOrder(this.#handleUpgrade, request, this.#listener.responseTo(request))
    })
    server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
      if (isParseError(error)) rejectInOrder(socket, () => this.#emitClientError(error, socket))
      else this.#emitClientError(error, socket)
    })
    server.on('connect', this.#onConnect)
    warnOfDrops(server, this.#options.log, () => this.#current.app.maxConnections)
    warnOfDescriptors(server, this.#options.log)
  }

  readonly #onRequest: RequestHandler = (request, response) => {
    // HTTP/2 streams are concurrent, and their number is bounded.
    if (isHttp2(request)) {
      lingerAfterHttp2Response(request)
      this.#handle(withSocketInfo(request), response)
    } else {
      lingerAfterResponse(request, response)
      if (request.httpVersionMinor === 0) markOtherProtocol(request)
      handleInOrder(this.#handle, request, response)
    }
  }

  readonly #handle: RequestHandler = (request, response) => {
    if (this.#state !== 'serving' && !hasQueuedRequests(request.socket)) response.shouldKeepAlive = false
    const { tracedRequests } = this.#options
    if (tracedRequests?.wants(request) === true && this.#state === 'serving')
      void this.#divert(tracedRequests, request, response)
    else this.#current.handle(request, response)
  }

  /** Lets the instance beside the current one handle a request; where it can't be built, the current one does. */
  async #divert(traced: TracedRequests, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const current = this.#current
    this.#diverting++
    const app = await traced.instanceFor(current.app).catch((error: unknown) => {
      this.#options.log.warn({ err: error }, 'request could not be traced')
      return undefined
    })
    this.#diverting--
    if (isClosed(response)) {
      handleNext(request.socket)
      this.#onIdle()
      return
    }
    // After a reload in between, the instance is that of an older config, and closes.
    if (app === undefined || current !== this.#current || this.#state !== 'serving') {
      this.#current.handle(request, response)
      return
    }
    this.#diverted ??= {
      generation: this.#addGeneration(app),
      timer: startTimer(() => this.#endDiversion(), DIVERSION_IDLE_MS).unref()
    }
    this.#diverted.timer.refresh()
    traced.begin(current.app, request, response)
    this.#diverted.generation.handle(request, response)
  }

  /** Closes the instance beside the current one, once its requests have ended, or once it is built. */
  #endDiversion(): void {
    const building = this.#options.tracedRequests?.release(this.#current.app)
    if (this.#diverted === undefined) {
      building?.then((app) => app.close()).catch(() => {})
      return
    }
    const { generation, timer } = this.#diverted
    this.#diverted = undefined
    stopTimer(timer)
    generation.retire()
    if (generation.inFlight === 0) this.#generations.delete(generation)
  }

  readonly #handleUpgrade: RequestHandler = (request, response) => {
    this.#upgrades.attachResponse(request, response)
    this.#current.handle(request, response)
  }

  // The gateway is not a forward proxy: a CONNECT never reaches a route (RFC 9110 section 9.3.6).
  readonly #onConnect = (request: IncomingMessage, socket: Socket, head: Buffer): void => {
    const allow = ROUTABLE.join(', ')
    if (isHttp2(request)) {
      // With HTTP/2 Node.js emits a response in the place of the socket.
      ;(socket as unknown as ServerResponse).writeHead(405, { allow }).end()
      return
    }
    this.#upgrades.adopt(socket, head)
    const refusal = withHeaders(new MethodRefused('CONNECT'), { allow })
    rejectInOrder(socket, () => this.#emitClientError(refusal, socket))
  }

  #emitClientError(error: Error, socket: Socket): void {
    this.#current.app.server.emit('clientError', error, socket)
  }

  #allIdle(): Promise<true> {
    return new Promise((resolve) => {
      this.#onIdle = () => {
        if (this.#inFlight === 0) resolve(true)
        else if (this.#state === 'draining') this.#listener.closeIdle()
      }
      this.#onIdle()
    })
  }

  #stopListening(): Promise<void> {
    this.#redirector?.close()
    this.#redirector?.closeAllConnections()
    return new Promise((resolve) => this.#listener.server.close(() => resolve()))
  }

  async #closeAll(closed: Promise<void>): Promise<void> {
    this.#endDiversion()
    this.#listener.closeAll()
    this.#upgrades.closeAll()
    await closed
    for (const { app } of this.#generations) await app.close()
  }
}

/** Returns whether an error is about invalid bytes of a client, on a connection that works. */
const isParseError = ({ code = '' }: NodeJS.ErrnoException): boolean =>
  code.startsWith('HPE_') || code === 'ERR_HTTP_REQUEST_TIMEOUT'

// Node.js sends "100 Continue" before any gate has run; here it is sent when the body is first read.
function continueOnRead(request: IncomingMessage, response: ServerResponse): void {
  const read = request._read
  request._read = function readOn(size) {
    request._read = read
    if (!response.headersSent) response.writeContinue()
    read.call(request, size)
  }
}
