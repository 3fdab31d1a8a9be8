import type { FastifyError, FastifyRequest } from 'fastify'

/** The limits of a request's body; a part of `request.limits`. */
export interface StreamLimits {
  /** Maximum size in bytes. */
  readonly body: number
  tooLarge(request: FastifyRequest): FastifyError | undefined
  /** Sets the reader of a body; `fail` is called if it comes too slowly. */
  readBy(request: FastifyRequest, reader: { fail(error: FastifyError): void }): void
}
