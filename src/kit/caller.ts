import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'

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

/** Reads the address of a client, an IPv4 one that came through an IPv6 socket in its plain form. */
export function addressOf(request: FastifyRequest): string {
  const said = request.ip ?? ''
  // Nobody stands in between: it is the peer's own.
  if (said === request.raw.socket?.remoteAddress) return unmapped(said)
  if (isIP(said) !== 0) return unmapped(said)
  // A proxy that is believed may write "1.2.3.4:80" or "[::1]:80"; what is no address at all says nothing of the client.
  const bare = /^\[(.+)\](?::\d+)?$/.exec(said)?.[1] ?? /^([\d.]+):\d+$/.exec(said)?.[1] ?? ''
  return isIP(bare) === 0 ? peerOf(request) : unmapped(bare)
}

/** Reads the address of the peer itself, whatever it says of others; empty once its connection is gone. */
export const peerOf = ({ raw }: FastifyRequest): string =>
  unmapped((raw.socket as FastifyRequest['raw']['socket'] | null)?.remoteAddress ?? '')

/** Writes an IPv4 address that came through an IPv6 socket in its plain form. */
const unmapped = (ip: string): string => (ip.startsWith('::ffff:') && ip.includes('.') ? ip.slice(7) : ip)

/** Compiles the name of a header or a cookie, such as "header:x-user" or "cookie:sid", into what reads it from a request; throws a RangeError on anything else. */
export function partReader(said: string): (request: FastifyRequest) => string | undefined {
  const name = said.slice(said.indexOf(':') + 1)
  if (said.startsWith('header:')) {
    const header = name.toLowerCase()
    return ({ headers }) => {
      const value = headers[header]
      return Array.isArray(value) ? value.join() : value
    }
  }
  if (said.startsWith('cookie:')) return (request) => cookieIn(request.headers.cookie, name)
  throw new RangeError(`"${said}" is neither "header:NAME" nor "cookie:NAME"`)
}

/** Finds a cookie in a Cookie header; undefined where it is not there (RFC 6265 section 4.2). */
export function cookieIn(header: string | undefined, name: string): string | undefined {
  if (header === undefined || !header.includes(name)) return undefined
  for (const pair of header.split(';')) {
    const at = pair.indexOf('=')
    if (at !== -1 && pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim()
  }
  return undefined
}

/** Takes a cookie out of a Cookie header. */
export function withoutCookie(header: string, name: string): string {
  return header
    .split(';')
    .filter((pair) => pair.slice(0, Math.max(0, pair.indexOf('='))).trim() !== name)
    .join(';')
    .trim()
}

/** Tells whether a session lets callers in where these words hold, and so a cookie is a credential. */
export function sessionCounts(words: Readonly<Record<string, unknown>>): boolean {
  const auth = words['auth'] as { session?: boolean; by?: readonly string[] } | false | undefined
  return (
    typeof auth === 'object' &&
    auth.session === true &&
    (auth.by === undefined || auth.by.includes('session'))
  )
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
