import { createError } from '@fastify/error'
import type { FastifyError } from 'fastify'
import { withHeaders } from '../../src/kit/index.ts'

/** The upstream gave no usable answer: it refused the connection, broke it, or did not speak HTTP (RFC 9110 section 15.6.3). */
export const UpstreamFailed = createError(
  'SP_ERR_UPSTREAM_FAILED',
  'The service behind the gateway gave no usable answer',
  502
)
/** The upstream took too long to connect or to answer (RFC 9110 section 15.6.5). */
export const UpstreamTimeout = createError(
  'SP_ERR_UPSTREAM_TIMEOUT',
  'The service behind the gateway took too long',
  504
)
/** No target of the upstream can take a request (RFC 9110 section 15.6.4). */
export const UpstreamUnavailable = createError(
  'SP_ERR_UPSTREAM_UNAVAILABLE',
  'The service behind the gateway is not available',
  503
)

/** The body of an answer stood still for too long; its client sees a cut. */
export class UpstreamStill extends Error {
  readonly code = 'UND_ERR_BODY_TIMEOUT'
  readonly statusCode = 504
}

/** A page of this origin may not open a WebSocket here (RFC 6455 section 10.2). */
export const OriginRefused = createError(
  'SP_ERR_PROXY_ORIGIN',
  'A page of this origin may not open a WebSocket here',
  403
)

/** The client went away before it had its answer; nobody is there to be told. */
export class ClientGone extends Error {
  readonly code = 'SP_ERR_CLIENT_GONE'
}

/** Translates what went wrong on the way to an upstream into what the client is told, which is never an address. */
export function refusalFor(error: Error & { code?: string; statusCode?: number }): FastifyError {
  if (error.code?.startsWith('SP_ERR_') === true) return error as FastifyError
  if (
    error.code === 'UND_ERR_CONNECT_TIMEOUT' ||
    error.code === 'UND_ERR_HEADERS_TIMEOUT' ||
    error.code === 'ETIMEDOUT'
  )
    return new UpstreamTimeout()
  if (error.code === 'UND_ERR_CLOSED' || error.code === 'UND_ERR_DESTROYED') return unavailable()
  return new UpstreamFailed()
}

/** Makes the refusal for an upstream that has no target to offer. */
export const unavailable = (seconds = 5): FastifyError =>
  withHeaders(new UpstreamUnavailable(), { 'retry-after': String(seconds) })
