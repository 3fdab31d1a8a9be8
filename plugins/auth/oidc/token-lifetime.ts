import { decodeJwt } from 'jose'
import type { TokenEndpointResponse, TokenEndpointResponseHelpers } from 'openid-client'
import type { Provided } from '../../../src/lib/caller.ts'
import { wall } from '../../../src/lib/clock.ts'

/** The tokens of one response of a provider. */
export type Tokens = TokenEndpointResponse & TokenEndpointResponseHelpers

/** What the routes of a gateway need; complete when all of them are registered. */
export interface TokenNeeds {
  /** Whether a route passes on access tokens. */
  accessToken: boolean
  /** Whether a route passes on ID tokens. */
  idToken: boolean
}

// When tokens are refreshed again after an ID token that could not be verified.
const UNVERIFIED_SECONDS = 30

// How long before its expiry an access token is renewed, so that it is valid when it reaches the upstream.
const MAX_RENEWAL_MARGIN_MS = 30_000

const renewalMargin = (expiresIn: number): number => Math.min(MAX_RENEWAL_MARGIN_MS, (expiresIn * 1000) / 4)

/** Reads an access token that can be sent as Bearer (RFC 6750 section 2.1); an empty one stands for any other, so that it is not asked for again. */
export function accessTokenOf(tokens: Tokens): Pick<Provided, 'accessToken' | 'accessTokenExpiresAt'> {
  const expiresIn = tokens.expiresIn()
  const { access_token: accessToken, token_type: type } = tokens
  const isUsable = type.toLowerCase() === 'bearer' && /^[\w.~+/-]+=*$/.test(accessToken) && expiresIn !== 0
  if (!isUsable) return { accessToken: '' }
  return {
    accessToken,
    ...(expiresIn === undefined ? {} : { accessTokenExpiresAt: wall() + expiresIn * 1000 })
  }
}

/** What is kept of the tokens of a session. */
interface KeptTokens {
  readonly needs: TokenNeeds
  readonly refreshToken: string | undefined
  /** The one that was sent, or an earlier one if that could not be verified. */
  readonly idToken: string | undefined
}

/** Returns when the tokens must be refreshed: before the first of those that routes pass on expires, and soon where an earlier ID token was kept. */
export function renewalOf(
  tokens: Tokens,
  { needs, refreshToken, idToken }: KeptTokens
): Pick<Provided, 'renewAt'> {
  const expiresIn = tokens.expiresIn()
  // Some providers send no ID token with a refresh; an earlier one is no reason for another refresh.
  const sent = tokens.id_token
  const { exp = 0 } = needs.idToken && sent !== undefined && idToken !== undefined ? decodeJwt(idToken) : {}
  const idExpiresIn = exp - wall() / 1000
  const lifetimes = [
    ...(expiresIn === undefined ? [] : [expiresIn]),
    ...(idExpiresIn > 0 ? [idExpiresIn] : []),
    ...(sent === idToken || sent === undefined ? [] : [UNVERIFIED_SECONDS])
  ]
  if (refreshToken === undefined || lifetimes.length === 0) return {}
  const seconds = Math.min(...lifetimes)
  const margin = needs.accessToken || needs.idToken ? renewalMargin(seconds) : 0
  return { renewAt: wall() + seconds * 1000 - margin }
}
