import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Head, RouteInfo } from '../../src/kit/index.ts'
import type { ResponseSource } from '../../src/lib/contracts/cache.ts'
import { setCookieName } from '../../src/lib/http/cookies.ts'
import { headerOf, setHeader } from '../../src/lib/http/flat-head.ts'
import { joinVary } from '../../src/lib/http/headers.ts'
import { HOP_BY_HOP, nominatedBy } from '../../src/lib/http/hop-by-hop.ts'
import { isHttp2 } from '../../src/lib/http/http2.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'

/** How the headers of a target's responses are changed on a route. */
export interface ResponseHeadPlan {
  readonly head: RouteInfo['head']
  /** Rewrites the upstream's own origin and paths to the gateway's; undefined to leave them alone. */
  readonly rewrite: ResponseRewrite | undefined
  /** What `rewrite` needs to know of the target; undefined where nothing is rewritten. */
  readonly source: ResponseSource | undefined
  /** The name of the session cookie, which no upstream may set; null if there is none. */
  readonly sessionCookie: string | null
  /** The headers that are not passed unchanged, by their names. */
  readonly kinds: ReadonlyMap<string, HeaderKind>
}

type HeaderKind =
  | 'removed'
  | 'vary'
  | 'type'
  | 'length'
  | 'cookie'
  | 'location'
  | 'refresh'
  | 'link'
  | 'trailer'

/** Returns the headers that are not passed unchanged on routes with this head plan. */
export const headerKinds = (head: RouteInfo['head']): ReadonlyMap<string, HeaderKind> =>
  getOrCreate(kindsByHead, head, () => makeKinds(head))

// Routes with the same gates share a head plan.
const kindsByHead = new WeakMap<RouteInfo['head'], ReadonlyMap<string, HeaderKind>>()

function makeKinds({ strips }: RouteInfo['head']): ReadonlyMap<string, HeaderKind> {
  return new Map<string, HeaderKind>([
    ['vary', 'vary'],
    ['content-type', 'type'],
    ['content-length', 'length'],
    ['set-cookie', 'cookie'],
    ['location', 'location'],
    ['content-location', 'location'],
    ['refresh', 'refresh'],
    ['link', 'link'],
    ['trailer', 'trailer'],
    ...[...HOP_BY_HOP, ...strips].map((name) => [name, 'removed'] as const)
  ])
}

/** Rewrites header values that name the upstream's own origin or paths. */
export interface ResponseRewrite {
  location(value: string, request: FastifyRequest): string
  refresh(value: string, request: FastifyRequest): string
  link(value: string, request: FastifyRequest): string
  cookie(value: string, request: FastifyRequest): string
}

/** The headers of a response as the client gets them. */
export interface ClientHead {
  /** Names and values in turn. */
  readonly fields: string[]
  /** Whether the body may be idle for as long as it likes: an event stream (WHATWG HTML section 9.2). */
  readonly endless: boolean
}

/** Returns the headers of an interim response without hop-by-hop headers and Content-Length, which it may not have (RFC 9110 section 8.6). */
export function informationHead(fields: readonly string[]): string[] {
  const head = endToEndFields(fields)
  setHeader(head, 'content-length', undefined)
  return head
}

/** Returns the headers of a final response without hop-by-hop headers. */
export function endToEndFields(fields: readonly string[]): string[] {
  const head: string[] = []
  const nominated = nominatedIn(fields)
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string
    if (!HOP_BY_HOP.has(name) && nominated?.includes(name) !== true) head.push(name, fields[i + 1] as string)
  }
  return head
}

/** The status and headers as the upstream sent them. */
export interface UpstreamHead {
  readonly status: number
  readonly statusText: string
  readonly fields: readonly string[]
  /** Whether no body follows for the client. */
  readonly endStream: boolean
  /** The Set-Cookie that keeps the client at this target; undefined for none. */
  stickyCookie: string | undefined
}

