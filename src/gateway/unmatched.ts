import type { FastifyReply, FastifyRequest } from 'fastify'
import { ROUTABLE } from '../lib/http/methods.ts'
import { MethodRefused, RouteUnknown } from '../lib/refusals.ts'
import { refusalOf } from './normalize-request.ts'

type Refuse = (request: FastifyRequest, reply: FastifyReply) => Promise<never>

/** Makes the hooks of a refusal: it comes after the gates, and before the body is read. */
export const refusing = (refuse: Refuse): { preParsing: Refuse; handler: Refuse } => ({
  preParsing: refuse,
  handler: refuse
})

/** Refuses a request that matches no route. */
export async function notFoundHere(): Promise<never> {
  throw new RouteUnknown()
}

/** Makes the handler of methods that a path has no route for; it lists the allowed ones. */
export const notAllowed = (allow: readonly string[]) => {
  const header = allow.join(', ')
  return async function methodNotAllowed(request: FastifyRequest, reply: FastifyReply): Promise<never> {
    reply.header('allow', header)
    throw new MethodRefused(request.method)
  }
}

/** Refuses a request with the error that normalization found. */
export async function refusedHere(request: FastifyRequest, reply: FastifyReply): Promise<never> {
  const refusal = refusalOf(request.raw)
  if (refusal.code === 'SP_ERR_ROUTE_METHOD') reply.header('allow', ROUTABLE.join(', '))
  throw refusal
}
