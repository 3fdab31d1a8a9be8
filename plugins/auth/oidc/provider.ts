import type { FastifyBaseLogger } from 'fastify'
import { decodeJwt } from 'jose'
import * as client from 'openid-client'
import type { Provided } from '../../../src/lib/caller.ts'
import type { Peers } from '../../../src/lib/contracts/peers.ts'
import type { Store } from '../../../src/lib/contracts/store.ts'
import type { ProviderFetch } from '../back-channel.ts'
import { claimsToProfile, textIn } from '../claims.ts'
import { authUnavailable } from '../unavailable.ts'
import { Discovery } from './discovery.ts'
import {
  causeOf,
  hasMoved,
  isSubjectMismatch,
  isUnavailable,
  LoginFailed,
  LogoutTokenInvalid
} from './errors.ts'
import { verifyIdToken } from './id-token.ts'
import { type LogoutToken, LogoutTokens } from './logout-tokens.ts'
import type { OidcOptions } from './options.ts'
import { ProviderKeys } from './provider-keys.ts'
import { accessTokenOf, renewalOf, type TokenNeeds, type Tokens } from './token-lifetime.ts'
import { type RefreshResult, type StoredSession, TokenRefresh } from './token-refresh.ts'

/** The parameters of one authorization code flow. */
export interface AuthorizationFlow {
  readonly state: string
  readonly nonce: string
  /** The PKCE code verifier. */
  readonly verifier: string
  readonly redirectUri: string
}

/** What a provider needs of the gateway. */
export interface ProviderParts {
  readonly store: Store
  readonly peers: Peers | null
  /** Sends requests through an upstream; undefined to send them directly. */
  readonly fetch: ProviderFetch | undefined
  readonly log: FastifyBaseLogger
}

// The maximum age of the discovery document when a log-in starts or an endpoint has moved.
const RECENT_MS = 500
// Servers and proxies refuse longer URLs.
const MAX_URL_LENGTH = 2000

/** An OpenID Connect provider and the requests to it. */
export class Provider {
  readonly issuer: string
  readonly #options: OidcOptions
  readonly #log: FastifyBaseLogger
  readonly #discovery: Discovery
  readonly #keys: ProviderKeys
  readonly #logoutTokens: LogoutTokens
  readonly #tokenRefresh: TokenRefresh
  #needs: TokenNeeds = { accessToken: false, idToken: false }

