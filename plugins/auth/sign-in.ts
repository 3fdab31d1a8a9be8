import type { FastifyRequest } from 'fastify'
import { createError } from '../../src/kit/index.ts'
import { publicOrigin } from '../../src/lib/caller.ts'
import { pathOf } from '../../src/lib/http/url-parts.ts'
import { type Refusal, withHeaders } from '../../src/lib/refusals.ts'
import type { AuthOptions } from './options.ts'

/** An anonymous page load is redirected to the log-in. */
export const LoginRedirect = createError('SP_ERR_AUTH_LOGIN', 'Redirecting to the log-in page', 303)

/** Returns whether an anonymous request is redirected to a log-in. */
export const isRedirected = (request: FastifyRequest, challenge: AuthOptions['challenge']): boolean =>
  challenge === 'login' || (challenge === 'auto' && isNavigation(request))

/** Returns whether a browser loads a page (Fetch Metadata). Over plain HTTP browsers omit Fetch Metadata, but send Upgrade-Insecure-Requests. */
function isNavigation({ method, headers }: FastifyRequest): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false
  const mode = headers['sec-fetch-mode']
  return mode === undefined ? headers['upgrade-insecure-requests'] === '1' : mode === 'navigate'
}

/** Makes the redirect to the log-in of the gateway. */
export const loginRedirect = (request: FastifyRequest): Refusal =>
  redirectTo(`${request.server.sessions?.routes.login ?? '/login'}?return_to=`, request.raw.url ?? '/')

/** Makes the redirect to the log-in of a service; undefined on that page itself, which would loop. */
export function signInRedirect(request: FastifyRequest, signIn: string): Refusal | undefined {
  const isOwn = signIn.startsWith('/')
  const { pathname, origin } = new URL(signIn, publicOrigin(request))
  if (pathname === pathOf(request) && (isOwn || origin === publicOrigin(request))) return undefined
  // A parameter without a value takes the address, under the name that the service reads.
  const page = signIn.endsWith('=') ? signIn : `${signIn}${signIn.includes('?') ? '&' : '?'}return_to=`
  const url = request.raw.url ?? '/'
  return redirectTo(page, isOwn ? url : publicOrigin(request) + url)
}

const redirectTo = (page: string, url: string): Refusal =>
  withHeaders(new LoginRedirect(), { location: page + encodeURIComponent(url) })
