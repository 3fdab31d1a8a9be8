import type { Server as HttpServer, IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { isHttp2 } from '../lib/http/http2.ts'
import { ROUTABLE } from '../lib/http/methods.ts'
import { wantsWebSocket } from '../lib/http/upgrade.ts'
import { lingerAfterHttp2Response, lingerAfterResponse } from '../lib/linger.ts'
import { markOtherProtocol } from '../lib/other-protocols.ts'
import { MethodRefused, withHeaders } from '../lib/refusals.ts'
import { continueOnRead } from './expect-continue.ts'
import { Generations } from './generations.ts'
import type { Listener } from './http-listener.ts'
import { withSocketInfo } from './http2-socket.ts'
import { makeListener, restartReason } from './listener.ts'
import { handleInOrder, hasQueuedRequests, type RequestHandler, rejectInOrder } from './pipelining.ts'
import { makeRedirector } from './redirector.ts'
import { type Load, RestartNeeded, type Served, type ServeOptions } from './served.ts'
import { listen, warnOfDescriptors, warnOfDrops } from './sockets.ts'
import { TracedRequestHandler } from './traced-requests.ts'
import { Upgrades } from './upgrades.ts'

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

type DrainState = 'serving' | 'leaving' | 'draining'

class GatewayServer {
  readonly #options: ServeOptions
  readonly #drainTimeout: number
  readonly #listener: Listener
  readonly #redirector: HttpServer | undefined
  readonly #upgrades = new Upgrades()
  readonly #generations: Generations
  readonly #traced: TracedRequestHandler | undefined
  #state: DrainState = 'serving'

  constructor(app: FastifyInstance, options: ServeOptions) {
    this.#options = options
    this.#drainTimeout = options.drainTimeout ?? 30_000
    const { tracedRequests, log } = options
    const generations = new Generations(app)
    this.#generations = generations
    this.#traced =
      tracedRequests === undefined ? undefined : new TracedRequestHandler(tracedRequests, generations, log)
    const currentApp = (): FastifyInstance => generations.current.app
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
    const redirectFrom = this.#generations.current.app.tls?.redirectFrom ?? 0
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
      inFlight: this.#generations.inFlight,
      webSockets: this.#upgrades.switched,
      requests: this.#generations.requests,
      generation: this.#generations.swaps,
      draining: !this.#generations.current.app.readiness.ready
    }
  }

  connections(): Promise<number> {
    return new Promise((resolve) =>
      this.#listener.server.getConnections((error, count) => resolve(error === null ? count : 0))
    )
  }

  swap(next: FastifyInstance): void {
    const reason = restartReason(this.#generations.current.app, next)
    if (reason !== undefined) throw new RestartNeeded(reason)
    void this.#traced?.close()
    this.#generations.replace(next)
    this.#listener.apply(next)
    this.#upgrades.retire(this.#drainTimeout)
  }

  accept(socket: Duplex): void {
    this.#listener.server.emit('connection', socket)
  }

  async drain(): Promise<boolean> {
    const { drainDelay = 0, log } = this.#options
    for (const app of this.#generations.apps) app.readiness.ready = false
    this.#state = 'leaving'
    this.#traced?.stop()
    this.#listener.closeAfterResponses()
    if (drainDelay > 0) await wait(drainDelay)
    this.#state = 'draining'
    const closed = this.#stopListening()
    this.#listener.closeIdle()
    const clean = await Promise.race([this.#allIdle(), wait(this.#drainTimeout, false, { ref: false })])
    if (!clean) log.warn({ owed: this.#generations.inFlight }, 'drain timeout exceeded, closing connections')
    await this.#closeAll(closed)
    return clean
  }

  async close(): Promise<void> {
    await this.#closeAll(this.#stopListening())
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
    warnOfDrops(server, this.#options.log, () => this.#generations.current.app.maxConnections)
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
    this.#route(request, response)
  }

  readonly #handleUpgrade: RequestHandler = (request, response) => {
    this.#upgrades.attachResponse(request, response)
    this.#route(request, response)
  }

  #route(request: IncomingMessage, response: ServerResponse): void {
    if (this.#traced?.wants(request) === true) void this.#traced.handle(request, response)
    else this.#generations.current.handle(request, response)
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
    this.#generations.current.app.server.emit('clientError', error, socket)
  }

  #allIdle(): Promise<true> {
    return new Promise((resolve) => {
      this.#generations.onIdle = () => {
        if (this.#generations.inFlight === 0) resolve(true)
        else if (this.#state === 'draining') this.#listener.closeIdle()
      }
      this.#generations.onIdle()
    })
  }

  #stopListening(): Promise<void> {
    this.#redirector?.close()
    this.#redirector?.closeAllConnections()
    return new Promise((resolve) => this.#listener.server.close(() => resolve()))
  }

  async #closeAll(closed: Promise<void>): Promise<void> {
    this.#traced?.stop()
    const tracedClosed = this.#traced?.close()
    this.#listener.closeAll()
    this.#upgrades.closeAll()
    await closed
    for (const app of this.#generations.apps) await app.close()
    await tracedClosed
  }
}

/** Returns whether an error is about invalid bytes of a client, on a connection that works. */
const isParseError = ({ code = '' }: NodeJS.ErrnoException): boolean =>
  code.startsWith('HPE_') || code === 'ERR_HTTP_REQUEST_TIMEOUT'
