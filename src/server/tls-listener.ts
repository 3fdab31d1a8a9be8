import { Server as HttpServer } from 'node:http'
import { createSecureServer, type Http2Session, type Settings } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import { applyHttpSettings, type Listener, type ListenerParts } from './http-listener.ts'
import { MAX_SESSION_MEMORY_MB, Sessions } from './http2-sessions.ts'
import { ACME_PROTOCOL, HTTP1_PROTOCOLS, handshakeCallbacks } from './tls-handshake.ts'

type Tls = NonNullable<FastifyInstance['tls']>

// How many HTTP/2 requests a connection may have at a time.
const MAX_STREAMS = 128

// A larger header section is reset without a response. 2000 fields is what HTTP/1 reads; the size leaves room for a 431 that names the limit of a route.
const MAX_HEADER_PAIRS = 2000
const MIN_HEADER_LIST_BYTES = 65_535

// A browser that leaves a page cancels all its requests, at most twice in a row. Node.js allows 1000 at once, each a request to an upstream (CVE-2023-44487).
const RESET_BURST = 2 * MAX_STREAMS
const RESETS_PER_SECOND = 33

// A correct client sends no invalid frame; Node.js allows 1000, each of which ends a request (CVE-2025-8671).
const MAX_INVALID_FRAMES = 100

interface TlsServer extends HttpServer {
  setSecureContext(options: object): void
  updateSettings?(settings: Settings): void
  requestCert?: boolean
  rejectUnauthorized?: boolean
}

/** Makes the server for TLS: HTTP/1.1, and HTTP/2 where the config has it. */
export function makeTlsListener(app: FastifyInstance, tls: Tls, parts: ListenerParts): Listener {
  const { connections, responses, currentApp } = parts
  const server = createTlsServer(app, tls, parts)
  const sessions = new Sessions(() => currentApp().socketLimits)
  watchConnections(server, sessions, parts)
  const rawSockets = trackRawSockets(server)
  return {
    server,
    responseTo: (request) => new responses.Http1Response(request),
    apply(next) {
      applyHttpSettings(server, next)
      if (next.tls !== null) applyTlsSettings(server, next.tls, next, currentApp)
    },
    closeIdle() {
      HttpServer.prototype.closeIdleConnections.call(server)
      sessions.close()
    },
    closeAfterResponses() {
      connections.closeAfterResponses()
      sessions.closeAfterResponses()
    },
    closeAll() {
      sessions.destroy()
      connections.destroy()
      for (const socket of rawSockets) socket.destroy()
    }
  }
}

function createTlsServer(
  app: FastifyInstance,
  tls: Tls,
  { httpOptions, responses, currentApp }: ListenerParts
): TlsServer {
  const options = {
    ...tls.options,
    requestCert: tls.requestsCertificate,
    rejectUnauthorized: tls.requiresCertificate,
    // Node.js cannot change it after the start. 0 is its default of 2 minutes.
    handshakeTimeout: app.socketLimits.headerTime,
    ...handshakeCallbacks(tls.http2 ? ['h2', ...HTTP1_PROTOCOLS] : HTTP1_PROTOCOLS, () => currentApp().tls),
    ...httpOptions
  }
  if (!tls.http2) return createHttpsServer(options as never) as unknown as TlsServer
  const http2Options = {
    ...options,
    allowHTTP1: true,
    Http2ServerResponse: responses.Http2Response,
    Http1ServerResponse: responses.Http1Response,
    // Upstreams repeat X-Content-Type-Options and others; HTTP/1.1 forwards them as well.
    strictSingleValueFields: false,
    maxHeaderListPairs: MAX_HEADER_PAIRS,
    maxSessionMemory: MAX_SESSION_MEMORY_MB,
    maxSessionInvalidFrames: MAX_INVALID_FRAMES,
    streamResetBurst: RESET_BURST,
    streamResetRate: RESETS_PER_SECOND,
    settings: { maxConcurrentStreams: MAX_STREAMS, enablePush: false }
  }
  return createSecureServer(http2Options as never) as unknown as TlsServer
}

// How long a certificate authority may take to close its side after a challenge.
const ACME_CLOSE_TIMEOUT_MS = 1000

function watchConnections(
  server: TlsServer,
  sessions: Sessions,
  { connections, currentApp }: ListenerParts
): void {
  // Node.js emits 'session' from its own 'secureConnection' listener: this one, which runs first, has the socket for it.
  let latest: TLSSocket
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    // Node.js would read any other protocol name as HTTP/2.
    if (socket.alpnProtocol === 'http/1.0') socket.alpnProtocol = 'http/1.1'
    latest = socket
  })
  server.on('secureConnection', (socket: TLSSocket) => {
    if (socket.alpnProtocol === ACME_PROTOCOL) {
      // The handshake is all that a certificate authority needs. In TLS 1.2 its last message is yet to be sent.
      socket.on('error', () => {})
      socket.setTimeout(ACME_CLOSE_TIMEOUT_MS, () => socket.destroy())
      socket.resume().end()
      return
    }
    connections.add(socket)
    // An error on a connection that is not being read affects this connection only.
    socket.on('error', () => {})
  })
  // Without TLS no response can be written, and a graceful end would wait for the handshake without limit.
  server.prependListener('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    currentApp().log.debug({ cause: error.code, ip: socket.remoteAddress }, 'TLS handshake failed')
    socket.destroy()
  })
  server.on('session', (session: Http2Session) => sessions.add(session, latest))
}

/** Tracks the sockets below TLS: those in their handshake belong to no connection yet, and would delay the close. */
function trackRawSockets(server: TlsServer): ReadonlySet<Socket> {
  const raw = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    raw.add(socket)
    socket.once('close', () => raw.delete(socket))
  })
  return raw
}

function applyTlsSettings(
  server: TlsServer,
  tls: Tls,
  app: FastifyInstance,
  currentApp: () => FastifyInstance
): void {
  // By default Node.js accepts header sections of any size: a field that is stored once and repeated 1000 times is cheap to send (HPACK bomb).
  server.updateSettings?.({ maxHeaderListSize: Math.max(MIN_HEADER_LIST_BYTES, app.socketLimits.headers) })
  server.setSecureContext(tls.options)
  server.requestCert = tls.requestsCertificate
  server.rejectUnauthorized = tls.requiresCertificate
  const start = (): void =>
    tls.start(() => {
      if (currentApp().tls === tls) server.setSecureContext(tls.options)
    })
  // A certificate is ordered only once the listener can answer the authority's challenge.
  if (server.listening) start()
  else server.once('listening', start)
}
