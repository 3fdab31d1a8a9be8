import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Head, RouteInfo } from '../../src/kit/index.ts'
import { setCookieName } from '../../src/lib/http/cookies.ts'
import { joinVary } from '../../src/lib/http/headers.ts'
import { HOP_BY_HOP, nominatedBy } from '../../src/lib/http/hop-by-hop.ts'
import { isHttp2 } from '../../src/lib/http/http2.ts'
import { headerOf, setHeader } from '../../src/lib/http/request-head.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'

/** How a route wants the head of its answers. */
export interface ResponseHeadPlan {
  readonly plan: RouteInfo['head']
  /** Translates a Location and the cookies of the upstream into the gateway's; undefined to leave them alone. */
  readonly back: ResponseRewrite | undefined
  /** The session's cookie, which no upstream may set; null where there is none. */
  readonly cookie: string | null
  /** The headers that don't simply pass, by their names. */
  readonly kinds: ReadonlyMap<string, Kind>
}

type Kind = 'dropped' | 'vary' | 'type' | 'length' | 'cookie' | 'place' | 'refresh' | 'link' | 'trailer'

/** Sorts out which headers of an answer don't simply pass. */
export const headerKinds = (plan: RouteInfo['head']): ReadonlyMap<string, Kind> =>
  getOrCreate(sorted, plan, () => sortOut(plan))

// Routes with the same gates want the same.
const sorted = new WeakMap<RouteInfo['head'], ReadonlyMap<string, Kind>>()

function sortOut({ strips }: RouteInfo['head']): ReadonlyMap<string, Kind> {
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
    ...[...HOP_BY_HOP, ...strips].map((name) => [name, 'dropped'] as const)
  ])
}

/** Translates what an answer says about its upstream's own origin and paths. */
export interface ResponseRewrite {
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
    if (HOP_BY_HOP.has(name) || name === 'content-length' || nominated?.includes(name) === true) continue
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
export function responseHead(
  { status, fields, endStream }: UpstreamHead,
  request: FastifyRequest,
  reply: FastifyReply,
  { plan, back, cookie, kinds }: ResponseHeadPlan,
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
      if (kind === 'cookie' && cookie !== null && setCookieName(value) === cookie) continue
      if (back !== undefined) value = rewriteValue(kind, value, back, request)
    }
    // An own header named as what every object has, such as "constructor", is one only where it was set.
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

function rewriteValue(kind: Kind, value: string, back: ResponseRewrite, request: FastifyRequest): string {
  if (kind === 'place') return back.location(value, request)
  if (kind === 'cookie') return back.cookie(value, request)
  if (kind === 'refresh') return back.refresh(value, request)
  return kind === 'link' ? back.link(value, request) : value
}

const nominatedIn = (fields: readonly string[]): string[] | undefined =>
  nominatedBy(headerOf(fields, 'connection'))

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
    setHeader(this.#head, name, value)
  }

  remove(name: string): void {
    setHeader(this.#head, name, undefined)
  }
}
