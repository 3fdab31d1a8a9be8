import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { createError } from '../../../src/kit/index.ts'
import { makeServiceQuestion, type ServiceResponse } from '../../../src/lib/ask-service.ts'
import type { Caller } from '../../../src/lib/caller.ts'
import { headerText } from '../../../src/lib/http/headers.ts'
import type { Refusal } from '../../../src/lib/refusals.ts'
import type { AuthOptions } from '../options.ts'
import { isRedirected, signInRedirect } from '../sign-in.ts'
import { authUnavailable } from '../unavailable.ts'
import type { ForwardOptions } from './forward-options.ts'
import type { Strategy } from './strategy.ts'

/** The authentication service refused the request; the client gets its response. */
export const RefusedByService = createError(
  'SP_ERR_AUTH_FORWARD',
  'Forbidden by the authentication service',
  403
)

/** Accepts requests that an authentication service accepts; the request to it has the headers of Traefik's forwardAuth. */
export function forwardStrategy(
  app: FastifyInstance,
  options: ForwardOptions,
  challenge: AuthOptions['challenge']
): Strategy {
  const question = makeServiceQuestion(app, options)
  const copied = options.copy.map((name) => name.toLowerCase())
  const copiedBack = options.copyBack.map((name) => name.toLowerCase())
  const { signIn } = options
  return {
    name: 'forward',
    headers: [],
    isFallback: true,
    async authenticate(request, reply) {
      const response = await ask(request)
      const { statusCode, headers, forClient } = response
      if (statusCode < 200 || statusCode >= 300) throw refusalBy(response, request)
      const identity = copied.flatMap((name) => {
        const value = textIn(headers, name)
        return value === undefined ? [] : [{ name, value: { render: () => value } }]
      })
      if (identity.length > 0) request.identity = [...(request.identity ?? []), ...identity]
      if (copiedBack.length > 0) copyBack(forClient, reply)
      return callerIn(headers, options.caller)
    }
  }

  /** Makes the refusal with the response of the service; for a 401 to a page load the redirect to its log-in. */
  function refusalBy({ statusCode, forClient, body }: ServiceResponse, request: FastifyRequest): Refusal {
    const redirect =
      statusCode === 401 && signIn !== undefined && isRedirected(request, challenge)
        ? signInRedirect(request, signIn)
        : undefined
    if (redirect !== undefined) return redirect
    const refusal: Refusal = new RefusedByService()
    refusal.statusCode = statusCode
    refusal.instead = { headers: forClient, body }
    return refusal
  }

  /** Adds the headers in `copyBack` to the response; a header that the gateway has set stays. */
  function copyBack(headers: ServiceResponse['forClient'], reply: FastifyReply): void {
    for (const name of copiedBack) {
      const value = Object.hasOwn(headers, name) ? headers[name] : undefined
      if (value !== undefined && (name === 'set-cookie' || !reply.hasHeader(name))) reply.header(name, value)
    }
  }

  async function ask(request: FastifyRequest): Promise<ServiceResponse> {
    try {
      return await question(request)
    } catch (error) {
      const cause = (error as { code?: string }).code ?? (error as Error).name
      app.log.warn({ upstream: options.upstream, cause }, 'authentication service unavailable')
      throw authUnavailable(1)
    }
  }
}

function textIn(headers: Readonly<Record<string, unknown>>, name: string | undefined): string | undefined {
  const lower = name?.toLowerCase()
  const value = lower === undefined || !Object.hasOwn(headers, lower) ? undefined : headers[lower]
  if (Array.isArray(value)) return value.join(', ')
  return typeof value === 'string' && value !== '' ? value : undefined
}

function callerIn(headers: Readonly<Record<string, unknown>>, names: ForwardOptions['caller']): Caller {
  const read = (name: string | undefined): string | undefined => {
    const value = textIn(headers, name)
    return value === undefined ? undefined : headerText(value)
  }
  const list = (name: string | undefined, separator: RegExp): string[] =>
    (read(name) ?? '')
      .split(separator)
      .map((each) => each.trim())
      .filter(Boolean)
  const name = read(names.name)
  const email = read(names.email)
  return {
    // A service that names no caller accepts all requests as the same one.
    id: read(names.id) ?? 'forward',
    ...(name === undefined ? {} : { name }),
    ...(email === undefined ? {} : { email }),
    roles: list(names.roles, /,/),
    scopes: list(names.scopes, /[\s,]/),
    claims: {},
    by: 'forward'
  }
}
