import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { askUpstream } from './ask-upstream.ts'
import { peerOf } from './http/addresses.ts'
import { authRequestHead } from './http/auth-request-head.ts'
import { setCookieName } from './http/cookies.ts'
import { setHeader } from './http/flat-head.ts'
import { HeaderName, headerFaults } from './http/header-options.ts'
import { headerTemplate } from './http/header-template.ts'
import { cgiName, cleanHeader, fieldsByName } from './http/headers.ts'
import { FRAMING, HOP_BY_HOP, nominatedBy } from './http/hop-by-hop.ts'
import type { OptionFault } from './schema.ts'
import { duration, TEMPLATE } from './units.ts'
import { templateFaults, type ValueKind } from './values.ts'

/** A service that is asked about requests. */
export interface ServiceOptions {
  readonly upstream: string
  readonly path: string
  readonly timeout: string
  /** Headers of the question, with templates as values. */
  readonly headers: Readonly<Record<string, string>>
}

/** The response of such a service. */
export interface ServiceResponse {
  readonly statusCode: number
  readonly headers: Readonly<Record<string, string | string[]>>
  /** The headers that a client may get: without hop-by-hop and framing fields, and the session cookie, which only the gateway sets. */
  readonly forClient: Readonly<Record<string, string | string[]>>
  readonly body: Buffer
}

/** Describes the headers that are added to the question. */
export const questionHeaders = Type.Record(
  HeaderName,
  Type.Unsafe<string>({ type: 'string', [TEMPLATE]: true }),
  {
    additionalProperties: false,
    default: {},
    description:
      'Headers that are added to the request to the service, with values of the request; the same headers from a client are removed.',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
    examples: [{ 'x-api-key': '${SERVICE_KEY}', 'x-client': '{client.ip}' }]
  }
)

// Not the caller, who is not known yet, nor cookies, of which the session's is only for the gateway.
const VALUES: readonly ValueKind[] = [
  'client',
  'host',
  'path',
  'url',
  'method',
  'scheme',
  'params',
  'query',
  'headers',
  'requestId'
]

/** Lists the errors of headers that are added to the question. */
export const questionHeaderFaults = (headers: ServiceOptions['headers']): OptionFault[] =>
  Object.entries(headers).flatMap(([name, value]) => {
    const path = ['headers', name]
    return [...headerFaults(name, value, path), ...templateFaults(value, path, VALUES)]
  })

// The largest response of the service that is sent on to a client.
const MAX_BODY_BYTES = 65_536

/** Makes a function that asks a service about a request, with the headers of Traefik's forwardAuth; it rejects if there is no valid response in time. */
export function makeServiceQuestion(
  app: FastifyInstance,
  options: ServiceOptions
): (request: FastifyRequest) => Promise<ServiceResponse> {
  const upstream = app.upstream(options.upstream)
  const timeout = duration(options.timeout)
  const policy = upstream.policyFor({ headersTimeout: timeout, bodyTimeout: timeout })
  const cookie = app.hasDecorator('sessionCookie') ? app.sessionCookie : null
  const added = Object.entries(options.headers).map(([name, value]) => ({
    name: name.toLowerCase(),
    value: headerTemplate(name, value, VALUES)
  }))
  const own = new Set(added.map(({ name }) => cgiName(name)))
  const names = { has: (name: string) => own.has(name) || (app.identityNames?.has(name) ?? false) }
  const headFor = authRequestHead({ names, cookie, clientIpHeader: app.clientIpHeader })
  const questionFor = (request: FastifyRequest, host: string): string[] => {
    const head = headFor(request, app.trusts(peerOf(request)), host)
    for (const { name, value } of added)
      setHeader(head, name, cleanHeader(value.renderWhole(request) ?? '') || undefined)
    return head
  }

  return async (request) => {
    const { status, fields, body } = await askUpstream(
      upstream,
      {
        source: request,
        method: 'GET',
        path: options.path,
        idempotent: true,
        body: null,
        deadline: request.deadline,
        headersFor: ({ host }) => questionFor(request, host)
      },
      policy,
      { maxBody: MAX_BODY_BYTES, timeout }
    )
    // A status above 599 cannot be sent on (RFC 9110 section 15).
    if (status > 599) throw new RangeError('invalid status in the response of the service')
    const headers = fieldsByName(fields)
    return { statusCode: status, headers, forClient: headersForClient(headers, cookie), body }
  }
}

function headersForClient(
  headers: ServiceResponse['headers'],
  sessionCookie: string | null
): Record<string, string | string[]> {
  const connection = Object.hasOwn(headers, 'connection')
    ? [headers['connection'] ?? []].flat().join(', ')
    : undefined
  const nominated = nominatedBy(connection) ?? []
  const forwarded: [string, string | string[]][] = []
  for (const [name, value] of Object.entries(headers)) {
    if (HOP_BY_HOP.has(name) || FRAMING.has(name) || nominated.includes(name)) continue
    if (name !== 'set-cookie') forwarded.push([name, value])
    else forwarded.push([name, [value].flat().filter((each) => setCookieName(each) !== sessionCookie)])
  }
  return Object.fromEntries(forwarded)
}
