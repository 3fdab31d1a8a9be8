import type { FastifyRequest } from 'fastify'
import { setBounded } from '../memoize.ts'
import { peerOf } from './addresses.ts'
import { LOGIN_COOKIE, withoutCookie } from './cookies.ts'
import { isGrpc } from './grpc.ts'
import type { HeaderChange } from './header-changes.ts'
import { cgiName, cleanHeader, isAmbiguousName, isForwardedHeader } from './headers.ts'
import { HOP_BY_HOP, nominatedBy } from './hop-by-hop.ts'
import { isHttp2 } from './http2.ts'

/** A flat list of lower-case names and values in turn, the Host first; each character is one byte. */
export type RequestHead = string[]

/** A request header that may contain a credential for the gateway only. */
export interface PrivateHeader {
  readonly name: string
  /** Returns whether a value is such a credential; undefined where every value is one. */
  readonly holds: ((value: string) => boolean) | undefined
}

/** A header that the gateway writes for each request. */
export interface WrittenHeader {
  readonly name: string
  /** Returns undefined where there is no such header. */
  readonly value: { render(request: FastifyRequest): string | undefined }
  /** Whether the value is a token of the caller, which must not become part of a key. */
  readonly isToken?: boolean
}

/** The headers that only the gateway may write, and the session cookie, which is never forwarded. */
export interface Reserved {
  /** Names in lower case with dashes. */
  readonly names: { has(name: string): boolean }
  readonly cookie: string | null
  /** The header, in lower case, in which trusted proxies name the client; null for X-Forwarded-For alone. */
  readonly clientIpHeader: string | null
}

/** How a route writes the head of its requests. */
export interface RequestHeadOptions extends Reserved {
  /** Whether the client's Host is forwarded instead of the upstream's. */
  readonly preserveHost: boolean
  /** The header with the request id; undefined for none. */
  readonly requestId: string | undefined
  /** Whether headers with underscores are forwarded; gRPC metadata always is. */
  readonly keepsUnderscores: boolean
  /** The headers of a client that are forwarded, in lower case; undefined for all. */
  readonly only?: readonly string[] | undefined
}

/** Writes the head of a forwarded request; `prefix` is the part of the path that a rewrite removed. */
export type WriteRequestHead = (request: FastifyRequest, trusted: boolean, prefix: string) => RequestHead

/** Compiles the function that writes the heads of forwarded requests. */
export function forwardedHead(options: RequestHeadOptions): WriteRequestHead {
  const { preserveHost, requestId, keepsUnderscores } = options
  const isRefused = unlistedOr(options, forgedHeaders(options))
  const copy = copyHeaders(
    // CGI, WSGI, Rack and PHP take X_A for X-A, which the gateway has judged (CWE-444).
    { ...options, onlyInGrpc: keepsUnderscores ? isNoName : isAmbiguousName },
    (name, plain, trusted) =>
      plain === requestId || plain === 'x-request-id' || isRefused(name, plain, trusted)
  )
  return (request, trusted, prefix) => {
    const { raw } = request
    // An empty Host is filled in once the target is known.
    const head: RequestHead = ['host', preserveHost ? (raw.headers.host ?? '') : '']
    copy(head, request, trusted, request.privateHeaders)
    addForwarded(head, request, trusted, prefix)
    if (requestId !== undefined) head.push(requestId, request.id)
    if (request.identity)
      for (const { name, value } of request.identity) setHeader(head, name, value.render(request))
    if (request.headerChanges) for (const change of request.headerChanges) changeHeader(head, change, request)
    return head
  }
}

function changeHeader(
  head: RequestHead,
  { name, action, value }: HeaderChange,
  request: FastifyRequest
): void {
  const before = action === 'set' || action === 'remove' ? undefined : headerOf(head, name)
  if (action === 'default' && before !== undefined) return
  const rendered = cleanHeader(value?.renderWhole(request) ?? '')
  // A missing value removes the header instead of leaving it empty.
  if (rendered === '' && action !== 'add') setHeader(head, name, undefined)
  else if (rendered === '') return
  // A request has one Cookie field (RFC 6265 section 5.4).
  else if (name === 'cookie' && before !== undefined) setHeader(head, name, `${before}; ${rendered}`)
  else if (action === 'add') head.push(name, rendered)
  else setHeader(head, name, rendered)
}

/** Writes the head of a request to an authorization service. */
export type WriteAuthRequestHead = (request: FastifyRequest, trusted: boolean, host: string) => RequestHead

/** Compiles the function that writes the heads of requests to an authorization service, with the header names of Traefik's forwardAuth. */
export function authRequestHead(reserved: Reserved): WriteAuthRequestHead {
  const isForged = forgedHeaders(reserved)
  const copy = copyHeaders(
    { ...reserved, onlyInGrpc: isNoName },
    (name, plain, trusted) =>
      isResourceField(name) || plain.startsWith('x-forwarded-') || isForged(name, plain, trusted)
  )
  return (request, trusted, host) => {
    const { raw } = request
    const head: RequestHead = ['host', host]
    copy(head, request, trusted, null)
    head.push(
      'x-forwarded-method',
      request.method,
      'x-forwarded-proto',
      request.protocol,
      'x-forwarded-host',
      raw.headers.host ?? '',
      'x-forwarded-uri',
      raw.url ?? '/'
    )
    const before = trusted ? [raw.headers['x-forwarded-for'] ?? []].flat() : []
    head.push('x-forwarded-for', [...before, peerOf(request)].filter((each) => each !== '').join(', '))
    return head
  }
}

// RFC 9110 sections 8, 13 and 14; "If" is WebDAV's.
const RESOURCE_FIELD = /^(if|if-.*|range|content-.*|digest|repr-digest)$/

