import { errors } from 'jose'
import { createError } from '../../../src/kit/index.ts'
import { loggableUrl } from '../../../src/lib/http/loggable-url.ts'

/** The provider refused the log-in, or the callback belongs to no log-in that started here. */
export const LoginFailed = createError('SP_ERR_AUTH_OIDC_REFUSED', 'Log-in failed: start again', 401)
/** A back-channel logout token is not one of the provider for this gateway. */
export const LogoutTokenInvalid = createError('SP_ERR_AUTH_OIDC_LOGOUT', 'Invalid logout token', 400)

/** The discovery document sends browsers to a page without TLS, though the issuer has it. */
export class InsecurePage extends Error {
  constructor(page: string) {
    super(
      `expected an https authorization_endpoint, got "${loggableUrl(page)}"; make the provider heed X-Forwarded-Proto, or set "endpoints.authorization"`
    )
  }
}

/** The provider names no URL of its keys. */
export class KeysUrlMissing extends Error {
  constructor() {
    super('expected the URL of keys as "jwks_uri" in the discovery document, got none; set "endpoints.jwks"')
  }
}

/** Returns the cause of a failed request to the provider for the log, without tokens, codes and secrets. */
export function causeOf(error: unknown, issuer: string): string {
  const {
    code,
    error: oauthError,
    name,
    cause
  } = error as { code?: string; error?: string; name?: string; cause?: unknown }
  if (oauthError !== undefined) return oauthError
  if (error instanceof InsecurePage || error instanceof KeysUrlMissing) return error.message
  // That of jose for a short key.
  if (error instanceof TypeError && error.message.includes('modulusLength'))
    return 'expected RSA keys of 2048 bits or more'
  const response = cause instanceof Response ? cause : undefined
  if (response !== undefined && code === 'OAUTH_RESPONSE_IS_NOT_CONFORM')
    return `expected 200 from ${loggableUrl(response.url)}, got ${response.status}`
  if (response !== undefined && code === 'OAUTH_RESPONSE_IS_NOT_JSON')
    return `expected JSON from ${loggableUrl(response.url)}, got ${response.headers.get('content-type') ?? 'no content-type'}`
  const mismatch = otherIssuerIn(error)
  if (mismatch !== undefined)
    return `expected the issuer "${issuer}", got "${mismatch}"; set "issuer" exactly as the provider writes it`
  return code ?? (cause as { code?: string } | undefined)?.code ?? name ?? 'unknown'
}

/** Returns the issuer that the provider sent, if the error is a different issuer. */
function otherIssuerIn(error: unknown): string | undefined {
  for (let at = error, depth = 0; typeof at === 'object' && at !== null && depth < 4; depth++) {
    const { attribute, claim, body, claims, cause } = at as Record<string, unknown>
    const found = attribute === 'issuer' ? body : claim === 'iss' ? claims : undefined
    const sent = found as { issuer?: unknown; iss?: unknown } | undefined
    const name = sent?.issuer ?? sent?.iss
    if (typeof name === 'string') return name
    at = cause
  }
  return undefined
}

/** Returns whether no response came to a request, as `fetch` reports it; a TypeError of another message is a bug or a malformed value. */
const isFetchFailure = (error: unknown): boolean =>
  error instanceof TypeError && error.message === 'fetch failed' && error.cause !== undefined

/** Returns whether an endpoint may have moved: no response, 404, 405 or 410, an unknown key, or no URL of keys. */
export function hasMoved(error: unknown): boolean {
  const { cause } = error as { cause?: unknown }
  if (isFetchFailure(error) || error instanceof KeysUrlMissing) return true
  if (error instanceof errors.JWKSNoMatchingKey) return true
  if (error instanceof errors.JOSEError && error.code === 'ERR_JOSE_GENERIC') return true
  return cause instanceof Response && [404, 405, 410].includes(cause.status)
}

/** Returns whether the userinfo response has another subject than the ID token. */
export function isSubjectMismatch(error: unknown): boolean {
  for (let at = error, depth = 0; typeof at === 'object' && at !== null && depth < 4; depth++) {
    const { attribute, claim, cause } = at as Record<string, unknown>
    if (attribute === 'sub' || claim === 'sub') return true
    at = cause
  }
  return false
}

/** Returns whether the provider is unavailable: no response, a timeout, or a 5xx. */
export function isUnavailable(error: unknown): boolean {
  const { name, code, status, cause } = error as {
    name?: string
    code?: string
    status?: number
    cause?: unknown
  }
  return (
    isFetchFailure(error) ||
    name === 'TimeoutError' ||
    error instanceof errors.JWKSTimeout ||
    // The response to a request for keys was not 200 or no JSON.
    code === 'ERR_JOSE_GENERIC' ||
    code === 'OAUTH_TIMEOUT' ||
    (status !== undefined && status >= 500) ||
    (cause instanceof Response && cause.status >= 500)
  )
}
