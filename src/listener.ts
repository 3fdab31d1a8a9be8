import { createServer, Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createSecureServer, type Http2Session } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import type { Server } from 'node:net'
import type { SecureContext, TLSSocket } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import { callBack } from './kit/index.ts'

/** The listening socket, whatever it speaks. */
export interface Listener {
  readonly server: Server
  /** Applies what an instance says of connections, without a restart. */
  apply(app: FastifyInstance): void
  /** Lets connections end that have nothing to do, and tells those of HTTP/2 to bring nothing more. */
  closeIdle(): void
  closeAll(): void
}

/** How often Node.js looks for connections that took too long, in milliseconds. */
const CHECK_EVERY = 1000

// HTTP/2: how many requests a connection may have at a time, and how many header fields a request.
const MOST_STREAMS = 128
const MOST_PAIRS = 256

/** Makes the server for what an instance wants: HTTP, or TLS with HTTP/2 beside HTTP/1.1. */
export function makeListener(
  app: FastifyInstance,
  takesUpgrade: (request: IncomingMessage) => boolean,
  now: () => FastifyInstance
): Listener {
  // What a connection may take is watched by the limits of each route; Node's own clock would end a steady long upload.
  const http = {
    requestTimeout: 0,
    connectionsCheckingInterval: CHECK_EVERY,
    optimizeEmptyRequests: true,
    // Whatever else asks to switch protocols (h2c) is an ordinary request.
    shouldUpgradeCallback: takesUpgrade,
    insecureHTTPParser: false
  }
  const { edge } = app
  if (edge === null) {
    const server = createServer(http as never)
    return {
      server,
      apply: (next) => applyHttp(server, next),
      closeIdle: () => server.closeIdleConnections(),
      closeAll: () => server.closeAllConnections()
    }
  }
  const tls = {
    ...edge.options,
    requestCert: edge.asks,
    rejectUnauthorized: edge.requires,
    ...handshakes(edge.http2 ? ['h2', 'http/1.1'] : ['http/1.1'], () => now().edge)
  }
  const sessions = new Set<Http2Session>()
  const server = (
    edge.http2
      ? createSecureServer({
          ...tls,
          ...http,
          allowHTTP1: true,
          maxHeaderListPairs: MOST_PAIRS,
          settings: { maxConcurrentStreams: MOST_STREAMS, enablePush: false }
        } as never)
      : createHttpsServer({ ...tls, ...http } as never)
  ) as HttpServer & {
    setSecureContext(options: object): void
    requestCert?: boolean
    rejectUnauthorized?: boolean
  }
  const sockets = new Set<TLSSocket>()
  server.on('secureConnection', (socket: TLSSocket) => {
    if (socket.alpnProtocol === ACME) {
      // An authority has seen what it wanted to see by now.
      socket.destroy()
      return
    }
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    // One that breaks while nobody reads from it ends alone.
    socket.on('error', () => {})
  })
  server.on('session', (session: Http2Session) => {
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
    session.on('error', () => {})
    const { idle } = now().socketLimits
    if (idle > 0) session.setTimeout(idle, () => session.close())
  })
  return {
    server,
    apply(next) {
      applyHttp(server, next)
      if (next.edge === null) return
      const { edge } = next
      server.setSecureContext(edge.options)
      server.requestCert = edge.asks
      server.rejectUnauthorized = edge.requires
      const start = (): void =>
        edge.start(() => {
          if (now().edge === edge) server.setSecureContext(edge.options)
        })
      // Who orders a certificate has to be there when the authority asks back.
      if (server.listening) start()
      else server.once('listening', start)
    },
    closeIdle() {
      HttpServer.prototype.closeIdleConnections.call(server)
      for (const session of sessions) session.close()
    },
    closeAll() {
      for (const session of sessions) session.destroy()
      for (const socket of sockets) socket.destroy()
    }
  }
}

// What an authority speaks that looks for an answer in a handshake (RFC 8737).
const ACME = 'acme-tls/1'

type Handshake = (error: unknown, context?: SecureContext) => void

