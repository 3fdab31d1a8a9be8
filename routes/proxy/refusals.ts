import { createError } from '@fastify/error'
import type { FastifyRequest } from 'fastify'
import { Internal } from '../../src/lib/refusals.ts'

/** Pages of this origin may not open a WebSocket on this route (RFC 6455 section 10.2). */
export const OriginNotAllowed = createError(
  'SP_ERR_PROXY_ORIGIN',
  'Forbidden: WebSocket connections from this origin are not allowed',
  403
)

/** The client closed its connection before the response: no error can be sent. */
export class ClientGone extends Error {
  readonly code = 'SP_ERR_CLIENT_GONE'
}

/** Logs why an attempt failed, with its target: the client must not learn addresses. The gateway's own errors are not logged here. */
export function logFailure({ id, log, forwarding }: FastifyRequest, error: Error & { code?: string }): void {
  if (error instanceof ClientGone || error.code?.startsWith('SP_ERR_') === true) return
  const { upstream, target } = forwarding ?? {}
  const cause = error.code ?? error.name
  log.warn({ requestId: id, upstream, target, cause, message: error.message }, 'upstream request failed')
}

/** Returns the error for a response that a stage could not go on with: its own if it is a refusal, else a 500 that is logged. */
export function stageRefusal({ id, log }: FastifyRequest, error: Error & { code?: string }): Error {
  if (error instanceof ClientGone || error.code?.startsWith('SP_ERR_') === true) return error
  log.error({ err: error, requestId: id }, 'response stage failed')
  return new Internal()
}
