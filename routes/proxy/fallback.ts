import type { FastifyReply, FastifyRequest } from 'fastify'
import { type OptionFault, Type } from '../../src/kit/index.ts'
import { headerFaults, ResponseHeaders } from '../../src/lib/http/header-options.ts'
import { ErrorStatuses, statusMatcher } from '../../src/lib/http/statuses.ts'
import type { Refusal } from '../../src/lib/refusals.ts'
import type { Static } from '../../src/lib/schema.ts'
import { NO_SECRET, REPLACED_WHOLE } from '../../src/lib/units.ts'
import { endToEndFields } from './response-head.ts'

export const fallback = Type.Object(
  {
    on: Type.Optional(
      ErrorStatuses({
        description:
          'The error statuses of the upstream whose responses it replaces, too; by default only errors of the gateway are replaced.',
        examples: [['404', '5xx']]
      })
    ),
    status: Type.Optional(
      Type.Integer({
        minimum: 200,
        maximum: 599,
        description: 'The response status; by default 503, or that of the response that is replaced.',
        examples: [200]
      })
    ),
    headers: ResponseHeaders,
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
    description:
      'The response that replaces the 502, 503 or 504 for an upstream that does not respond, and errors of the upstream that "on" names.',
    examples: [{ status: 200, body: { prices: [] } }]
  }
)

export type FallbackOptions = Static<typeof fallback>

/** Returns the errors in the headers of a fallback. */
export const fallbackFaults = ({ headers }: FallbackOptions): OptionFault[] =>
  Object.entries(headers).flatMap(([name, value]) => headerFaults(name, value, ['fallback', 'headers', name]))

/** The status where neither the option nor a replaced response has one. */
export const FALLBACK_STATUS = 503

/** What is sent in place of an error. */
export interface Fallback {
  /** Sends it in place of an error of the gateway; the log still has the error. */
  refuse(request: FastifyRequest, reply: FastifyReply, refusal: Refusal): void
  /** Returns whether it replaces a response of the upstream with this status. */
  replaces(status: number): boolean
  /** Sends it in place of a response of the upstream. */
  replace(reply: FastifyReply, replaced: ReplacedResponse): void
}

/** A response of the upstream that is replaced. */
export interface ReplacedResponse {
  readonly status: number
  /** Lower-case names and values in turn. */
  readonly fields: readonly string[]
  /** The headers of upstreams that the route removes. */
  readonly strips: ReadonlySet<string>
}

/** Compiles the response that replaces errors. */
export function makeFallback({ on, status, headers, body }: FallbackOptions): Fallback {
  const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body)
  const type = typeof body === 'string' ? 'text/plain; charset=utf-8' : 'application/json; charset=utf-8'
  const send = (reply: FastifyReply, code: number, more?: Refusal['headers']): void => {
    reply.code(code).headers({ 'content-type': type, 'cache-control': 'no-store', ...more, ...headers })
    reply.send(text)
  }
  return {
    refuse(request, reply, refusal) {
      request.refusal = refusal
      send(reply, status ?? FALLBACK_STATUS, refusal.headers)
    },
    replaces: on === undefined ? () => false : statusMatcher(on),
    replace(reply, replaced) {
      if (status === undefined) copyStatusFields(reply, replaced)
      send(reply, status ?? replaced.status)
    }
  }
}

// A 405 must have Allow, and a 401 a challenge (RFC 9110 sections 10.2.1, 10.2.3 and 11.6.1).
const STATUS_FIELDS = ['allow', 'retry-after', 'www-authenticate']

/** Copies the headers that belong to the status of the response rather than to its body. */
function copyStatusFields(reply: FastifyReply, { fields, strips }: ReplacedResponse): void {
  const passed = endToEndFields(fields)
  for (const name of STATUS_FIELDS) {
    if (strips.has(name) || reply.hasHeader(name)) continue
    const values = passed.filter((_, i) => i % 2 === 1 && passed[i - 1] === name)
    if (values.length > 0) reply.header(name, values.length === 1 ? values[0] : values)
  }
}
