import type { FastifyRequest } from 'fastify'
import { setBounded } from '../memoize.ts'
import { peerOf } from './addresses.ts'
import { LOGIN_COOKIE, withoutCookie } from './cookies.ts'
import { cgiName, cleanHeader, isForwardedHeader } from './headers.ts'
import { HOP_BY_HOP, nominatedBy } from './hop-by-hop.ts'
import { isHttp2 } from './http2.ts'

/** A flat head: names in lower case and values in turn, a character a byte, the Host first. */
export type RequestHead = string[]

/** A header of a client's request that may hold a credential for the gateway alone. */
export interface PrivateHeader {
  readonly name: string
  /** Tells whether a value is such a credential; undefined where every value is one. */
  readonly holds: ((value: string) => boolean) | undefined
}

/** A header that the gateway writes itself, made for each request. */
export interface WrittenHeader {
  readonly name: string
  readonly value: { render(request: FastifyRequest): string }
}

/** Names that only the gateway may write, and the session cookie that only the gateway may read. */
export interface Reserved {
  /** Names in lower case with dashes. */
  readonly names: ReadonlySet<string>
  readonly cookie: string | null
}

/** How a route wants the head of its requests. */
export interface RequestHeadOptions extends Reserved {
  /** Sends the client's Host on instead of the upstream's. */
  readonly preserveHost: boolean
  /** The header that carries the request's id; undefined for none. */
  readonly requestId: string | undefined
}

/** Writes the head of a forwarded request; `prefix` is what the upstream does not see of the path. */
export type WriteRequestHead = (request: FastifyRequest, trusted: boolean, prefix: string) => RequestHead

/** Compiles what writes the heads of forwarded requests. */
export function forwardedHead(options: RequestHeadOptions): WriteRequestHead {
  const { preserveHost, requestId } = options
  const copy = copyHeaders(
    options,
    (name, plain, trusted) =>
      plain === requestId ||
      plain === 'x-request-id' ||
      (isForwardedHeader(plain) && (!trusted || plain !== name))
  )
  return (request, trusted, prefix) => {
    const { raw } = request
    // Where the Host is not the client's, the target fills it in, whichever that will be.
    const head: RequestHead = ['host', preserveHost ? (raw.headers.host ?? '') : '']
    copy(head, request, trusted, request.privateHeaders)
    addForwarded(head, request, trusted, prefix)
    if (requestId !== undefined) head.push(requestId, request.id)
    if (request.identity)
      for (const { name, value } of request.identity) setHeader(head, name, value.render(request))
    if (request.headerChanges)
      for (const { name, value } of request.headerChanges)
        setHeader(head, name, cleanHeader(value?.renderWhole(request) ?? '') || undefined)
    return head
  }
}

/** Writes the head of a question about a request: may it pass? */
export type WriteQuestionHead = (request: FastifyRequest, trusted: boolean, host: string) => RequestHead

/** Compiles what writes the heads of questions to another service whether a request may pass, with the names of Traefik's forwardAuth. */
export function questionHead(reserved: Reserved): WriteQuestionHead {
  const copy = copyHeaders(
    reserved,
    (name, plain, trusted) =>
      OF_THE_RESOURCE.test(name) ||
      plain.startsWith('x-forwarded-') ||
      (isForwardedHeader(plain) && (!trusted || plain !== name))
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
    head.push('x-forwarded-for', [...before, peerOf(request)].join(', '))
    return head
  }
}

// What is about the resource and its body, not about the question (RFC 9110 sections 8, 13 and 14; "If" is WebDAV's).
const OF_THE_RESOURCE = /^(if|if-.*|range|content-.*|digest|repr-digest)$/

/** Writes the head of a request that the gateway makes by itself. */
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

/** Tells whether a header stays here, by its name in lower case, and as servers know it that take "_" for "-". */
type StaysHere = (name: string, plain: string, trusted: boolean) => boolean

