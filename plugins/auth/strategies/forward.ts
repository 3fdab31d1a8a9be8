import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type About, createError, type OptionFault, Type } from '../../../src/kit/index.ts'
import { askUpstream } from '../../../src/lib/ask-upstream.ts'
import type { Caller } from '../../../src/lib/caller.ts'
import { peerOf } from '../../../src/lib/http/addresses.ts'
import { setCookieName } from '../../../src/lib/http/cookies.ts'
import { HeaderName } from '../../../src/lib/http/header-options.ts'
import { FRAMING, HOP_BY_HOP, nominatedBy } from '../../../src/lib/http/hop-by-hop.ts'
import { questionHead } from '../../../src/lib/http/request-head.ts'
import type { Refusal } from '../../../src/lib/refusals.ts'
import { nearest, type Static } from '../../../src/lib/schema.ts'
import { Duration, duration } from '../../../src/lib/units.ts'
import { authUnavailable } from '../unavailable.ts'
import type { Strategy } from './strategy.ts'

const header = (description: string) => Type.Optional(Type.Unsafe<string>({ ...HeaderName, description }))

export const forward = Type.Object(
  {
    upstream: Type.String({
      minLength: 1,
      description: 'The authentication service: a name from "upstreams", or a URL.'
    }),
    path: Type.String({ default: '/', pattern: '^/', description: 'The path that is requested there.' }),
    timeout: Duration({ positive: true, default: '1s', description: 'How long the response may take.' }),
    copy: Type.Array(HeaderName, {
      default: [],
      description:
        'Headers of its response that are forwarded to the upstream; the same headers from a client are removed.'
    }),
    copyBack: Type.Array(HeaderName, {
      default: [],
      description:
        'Headers of a 2xx response, such as "set-cookie", that are added to the response for the client.'
    }),
    caller: Type.Object(
      {
        id: header("The header with the caller's id."),
        name: header("The header with the caller's name."),
        email: header("The header with the caller's mail address."),
        roles: header('The header with the roles, separated by commas.'),
        scopes: header('The header with the scopes, separated by spaces or commas.')
      },
      {
        additionalProperties: false,
        default: {},
        description: 'The headers of its response that describe the caller.'
      }
    )
  },
  {
    additionalProperties: false,
    description:
      'Asks a service whether to accept a request: a 2xx accepts it, any other response is sent to the client.'
  }
)

export type ForwardOptions = Static<typeof forward>

/** The authentication service refused the request; the client gets its response. */
const RefusedByService = createError('SP_ERR_AUTH_FORWARD', 'Forbidden by the authentication service', 403)

/** Lists the errors that the schema cannot express. */
export function forwardFaults(
  { upstream, copy, copyBack, caller }: ForwardOptions,
  { upstreams }: About
): OptionFault[] {
  const found: OptionFault[] = []
  if (!upstreams.includes(upstream) && !/^(https?:\/\/|unix:\/)/.test(upstream)) {
    const near = nearest(upstream, upstreams)
    found.push({
      path: ['upstream'],
      message: `No upstream "${upstream}"; ${near === undefined ? 'expected a name from "upstreams" or a URL' : `did you mean "${near}"?`}`
    })
  }
  const toUpstream = [
    ...copy.map((name, i) => ({ name, path: ['copy', i] })),
    ...Object.entries(caller).map(([key, name]) => ({ name, path: ['caller', key] }))
  ]
  for (const { name, path } of toUpstream) {
    if (name.toLowerCase() === 'set-cookie')
      found.push({
        path,
        message: `expected a request header, got "${name}"; "copyBack": ["set-cookie"] sends it to the client`
      })
    else if (isMessageField(name)) found.push({ path, message: messageFieldFault(name) })
  }
  for (const [i, name] of copyBack.entries()) {
    if (isMessageField(name)) found.push({ path: ['copyBack', i], message: messageFieldFault(name) })
    else if (name.toLowerCase().startsWith('access-control-'))
      found.push({
        path: ['copyBack', i],
        message: `"${name}" can't be copied; "cors" sets it`
      })
  }
  return found
}

// Fields about the framing, the connection or the content of one message.
function isMessageField(name: string): boolean {
  const lower = name.toLowerCase()
  return HOP_BY_HOP.has(lower) || FRAMING.has(lower) || lower.startsWith('content-')
}

const messageFieldFault = (name: string): string =>
  `"${name}" can't be copied; it describes only the message that it is in`

// The largest response of the service that is sent on to a client.
const MAX_BODY_BYTES = 65_536

