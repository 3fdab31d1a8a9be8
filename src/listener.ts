import { createServer, Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createSecureServer, type Http2Session } from 'node:http2'
import { createServer as createHttpsServer } from 'node:https'
import type { Server } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { FastifyInstance } from 'fastify'

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
    SNICallback: (host: string, done: (error: null, context?: never) => void) =>
      done(null, now().edge?.contextFor(host) as never)
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
      : createHttpsServer({ ...tls, ...http, ALPNProtocols: ['http/1.1'] } as never)
  ) as HttpServer & {
    setSecureContext(options: object): void
    requestCert?: boolean
    rejectUnauthorized?: boolean
  }
  const sockets = new Set<TLSSocket>()
  server.on('secureConnection', (socket: TLSSocket) => {
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
      server.setSecureContext(next.edge.options)
      server.requestCert = next.edge.asks
      server.rejectUnauthorized = next.edge.requires
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

/** Makes the plain server beside one with TLS: it sends everything to https (308), and serves nothing. */
export function makeRedirector(port: () => number, now: () => FastifyInstance): HttpServer {
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 }, (request, response) => {
    const to = placeFor(request, port(), now())
    if (to === undefined) refuse(response)
    else response.writeHead(308, { location: to, 'content-length': '0', connection: 'close' }).end()
    request.resume()
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  server.on('connect', (_request, socket) => socket.destroy())
  return server
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