/** Makes what is asked during a handshake: which protocol is spoken, and with which certificate. */
function handshakes(spoken: readonly string[], now: () => FastifyInstance['edge']): object {
  const challenged = new WeakSet<TLSSocket>()
  return {
    // Before the certificate in TLS 1.3, after it in TLS 1.2, where only the instance that ordered has an answer at hand.
    ALPNCallback(this: TLSSocket, { servername, protocols }: { servername: string; protocols: string[] }) {
      const edge = now()
      if (edge?.challenged !== true || !protocols.includes(ACME))
        return spoken.find((protocol) => protocols.includes(protocol))
      challenged.add(this)
      const own = edge.ownChallenge(servername.toLowerCase())
      if (own !== undefined) this.setKeyCert(own)
      return ACME
    },
    SNICallback(this: TLSSocket, host: string, done: Handshake) {
      const edge = now()
      if (edge === null || !challenged.has(this)) done(null, edge?.contextFor(host))
      else callBack(edge.challenge(host), done)
    }
  }
}

/** Tells why a config can't take the place of another without a restart; undefined where it can. */
export function restartFor(before: FastifyInstance, after: FastifyInstance): string | undefined {
  const [one, other] = [before.edge, after.edge]
  if ((one === null) !== (other === null))
    return `"tls" can't be switched ${other === null ? 'off' : 'on'} without a restart`
  if (one === null || other === null) return undefined
  if (one.http2 !== other.http2) return '"tls.http2" can\'t change without a restart'
  if (one.redirectFrom !== other.redirectFrom) return '"tls.redirectFrom" can\'t change without a restart'
  return undefined
}

/** Applies what an instance says of connections of HTTP/1; Node.js reads these at each use, so they change without a restart. */
function applyHttp(server: HttpServer, { socketLimits, maxConnections }: FastifyInstance): void {
  const settings = server as HttpServer & { maxHeaderSize?: number }
  settings.maxHeaderSize = socketLimits.headers
  server.headersTimeout = socketLimits.headerTime
  server.keepAliveTimeout = socketLimits.idle
  server.maxConnections = maxConnections
}

/** Makes the plain server beside one with TLS: it answers authorities that ask whether a name is ours (http-01), sends all else to https (308), and serves nothing. */
export function makeRedirector(port: () => number, now: () => FastifyInstance): HttpServer {
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 }, (request, response) => {
    request.resume()
    const token = CHALLENGE.exec(request.url ?? '')?.[1]
    const { edge } = now()
    if (token === undefined || edge?.challenged !== true) sendOn(request, response, port(), now())
    else
      void edge.answer(token).then((found) => {
        if (found === undefined) sendOn(request, response, port(), now())
        else answer(response, found)
      })
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  server.on('connect', (_request, socket) => socket.destroy())
  return server
}

// Where an authority looks for an answer (RFC 8555 section 8.3).
const CHALLENGE = /^\/\.well-known\/acme-challenge\/([\w-]+)$/

function sendOn(
  request: IncomingMessage,
  response: ServerResponse,
  port: number,
  app: FastifyInstance
): void {
  const to = placeFor(request, port, app)
  if (to === undefined) refuse(response)
  else response.writeHead(308, { location: to, 'content-length': '0', connection: 'close' }).end()
}

function answer(response: ServerResponse, text: string): void {
  response
    .writeHead(200, {
      'content-type': 'application/octet-stream',
      'content-length': String(Buffer.byteLength(text)),
      connection: 'close'
    })
    .end(text)
}

const HOST = /^([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?$/i

function placeFor(
  { headers, url = '/' }: IncomingMessage,
  port: number,
  { publicUrl }: FastifyInstance
): string | undefined {
  if (!url.startsWith('/') || /[^\x21-\x7e]/.test(url)) return undefined
  if (publicUrl?.startsWith('https:') === true) return publicUrl + url
  const host = HOST.exec(headers.host ?? '')?.[1]
  return host === undefined ? undefined : `https://${host}${port === 443 ? '' : `:${port}`}${url}`
}

function refuse(response: ServerResponse): void {
  response
    .writeHead(400, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' })
    .end('400 Bad Request\n')
}
