import { createHash, randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import { createRemoteJWKSet, decodeJwt, errors, jwtVerify } from 'jose'
import * as client from 'openid-client'
import { createError } from '../../../src/kit/index.ts'
import type { Provided } from '../../../src/lib/caller.ts'
import { monotonic, startTimer, wall } from '../../../src/lib/clock.ts'
import type { Peers } from '../../../src/lib/contracts/peers.ts'
import type { Store } from '../../../src/lib/contracts/store.ts'
import { claimsToProfile, textIn } from '../claims.ts'
import { away, causeOf, Discovery, TIMEOUT } from './discovery.ts'
import type { OidcOptions } from './options.ts'

export { ProviderAway } from './discovery.ts'

/** The provider sent somebody back without letting them in, or the way back is not one that began here. */
export const LoginRefused = createError('SP_ERR_AUTH_OIDC_REFUSED', 'Log-in failed: start again', 401)
/** What says that a user has logged out elsewhere is not from the provider. */
export const LogoutTokenWrong = createError('SP_ERR_AUTH_OIDC_LOGOUT', 'Invalid logout token', 400)

/** One log-in under way, between leaving for the provider and coming back. */
export interface LoginState {
  readonly state: string
  readonly nonce: string
  readonly verifier: string
  readonly redirectUri: string
}

/** The session whose tokens are renewed, as it is stored by now. */
export interface StoredSession {
  /** Reads what it remembers of the provider; undefined once it is over. */
  read(): Promise<Provided | undefined>
  /** Writes renewed tokens; tells whether the session is still there. */
  write(renewed: Provided): Promise<boolean>
}

/** What came of a renewal: the new tokens, "ended" by the provider, "gone" where the session is over already, undefined where the provider did not answer. */
export type Renewal = Provided | 'ended' | 'gone' | undefined

type Tokens = client.TokenEndpointResponse & client.TokenEndpointResponseHelpers

// All in milliseconds: how old the discovery document may be when a log-in begins or an endpoint is gone, how long a provider that did not
// answer is not asked for the same renewal, and how long one renewal may take, and others wait for it.
const FRESH = 500
const NOT_AGAIN = 60_000
const RENEWAL = 30_000
const PATIENCE = 8000
// How old a logout token may be, in seconds (OpenID Connect Back-Channel Logout 1.0 section 2.6).
const LOGOUT_AGE = 120
const LOGOUT_EVENT = 'http://schemas.openid.net/event/backchannel-logout'

// What a provider answers to a refresh token whose session is over there: somebody has to log in again (OpenID Connect Core 1.0 section 3.1.2.6).
const OVER: ReadonlySet<string> = new Set([
  'invalid_grant',
  'interaction_required',
  'login_required',
  'consent_required',
  'account_selection_required'
])

/** An OpenID Connect provider, and what the gateway asks it. */
export class Provider {
  readonly issuer: string
  readonly #said: OidcOptions
  readonly #store: Store
  readonly #peers: Peers | null
  readonly #log: FastifyBaseLogger
  readonly #discovery: Discovery
  #keys: { readonly uri: string; readonly find: ReturnType<typeof createRemoteJWKSet> } | undefined
  readonly #renewals = new Map<string, Promise<Renewal>>()
  readonly #seen = new Map<string, number>()

  constructor(said: OidcOptions, store: Store, peers: Peers | null, log: FastifyBaseLogger) {
    this.#said = said
    this.#store = store
    this.#peers = peers
    this.#log = log
    this.#discovery = new Discovery(said, log)
    this.issuer = said.issuer
  }

  /** Lets the discovery document be read again at its next use. */
  outdate(): void {
    this.#discovery.outdate()
  }

  /** Begins a log-in and returns where to send the browser; throws SP_ERR_AUTH_UNAVAILABLE. */
  async begin({ state, nonce, verifier, redirectUri }: LoginState): Promise<string> {
    const config = await this.#discovery.get(FRESH)
    const { scopes, params } = this.#said
    const url = client.buildAuthorizationUrl(config, {
      ...params,
      redirect_uri: redirectUri,
      scope: [...new Set(['openid', ...scopes])].join(' '),
      state,
      nonce,
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256'
    })
    return url.href
  }

  /** Ends a log-in: changes the code for tokens and reads from them who came; throws SP_ERR_AUTH_OIDC_REFUSED or SP_ERR_AUTH_UNAVAILABLE. */
  async finish({ state, nonce, verifier, redirectUri }: LoginState, search: string): Promise<Provided> {
    try {
      const tokens = await this.#ask((config) =>
        client.authorizationCodeGrant(config, new URL(search, redirectUri), {
          expectedState: state,
          expectedNonce: nonce,
          pkceCodeVerifier: verifier,
          idTokenExpected: true
        })
      )
      return await this.#read(tokens as Tokens, undefined)
    } catch (error) {
      this.#tell(error, 'oidc login failed')
      throw isAway(error) ? away() : new LoginRefused()
    }
  }

  /** Renews the tokens of a session, once for all requests, workers and gateways that want it at a time. */
  renew(provided: Provided, session: StoredSession): Promise<Renewal> {
    const { refreshToken = '' } = provided
    const known = this.#renewals.get(refreshToken)
    if (known !== undefined) return known
    const renewal = this.#renew(provided, refreshToken, session)
    this.#renewals.set(refreshToken, renewal)
    const forget = (): void => void this.#renewals.delete(refreshToken)
    void renewal.then((outcome) => {
      // A provider that does not answer is not waited for with each request.
      if (outcome === undefined) startTimer(forget, NOT_AGAIN).unref()
      else forget()
    })
    return renewal
  }

  /** Finds where a browser logs out at the provider, too; undefined where the provider has no such place. */
  async logoutUrl({ idToken }: Provided, redirectUri: string): Promise<string | undefined> {
    try {
      const config = await this.#discovery.get()
      if (config.serverMetadata().end_session_endpoint === undefined) return undefined
      const params = { post_logout_redirect_uri: redirectUri }
      const bare = client.buildEndSessionUrl(config, params).href
      if (idToken === undefined) return bare
      const { href } = client.buildEndSessionUrl(config, { ...params, id_token_hint: idToken })
      // The hint is optional, and a long address is refused by servers and proxies on the way.
      return href.length > LONGEST_URL ? bare : href
    } catch {
      return undefined
    }
  }

  /** Reads a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.6): whose sessions end, and what to forget where they can't be ended now; throws SP_ERR_AUTH_OIDC_LOGOUT. */
  async readLogout(token: string): Promise<{ by: { sid: string } | { sub: string }; jti: string }> {
    try {
      const { payload } = await this.#ask((config) => {
        const { issuer, jwks_uri: uri = '' } = config.serverMetadata()
        if (this.#keys?.uri !== uri)
          this.#keys = {
            uri,
            find: createRemoteJWKSet(new URL(uri), { timeoutDuration: TIMEOUT * 1000 })
          }
        return jwtVerify(token, this.#keys.find, {
          issuer,
          audience: this.#said.clientId,
          algorithms: [
            'RS256',
            'RS384',
            'RS512',
            'PS256',
            'PS384',
            'PS512',
            'ES256',
            'ES384',
            'ES512',
            'EdDSA',
            'Ed25519'
          ],
          maxTokenAge: LOGOUT_AGE,
          clockTolerance: 30,
          requiredClaims: ['iat', 'jti', 'events']
        })
      })
      const { sub, sid, jti = '', events, nonce } = payload
      const isLogout = typeof events === 'object' && events !== null && LOGOUT_EVENT in events
      if (!isLogout || nonce !== undefined || !this.#isNew(jti)) throw new LogoutTokenWrong()
      if (typeof sid === 'string') return { by: { sid }, jti }
      if (typeof sub === 'string') return { by: { sub }, jti }
      throw new LogoutTokenWrong()
    } catch (error) {
      this.#tell(error, 'logout token refused')
      throw new LogoutTokenWrong()
    }
  }

  /** Asks the provider; where an endpoint is not there any more, once again at the one that a newer discovery document names. */
  async #ask<T>(run: (config: client.Configuration) => Promise<T>): Promise<T> {
    const config = await this.#discovery.get()
    try {
      return await run(config)
    } catch (error) {
      if (!hasMoved(error)) throw error
      // Logout tokens with unknown keys, which anybody can send, must not flood the provider.
      const newer = await this.#discovery.get(FRESH)
      if (newer === config) throw error
      return run(newer)
    }
  }

  async #renew(provided: Provided, refreshToken: string, session: StoredSession): Promise<Renewal> {
    try {
      const lock = `renewal:${createHash('sha256').update(refreshToken).digest('base64url')}`
      const holder = randomUUID()
      const until = monotonic() + PATIENCE
      // Of several workers and gateways one renews: the second use of a refresh token ends the session at many providers.
      for (let pause = 25; !(await this.#lock(lock, holder)); pause = Math.min(pause * 2, 250)) {
        if (monotonic() > until) return undefined
        await wait(pause, undefined, { ref: false })
        const stored = await session.read()
        if (stored === undefined) return 'gone'
        if (isNewer(stored, provided)) return stored
      }
      try {
        return await this.#renewLocked(provided, refreshToken, session)
      } finally {
        await this.#unlock(lock, holder)
      }
    } catch (error) {
      this.#tell(error, 'session token refresh failed')
      return undefined
    }
  }

  async #renewLocked(provided: Provided, refreshToken: string, session: StoredSession): Promise<Renewal> {
    const before = await session.read()
    if (before === undefined) return 'gone'
    if (isNewer(before, provided)) return before
    try {
      const tokens = await this.#ask((config) => client.refreshTokenGrant(config, refreshToken))
      const renewed = await this.#read(tokens as Tokens, provided)
      return (await session.write(renewed)) ? renewed : 'gone'
    } catch (error) {
      this.#tell(error, 'session token refresh failed')
      if (!(error instanceof client.ResponseBodyError) || !OVER.has(error.error)) return undefined
      // Another gateway may have used the token first, where the lock did not hold.
      const stored = await session.read()
      if (stored === undefined) return 'gone'
      return isNewer(stored, provided) ? stored : 'ended'
    }
  }

  async #lock(name: string, holder: string): Promise<boolean> {
    const { shared } = this.#store
    if (shared !== null)
      return (await shared.call('SET', shared.prefix + name, holder, 'NX', 'PX', RENEWAL)) !== null
    return this.#peers === null || this.#peers.lock(name, RENEWAL)
  }

  async #unlock(name: string, holder: string): Promise<void> {
    const { shared } = this.#store
    if (shared === null) this.#peers?.unlock(name)
    // A lock that has run out may be another one's by now; without the store it runs out by itself.
    else
      await shared
        .script(
          'unlock',
          1,
          UNLOCK
        )([shared.prefix + name], [holder])
        .catch(() => {})
  }

  async #read(tokens: Tokens, before: Provided | undefined): Promise<Provided> {
    const idToken = tokens.id_token ?? before?.idToken
    // What was told before counts only where it is told again, or a role would never end.
    const idClaims = tokens.claims() ?? (idToken === undefined ? undefined : decodeJwt(idToken))
    const sub = idClaims?.sub ?? before?.sub
    if (sub === undefined || (before !== undefined && sub !== before.sub)) throw new LoginRefused()
    const more = await this.#more(tokens.access_token, sub)
    const claims: Record<string, unknown> =
      more === 'away' ? { ...before?.claims, ...idClaims } : { ...idClaims, ...more }
    const sid = textIn(claims, 'sid') ?? before?.sid
    const refreshToken = tokens.refresh_token ?? before?.refreshToken
    const lasts = tokens.expiresIn()
    return {
      issuer: this.issuer,
      sub,
      ...(sid === undefined ? {} : { sid }),
      ...claimsToProfile(claims, this.#said, tokens.scope),
      claims: Object.fromEntries(Object.entries(claims).filter(([claim]) => !OF_THE_TOKEN.has(claim))),
      ...(idToken === undefined ? {} : { idToken }),
      ...(refreshToken === undefined ? {} : { refreshToken }),
      ...(refreshToken === undefined || lasts === undefined ? {} : { renewAt: wall() + lasts * 1000 })
    }
  }

  /** Asks what more is known of a user, beyond what the ID token says; "away" where the provider does not answer, for what was known before goes on then. */
  async #more(token: string, sub: string): Promise<Record<string, unknown> | 'away'> {
    if (this.#said.endpoints.userinfo === false) return {}
    try {
      return await this.#ask(async (config) =>
        config.serverMetadata().userinfo_endpoint === undefined
          ? {}
          : client.fetchUserInfo(config, token, sub)
      )
    } catch (error) {
      // An answer about somebody else is no refusal, but an attack (OpenID Connect Core 1.0 section 5.3.2).
      if (isAboutAnother(error)) throw error
      this.#tell(error, 'userinfo request failed, using the ID token only')
      return isAway(error) ? 'away' : {}
    }
  }

  /** Takes a logout token for a new one when it comes again: what it said could not be done. */
  forget(jti: string): void {
    this.#seen.delete(jti)
  }

  #isNew(jti: string): boolean {
    const now = monotonic()
    for (const [known, ends] of this.#seen) if (ends <= now) this.#seen.delete(known)
    if (jti === '' || this.#seen.has(jti)) return false
    this.#seen.set(jti, now + (LOGOUT_AGE + 60) * 1000)
    return true
  }

  // No token, code or secret ever gets into the log.
  #tell(error: unknown, what: string): void {
    this.#log.warn({ issuer: this.issuer, cause: causeOf(error, this.issuer) }, what)
  }
}

