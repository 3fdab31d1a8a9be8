import type { FastifyRequest } from 'fastify'
import { setBounded } from '../memoize.ts'
import { LOGIN_COOKIE, withoutCookie } from './cookies.ts'
import type { RequestHead } from './flat-head.ts'
import { isGrpc } from './grpc.ts'
import { cgiName, isForwardedHeader } from './headers.ts'
import { HOP_BY_HOP, nominatedBy } from './hop-by-hop.ts'
import { isHttp2 } from './http2.ts'

/** A request header that may contain a credential for the gateway only. */
export interface PrivateHeader {
  readonly name: string
  /** Returns whether a value is such a credential; undefined where every value is one. */
  readonly holds: ((value: string) => boolean) | undefined
}

/** The headers that only the gateway may write, and the session cookie, which is never forwarded. */
export interface Reserved {
  /** Names in lower case with dashes. */
  readonly names: { has(name: string): boolean }
  readonly cookie: string | null
  /** The header, in lower case, in which trusted proxies name the client; null for X-Forwarded-For alone. */
  readonly clientIpHeader: string | null
}

/** Returns whether a header is not forwarded, by its lower-case name and its CGI name. */
export type IsDropped = (name: string, plain: string, trusted: boolean) => boolean

/** Which headers of a client are copied. */
interface Copied extends Reserved {
  /** Returns whether a header, by its lower-case name and its CGI name, is copied in gRPC calls only. */
  onlyInGrpc(name: string, plain: string): boolean
}

/** Returns false for every header. */
export const never = (): boolean => false

/** Copies headers of a client to the head of a request. */
export type CopyHeaders = (
  head: RequestHead,
  request: FastifyRequest,
  trusted: boolean,
  privateHeaders: readonly PrivateHeader[] | null | undefined
) => void

/** Compiles the function that copies the forwarded headers of a client; the decision on each name is cached. */
export function copyHeaders(
  { names: reserved, cookie, onlyInGrpc }: Copied,
  isDropped: IsDropped
): CopyHeaders {
  // By their spelling: null for what is never copied, empty for what only gRPC calls have.
  const cached = { trusted: new Map<string, string | null>(), untrusted: new Map<string, string | null>() }

  function nameOf(spelled: string, trusted: boolean, names: Map<string, string | null>): string | null {
    const name = spelled.toLowerCase()
    const plain = cgiName(name)
    // A name that begins with ":" is a pseudo-header of HTTP/2 (RFC 9113 section 8.3).
    const dropped =
      name.startsWith(':') ||
      HOP_BY_HOP.has(name) ||
      NEVER_COPIED.has(name) ||
      reserved.has(plain) ||
      isDropped(name, plain, trusted)
    const copied = dropped ? null : onlyInGrpc(name, plain) ? '' : name
    setBounded(names, spelled, copied)
    return copied
  }

  return (head, request, trusted, privateHeaders) => {
    const { raw } = request
    const { rawHeaders } = raw
    const nominated = nominatedBy(raw.headers.connection)
    const names = trusted ? cached.trusted : cached.untrusted
    let hasCookie = false
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const spelled = rawHeaders[i] as string
      let name = names.get(spelled)
      if (name === undefined) name = nameOf(spelled, trusted, names)
      if (!name) {
        if (name === null || raw.method !== 'POST' || !isGrpc(raw)) continue
        name = spelled.toLowerCase()
      }
      if (nominated?.includes(name) === true) continue
      let value = rawHeaders[i + 1] as string
      if (privateHeaders && isPrivate(privateHeaders, name, value)) continue
      if (name === 'cookie') {
        if (isHttp2(raw)) {
          // HTTP/2 may send each cookie in a field of its own; HTTP/1.1 needs one field (RFC 9113 section 8.2.3).
          if (hasCookie) continue
          hasCookie = true
          value = raw.headers.cookie ?? ''
        }
        if (cookie !== null && (value.includes(cookie) || value.includes(LOGIN_COOKIE))) {
          value = withoutCookie(value, cookie)
          if (value === '') continue
        }
      }
      head.push(name, value)
    }
  }
}

// The Host is written separately; the others concern only the client and the gateway ("proxy" is CVE-2016-5385).
// A signature of ADMIN_TOKEN is for this gateway alone.
const NEVER_COPIED = new Set(['host', 'expect', 'trailer', 'proxy', 'sallyport-explain'])

function isPrivate(headers: readonly PrivateHeader[], name: string, value: string): boolean {
  for (const header of headers)
    if (header.name === name && (header.holds === undefined || header.holds(value))) return true
  return false
}

// Without these, a body or an upgrade would be another one.
const BODY_AND_UPGRADE = /^(?:content-length|content-type|content-encoding|sec-websocket-.*)$/

/** The headers of a client that a route forwards, in lower case; undefined for all. */
interface Listed extends Pick<Reserved, 'clientIpHeader'> {
  readonly only?: readonly string[] | undefined
}

/** Extends a test by the headers that a route does not list; those that a trusted proxy writes are always kept. */
export function unlistedOr({ only, clientIpHeader }: Listed, isDropped: IsDropped): IsDropped {
  if (only === undefined) return isDropped
  const listed = new Set(only)
  const own = clientIpHeader === null ? null : cgiName(clientIpHeader)
  return (name, plain, trusted) =>
    (!listed.has(name) && !isAlwaysForwarded(name, plain) && plain !== own) || isDropped(name, plain, trusted)
}

/** Returns whether a header, by its lower-case name and its CGI name, is forwarded although a route doesn't list it. */
export const isAlwaysForwarded = (name: string, plain: string): boolean =>
  BODY_AND_UPGRADE.test(name) || isForwardedHeader(plain)

/** Returns whether a header, by its lower-case name, is forwarded by no route, whatever it lists. */
export const isNeverForwarded = (name: string): boolean => HOP_BY_HOP.has(name) || NEVER_COPIED.has(name)

/** Compiles the test for headers that only trusted proxies may send, and these only in one spelling. */
export function forgedHeaders({ clientIpHeader }: Pick<Reserved, 'clientIpHeader'>): IsDropped {
  const own = clientIpHeader === null ? null : cgiName(clientIpHeader)
  return (name, plain, trusted) =>
    (isForwardedHeader(plain) && (!trusted || plain !== name)) || (plain === own && !trusted)
}
