import type { FastifyReply, FastifyRequest } from 'fastify'
import { type OptionFault, Type } from '../../src/kit/index.ts'
import { HeaderName, headerFaults } from '../../src/lib/http/header-options.ts'
import type { Refusal } from '../../src/lib/refusals.ts'
import type { Static } from '../../src/lib/schema.ts'
import { REPLACED_WHOLE } from '../../src/lib/units.ts'

export const fallback = Type.Object(
  {
    status: Type.Integer({
      default: 503,
      minimum: 200,
      maximum: 599,
      description: 'The status of the answer.'
    }),
    headers: Type.Record(HeaderName, Type.String(), {
      additionalProperties: false,
      default: {},
      [REPLACED_WHOLE]: true,
      description: 'The headers of the answer.'
    }),
    body: Type.Optional(
      Type.Unknown({
        [REPLACED_WHOLE]: true,
        description: 'The body: a text is sent as it is, anything else as JSON.'
      })
    )
  },
  {
    additionalProperties: false,
    description: 'What is answered instead of the 502, 503 or 504 of an upstream that gives no answer.'
  }
)

export type FallbackOptions = Static<typeof fallback>

/** Finds what is wrong with the headers of a fallback. */
export const fallbackFaults = ({ headers }: FallbackOptions): OptionFault[] =>
  Object.entries(headers).flatMap(([name, value]) => headerFaults(name, value, ['fallback', 'headers', name]))

/** Compiles what answers in the place of an upstream; the log still learns of the refusal. */
export function makeFallback({ status, headers, body }: FallbackOptions) {
  const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body)
  const type = typeof body === 'string' ? 'text/plain; charset=utf-8' : 'application/json; charset=utf-8'
  return function answerInstead(request: FastifyRequest, reply: FastifyReply, refusal: Refusal): void {
    request.refusal = refusal
    reply
      .code(status)
      .headers({ 'content-type': type, 'cache-control': 'no-store', ...refusal.headers, ...headers })
    reply.send(text)
  }
}
