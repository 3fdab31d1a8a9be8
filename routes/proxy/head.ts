import type { FastifyReply, FastifyRequest } from 'fastify'
import {
  cleanHeader,
  type Head,
  type HeadPlan,
  isClaim,
  isHttp2,
  joinVary,
  peerOf,
  plainName,
  remember,
  rememberName,
  withoutCookie,
  wordsIn
} from '../../src/kit/index.ts'

/** What holds for one connection alone and is never passed on, whatever its direction (RFC 9110 section 7.6.1). */
const HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings'
])

// What no Connection header can take away, since it frames or addresses the message.
const KEPT = new Set([
  'content-length',
  'host',
  'content-type',
  'cookie',
  'authorization',
  'date',
  'cache-control'
])

/** How a route wants the head of its requests. */
export interface RequestHead {
  /** Sends the client's Host on instead of the upstream's. */
  readonly preserveHost: boolean
  /** The header that carries the request's id; undefined for none. */
  readonly requestId: string | undefined
  /** The names that only the gateway may say, in lower case with dashes. */
  readonly own: ReadonlySet<string>
  /** The session's cookie, which stays here. */
  readonly cookie: string | null
}

/** Writes the head of a request for the upstream; `prefix` is what the upstream does not see of the path. */
export type WriteHead = (request: FastifyRequest, trusted: boolean, prefix: string) => string[]

/** Compiles what of a client's head may go on; writes the head of the request for the upstream, as one flat list of names and values. */
export function requestHeadFor(route: RequestHead): WriteHead {
  const known = { trusted: new Map<string, string | null>(), stranger: new Map<string, string | null>() }
  return (request, trusted, prefix) => {
    const { raw, privateHeaders } = request
    const { rawHeaders } = raw
    const nominated = nominatedBy(raw.headers.connection)
    const names = trusted ? known.trusted : known.stranger
    // The Host comes first: where it is not the client's, it is that of the target, whichever that will be.
    const head: string[] = ['host', route.preserveHost ? (raw.headers.host ?? '') : '']
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const spelled = rawHeaders[i] as string
      let name = names.get(spelled)
      if (name === undefined) {
        name = passes(spelled.toLowerCase(), route, trusted)
        rememberName(names, spelled, name)
      }
      if (name === null || nominated?.includes(name) === true || privateHeaders?.includes(name) === true)
        continue
      let value = rawHeaders[i + 1] as string
      if (name === 'cookie' && isHttp2(raw)) {
        // HTTP/2 may send a cookie a field; HTTP/1.1 has one field (RFC 9113 section 8.2.3).
        if (head.includes('cookie')) continue
        value = raw.headers.cookie ?? ''
      }
      if (name === 'cookie' && route.cookie !== null && value.includes(route.cookie)) {
        value = withoutCookie(value, route.cookie)
        if (value === '') continue
      }
      head.push(name, value)
    }
    forwarded(head, request, trusted, prefix)
    if (route.requestId !== undefined) head.push(route.requestId, request.id)
    if (request.identity)
      for (const { name, value } of request.identity) put(head, name, value.render(request))
    if (request.headerChanges)
      for (const { name, value } of request.headerChanges)
        put(head, name, value && (cleanHeader(value.render(request)) || undefined))
    return head
  }
}

/** Names a header as it goes on, in lower case; null where it stays here, whatever its value. */
function passes(name: string, route: RequestHead, trusted: boolean): string | null {
  // A name that begins with ":" is HTTP/2's own (RFC 9113 section 8.3).
  return name.startsWith(':') || HOP.has(name) || STAYS.has(name) || mayNotSay(name, route, trusted)
    ? null
    : name
}

// The Host is said anew; the rest is between the client and the gateway ("proxy" is CVE-2016-5385).
const STAYS = new Set(['host', 'expect', 'trailer', 'proxy'])