/** Accepts requests that an authentication service accepts; the request to it has the headers of Traefik's forwardAuth. */
export function forwardStrategy(app: FastifyInstance, options: ForwardOptions): Strategy {
  const upstream = app.upstream(options.upstream)
  const timeout = duration(options.timeout)
  const policy = upstream.policyFor({ headersTimeout: timeout, bodyTimeout: timeout })
  const copied = options.copy.map((name) => name.toLowerCase())
  const copiedBack = options.copyBack.map((name) => name.toLowerCase())
  const headFor = questionHead({ names: app.identityNames, cookie: app.sessionCookie })
  return {
    name: 'forward',
    headers: [],
    isFallback: true,
    async authenticate(request, reply) {
      const { statusCode, headers, body } = await ask(request)
      if (statusCode < 200 || statusCode >= 300) {
        const refusal: Refusal = new RefusedByService()
        refusal.statusCode = statusCode
        refusal.instead = { headers: headersForClient(headers), body }
        throw refusal
      }
      const identity = copied.flatMap((name) => {
        const value = textIn(headers, name)
        return value === undefined ? [] : [{ name, value: { render: () => value } }]
      })
      if (identity.length > 0) request.identity = [...(request.identity ?? []), ...identity]
      if (copiedBack.length > 0) copyBack(headersForClient(headers), reply)
      return callerIn(headers, options.caller)
    }
  }

  /** Adds the headers in `copyBack` to the response; a header that the gateway has set stays. */
  function copyBack(headers: Readonly<Record<string, string | string[]>>, reply: FastifyReply): void {
    for (const name of copiedBack) {
      const value = Object.hasOwn(headers, name) ? headers[name] : undefined
      if (value !== undefined && (name === 'set-cookie' || !reply.hasHeader(name))) reply.header(name, value)
    }
  }

  /** Removes hop-by-hop and framing fields, and the session cookie, which only the gateway sets. */
  function headersForClient(headers: ServiceHeaders): Record<string, string | string[]> {
    const nominated = nominatedBy(textIn(headers, 'connection')) ?? []
    const forwarded: [string, string | string[]][] = []
    for (const [name, value] of Object.entries(headers)) {
      if (value === undefined || HOP_BY_HOP.has(name) || FRAMING.has(name) || nominated.includes(name))
        continue
      if (name !== 'set-cookie') forwarded.push([name, value])
      else forwarded.push([name, [value].flat().filter((each) => setCookieName(each) !== app.sessionCookie)])
    }
    return Object.fromEntries(forwarded)
  }

  async function ask(request: FastifyRequest): Promise<ServiceResponse> {
    try {
      const { status, fields, body } = await askUpstream(
        upstream,
        {
          source: request,
          method: 'GET',
          path: options.path,
          idempotent: true,
          body: null,
          deadline: request.deadline,
          headersFor: ({ host }) => headFor(request, app.trusts(peerOf(request)), host)
        },
        policy,
        { maxBody: MAX_BODY_BYTES, timeout }
      )
      // A status above 599 cannot be sent on (RFC 9110 section 15).
      if (status > 599) throw new RangeError('invalid status in the response of the authentication service')
      return { statusCode: status, headers: headersIn(fields), body }
    } catch (error) {
      app.log.warn(
        { upstream: upstream.name, cause: (error as { code?: string }).code ?? (error as Error).name },
        'authentication service unavailable'
      )
      throw authUnavailable(1)
    }
  }
}

/** The response of the authentication service. */
interface ServiceResponse {
  readonly statusCode: number
  readonly headers: ServiceHeaders
  readonly body: Buffer
}

type ServiceHeaders = Readonly<Record<string, string | string[]>>

/** Converts a flat list of names and values into an object, with a list for each repeated name. */
function headersIn(fields: readonly string[]): ServiceHeaders {
  const headers: Record<string, string | string[]> = Object.create(null)
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string
    const value = fields[i + 1] as string
    const before = headers[name]
    headers[name] = before === undefined ? value : [before, value].flat()
  }
  return headers
}

function textIn(headers: Readonly<Record<string, unknown>>, name: string | undefined): string | undefined {
  const lower = name?.toLowerCase()
  const value = lower === undefined || !Object.hasOwn(headers, lower) ? undefined : headers[lower]
  if (Array.isArray(value)) return value.join(', ')
  return typeof value === 'string' && value !== '' ? value : undefined
}

function callerIn(headers: Readonly<Record<string, unknown>>, names: ForwardOptions['caller']): Caller {
  const list = (name: string | undefined, separator: RegExp): string[] =>
    (textIn(headers, name) ?? '')
      .split(separator)
      .map((each) => each.trim())
      .filter(Boolean)
  const name = textIn(headers, names.name)
  const email = textIn(headers, names.email)
  return {
    // A service that names no caller accepts all requests as the same one.
    id: textIn(headers, names.id) ?? 'forward',
    ...(name === undefined ? {} : { name }),
    ...(email === undefined ? {} : { email }),
    roles: list(names.roles, /,/),
    scopes: list(names.scopes, /[\s,]/),
    claims: {},
    by: 'forward'
  }
}
