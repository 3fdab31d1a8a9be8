import { createServer, type Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { canonicalHost } from '../lib/http/canonical-path.ts'
import { getOrCreate } from '../lib/memoize.ts'

// The options of a config do not apply to the plain port.
const SERVER_OPTIONS = { requestTimeout: 10_000, headersTimeout: 10_000, connectionsCheckingInterval: 1000 }

// The path of an http-01 challenge (RFC 8555 section 8.3).
const CHALLENGE_PATH = /^\/\.well-known\/acme-challenge\/([\w-]+)$/

/** Makes the plain server beside one with TLS: it answers http-01 challenges of a certificate authority, and redirects everything else to https with a 308. */
export function makeRedirector(httpsPort: () => number, currentApp: () => FastifyInstance): HttpServer {
  const server = createServer(SERVER_OPTIONS, (request, response) => {
    request.resume()
    const token = CHALLENGE_PATH.exec(request.url ?? '')?.[1]
    const { tls } = currentApp()
    const redirect = (): void => sendRedirect(response, httpsUrlOf(request, httpsPort(), currentApp()))
    if (token === undefined || tls?.usesAcme !== true) redirect()
    else
      void tls.httpChallengeResponse(token).then((keyAuthorization) => {
        if (keyAuthorization === undefined) redirect()
        else sendChallengeResponse(response, keyAuthorization)
      })
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  server.on('connect', (_request, socket) => socket.destroy())
  return server
}

function sendRedirect(response: ServerResponse, location: string | undefined): void {
  if (location === undefined)
    response
      .writeHead(400, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' })
      .end('400 Bad Request\n')
  else response.writeHead(308, { location, 'content-length': '0', connection: 'close' }).end()
}

function sendChallengeResponse(response: ServerResponse, text: string): void {
  response
    .writeHead(200, {
      'content-type': 'application/octet-stream',
      'content-length': String(Buffer.byteLength(text)),
      connection: 'close'
    })
    .end(text)
}

const PORT = /:(\d{1,5})$/
const ABSOLUTE_URL = /^https?:\/\/([^/?#@]*)(.*)$/i

/** Returns the https URL for a request to the plain port; undefined where its target or its host is invalid. */
function httpsUrlOf(
  { headers, url = '/' }: IncomingMessage,
  httpsPort: number,
  app: FastifyInstance
): string | undefined {
  const [, authority = headers.host ?? '', path = url] = ABSOLUTE_URL.exec(url) ?? []
  const target = path.startsWith('/') ? path : `/${path}`
  if ((path === url && !url.startsWith('/')) || /[^\x21-\x7e]/.test(target)) return undefined
  const publicUrl = app.publicUrl?.startsWith('https:') === true ? new URL(app.publicUrl) : undefined
  const host = canonicalHost(authority)
  if (publicUrl !== undefined && (host === undefined || !hasRouteFor(host, app)))
    return app.publicUrl + target
  if (host === undefined) return undefined
  // Without a publicUrl the listener's port is known to clients only if the Host header has a port.
  const port = publicUrl?.port ?? (PORT.test(authority) && httpsPort !== 443 ? String(httpsPort) : '')
  return `https://${host}${port === '' ? '' : `:${port}`}${target}`
}

const hostsOfApps = new WeakMap<FastifyInstance, ReadonlySet<string>>()

/** Returns whether a route has this host, or a wildcard that matches it. */
function hasRouteFor(host: string, app: FastifyInstance): boolean {
  const hosts = getOrCreate(hostsOfApps, app, () => new Set(app.routeInfos.flatMap((info) => info.hosts)))
  return hosts.has(host) || hosts.has(`*${host.slice(host.indexOf('.'))}`)
}
