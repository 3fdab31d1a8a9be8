import { createServer, Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createSecureServer, type Http2Session, type Settings } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import type { Server, Socket } from 'node:net'
import type { SecureContext, TLSSocket } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import { settleCallback } from '../lib/callback.ts'
import { canonicalHost } from '../lib/http/canonical-path.ts'
import { safeResponses } from '../lib/http/response.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { Connections } from './connections.ts'
import { SESSION_MEMORY, Sessions } from './http2-sessions.ts'

/** The listening socket, whatever it speaks. */
export interface Listener {
  readonly server: Server
  /** Makes the response to a request that asks to switch protocols, for which Node.js makes none. */
  responseTo(request: IncomingMessage): ServerResponse
  /** Applies what an instance says of connections, without a restart. */
  apply(app: FastifyInstance): void
  /** Lets connections end that have nothing to do, and tells those of HTTP/2 to bring nothing more. */
  closeIdle(): void
  /** Tells clients to send no further request on their connections: "Connection: close" on answers under way, GOAWAY over HTTP/2. */
  closeAfterAnswers(): void
  closeAll(): void
}

/** How often Node.js looks for connections that took too long, in milliseconds. */
const CHECK_EVERY = 1000

// HTTP/2: how many requests a connection may have at a time.
const MOST_STREAMS = 128

// What is more gets no answer but a reset: so much that a 431 can say which limit of a route it was; as many fields as HTTP/1 reads.
const MOST_PAIRS = 2000
const LEAST_HEADERS = 65_535

// Who leaves a page cancels all that it asked for, twice in a row at most; Node.js lets a thousand at once pass, each of them a request to an upstream.
const RESETS_AT_ONCE = 2 * MOST_STREAMS
const RESETS_A_SECOND = 33

// An honest client sends none that is invalid; Node.js lets a thousand pass, each of which ends a request (CVE-2025-8671).
const INVALID_FRAMES = 100

/** Makes the server for what an instance wants: HTTP, or TLS with HTTP/2 beside HTTP/1.1. */
export function makeListener(
  app: FastifyInstance,
  takesUpgrade: (request: IncomingMessage) => boolean,
  now: () => FastifyInstance
): Listener {
  const { Http1Response, Http2Response } = safeResponses((error, { method }) =>
    now().log.error({ err: error, method }, 'a response header could not be sent')
  )
  const responseTo = (request: IncomingMessage): ServerResponse => new Http1Response(request)
  // What a connection may take is watched by the limits of each route; Node's own clock would end a steady long upload.
  const http = {
    ServerResponse: Http1Response,
    requestTimeout: 0,
    connectionsCheckingInterval: CHECK_EVERY,
    optimizeEmptyRequests: true,
    // A server of HTTP/2 leaves it off, and an answer of HTTP/1.1 waits for what may come behind it.
    noDelay: true,
    // Whatever else asks to switch protocols (h2c) is an ordinary request.
    shouldUpgradeCallback: takesUpgrade,
    insecureHTTPParser: false,
    // A request without a Host is refused like any other, with a line in the log.
    requireHostHeader: false
  }
  const { tls: edge } = app
  const connections = new Connections(() => now().socketLimits)
  if (edge === null) {
    const server = createServer(http as never)
    server.on('connection', (socket) => connections.add(socket))
    return {
      server,
      responseTo,
      apply: (next) => applyHttp(server, next),
      closeIdle: () => server.closeIdleConnections(),
      closeAfterAnswers: () => connections.closeAfterAnswers(),
      closeAll: () => server.closeAllConnections()
    }
  }
  const tls = {
    ...edge.options,
    requestCert: edge.requestsCertificate,
    rejectUnauthorized: edge.requiresCertificate,
    // Said at the start alone: Node.js has no way to change it. 0 is its own, of two minutes.
    handshakeTimeout: app.socketLimits.headerTime,
    ...handshakes(edge.http2 ? ['h2', ...HTTP1] : HTTP1, () => now().tls)
  }
  const sessions = new Sessions(() => now().socketLimits)
  const server = (
    edge.http2
      ? createSecureServer({
          ...tls,
          ...http,
          allowHTTP1: true,
          Http2ServerResponse: Http2Response,
          Http1ServerResponse: Http1Response,
          // Upstreams repeat X-Content-Type-Options and others; HTTP/1.1 passes them on, too.
          strictSingleValueFields: false,
          maxHeaderListPairs: MOST_PAIRS,
          maxSessionMemory: SESSION_MEMORY,
          maxSessionInvalidFrames: INVALID_FRAMES,
          streamResetBurst: RESETS_AT_ONCE,
          streamResetRate: RESETS_A_SECOND,
          settings: { maxConcurrentStreams: MOST_STREAMS, enablePush: false }
        } as never)
      : createHttpsServer({ ...tls, ...http } as never)
  ) as HttpServer & {
    setSecureContext(options: object): void
    updateSettings?(settings: Settings): void
    requestCert?: boolean
    rejectUnauthorized?: boolean
  }
  // Node makes the session of a connection while it tells of it: this comes before 'session'.
  let latest: TLSSocket
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    // Node takes every other name for one of HTTP/2.
    if (socket.alpnProtocol === 'http/1.0') socket.alpnProtocol = 'http/1.1'
    latest = socket
  })
  server.on('secureConnection', (socket: TLSSocket) => {
    if (socket.alpnProtocol === ACME) {
      // An authority has seen what it wanted to see by now.
      socket.destroy()
      return
    }
    connections.add(socket)
    // One that breaks while nobody reads from it ends alone.
    socket.on('error', () => {})
  })
  // Those that are in their handshake are no one's yet, and would be waited for.
  const raw = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    raw.add(socket)
    socket.once('close', () => raw.delete(socket))
  })
  // Where there is no TLS yet there is nothing to write an answer to, and an end would wait for it for ever.
  server.prependListener('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    now().log.debug({ cause: error.code, ip: socket.remoteAddress }, 'a TLS handshake failed')
    socket.destroy()
  })
  server.on('session', (session: Http2Session) => sessions.add(session, latest))
  return {
    server,
    responseTo,
    apply(next) {
      applyHttp(server, next)
      if (next.tls === null) return
      // Without a word Node.js takes sections of any size: a field that is kept once and named a thousand times is cheap to send (HPACK bomb).
      server.updateSettings?.({ maxHeaderListSize: Math.max(LEAST_HEADERS, next.socketLimits.headers) })
      const { tls: edge } = next
      server.setSecureContext(edge.options)
      server.requestCert = edge.requestsCertificate
      server.rejectUnauthorized = edge.requiresCertificate
      const start = (): void =>
        edge.start(() => {
          if (now().tls === edge) server.setSecureContext(edge.options)
        })
      // Who orders a certificate has to be there when the authority asks back.
      if (server.listening) start()
      else server.once('listening', start)
    },
    closeIdle() {
      HttpServer.prototype.closeIdleConnections.call(server)
      sessions.close()
    },
    closeAfterAnswers() {
      connections.closeAfterAnswers()
      sessions.closeAfterAnswers()
    },
    closeAll() {
      sessions.destroy()
      connections.destroy()
      for (const socket of raw) socket.destroy()
    }
  }
}

