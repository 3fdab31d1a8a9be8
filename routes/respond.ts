import { STATUS_CODES } from 'node:http'
import type { TargetComparison } from '../src/kit/concern.ts'
import {
  type About,
  type Description,
  fp,
  type OptionFault,
  type RouteInfo,
  type TargetRoutes,
  Type
} from '../src/kit/index.ts'
import { escapesFor } from '../src/lib/escape.ts'
import { ignoreBodies } from '../src/lib/http/bodies.ts'
import { type HeaderOptions, textAfter } from '../src/lib/http/header-changes.ts'
import { headerFaults, ResponseHeaders } from '../src/lib/http/header-options.ts'
import { paramFaults } from '../src/lib/http/rewrite.ts'
import type { Static } from '../src/lib/schema.ts'
import { yieldIfDue } from '../src/lib/time-slicing.ts'
import { NO_SECRET, REPLACED_WHOLE, TEMPLATE } from '../src/lib/units.ts'
import { template, templateFaults } from '../src/lib/values.ts'

export const key = 'respond'
export const target = true
export const stateless = true

export const options = Type.Object(
  {
    status: Type.Integer({
      default: 200,
      minimum: 200,
      maximum: 599,
      description: 'The response status.'
    }),
    headers: ResponseHeaders,
    body: Type.Optional(
      Type.Unknown({
        [REPLACED_WHOLE]: true,
        [TEMPLATE]: true,
        [NO_SECRET]: true,
        description:
          'The response body: a string is sent as it is (with values such as "{params.id}", escaped for its content type), anything else as JSON.'
      })
    )
  },
  {
    additionalProperties: false,
    description: 'Responds without an upstream.',
    examples: [{ status: 200, body: 'fine\n' }]
  }
)

export type RespondOptions = Static<typeof options>

export function faults({ headers, body }: RespondOptions, { paths }: About): OptionFault[] {
  const invalidHeaders = Object.entries(headers).flatMap(([name, value]) =>
    headerFaults(name, value, ['headers', name])
  )
  const text = typeof body === 'string' ? body : ''
  return [...invalidHeaders, ...templateFaults(text, ['body']), ...paramFaults(text, paths, ['body'])]
}

export function describes({ status, headers, body }: RespondOptions): Description {
  const { 'content-type': type } = withLowerCaseNames(headers)
  const usual = typeof body === 'string' ? 'text/plain' : 'application/json'
  const media = (type ?? usual).split(';', 1)[0]?.trim() || usual
  const schema = typeof body === 'string' ? { type: 'string' } : {}
  return {
    methods: ['GET'],
    responses: {
      [status]: {
        description: STATUS_CODES[status] ?? 'The response.',
        ...(body === undefined ? {} : { content: { [media]: schema } })
      }
    }
  }
}

const OTHERWISE = { class: 'moved', message: 'responds otherwise' } as const

/** How `diff` compares two resolved options. */
export const comparison: TargetComparison = {
  refuses: ({ status }: RespondOptions) => status >= 400,
  options: { status: OTHERWISE, headers: OTHERWISE, body: OTHERWISE }
}

export default fp<TargetRoutes<RespondOptions>>(
  async function respond(app, { routes }) {
    ignoreBodies(app)
    for (const { info, mounts, options } of routes) {
      await yieldIfDue()
      const { status } = options
      // A 205 has no content (RFC 9110 section 15.3.6): Node.js would reset the HTTP/2 stream.
      const body = status === 205 ? undefined : options.body
      const text = typeof body === 'string' ? template(body) : undefined
      const json = body === undefined || text !== undefined ? undefined : JSON.stringify(body)
      const type = text === undefined ? 'application/json; charset=utf-8' : 'text/plain; charset=utf-8'
      const headers = {
        ...(body === undefined ? {} : { 'content-type': type }),
        ...withLowerCaseNames(options.headers)
      }
      // Values of the request must not become markup or code (CWE-79, CWE-116).
      const escapes = escapesFor(contentTypeOf({ headers, status }, info), text?.before ?? [])
      for (const mount of mounts)
        app.route({
          ...mount,
          method: [...mount.method],
          exposeHeadRoute: false,
          handler: async function sendResponse(request, reply) {
            reply.code(status).headers(headers)
            return reply.send(text === undefined ? json : text.render(request, escapes))
          }
        })
    }
  },
  { name: key, fastify: '5.x', encapsulate: true }
)

/** Returns the content type of the response, which `headers.response` may replace. */
function contentTypeOf(
  { headers, status }: Pick<RespondOptions, 'headers' | 'status'>,
  { options }: RouteInfo
): string {
  const { response = {} } = (options['headers'] || {}) as { response?: HeaderOptions }
  return textAfter(response, 'content-type', { text: headers['content-type'] ?? '', status })
}

const withLowerCaseNames = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
