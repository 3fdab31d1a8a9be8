import { createHash } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import * as client from 'openid-client'
import { createError, type Provided, type Store, withHeaders } from '../../../src/kit/index.ts'
import { textIn, toldBy } from '../claims.ts'
import type { OidcOptions } from './options.ts'

/** The provider can't be reached, and so nobody can log in there. */
export const ProviderAway = createError(
  'SP_ERR_AUTH_UNAVAILABLE',
  'The service that knows who you are does not answer',
  503
)
/** The provider sent somebody back without letting them in, or the way back is not one that began here. */
export const LoginRefused = createError(
  'SP_ERR_AUTH_OIDC_REFUSED',
  'The log-in did not succeed; begin anew',
  401
)
/** What says that a user has logged out elsewhere is not from the provider. */
export const LogoutTokenWrong = createError(
  'SP_ERR_AUTH_OIDC_LOGOUT',
  'This is no logout token for this gateway',
  400
)

/** One log-in under way, between leaving for the provider and coming back. */
export interface Journey {
  readonly state: string
  readonly nonce: string
  readonly verifier: string
  readonly redirectUri: string
  readonly returnTo: string
}

type Tokens = client.TokenEndpointResponse & client.TokenEndpointResponseHelpers

// Seconds that the provider may take, and milliseconds until it is asked again after it could not be found.
const TIMEOUT = 5
const ASK_AGAIN = 2000
// How long the outcome of a renewal is kept for requests that came with the tokens from before, in milliseconds.
const REMEMBERED = 60_000
// How old a logout token may be, in seconds (OpenID Connect Back-Channel Logout 1.0 section 2.6).
const LOGOUT_AGE = 120
const LOGOUT_EVENT = 'http://schemas.openid.net/event/backchannel-logout'

/** An OpenID Connect provider: what it can do is found out when it is first needed, and again while that failed. */
export class Provider {
  readonly issuer: string
  readonly #said: OidcOptions
  readonly #store: Store
  readonly #log: FastifyBaseLogger
  #config: Promise<client.Configuration> | undefined
  #keys: ReturnType<typeof createRemoteJWKSet> | undefined
  #failedAt = 0
  readonly #renewals = new Map<string, Promise<Provided | 'ended' | undefined>>()
  readonly #seen = new Map<string, number>()

  constructor(said: OidcOptions, store: Store, log: FastifyBaseLogger) {
    this.#said = said
    this.#store = store
    this.#log = log
    this.issuer = said.issuer
  }

  /** Begins a log-in: where to send the browser, and what to remember until it comes back. */
  async begin(redirectUri: string, returnTo: string): Promise<{ url: string; journey: Journey }> {
    const config = await this.#discovered()
    const verifier = client.randomPKCECodeVerifier()
    const journey: Journey = {
      state: client.randomState(),
      nonce: client.randomNonce(),
      verifier,
      redirectUri,
      returnTo
    }
    const { scopes, params } = this.#said
    const url = client.buildAuthorizationUrl(config, {
      ...params,
      redirect_uri: redirectUri,
      scope: [...new Set(['openid', ...scopes])].join(' '),
      state: journey.state,
      nonce: journey.nonce,
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256'
    })
    return { url: url.href, journey }
  }

  /** Ends a log-in: changes the code for tokens and reads from them who came; throws SP_ERR_AUTH_OIDC_REFUSED or SP_ERR_AUTH_UNAVAILABLE. */
  async finish({ state, nonce, verifier, redirectUri }: Journey, search: string): Promise<Provided> {
    const config = await this.#discovered()
    try {
      const tokens = await client.authorizationCodeGrant(config, new URL(search, redirectUri), {
        expectedState: state,
        expectedNonce: nonce,
        pkceCodeVerifier: verifier,
        idTokenExpected: true
      })
      return await this.#read(config, tokens as Tokens, undefined)
    } catch (error) {
      this.#tell(error, 'a log-in at the provider did not succeed')
      throw isAway(error) ? away() : new LoginRefused()
    }
  }