  constructor(options: OidcOptions, { store, peers, fetch, log }: ProviderParts) {
    this.#options = options
    this.#log = log
    this.#discovery = new Discovery(options, fetch, log)
    this.issuer = options.issuer
    this.#keys = new ProviderKeys(fetch)
    this.#logoutTokens = new LogoutTokens(options.clientId, this.#keys)
    this.#tokenRefresh = new TokenRefresh({
      store,
      peers,
      request: async (before) => {
        const { refreshToken = '' } = before
        const tokens = await this.#request((config) => client.refreshTokenGrant(config, refreshToken))
        return this.#readTokens(tokens as Tokens, before)
      },
      onFailure: (error) => this.#warn(error, 'session token refresh failed')
    })
  }

  /** Makes the next use fetch the discovery document again. */
  expireDiscovery(): void {
    this.#discovery.expire()
  }

  /** Sets what sessions keep; access tokens that are kept are refreshed before they expire. */
  setNeeds(needs: TokenNeeds): void {
    this.#needs = needs
  }

  /** Starts a log-in and returns the URL of the provider's log-in page; throws SP_ERR_AUTH_UNAVAILABLE. */
  async begin({ state, nonce, verifier, redirectUri }: AuthorizationFlow): Promise<string> {
    const config = await this.#discovery.get(RECENT_MS)
    const { scopes, params } = this.#options
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

  /** Completes a log-in: exchanges the code for tokens and reads the user from them; throws SP_ERR_AUTH_OIDC_REFUSED or SP_ERR_AUTH_UNAVAILABLE. */
  async finish(
    { state, nonce, verifier, redirectUri }: AuthorizationFlow,
    search: string
  ): Promise<Provided> {
    try {
      const tokens = await this.#request((config) =>
        client.authorizationCodeGrant(config, new URL(search, redirectUri), {
          expectedState: state,
          expectedNonce: nonce,
          pkceCodeVerifier: verifier,
          idTokenExpected: true
        })
      )
      return await this.#readTokens(tokens as Tokens, undefined)
    } catch (error) {
      this.#warn(error, 'oidc login failed')
      throw isUnavailable(error) ? authUnavailable(5) : new LoginFailed()
    }
  }

  /** Refreshes the tokens of a session; concurrent requests, workers and gateways share one refresh. */
  refresh(provided: Provided, session: StoredSession): Promise<RefreshResult> {
    return this.#tokenRefresh.run(provided, session)
  }

  /** Returns the log-out URL at the provider; undefined if it has none. */
  async logoutUrl({ idToken }: Provided, redirectUri: string): Promise<string | undefined> {
    try {
      const config = await this.#discovery.get()
      if (config.serverMetadata().end_session_endpoint === undefined) return undefined
      const params = { post_logout_redirect_uri: redirectUri }
      const withoutHint = client.buildEndSessionUrl(config, params).href
      if (idToken === undefined) return withoutHint
      const { href } = client.buildEndSessionUrl(config, { ...params, id_token_hint: idToken })
      return href.length > MAX_URL_LENGTH ? withoutHint : href
    } catch {
      return undefined
    }
  }

  /** Verifies a back-channel logout token; throws SP_ERR_AUTH_OIDC_LOGOUT. */
  async readLogoutToken(token: string): Promise<LogoutToken> {
    try {
      return await this.#request((config) => this.#logoutTokens.verify(token, config.serverMetadata()))
    } catch (error) {
      this.#warn(error, 'logout token refused')
      throw new LogoutTokenInvalid()
    }
  }

  /** Accepts a logout token once more, since its sessions could not be ended. */
  allowReplay(jti: string): void {
    this.#logoutTokens.forget(jti)
  }

  /** Sends a request to the provider; if an endpoint has moved, fetches the discovery document again and retries once. */
  async #request<T>(send: (config: client.Configuration) => Promise<T>): Promise<T> {
    const config = await this.#discovery.get()
    try {
      return await send(config)
    } catch (error) {
      if (!hasMoved(error)) throw error
      // Any client can send logout tokens with unknown keys, so a recent document is not fetched again.
      const newer = await this.#discovery.get(RECENT_MS)
      if (newer === config) throw error
      return send(newer)
    }
  }

  async #readTokens(tokens: Tokens, before: Provided | undefined): Promise<Provided> {
    const idToken = await this.#verifiedIdToken(tokens.id_token, before)
    // Earlier userinfo claims do not stay: a role that was removed at the provider ends.
    const idClaims = idToken === undefined ? undefined : decodeJwt(idToken)
    const sub = idClaims?.sub ?? before?.sub ?? ''
    if (sub === '' || (before !== undefined && sub !== before.sub)) throw new LoginFailed()
    const userinfo = await this.#fetchUserinfo(tokens.access_token, sub)
    const claims: Record<string, unknown> =
      userinfo === 'unavailable' ? { ...before?.claims, ...idClaims } : { ...idClaims, ...userinfo }
    const sid = textIn(claims, 'sid') ?? before?.sid
    const refreshToken = tokens.refresh_token ?? before?.refreshToken
    return {
      issuer: this.issuer,
      sub,
      ...(sid === undefined ? {} : { sid }),
      ...claimsToProfile(claims, this.#options, tokens.scope),
      claims: Object.fromEntries(Object.entries(claims).filter(([claim]) => !TOKEN_CLAIMS.has(claim))),
      ...(idToken === undefined ? {} : { idToken }),
      ...(refreshToken === undefined ? {} : { refreshToken }),
      ...(this.#needs.accessToken ? accessTokenOf(tokens) : {}),
      ...renewalOf(tokens, { needs: this.#needs, refreshToken, idToken })
    }
  }

  /** Returns the ID token once its signature is verified. A refresh continues with the earlier one while the keys are unavailable: its refresh token may be valid only once. */
  async #verifiedIdToken(
    token: string | undefined,
    before: Provided | undefined
  ): Promise<string | undefined> {
    if (token === undefined) return before?.idToken
    const { clientId, clientSecret: secret } = this.#options
    try {
      await this.#request((config) =>
        verifyIdToken(token, config.serverMetadata(), { keys: this.#keys, clientId, secret })
      )
      return token
    } catch (error) {
      if (before === undefined || !isUnavailable(error)) throw error
      this.#warn(error, 'id token not verified, using the earlier one')
      return before.idToken
    }
  }

  /** Fetches the claims of the userinfo endpoint; "unavailable" if the provider does not respond, and then earlier claims stay valid. */
  async #fetchUserinfo(accessToken: string, sub: string): Promise<Record<string, unknown> | 'unavailable'> {
    if (this.#options.endpoints.userinfo === false) return {}
    try {
      return await this.#request(async (config) =>
        config.serverMetadata().userinfo_endpoint === undefined
          ? {}
          : client.fetchUserInfo(config, accessToken, sub)
      )
    } catch (error) {
      // A response about another user is an attack (OpenID Connect Core 1.0 section 5.3.2).
      if (isSubjectMismatch(error)) throw error
      this.#warn(error, 'userinfo request failed, using the ID token only')
      return isUnavailable(error) ? 'unavailable' : {}
    }
  }

  #warn(error: unknown, message: string): void {
    this.#log.warn({ issuer: this.issuer, cause: causeOf(error, this.issuer) }, message)
  }
}

// Claims about the token, not about the user.
const TOKEN_CLAIMS = new Set([
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
