import type { FastifyRequest } from 'fastify'
import { cookieIn } from './http/cookies.ts'
import { cgiName, requestHeader } from './http/headers.ts'
import { queryValue } from './http/url-parts.ts'
import { isObject } from './schema.ts'

/** The strategies of `auth`, in the order in which a request tries them. */
export const STRATEGIES = ['session', 'jwt', 'apiKeys', 'basic', 'clientCertificate', 'forward'] as const
/** The name of a strategy of `auth`. */
export type StrategyName = (typeof STRATEGIES)[number]

/** The authenticated caller of a request. */
export interface Caller {
  readonly id: string
  /** Who vouches for the id: the issuer of a token, the provider of a session, the authority of a certificate. */
  readonly issuer?: string
  readonly name?: string
  readonly email?: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  readonly claims: Readonly<Record<string, unknown>>
  /** The strategy that authenticated the caller: session, apiKeys, ... */
  readonly by: string
}

/** Returns what tells a caller from all others: equal ids of several strategies or issuers are several callers. */
export const callerIdentity = ({ by, issuer = '', id }: Caller): string => JSON.stringify([by, issuer, id])

/** Finds the caller that one strategy found; undefined if it found none. */
export const callerBy = (
  { callers }: Pick<FastifyRequest, 'callers'>,
  strategy: string
): Caller | undefined => callers?.find(({ by }) => by === strategy)

/** Lists the strategies that the option `by` of `auth` names, alone or in pairs such as "apiKeys+jwt". */
export const strategiesIn = (by: readonly string[]): string[] => by.flatMap((each) => each.split('+'))

/** The identity of a user who logged in at an OpenID provider, from its tokens. */
export interface Provided {
  readonly issuer: string
  readonly sub: string
  /** The provider's session id, which its log-out tokens name (OpenID Connect Back-Channel Logout 1.0). */
  readonly sid?: string
  readonly name?: string
  readonly email?: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  readonly claims: Readonly<Record<string, unknown>>
  readonly idToken?: string
  readonly refreshToken?: string
  /** The access token, where a route passes it on; empty if the provider gave none that can be passed on. */
  readonly accessToken?: string
  /** When the access token expires, in milliseconds since 1970; absent if that is not known. */
  readonly accessTokenExpiresAt?: number
  /** When the tokens must be refreshed, in milliseconds since 1970; absent for never. */
  readonly renewAt?: number
}

/** How a request was forwarded, for the access log and metrics. */
export interface Forwarding {
  upstream: string
  target: string
  /** When the first attempt began, by `performance.now()`. */
  readonly began: number
  /** Milliseconds from the first attempt to the response headers; -1 until they arrive. */
  ms: number
  bytesIn: number
  bytesOut: number
  /** The status of the upstream's response where another response replaces it. */
  replacedStatus?: number
}

/** Compiles "header:NAME", "cookie:NAME" or "query:NAME" into a function that reads it from a request; throws a RangeError on anything else. */
export function partReader(part: string): (request: FastifyRequest) => string | undefined {
  const name = part.slice(part.indexOf(':') + 1)
  if (part.startsWith('header:')) {
    const header = name.toLowerCase()
    return (request) => requestHeader(request, header)
  }
  if (part.startsWith('cookie:')) return (request) => cookieIn(request.headers.cookie, name)
  if (part.startsWith('query:')) return ({ raw }) => queryValue(raw.url ?? '', name)
  throw new RangeError(`expected "header:NAME", "cookie:NAME" or "query:NAME", got "${part}"`)
}

/** Returns the origin under which a browser sees the gateway: the request's own where a route names its host, else `publicUrl`. */
export function publicOrigin(request: FastifyRequest): string {
  const { publicUrl } = request.server
  if (publicUrl === null) return `${request.protocol}://${request.host}`
  const { hostname, protocol } = new URL(publicUrl)
  const hosts = request.routeOptions.config.sallyport?.route?.hosts ?? []
  if (hosts.length === 0 || request.hostname.toLowerCase() === hostname) return publicUrl
  // A proxy that terminates TLS may not say so.
  return `${protocol === 'https:' ? 'https' : request.protocol}://${request.host}`
}

/** What became of one leg of an aggregated response, for the access log. */
export interface LegReport {
  readonly name: string
  /** The status of the upstream; 0 if it did not respond. */
  readonly status: number
  readonly ms: number
  /** Why the leg failed. */
  readonly reason?: string
}

/** Compiles origins and patterns such as "https://*.example.com" into a test; `*` matches one label, as in `host`. */
export function originMatcher(allowed: readonly string[]): (origin: string) => boolean {
  // Browsers write an origin in lower case.
  const origins = allowed.map((origin) => origin.toLowerCase())
  const exact = new Set(origins.filter((origin) => !origin.includes('*')))
  const patterns = origins.flatMap((origin) => {
    const [scheme = '', rest] = origin.split('*.')
    return rest === undefined ? [] : [{ scheme, suffix: `.${rest}` }]
  })
  return (origin) =>
    exact.has(origin) ||
    patterns.some(
      ({ scheme, suffix }) =>
        origin.startsWith(scheme) &&
        origin.endsWith(suffix) &&
        /^[a-z0-9-]+$/.test(origin.slice(scheme.length, -suffix.length))
    )
}

// Clients may send these to routes without `auth`, so they are removed only where `auth` writes them itself.
const SENT_BY_CLIENTS = new Set(['authorization', 'cookie'])

/** Lists the headers that `auth` writes for upstreams, by their CGI names. Those in `everywhere` are removed from requests on all routes, those in `here` on the routes of this `auth`. */
export function identityHeadersOf(auth: unknown): { everywhere: string[]; here: string[] } {
  const { identity, forward, assertion } = (isObject(auth) ? auth : {}) as {
    identity?: Readonly<Record<string, string>>
    forward?: { readonly copy?: readonly string[]; readonly caller?: Readonly<Record<string, string>> }
    assertion?: { readonly header: string }
  }
  const names = [
    ...Object.keys(identity ?? {}),
    ...(forward?.copy ?? []),
    ...Object.values(forward?.caller ?? {}),
    ...(assertion === undefined ? [] : [assertion.header])
  ].map((name) => cgiName(name.toLowerCase()))
  return {
    everywhere: names.filter((name) => !SENT_BY_CLIENTS.has(name)),
    here: names.filter((name) => SENT_BY_CLIENTS.has(name))
  }
}
