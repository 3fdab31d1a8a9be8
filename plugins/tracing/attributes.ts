import type { FastifyReply, FastifyRequest } from 'fastify'
import { addressOf } from '../../src/lib/http/addresses.ts'
import { pathOf } from '../../src/lib/http/url-parts.ts'
import type { AttemptDescription, Attributes } from './span.ts'

// Attributes are named by OpenTelemetry's semantic conventions for HTTP spans (stable). There are none of headers,
// queries or callers, which may be private.

// The methods of RFC 9110 and RFC 5789; any other one is "_OTHER", since a client may invent them.
const KNOWN_METHODS = new Set([
  'CONNECT',
  'DELETE',
  'GET',
  'HEAD',
  'OPTIONS',
  'PATCH',
  'POST',
  'PUT',
  'TRACE'
])

// Queued spans are bounded in number, and by these in size.
const MAX_PATH = 1024
const MAX_METHOD = 32

/** Returns the method as the first word of a span's name. */
export const methodName = (method: string): string => (KNOWN_METHODS.has(method) ? method : 'HTTP')

const methodAttributes = (method: string): Attributes =>
  KNOWN_METHODS.has(method)
    ? { 'http.request.method': method }
    : { 'http.request.method': '_OTHER', 'http.request.method_original': method.slice(0, MAX_METHOD) }

// What the router adds to a path: the host of a route, or a place for requests that are refused before routing.
const ROUTER_MARK = '/\u0001'

/** Returns the path pattern of a request's route; undefined for a request without a route. */
export function routePatternOf({ routeOptions: { url, config } }: FastifyRequest): string | undefined {
  const route = config.sallyport?.route
  if (route === undefined || route.kind === 'notFound') return undefined
  if (route.kind !== 'plugin' && route.paths.length === 1) return route.paths[0]
  if (url?.startsWith(ROUTER_MARK) !== true) return url
  const path = url.indexOf('/', ROUTER_MARK.length)
  return path === -1 ? undefined : url.slice(path)
}

/** Returns the attributes of the server span of a request. */
export function serverAttributes(request: FastifyRequest, reply: FastifyReply): Attributes {
  const { method, protocol, refusal, raw } = request
  const status = reply.raw.headersSent ? reply.statusCode : undefined
  const aborted = !reply.raw.writableEnded
  return {
    ...methodAttributes(method),
    'http.route': routePatternOf(request),
    'http.response.status_code': status,
    'url.scheme': protocol,
    'url.path': pathOf(request).slice(0, MAX_PATH),
    'client.address': addressOf(request),
    'network.protocol.version': raw.httpVersion === '2.0' ? '2' : raw.httpVersion,
    'error.type':
      refusal?.code ??
      (status !== undefined && status >= 500 ? String(status) : aborted ? 'SP_ERR_CLIENT_GONE' : undefined)
  }
}

/** Returns the attributes of the client span of an attempt. */
export function clientAttributes({ upstream, target, request, resends }: AttemptDescription): Attributes {
  const { origin, base, name } = target
  const { method, path } = request
  const { hostname, port, protocol } = new URL(origin)
  const query = path.indexOf('?')
  const bare = base + (query === -1 ? path : path.slice(0, query))
  return {
    ...methodAttributes(method),
    'url.full': origin + bare.slice(0, MAX_PATH),
    'server.address': name.startsWith('/') ? name : hostname,
    'server.port': name.startsWith('/') ? undefined : Number(port || (protocol === 'https:' ? 443 : 80)),
    'http.request.resend_count': resends > 0 ? resends : undefined,
    'sallyport.upstream': upstream,
    'sallyport.target': name
  }
}