// All spellings of a name count as one.
function mayNotSay(name: string, { own, requestId }: RequestHead, trusted: boolean): boolean {
  const plain = plainName(name)
  if (own.has(plain) || plain === requestId || plain === 'x-request-id') return true
  return isClaim(plain) && (!trusted || plain !== name)
}

function nominatedBy(connection: string | undefined): string[] | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined
  return wordsIn(connection).filter((name) => name !== '' && !KEPT.has(name))
}

function forwarded(head: string[], request: FastifyRequest, trusted: boolean, prefix: string): void {
  const { raw } = request
  const peer = peerOf(request)
  const port = String((raw.socket as typeof raw.socket | null)?.localPort ?? '')
  if (!trusted) {
    head.push(
      'x-forwarded-for',
      peer,
      'x-forwarded-proto',
      request.protocol,
      'x-forwarded-host',
      raw.headers.host ?? '',
      'x-forwarded-port',
      port
    )
  } else {
    const before = saidIn(head, 'x-forwarded-for')
    put(head, 'x-forwarded-for', before === undefined ? peer : `${before}, ${peer}`)
    if (saidIn(head, 'x-forwarded-proto') === undefined) head.push('x-forwarded-proto', request.protocol)
    if (saidIn(head, 'x-forwarded-host') === undefined) head.push('x-forwarded-host', raw.headers.host ?? '')
    if (saidIn(head, 'x-forwarded-port') === undefined) head.push('x-forwarded-port', port)
  }
  if (prefix !== '')
    put(head, 'x-forwarded-prefix', (trusted ? (saidIn(head, 'x-forwarded-prefix') ?? '') : '') + prefix)
}

function saidIn(head: readonly string[], name: string): string | undefined {
  let value: string | undefined
  for (let i = 0; i < head.length; i += 2)
    if (head[i] === name) value = value === undefined ? head[i + 1] : `${value}, ${head[i + 1]}`
  return value
}

/** Sets a header of a flat list, or removes it where there is no value. */
function put(head: string[], name: string, value: string | undefined): void {
  for (let i = head.length - 2; i >= 0; i -= 2) if (head[i] === name) head.splice(i, 2)
  if (value !== undefined) head.push(name, value)
}

/** How a route wants the head of its answers. */
export interface AnswerHead {
  readonly plan: HeadPlan
  /** Translates a Location and the cookies of the upstream into the gateway's; undefined to leave them alone. */
  readonly back: Back | undefined
  /** The session's cookie, which no upstream may set; null where there is none. */
  readonly cookie: string | null
  /** The headers that don't simply pass, by their names. */
  readonly kinds: ReadonlyMap<string, Kind>
}

type Kind = 'dropped' | 'vary' | 'type' | 'length' | 'cookie' | 'place' | 'refresh' | 'link' | 'trailer'

/** Sorts out which headers of an answer don't simply pass. */
export const answerKinds = (plan: HeadPlan): ReadonlyMap<string, Kind> =>
  remember(sorted, plan, () => sortOut(plan))

// Routes with the same gates want the same.
const sorted = new WeakMap<HeadPlan, ReadonlyMap<string, Kind>>()

function sortOut({ strips }: HeadPlan): ReadonlyMap<string, Kind> {
  return new Map<string, Kind>([
    ['vary', 'vary'],
    ['content-type', 'type'],
    ['content-length', 'length'],
    ['set-cookie', 'cookie'],
    ['location', 'place'],
    ['content-location', 'place'],
    ['refresh', 'refresh'],
    ['link', 'link'],
    ['trailer', 'trailer'],
    ...[...HOP, ...strips].map((name) => [name, 'dropped'] as const)
  ])
}

/** Translates what an answer says about its upstream's own origin and paths. */
export interface Back {
  location(value: string, request: FastifyRequest): string
  refresh(value: string, request: FastifyRequest): string
  link(value: string, request: FastifyRequest): string
  cookie(value: string, request: FastifyRequest): string
}

/** A head as it goes to the client. */
export interface Answer {
  /** Names and values in turn. */
  readonly flat: string[]
  /** Whether the body may be silent for as long as it likes: an event stream (WHATWG HTML section 9.2). */
  readonly endless: boolean
}