// Servers and proxies refuse longer addresses, in characters.
const LONGEST_URL = 2000

const UNLOCK = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`

/** Tells whether tokens are from a later renewal than others. */
const isNewer = (one: Provided, other: Provided): boolean =>
  one.refreshToken !== other.refreshToken || (one.renewAt ?? 0) > (other.renewAt ?? 0)

/** Tells whether an endpoint may be elsewhere by now: nothing answers there, or something that does not know it. */
function hasMoved(error: unknown): boolean {
  const { name, cause } = error as { name?: string; cause?: unknown }
  if (name === 'TypeError' || error instanceof errors.JWKSNoMatchingKey) return true
  if (error instanceof errors.JOSEError && error.code === 'ERR_JOSE_GENERIC') return true
  return cause instanceof Response && [404, 405, 410].includes(cause.status)
}

/** Tells whether the userinfo endpoint spoke of another user than the ID token did. */
function isAboutAnother(error: unknown): boolean {
  for (let at = error, depth = 0; typeof at === 'object' && at !== null && depth < 4; depth++) {
    const { attribute, claim, cause } = at as Record<string, unknown>
    if (attribute === 'sub' || claim === 'sub') return true
    at = cause
  }
  return false
}

// What holds for one token alone and says nothing of a person.
const OF_THE_TOKEN = new Set([
  'aud',
  'exp',
  'iat',
  'nbf',
  'nonce',
  'at_hash',
  'c_hash',
  's_hash',
  'azp',
  'jti'
])

// No answer, one that is no JSON, or one that is the provider's own fault.
function isAway(error: unknown): boolean {
  const { name, code, status, cause } = error as {
    name?: string
    code?: string
    status?: number
    cause?: unknown
  }
  return (
    name === 'TypeError' ||
    name === 'TimeoutError' ||
    code === 'OAUTH_TIMEOUT' ||
    (status !== undefined && status >= 500) ||
    (cause instanceof Response && cause.status >= 500)
  )
}
