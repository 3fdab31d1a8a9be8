import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { createError } from '../../../src/kit/index.ts'
import { askUpstream } from '../../../src/lib/ask-upstream.ts'
import type { Caller } from '../../../src/lib/caller.ts'
import { peerOf } from '../../../src/lib/http/addresses.ts'
import { setCookieName } from '../../../src/lib/http/cookies.ts'
import { fieldsByName } from '../../../src/lib/http/headers.ts'
import { FRAMING, HOP_BY_HOP, nominatedBy } from '../../../src/lib/http/hop-by-hop.ts'
import { authRequestHead } from '../../../src/lib/http/request-head.ts'
import type { Refusal } from '../../../src/lib/refusals.ts'
import { duration } from '../../../src/lib/units.ts'
import { authUnavailable } from '../unavailable.ts'
import type { ForwardOptions } from './forward-options.ts'
import type { Strategy } from './strategy.ts'

/** The authentication service refused the request; the client gets its response. */
export const RefusedByService = createError(
  'SP_ERR_AUTH_FORWARD',
  'Forbidden by the authentication service',
  403
)

// The largest response of the service that is sent on to a client.
const MAX_BODY_BYTES = 65_536

/** Accepts requests that an authentication service accepts; the request to it has the headers of Traefik's forwardAuth. */
export function forwardStrategy(app: FastifyInstance, options: ForwardOptions): Strategy {
  const upstream = app.upstream(options.upstream)
  const timeout = duration(options.timeout)
  const policy = upstream.policyFor({ headersTimeout: timeout, bodyTimeout: timeout })
  const copied = options.copy.map((name) => name.toLowerCase())
  const copiedBack = options.copyBack.map((name) => name.toLowerCase())
  const headFor = authRequestHead({
    names: app.identityNames,
    cookie: app.sessionCookie,
    clientIpHeader: app.clientIpHeader
  })
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
      return { statusCode: status, headers: fieldsByName(fields), body }
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
