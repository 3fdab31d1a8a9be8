import { createError } from '@fastify/error'

/** A page of this origin may not open a WebSocket here (RFC 6455 section 10.2). */
export const OriginRefused = createError(
  'SP_ERR_PROXY_ORIGIN',
  'A page of this origin may not open a WebSocket here',
  403
)

/** The client went away before it had its answer: there is none to write it to. */
export class ClientGone extends Error {
  readonly code = 'SP_ERR_CLIENT_GONE'
}