/** Returns the headers for the client: the upstream's, then those that the gateway set, then those that concerns add. */
export function responseHead(
  { status, fields, endStream, stickyCookie }: UpstreamHead,
  request: FastifyRequest,
  reply: FastifyReply,
  { head: routeHead, rewrite, sessionCookie, kinds }: ResponseHeadPlan
): ClientHead {
  const own = reply.getHeaders()
  const head: string[] = []
  const nominated = nominatedIn(fields)
  let { vary } = routeHead
  let endless = false
  let trailer: string | undefined
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string
    const kind = kinds.get(name)
    if (kind === 'removed' || nominated?.includes(name) === true) continue
    let value = fields[i + 1] as string
    if (kind !== undefined) {
      if (kind === 'vary') {
        vary = joinVary(value, vary)
        continue
      }
      if (kind === 'trailer') {
        trailer = trailer === undefined ? value : `${trailer}, ${value}`
        continue
      }
      if (kind === 'type') endless = isEventStream(value)
      if (kind === 'length' && status === 204) continue
      // Only the gateway sets the cookie of its session.
      if (kind === 'cookie' && sessionCookie !== null && setCookieName(value) === sessionCookie) continue
      if (rewrite !== undefined) value = rewriteValue(kind, value, rewrite, request)
    }
    // Names such as "constructor" exist on every object.
    if (kind === 'cookie' || own[name] === undefined || !Object.hasOwn(own, name)) head.push(name, value)
  }
  for (const name in own) {
    const value = own[name]
    if (value === undefined) continue
    if (name === 'vary') vary = joinVary(vary, String(value))
    else if (name === 'trailer') trailer = String(value)
    else if (Array.isArray(value)) for (const each of value) head.push(name, each)
    else head.push(name, String(value))
  }
  if (trailer !== undefined && !endStream && canHaveTrailers(request, head)) head.push('trailer', trailer)
  if (stickyCookie !== undefined) head.push('set-cookie', stickyCookie)
  if (vary !== '') head.push('vary', vary)
  for (const [name, value] of routeHead.defaults) if (!has(head, name)) head.push(name, value)
  if (routeHead.hooks.length > 0) {
    const flat = new FlatHead(status, head)
    for (const hook of routeHead.hooks) hook(request, reply, flat)
  }
  return { fields: head, endless }
}

/** Returns whether a response can have trailers: over HTTP/1.1 only with chunked encoding, and Node.js throws elsewhere (RFC 9112 section 7.1.2). */
function canHaveTrailers({ raw }: FastifyRequest, head: readonly string[]): boolean {
  return isHttp2(raw) || (raw.httpVersionMinor === 1 && !has(head, 'content-length'))
}

// Parameters of the media type don't matter (WHATWG HTML section 9.2.5).
function isEventStream(type: string): boolean {
  const end = type.indexOf(';')
  return (end === -1 ? type : type.slice(0, end)).trim().toLowerCase() === 'text/event-stream'
}

function rewriteValue(
  kind: HeaderKind,
  value: string,
  rewrite: ResponseRewrite,
  request: FastifyRequest
): string {
  if (kind === 'location') return rewrite.location(value, request)
  if (kind === 'cookie') return rewrite.cookie(value, request)
  if (kind === 'refresh') return rewrite.refresh(value, request)
  return kind === 'link' ? rewrite.link(value, request) : value
}

const nominatedIn = (fields: readonly string[]): string[] | undefined =>
  nominatedBy(headerOf(fields, 'connection'))

function has(head: readonly string[], name: string): boolean {
  for (let i = 0; i < head.length; i += 2) if (head[i] === name) return true
  return false
}

class FlatHead implements Head {
  readonly status: number
  readonly #head: string[]

  constructor(status: number, head: string[]) {
    this.status = status
    this.#head = head
  }

  has(name: string): boolean {
    return has(this.#head, name)
  }

  get(name: string): string | undefined {
    return headerOf(this.#head, name)
  }

  set(name: string, value: string): void {
    setHeader(this.#head, name, value)
  }

  add(name: string, value: string): void {
    this.#head.push(name, value)
  }

  remove(name: string): void {
    setHeader(this.#head, name, undefined)
  }
}
