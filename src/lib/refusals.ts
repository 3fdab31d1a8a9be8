import { createError } from '@fastify/error'
import type { FastifyError } from 'fastify'

/** Something went wrong inside the gateway; the log says what. */
export const Internal = createError('SP_ERR_INTERNAL', 'Something went wrong inside the gateway', 500)
/** Node's parser refused the request (RFC 9112 section 2.2). */
export const Malformed = createError('SP_ERR_REQUEST_MALFORMED', 'The request is not well-formed HTTP', 400)
/** Nothing here reads a body of this kind. */
export const MediaUnknown = createError('SP_ERR_REQUEST_MEDIA', 'Nothing here reads a body of this kind', 415)
/** The client took too long to send its request. */
export const TooSlow = createError('SP_ERR_LIMITS_SLOW', 'The request took too long to arrive', 408)
/** The request has more or larger headers than the route takes. */
export const HeadersTooLarge = createError(
  'SP_ERR_LIMITS_HEADERS',
  'The headers of the request are more than this route takes',
  431
)
/** The body of the request is larger than the route takes. */
export const BodyTooLarge = createError(
  'SP_ERR_LIMITS_BODY',
  'The body of the request is larger than this route takes',
  413
)
/** The process holds as many bodies in memory as "overload.buffers" allows. */
export const BuffersFull = createError(
  'SP_ERR_OVERLOAD_BUFFERS',
  'The gateway holds as many bodies in memory as it may; try again in a while',
  503
)
/** This machine has no file descriptor or local port left for a connection to an upstream. */
export const SocketsExhausted = createError(
  'SP_ERR_UPSTREAM_SOCKETS',
  'The gateway has no connection left for this request',
  503
)
/** A server is sure not to have taken a request, which may then be sent again whatever its method is (RFC 9113 section 8.7). */
export class RequestNotProcessed extends Error {
  readonly code = 'UPSTREAM_UNTAKEN'

  constructor() {
    super('The connection was lost before the request was taken')
  }
}

/** Means that a request can't be sent whole, by what it holds or since its body broke off: no target has failed. */
export class RequestNotSendable extends Error {
  readonly code: string
  readonly statusCode: number | undefined

  constructor(cause: Error & { code?: string; statusCode?: number }) {
    super(cause.message, { cause })
    this.code = cause.code ?? cause.name
    this.statusCode = cause.statusCode
  }
}

/** The request target is longer than the route takes. */
export const UrlTooLong = createError('SP_ERR_LIMITS_URL', 'The URL is longer than this route takes', 414)
/** The head of the answer was not there in time. */
export const DeadlineExceeded = createError(
  'SP_ERR_LIMITS_TIME',
  'The request took longer than this route allows',
  504
)

/** The request expects what nobody here can do (RFC 9110 section 10.1.1). */
export const ExpectationUnknown = createError(
  'SP_ERR_REQUEST_EXPECTATION',
  'Only "100-continue" can be expected here',
  417
)
/** A body has a transfer coding besides chunked (RFC 9112 section 6.1). */
export const CodingUnknown = createError(
  'SP_ERR_REQUEST_CODING',
  'Only the transfer coding "chunked" is supported',
  501
)
/** A header that may stand in a request once stands there more often (RFC 9110 section 5.3). */
export const HeaderRepeated = createError<[string]>(
  'SP_ERR_REQUEST_REPEATED',
  'The request has more than one %s',
  400
)
/** Something refused the request without a code of ours: a plugin, or Fastify itself. */
export const Refused = createError<[string]>('SP_ERR_REQUEST_REFUSED', '%s', 400)

/** A refusal may bring more for its answer: headers, members of the problem document, or the whole answer of somebody who was asked. */
export type Refusal = FastifyError & {
  headers?: Record<string, string>
  members?: Record<string, unknown>
  /** Where to go from here, for people who see it as a page. */
  link?: { readonly href: string; readonly text: string }
  /** Whether the target of the route answers so, and no gate or fault of the gateway. */
  byTarget?: boolean
  instead?: { readonly headers: Readonly<Record<string, string | string[]>>; readonly body: Buffer }
}

/** Adds headers to a refusal. */
export const withHeaders = (refusal: FastifyError, headers: Record<string, string>): Refusal =>
  Object.assign(refusal, { headers })

/** A route takes the path, but not by this method (RFC 9110 section 15.5.6). */
export const MethodRefused = createError<[string]>(
  'SP_ERR_ROUTE_METHOD',
  'This path does not take the method %s',
  405
)
/** No route takes the path. */
export const RouteUnknown = createError('SP_ERR_ROUTE_UNKNOWN', 'Nothing is served at this path', 404)
