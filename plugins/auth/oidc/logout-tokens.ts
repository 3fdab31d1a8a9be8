import { createRemoteJWKSet, customFetch, jwtVerify } from 'jose'
import type { ServerMetadata } from 'openid-client'
import { monotonic } from '../../../src/lib/clock.ts'
import type { ProviderFetch } from '../back-channel.ts'
import { TIMEOUT_SECONDS } from './discovery.ts'
import { LogoutTokenInvalid } from './errors.ts'

/** The sessions that a logout token ends, and its id. */
export interface LogoutToken {
  readonly by: { readonly sid: string } | { readonly sub: string }
  readonly jti: string
}

// OpenID Connect Back-Channel Logout 1.0 section 2.6.
const MAX_AGE_SECONDS = 120
const LOGOUT_EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512'],
  ...['EdDSA', 'Ed25519']
]

/** Verifies back-channel logout tokens, each of which is accepted once. */
export class LogoutTokens {
  readonly #clientId: string
  readonly #fetch: ProviderFetch | undefined
  #keys: { readonly uri: string; readonly find: ReturnType<typeof createRemoteJWKSet> } | undefined
  // When the token of each id can no longer be replayed, by the monotonic clock.
  readonly #seen = new Map<string, number>()

  /** With `fetch`, an upstream gets the requests for the keys. */
  constructor(clientId: string, fetch: ProviderFetch | undefined) {
    this.#clientId = clientId
    this.#fetch = fetch
  }

  /** Verifies a token (OpenID Connect Back-Channel Logout 1.0 section 2.6); throws if it is invalid. */
  async verify(token: string, { issuer, jwks_uri: uri = '' }: ServerMetadata): Promise<LogoutToken> {
    if (this.#keys?.uri !== uri)
      this.#keys = {
        uri,
        find: createRemoteJWKSet(new URL(uri), {
          timeoutDuration: TIMEOUT_SECONDS * 1000,
          ...(this.#fetch === undefined ? {} : { [customFetch]: this.#fetch })
        })
      }
    const { payload } = await jwtVerify(token, this.#keys.find, {
      issuer,
      audience: this.#clientId,
      algorithms: ALGORITHMS,
      maxTokenAge: MAX_AGE_SECONDS,
      clockTolerance: 30,
      requiredClaims: ['iat', 'jti', 'events']
    })
    const { sub, sid, jti = '', events, nonce } = payload
    const isLogout = typeof events === 'object' && events !== null && LOGOUT_EVENT in events
    if (!isLogout || nonce !== undefined || !this.#addNew(jti)) throw new LogoutTokenInvalid()
    if (typeof sid === 'string') return { by: { sid }, jti }
    if (typeof sub === 'string') return { by: { sub }, jti }
    throw new LogoutTokenInvalid()
  }

  /** Accepts a token of this id once more. */
  forget(jti: string): void {
    this.#seen.delete(jti)
  }

  #addNew(jti: string): boolean {
    const now = monotonic()
    for (const [seen, expiresAt] of this.#seen) if (expiresAt <= now) this.#seen.delete(seen)
    if (jti === '' || this.#seen.has(jti)) return false
    this.#seen.set(jti, now + (MAX_AGE_SECONDS + 60) * 1000)
    return true
  }
}