  /** Renews the tokens of a session: who it is now, "ended" where the provider knows it no more, undefined where it did not answer. */
  renew(provided: Provided): Promise<Provided | 'ended' | undefined> {
    const { refreshToken = '' } = provided
    const known = this.#renewals.get(refreshToken)
    if (known !== undefined) return known
    const renewal = this.#renew(provided, refreshToken)
    this.#renewals.set(refreshToken, renewal)
    void renewal.then((outcome) => {
      // A token that is changed at each use is worth nothing after it: who still comes with it gets what it was changed for.
      // And a provider that does not answer is not waited for with each request.
      const kept = outcome === undefined || (outcome !== 'ended' && outcome.refreshToken !== refreshToken)
      if (kept) setTimeout(() => this.#renewals.delete(refreshToken), REMEMBERED).unref()
      else this.#renewals.delete(refreshToken)
    })
    return renewal
  }

  /** Finds where a browser logs out at the provider, too; undefined where the provider has no such place. */
  async logoutUrl({ idToken }: Provided, redirectUri: string): Promise<string | undefined> {
    try {
      const config = await this.#discovered()
      if (config.serverMetadata().end_session_endpoint === undefined) return undefined
      return client.buildEndSessionUrl(config, {
        ...(idToken === undefined ? {} : { id_token_hint: idToken }),
        post_logout_redirect_uri: redirectUri
      }).href
    } catch {
      return undefined
    }
  }

  /** Reads a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.6): whose sessions end, and what to forget where they can't be ended now; throws SP_ERR_AUTH_OIDC_LOGOUT. */
  async readLogout(token: string): Promise<{ by: { sid: string } | { sub: string }; jti: string }> {
    const config = await this.#discovered()
    this.#keys ??= createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri ?? ''), {
      timeoutDuration: TIMEOUT * 1000
    })
    try {
      const { payload } = await jwtVerify(token, this.#keys, {
        issuer: config.serverMetadata().issuer,
        audience: this.#said.clientId,
        algorithms: ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'],
        maxTokenAge: LOGOUT_AGE,
        clockTolerance: 30,
        requiredClaims: ['iat', 'jti', 'events']
      })
      const { sub, sid, jti = '', events, nonce } = payload
      const isLogout = typeof events === 'object' && events !== null && LOGOUT_EVENT in events
      if (!isLogout || nonce !== undefined || !this.#isNew(jti)) throw new LogoutTokenWrong()
      if (typeof sid === 'string') return { by: { sid }, jti }
      if (typeof sub === 'string') return { by: { sub }, jti }
      throw new LogoutTokenWrong()
    } catch (error) {
      this.#tell(error, 'a logout token was refused')
      throw new LogoutTokenWrong()
    }
  }

  async #renew(provided: Provided, refreshToken: string): Promise<Provided | 'ended' | undefined> {
    const { shared } = this.#store
    const lock = `${shared?.prefix ?? ''}renewal:${createHash('sha256').update(refreshToken).digest('base64url')}`
    // Of several gateways one renews: with rotation the second use of a token would end the session at the provider.
    if (
      shared !== null &&
      (await shared.call('SET', lock, '1', 'NX', 'PX', REMEMBERED).catch(() => null)) === null
    )
      return undefined
    try {
      const config = await this.#discovered()
      const tokens = (await client.refreshTokenGrant(config, refreshToken)) as Tokens
      const renewed = await this.#read(config, tokens, provided)
      if (renewed.refreshToken === refreshToken) await shared?.call('DEL', lock).catch(() => null)
      return renewed
    } catch (error) {
      this.#tell(error, 'the tokens of a session could not be renewed')
      return error instanceof client.ResponseBodyError && error.error === 'invalid_grant'
        ? 'ended'
        : undefined
    }
  }

  async #read(config: client.Configuration, tokens: Tokens, before: Provided | undefined): Promise<Provided> {
    const idToken = tokens.id_token ?? before?.idToken
    // What was told before counts only where it is told again, or a role would never end.
    const idClaims = tokens.claims() ?? (idToken === undefined ? undefined : decodeJwt(idToken))
    const sub = idClaims?.sub ?? before?.sub
    if (sub === undefined || (before !== undefined && sub !== before.sub)) throw new LoginRefused()
    const more = await this.#more(config, tokens.access_token, sub, before)
    const claims: Record<string, unknown> =
      more === null ? { ...before?.claims, ...idClaims } : { ...idClaims, ...more }
    const sid = textIn(claims, 'sid') ?? before?.sid
    const refreshToken = tokens.refresh_token ?? before?.refreshToken
    const lasts = tokens.expiresIn()
    return {
      issuer: this.issuer,
      sub,
      ...(sid === undefined ? {} : { sid }),
      ...toldBy(claims, this.#said, tokens.scope),
      claims: Object.fromEntries(Object.entries(claims).filter(([claim]) => !OF_THE_TOKEN.has(claim))),
      ...(idToken === undefined ? {} : { idToken }),
      ...(refreshToken === undefined ? {} : { refreshToken }),
      ...(refreshToken === undefined || lasts === undefined ? {} : { renewAt: Date.now() + lasts * 1000 })
    }
  }

  /** Asks what more is known of a user; null where a renewal has to go on without, since its token is used up. */
  async #more(
    config: client.Configuration,
    token: string,
    sub: string,
    before: Provided | undefined
  ): Promise<Record<string, unknown> | null> {
    if (config.serverMetadata().userinfo_endpoint === undefined) return {}
    try {
      return await client.fetchUserInfo(config, token, sub)
    } catch (error) {
      if (before === undefined || !isAway(error)) throw error
      this.#tell(error, 'the provider told no more of a user whose session it renewed')
      return null
    }
  }

  /** Finds out what the provider can do, once; while it can't be reached, at most so often. */
  async #discovered(): Promise<client.Configuration> {
    if (this.#config === undefined && Date.now() - this.#failedAt < ASK_AGAIN) throw away()
    this.#config ??= this.#discover()
    try {
      return await this.#config
    } catch (error) {
      if (this.#config !== undefined) {
        this.#config = undefined
        this.#failedAt = Date.now()
        this.#tell(error, 'the provider could not be asked what it can do')
      }
      throw away()
    }
  }

  async #discover(): Promise<client.Configuration> {
    const { issuer, clientId, clientSecret, endpoints } = this.#said
    const own = {
      ...(endpoints.authorization === undefined ? {} : { authorization_endpoint: endpoints.authorization }),
      ...(endpoints.token === undefined ? {} : { token_endpoint: endpoints.token }),
      ...(endpoints.userinfo === undefined ? {} : { userinfo_endpoint: endpoints.userinfo }),
      ...(endpoints.jwks === undefined ? {} : { jwks_uri: endpoints.jwks }),
      ...(endpoints.endSession === undefined ? {} : { end_session_endpoint: endpoints.endSession })
    }
    const auth = clientSecret === undefined ? client.None() : client.ClientSecretBasic(clientSecret)
    const whole =
      endpoints.authorization !== undefined && endpoints.token !== undefined && endpoints.jwks !== undefined
    const insecure = issuer.startsWith('http:') ? [client.allowInsecureRequests] : []
    const found = whole
      ? { issuer }
      : (
          await client.discovery(new URL(issuer), clientId, clientSecret, auth, {
            execute: insecure,
            timeout: TIMEOUT
          })
        ).serverMetadata()
    const config = new client.Configuration(
      { ...found, ...own } as client.ServerMetadata,
      clientId,
      clientSecret,
      auth
    )
    config.timeout = TIMEOUT
    for (const permit of insecure) permit(config)
    return config
  }

  /** Takes a logout token for a new one when it comes again: what it said could not be done. */
  forget(jti: string): void {
    this.#seen.delete(jti)
  }

  #isNew(jti: string): boolean {
    const now = Date.now()
    for (const [known, ends] of this.#seen) if (ends <= now) this.#seen.delete(known)
    if (jti === '' || this.#seen.has(jti)) return false
    this.#seen.set(jti, now + (LOGOUT_AGE + 60) * 1000)
    return true
  }

  // The log learns what happened; a token, a code or a secret it never learns.
  #tell(error: unknown, what: string): void {
    const { code, error: reason, name } = error as { code?: string; error?: string; name?: string }
    this.#log.warn({ issuer: this.issuer, cause: reason ?? code ?? name }, what)
  }
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

const away = (): Error => withHeaders(new ProviderAway(), { 'retry-after': '5' })

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
