import { createError } from '@fastify/error'
import type { FastifyError } from 'fastify'
import { withHeaders } from './refusals.ts'

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

// How long to wait where no breaker tells, in seconds.
const RETRY_AFTER = 5

/** Makes the refusal for an upstream that has no target to offer. */
export const unavailable = (seconds: number = RETRY_AFTER): FastifyError =>
  withHeaders(new UpstreamUnavailable(), { 'retry-after': String(seconds) })

/** Translates a failure on the way to an upstream into the refusal for the client, which never names an address. */
export function upstreamRefusal(error: Error & { code?: string; statusCode?: number }): FastifyError {
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
