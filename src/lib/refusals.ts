import { createError } from '@fastify/error'
import type { FastifyError } from 'fastify'

/** An unexpected error inside the gateway; the log has the cause. */
export const Internal = createError('SP_ERR_INTERNAL', 'Internal gateway error', 500)
/** Node's parser rejected the request (RFC 9112 section 2.2). */
export const Malformed = createError('SP_ERR_REQUEST_MALFORMED', 'Malformed HTTP request', 400)
/** No parser is registered for the media type of the body. */
export const MediaUnknown = createError('SP_ERR_REQUEST_MEDIA', 'Unsupported media type of the body', 415)
/** The client sent its headers or body too slowly. */
export const TooSlow = createError(
  'SP_ERR_LIMITS_SLOW',
  'Request timeout: the request took too long to arrive',
  408
)
/** The request has more headers, or larger ones, than the route allows. */
export const HeadersTooLarge = createError(
  'SP_ERR_LIMITS_HEADERS',
  'Request headers too large: over the limit of this route',
  431
)
/** The request body is larger than the route allows. */
export const BodyTooLarge = createError(
  'SP_ERR_LIMITS_BODY',
  'Request body too large: over the limit of this route',
  413
)
/** The process buffers as many bytes of bodies as "overload.buffers" allows. */
export const BuffersFull = createError(
  'SP_ERR_OVERLOAD_BUFFERS',
  'Service overloaded: no buffer memory left for the body, retry later',
  503
)
/** No file descriptor or local port is left for a connection to an upstream. */
export const SocketsExhausted = createError(
  'SP_ERR_UPSTREAM_SOCKETS',
  'Service overloaded: no connection left for this request, retry later',
  503
)
/** The client takes a stored response only, and there is none (RFC 9111 section 5.2.1.7). */
export const NotStored = createError(
  'SP_ERR_CACHE_NOT_STORED',
  'Gateway timeout: no stored response, and the request asked for no other',
  504
)
/** The server certainly did not process the request, so any method may be retried (RFC 9113 section 8.7). */
export class RequestNotProcessed extends Error {
  readonly code = 'UPSTREAM_NOT_PROCESSED'

  constructor() {
    super('The connection was lost before the request was processed')
  }
}

/** The request cannot be sent completely, because of its content or because its body broke off; the target is not at fault. */
export class RequestNotSendable extends Error {
  readonly code: string
  readonly statusCode: number | undefined

  constructor(cause: Error & { code?: string; statusCode?: number }) {
    super(cause.message, { cause })
    this.code = cause.code ?? cause.name
    this.statusCode = cause.statusCode
  }
}

/** The request target is longer than the route allows. */
export const UrlTooLong = createError('SP_ERR_LIMITS_URL', 'URL too long: over the limit of this route', 414)
/** The response headers were not there before the deadline. */
export const DeadlineExceeded = createError(
  'SP_ERR_LIMITS_TIME',
  'Gateway timeout: the request exceeded the time limit of this route',
  504
)

/** The request has an Expect header with an unsupported value (RFC 9110 section 10.1.1). */
export const ExpectationUnknown = createError(
  'SP_ERR_REQUEST_EXPECTATION',
  'Unsupported expectation: only "100-continue" is supported',
  417
)
/** The body has a transfer coding other than chunked (RFC 9112 section 6.1). */
export const CodingUnknown = createError(
  'SP_ERR_REQUEST_CODING',
  'Unsupported transfer coding: only "chunked" is supported',
  501
)
/** A header that is allowed once occurs more than once (RFC 9110 section 5.3). */
export const HeaderRepeated = createError<[string]>(
  'SP_ERR_REQUEST_REPEATED',
  'Malformed HTTP request: more than one %s',
  400
)
/** A plugin or Fastify itself rejected the request with a code that is not the gateway's. */
export const Refused = createError<[string]>('SP_ERR_REQUEST_REFUSED', '%s', 400)

/** An error with additions to its response: headers, members of the problem document, or a complete response from elsewhere. */
export type Refusal = FastifyError & {
  headers?: Record<string, string>
  members?: Record<string, unknown>
  /** Lines below the detail, for people who see the error as text or as a page. */
  lines?: readonly string[]
  /** A link to continue with, for people who see the error as a page. */
  link?: { readonly href: string; readonly text: string }
  /** The name of the limit that refused, where a gate has several. */
  limit?: string
  /** Whether the target of the route produced the error, not a gate or the gateway itself. */
  byTarget?: boolean
  instead?: { readonly headers: Readonly<Record<string, string | string[]>>; readonly body: Buffer }
}

/** Adds response headers to an error. */
export const withHeaders = (error: FastifyError, headers: Record<string, string>): Refusal =>
  Object.assign(error, { headers })

/** Makes the refusal where the process holds as many bodies as it may. */
export const buffersFull = (): Refusal => withHeaders(new BuffersFull(), { 'retry-after': '1' })

/** A route matches the path, but not the method (RFC 9110 section 15.5.6). */
export const MethodRefused = createError<[string]>(
  'SP_ERR_ROUTE_METHOD',
  'Method %s not allowed for this path',
  405
)
/** No route matches the path. */
export const RouteUnknown = createError('SP_ERR_ROUTE_UNKNOWN', 'Not found: no route matches this path', 404)