type CopyHeaders = (
  head: RequestHead,
  request: FastifyRequest,
  trusted: boolean,
  privateHeaders: readonly PrivateHeader[] | null | undefined
) => void

/** Compiles what adds those of a client's headers to a head that may go on; each spelling of a name is judged once. */
function copyHeaders({ names: reserved, cookie }: Reserved, staysHere: StaysHere): CopyHeaders {
  const known = { trusted: new Map<string, string | null>(), stranger: new Map<string, string | null>() }

  function nameOf(spelled: string, trusted: boolean, names: Map<string, string | null>): string | null {
    const name = spelled.toLowerCase()
    const plain = cgiName(name)
    // A name that begins with ":" is HTTP/2's own (RFC 9113 section 8.3).
    const stays =
      name.startsWith(':') ||
      HOP_BY_HOP.has(name) ||
      NEVER_COPIED.has(name) ||
      reserved.has(plain) ||
      staysHere(name, plain, trusted)
    setBounded(names, spelled, stays ? null : name)
    return stays ? null : name
  }

  return (head, request, trusted, privateHeaders) => {
    const { raw } = request
    const { rawHeaders } = raw
    const nominated = nominatedBy(raw.headers.connection)
    const names = trusted ? known.trusted : known.stranger
    let crumbs = false
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const spelled = rawHeaders[i] as string
      let name = names.get(spelled)
      if (name === undefined) name = nameOf(spelled, trusted, names)
      if (name === null || nominated?.includes(name) === true) continue
      let value = rawHeaders[i + 1] as string
      if (privateHeaders && isPrivate(privateHeaders, name, value)) continue
      if (name === 'cookie') {
        if (isHttp2(raw)) {
          // HTTP/2 may send a cookie a field; HTTP/1.1 has one field (RFC 9113 section 8.2.3).
          if (crumbs) continue
          crumbs = true
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

// The Host is written anew; the rest is between the client and the gateway ("proxy" is CVE-2016-5385).
const NEVER_COPIED = new Set(['host', 'expect', 'trailer', 'proxy'])

function isPrivate(headers: readonly PrivateHeader[], name: string, value: string): boolean {
  for (const header of headers)
    if (header.name === name && (header.holds === undefined || header.holds(value))) return true
  return false
}

function addForwarded(head: RequestHead, request: FastifyRequest, trusted: boolean, prefix: string): void {
  const { raw } = request
  const peer = peerOf(request)
  const asked = raw.headers.host ?? ''
  if (!trusted) {
    head.push(
      'x-forwarded-for',
      peer,
      'x-forwarded-proto',
      request.protocol,
      'x-forwarded-host',
      asked,
      'x-forwarded-port',
      portOf(asked, request.protocol)
    )
  } else {
    const before = headerOf(head, 'x-forwarded-for')
    setHeader(head, 'x-forwarded-for', before === undefined ? peer : `${before}, ${peer}`)
    let scheme = headerOf(head, 'x-forwarded-proto')
    if (scheme === undefined) {
      scheme = request.protocol
      head.push('x-forwarded-proto', scheme)
    }
    let host = headerOf(head, 'x-forwarded-host')
    if (host === undefined) {
      host = asked
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

/** Finds the port that a client has asked: its Host's, or else the default of its scheme; the listener's may be any behind a balancer. */
function portOf(host: string, scheme: string): string {
  const colon = host.lastIndexOf(':')
  if (colon > host.lastIndexOf(']') && colon < host.length - 1) return host.slice(colon + 1)
  return scheme.toLowerCase() === 'https' ? '443' : '80'
}

// Proxies in a row write lists, the client's value first.
const firstOf = (list: string): string => {
  const comma = list.indexOf(',')
  return (comma === -1 ? list : list.slice(0, comma)).trim()
}

/** Reads a header of a flat head, several fields of the name as one; undefined for none. */
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
