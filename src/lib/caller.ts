import type { FastifyRequest } from 'fastify'
import { cookieIn } from './http/cookies.ts'
import { cgiName, requestHeader } from './http/headers.ts'
import { isObject } from './schema.ts'

/** Who makes a request, as one of the ways of `auth` found out. */
export interface Caller {
  readonly id: string
  readonly name?: string
  readonly email?: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  readonly claims: Readonly<Record<string, unknown>>
  /** The way that let the caller in: session, apiKeys, ... */
  readonly by: string
}

/** Who logged in at a provider, as its tokens said. */
export interface Provided {
  readonly issuer: string
  readonly sub: string
  /** The provider's own name of its session, by which it may end ours (OpenID Connect Back-Channel Logout 1.0). */
  readonly sid?: string
  readonly name?: string
  readonly email?: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  readonly claims: Readonly<Record<string, unknown>>
  readonly idToken?: string
  readonly refreshToken?: string
  /** When the tokens have to be renewed, in milliseconds since 1970; absent for never. */
  readonly renewAt?: number
}

/** What the target did for a request, for the access log and metrics. */
export interface Forwarding {
  upstream: string
  target: string
  /** When the first attempt began, by `performance.now()`. */
  readonly began: number
  /** From the first attempt to the head of the upstream's answer, in milliseconds; -1 until there is one. */
  ms: number
  bytesIn: number
  bytesOut: number
}

/** Compiles the name of a header or a cookie, such as "header:x-user" or "cookie:sid", into what reads it from a request; throws a RangeError on anything else. */
export function partReader(said: string): (request: FastifyRequest) => string | undefined {
  const name = said.slice(said.indexOf(':') + 1)
  if (said.startsWith('header:')) {
    const header = name.toLowerCase()
    return (request) => requestHeader(request, header)
  }
  if (said.startsWith('cookie:')) return (request) => cookieIn(request.headers.cookie, name)
  throw new RangeError(`"${said}" is neither "header:NAME" nor "cookie:NAME"`)
}

/** Finds the origin under which a browser sees the gateway: the request's own where a route names its host, else that of `publicUrl`. */
export function publicOrigin(request: FastifyRequest): string {
  const { publicUrl } = request.server
  if (publicUrl === null) return `${request.protocol}://${request.host}`
  const { hostname, protocol } = new URL(publicUrl)
  const hosts = request.routeOptions.config.sallyport?.route?.hosts ?? []
  if (hosts.length === 0 || request.hostname.toLowerCase() === hostname) return publicUrl
  // A proxy in front may have taken TLS off without a word.
  return `${protocol === 'https:' ? 'https' : request.protocol}://${request.host}`
}

/** Compiles origins and patterns such as "https://*.example.com" into one question; a pattern's `*` is one label, as in `host`. */
export function originMatcher(said: readonly string[]): (origin: string) => boolean {
  // Browsers write an origin in lower case.
  const origins = said.map((origin) => origin.toLowerCase())
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

// What clients send for services of their own kind: taken from them only where `auth` writes it itself.
const CLIENTS_OWN = new Set(['authorization', 'cookie'])

/** Names the headers, plain, that `auth` with these options writes for upstreams: on any route none of them is a client's, or where that is too much only `here`. */
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
    everywhere: names.filter((name) => !CLIENTS_OWN.has(name)),
    here: names.filter((name) => CLIENTS_OWN.has(name))
  }
}