/** Returns whether a header, by its lower-case name, is about the body of a request, or makes the request conditional or partial. */
export const isResourceField = (name: string): boolean => RESOURCE_FIELD.test(name)

/** Writes the head of a request that the gateway originates, such as a health check. */
export function ownHead(host: string, headers: Readonly<Record<string, string>>): RequestHead {
  const head: RequestHead = ['host', host]
  for (const [name, value] of Object.entries(headers)) head.push(name, value)
  return head
}

/** Copies a head for another host. */
export const headForHost = (head: readonly string[], host: string): RequestHead => [
  'host',
  host,
  ...head.slice(2)
]

/** Returns whether a header is not forwarded, by its lower-case name and its CGI name. */
type IsDropped = (name: string, plain: string, trusted: boolean) => boolean

/** Which headers of a client are copied. */
interface Copied extends Reserved {
  /** Returns whether a header, by its lower-case name and its CGI name, is copied in gRPC calls only. */
  onlyInGrpc(name: string, plain: string): boolean
}

const isNoName = (): boolean => false

type CopyHeaders = (
  head: RequestHead,
  request: FastifyRequest,
  trusted: boolean,
  privateHeaders: readonly PrivateHeader[] | null | undefined
) => void

/** Compiles the function that copies the forwarded headers of a client; the decision on each name is cached. */
function copyHeaders({ names: reserved, cookie, onlyInGrpc }: Copied, isDropped: IsDropped): CopyHeaders {
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

function addForwarded(head: RequestHead, request: FastifyRequest, trusted: boolean, prefix: string): void {
  const { raw } = request
  const peer = peerOf(request)
  const requested = raw.headers.host ?? ''
  if (!trusted) {
    head.push(
      'x-forwarded-for',
      peer,
      'x-forwarded-proto',
      request.protocol,
      'x-forwarded-host',
      requested,
      'x-forwarded-port',
      portOf(requested, request.protocol)
    )
  } else {
    const before = headerOf(head, 'x-forwarded-for') ?? ''
    setHeader(head, 'x-forwarded-for', before === '' ? peer : `${before}, ${peer}`)
    let scheme = headerOf(head, 'x-forwarded-proto')
    if (scheme === undefined) {
      scheme = request.protocol
      head.push('x-forwarded-proto', scheme)
    }
    let host = headerOf(head, 'x-forwarded-host')
    if (host === undefined) {
      host = requested
      head.push('x-forwarded-host', host)
    }
    if (headerOf(head, 'x-forwarded-port') === undefined)
      head.push('x-forwarded-port', portOf(firstOf(host), firstOf(scheme)))
  }
  if (prefix !== '')
    setHeader(
      head,
      'x-forwarded-prefix',
      (trusted ? (headerOf(head, 'x-forwarded-prefix') ?? '') : '') + prefix
    )
}

/** Returns the port that a client connected to: that of its Host, else the default of the scheme. Behind a load balancer the listener's port is another one. */
function portOf(host: string, scheme: string): string {
  const colon = host.lastIndexOf(':')
  if (colon > host.lastIndexOf(']') && colon < host.length - 1) return host.slice(colon + 1)
  return scheme.toLowerCase() === 'https' ? '443' : '80'
}

// A chain of proxies writes a list; the client's value is first.
const firstOf = (list: string): string => {
  const comma = list.indexOf(',')
  return (comma === -1 ? list : list.slice(0, comma)).trim()
}

/** Returns a header of a flat head, several fields as one list; undefined for none. */
export function headerOf(head: readonly string[], name: string): string | undefined {
  let value: string | undefined
  for (let i = 0; i < head.length; i += 2)
    if (head[i] === name) value = value === undefined ? head[i + 1] : `${value}, ${head[i + 1]}`
  return value
}

/** Sets a header of a flat head, or removes it where there is no value. */
export function setHeader(head: string[], name: string, value: string | undefined): void {
  for (let i = head.length - 2; i >= 0; i -= 2) if (head[i] === name) head.splice(i, 2)
  if (value !== undefined) head.push(name, value)
}

// Without these, a body or an upgrade would be another one.
const FRAMING = /^(?:content-length|content-type|content-encoding|sec-websocket-.*)$/

/** Adds to a test that of headers that are not on the list of a route; what proxies say of the request is none of the client's. */
function unlistedOr({ only, clientIpHeader }: RequestHeadOptions, isDropped: IsDropped): IsDropped {
  if (only === undefined) return isDropped
  const listed = new Set(only)
  const own = clientIpHeader === null ? null : cgiName(clientIpHeader)
  return (name, plain, trusted) =>
    (!listed.has(name) && !isAlwaysForwarded(name, plain) && plain !== own) || isDropped(name, plain, trusted)
}

/** Returns whether a header, by its lower-case name and its CGI name, is forwarded although a route doesn't list it. */
export const isAlwaysForwarded = (name: string, plain: string): boolean =>
  FRAMING.test(name) || isForwardedHeader(plain)

/** Returns whether a header, by its lower-case name, is forwarded by no route, whatever it lists. */
export const isNeverForwarded = (name: string): boolean => HOP_BY_HOP.has(name) || NEVER_COPIED.has(name)

/** Compiles the test for headers that only trusted proxies may send, and these only in one spelling. */
function forgedHeaders({ clientIpHeader }: Pick<Reserved, 'clientIpHeader'>): IsDropped {
  const own = clientIpHeader === null ? null : cgiName(clientIpHeader)
  return (name, plain, trusted) =>
    (isForwardedHeader(plain) && (!trusted || plain !== name)) || (plain === own && !trusted)
}
