import { createError } from '@fastify/error'
import type { FastifyError } from 'fastify'
import { withHeaders } from './refusals.ts'

/** The upstream refused or closed the connection, or did not send valid HTTP (RFC 9110 section 15.6.3). */
export const UpstreamFailed = createError(
  'SP_ERR_UPSTREAM_FAILED',
  'Bad gateway: the upstream sent an invalid response',
  502
)
/** The upstream took too long to connect or to respond (RFC 9110 section 15.6.5). */
export const UpstreamTimeout = createError(
  'SP_ERR_UPSTREAM_TIMEOUT',
  'Gateway timeout: the upstream did not respond in time',
  504
)
/** The upstream has no target that accepts requests (RFC 9110 section 15.6.4). */
export const UpstreamUnavailable = createError(
  'SP_ERR_UPSTREAM_UNAVAILABLE',
  'Service unavailable: the upstream has no available target',
  503
)

// The Retry-After where no circuit breaker gives a time.
const RETRY_AFTER_SECONDS = 5

/** Returns the 503 for an upstream without an available target, with a Retry-After in seconds. */
export const unavailable = (seconds: number = RETRY_AFTER_SECONDS): FastifyError =>
  withHeaders(new UpstreamUnavailable(), { 'retry-after': String(seconds) })

/** Translates an error of an attempt into the error for the client, which never names an address. */
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
