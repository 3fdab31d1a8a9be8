import type { FastifyError, FastifyRequest } from 'fastify'

/** What a request's route allows it; `request.limits` says no less. */
export interface StreamLimits {
  readonly body: number
  tooLarge(request: FastifyRequest): FastifyError | undefined
  /** Says who reads the body of a request, and is told when it comes too slowly. */
  readBy(request: FastifyRequest, reader: { fail(error: FastifyError): void }): void
}
