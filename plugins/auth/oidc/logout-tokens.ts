import { jwtVerify } from 'jose'
import type { ServerMetadata } from 'openid-client'
import { monotonic } from '../../../src/lib/clock.ts'
import { LogoutTokenInvalid } from './errors.ts'
import { ALGORITHMS, type ProviderKeys } from './provider-keys.ts'

/** The sessions that a logout token ends, and its id. */
export interface LogoutToken {
  readonly by: { readonly sid: string } | { readonly sub: string }
  readonly jti: string
}

// OpenID Connect Back-Channel Logout 1.0 section 2.6.
const MAX_AGE_SECONDS = 120
const LOGOUT_EVENT = 'http://schemas.openid.net/event/backchannel-logout'

/** Verifies back-channel logout tokens, each of which is accepted once. */
export class LogoutTokens {
  readonly #clientId: string
  readonly #keys: ProviderKeys
  // When the token of each id can no longer be replayed, by the monotonic clock.
  readonly #seen = new Map<string, number>()

  constructor(clientId: string, keys: ProviderKeys) {
    this.#clientId = clientId
    this.#keys = keys
  }

  /** Verifies a token (OpenID Connect Back-Channel Logout 1.0 section 2.6); throws if it is invalid. */
  async verify(token: string, metadata: ServerMetadata): Promise<LogoutToken> {
    const { payload } = await jwtVerify(token, this.#keys.of(metadata), {
      issuer: metadata.issuer,
      audience: this.#clientId,
      algorithms: [...ALGORITHMS],
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