/** Writes the head of an interim answer: all but what holds for one connection alone, and the length of a body that there is none of (RFC 9110 section 8.6). */
export function informationHead(fields: readonly string[]): string[] {
  const head: string[] = []
  const nominated = nominatedIn(fields)
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string
    if (HOP.has(name) || name === 'content-length' || nominated?.includes(name) === true) continue
    head.push(name, fields[i + 1] as string)
  }
  return head
}

/** A head as the upstream sent it. */
export interface UpstreamHead {
  readonly status: number
  readonly fields: readonly string[]
  /** Whether the client gets no content. */
  readonly endStream: boolean
}

/** Writes the head of the answer for the client: the upstream's, then what the gateway set, then what concerns add. */
export function answerHead(
  { status, fields, endStream }: UpstreamHead,
  request: FastifyRequest,
  reply: FastifyReply,
  { plan, back, cookie, kinds }: AnswerHead,
  stick: string | undefined
): Answer {
  const own = reply.getHeaders()
  const head: string[] = []
  const nominated = nominatedIn(fields)
  let { vary } = plan
  let endless = false
  let trailer: string | undefined
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string
    const kind = kinds.get(name)
    if (kind === 'dropped' || nominated?.includes(name) === true) continue
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
      // The gateway's session is the gateway's to set.
      if (kind === 'cookie' && cookie !== null && cookieNameIn(value) === cookie) continue
      if (back !== undefined) value = comeBack(kind, value, back, request)
    }
    if (kind === 'cookie' || own[name] === undefined) head.push(name, value)
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
  if (stick !== undefined) head.push('set-cookie', stick)
  if (vary !== '') head.push('vary', vary)
  for (const [name, value] of plan.defaults) if (!has(head, name)) head.push(name, value)
  if (plan.hooks.length > 0) {
    const flat = new FlatHead(head)
    for (const hook of plan.hooks) hook(request, reply, flat)
  }
  return { flat: head, endless }
}

/** Tells whether an answer can have trailers: over HTTP/1.1 only behind chunks, and Node.js refuses the field elsewhere (RFC 9112 section 7.1.2). */
function canHaveTrailers({ raw }: FastifyRequest, head: readonly string[]): boolean {
  return isHttp2(raw) || (raw.httpVersionMinor === 1 && !has(head, 'content-length'))
}

// Its parameters say nothing of it (WHATWG HTML section 9.2.5).
function isEventStream(type: string): boolean {
  const end = type.indexOf(';')
  return (end === -1 ? type : type.slice(0, end)).trim().toLowerCase() === 'text/event-stream'
}

/** Names the cookie that a Set-Cookie sets, as it comes back: browsers drop spaces around a name, and send the value of a cookie without one as it is (RFC 6265bis section 5.6). */
function cookieNameIn(value: string): string {
  const said = value.replace(/^[\s=]+/, '')
  return said.slice(0, Math.max(0, said.indexOf('='))).trim()
}

function comeBack(kind: Kind, value: string, back: Back, request: FastifyRequest): string {
  if (kind === 'place') return back.location(value, request)
  if (kind === 'cookie') return back.cookie(value, request)
  if (kind === 'refresh') return back.refresh(value, request)
  return kind === 'link' ? back.link(value, request) : value
}

const nominatedIn = (fields: readonly string[]): string[] | undefined =>
  nominatedBy(saidIn(fields, 'connection'))

function has(head: readonly string[], name: string): boolean {
  for (let i = 0; i < head.length; i += 2) if (head[i] === name) return true
  return false
}

class FlatHead implements Head {
  readonly #head: string[]

  constructor(head: string[]) {
    this.#head = head
  }

  has(name: string): boolean {
    return has(this.#head, name)
  }

  set(name: string, value: string): void {
    put(this.#head, name, value)
  }

  remove(name: string): void {
    put(this.#head, name, undefined)
  }
}
