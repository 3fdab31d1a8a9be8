import type { FastifyReply, FastifyRequest } from 'fastify'
import { type OptionFault, Type } from '../../src/kit/index.ts'
import { HeaderName, headerFaults } from '../../src/lib/http/header-options.ts'
import type { Refusal } from '../../src/lib/refusals.ts'
import type { Static } from '../../src/lib/schema.ts'
import { NO_SECRET, REPLACED_WHOLE } from '../../src/lib/units.ts'

export const fallback = Type.Object(
  {
    status: Type.Integer({
      default: 503,
      minimum: 200,
      maximum: 599,
      description: 'The response status.'
    }),
    headers: Type.Record(HeaderName, Type.String(), {
      additionalProperties: false,
      default: {},
      [REPLACED_WHOLE]: true,
      description: 'The response headers.',
      examples: [{ 'content-type': 'text/plain' }]
    }),
    body: Type.Optional(
      Type.Unknown({
        [REPLACED_WHOLE]: true,
        [NO_SECRET]: true,
        description: 'The response body: a string is sent as it is, anything else as JSON.'
      })
    )
  },
  {
    additionalProperties: false,
    description: 'The response that replaces the 502, 503 or 504 for an upstream that does not respond.',
    examples: [{ status: 200, body: { prices: [] } }]
  }
)

export type FallbackOptions = Static<typeof fallback>

/** Returns the errors in the headers of a fallback. */
export const fallbackFaults = ({ headers }: FallbackOptions): OptionFault[] =>
  Object.entries(headers).flatMap(([name, value]) => headerFaults(name, value, ['fallback', 'headers', name]))

/** Compiles the response that replaces an upstream error; the log still has the error. */
export function makeFallback({ status, headers, body }: FallbackOptions) {
  const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body)
  const type = typeof body === 'string' ? 'text/plain; charset=utf-8' : 'application/json; charset=utf-8'
  return function sendFallback(request: FastifyRequest, reply: FastifyReply, refusal: Refusal): void {
    request.refusal = refusal
    reply
      .code(status)
      .headers({ 'content-type': type, 'cache-control': 'no-store', ...refusal.headers, ...headers })
    reply.send(text)
  }
}