// The names of HTTP/1 in a handshake (RFC 7301), as the parser reads both versions.
const HTTP1: readonly string[] = ['http/1.1', 'http/1.0']

// What an authority speaks that looks for an answer in a handshake (RFC 8737).
const ACME = 'acme-tls/1'

type Handshake = (error: unknown, context?: SecureContext) => void

/** Makes what is asked during a handshake: which protocol is spoken, and with which certificate. */
function handshakes(spoken: readonly string[], now: () => FastifyInstance['tls']): object {
  const challenged = new WeakSet<TLSSocket>()
  return {
    // Before the certificate in TLS 1.3, after it in TLS 1.2, where only the instance that ordered has an answer at hand.
    ALPNCallback(this: TLSSocket, { servername, protocols }: { servername: string; protocols: string[] }) {
      const edge = now()
      if (edge?.usesAcme !== true || !protocols.includes(ACME))
        return spoken.find((protocol) => protocols.includes(protocol))
      challenged.add(this)
      const own = edge.ownAlpnContext(servername.toLowerCase())
      if (own !== undefined) this.setKeyCert(own)
      return ACME
    },
    SNICallback(this: TLSSocket, host: string, done: Handshake) {
      const edge = now()
      if (edge === null || !challenged.has(this)) done(null, edge?.contextFor(host))
      else settleCallback(edge.alpnContext(host), done)
    }
  }
}

/** Tells why a config can't take the place of another without a restart; undefined where it can. */
export function restartFor(before: FastifyInstance, after: FastifyInstance): string | undefined {
  const [one, other] = [before.tls, after.tls]
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

// The plain port has no limits of a config.
const PLAIN = { requestTimeout: 10_000, headersTimeout: 10_000, connectionsCheckingInterval: CHECK_EVERY }

/** Makes the plain server beside one with TLS: it answers authorities that ask whether a name is ours (http-01), sends all else to https (308), and serves nothing. */
export function makeRedirector(port: () => number, now: () => FastifyInstance): HttpServer {
  const server = createServer(PLAIN, (request, response) => {
    request.resume()
    const token = CHALLENGE.exec(request.url ?? '')?.[1]
    const { tls: edge } = now()
    if (token === undefined || edge?.usesAcme !== true) sendOn(request, response, port(), now())
    else
      void edge.httpChallengeResponse(token).then((found) => {
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

const PORT = /:(\d{1,5})$/
const ABSOLUTE = /^https?:\/\/([^/?#@]*)(.*)$/i

/** Makes the address over https for a request to the plain port; undefined where its target or its host is none. */
function placeFor(
  { headers, url = '/' }: IncomingMessage,
  port: number,
  app: FastifyInstance
): string | undefined {
  const [, authority = headers.host ?? '', path = url] = ABSOLUTE.exec(url) ?? []
  const target = path.startsWith('/') ? path : `/${path}`
  if ((path === url && !url.startsWith('/')) || /[^\x21-\x7e]/.test(target)) return undefined
  const known = app.publicUrl?.startsWith('https:') === true ? new URL(app.publicUrl) : undefined
  const host = canonicalHost(authority)
  if (known !== undefined && (host === undefined || !isNamed(host, app))) return app.publicUrl + target
  if (host === undefined) return undefined
  // Without a publicUrl the listener's port is known to the client only where the client names one itself.
  const own = known?.port ?? (PORT.test(authority) && port !== 443 ? String(port) : '')
  return `https://${host}${own === '' ? '' : `:${own}`}${target}`
}

const named = new WeakMap<FastifyInstance, ReadonlySet<string>>()

/** Tells whether some route names a host, or the wildcard that it falls under. */
function isNamed(host: string, app: FastifyInstance): boolean {
  const hosts = getOrCreate(named, app, () => new Set(app.routeInfos.flatMap((info) => info.hosts)))
  return hosts.has(host) || hosts.has(`*${host.slice(host.indexOf('.'))}`)
}

function refuse(response: ServerResponse): void {
  response
    .writeHead(400, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' })
    .end('400 Bad Request\n')
}
