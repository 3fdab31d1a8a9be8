import type { Plan, PlannedRoute } from '../config/plan-types.ts'
import { maskerOf, redact } from '../config/redact.ts'
import type { UpstreamRequest } from '../lib/contracts/simulation.ts'
import { cgiName, fieldPairs, isForwardedHeader } from '../lib/http/headers.ts'
import { HOP_BY_HOP } from '../lib/http/hop-by-hop.ts'
import { type MaskPair, shownName } from './shown-url.ts'

/** A request to an upstream, and what it differs in from the client's. */
export interface ExplainedUpstream {
  readonly upstream: string
  /** The gate that asks; null for the target of the route. */
  readonly askedBy: string | null
  readonly method: string
  readonly url: string
  readonly headers: readonly ExplainedHeader[]
  /** The client's headers that are not forwarded. */
  readonly removed: readonly { readonly name: string; readonly by: string }[]
  /** null where the body was streamed. */
  readonly bodyBytes: number | null
  /** Milliseconds until the response headers; null for no limit. */
  readonly headersTimeout: number | null
  /** The other targets that might get it, with their shares. */
  readonly targets: readonly { readonly url: string; readonly share: string }[]
}

/** A header of a request to an upstream; "by" is null for one of the client. */
export interface ExplainedHeader {
  readonly name: string
  readonly value: string
  readonly by: string | null
}

/** What a request to an upstream is compared with. */
export interface ClientRequest {
  /** Names and values, as sent. */
  readonly headers: readonly (readonly [string, string])[]
  readonly route: PlannedRoute | undefined
  /** The query of the client, whose values may be shown unless their names are secret; undefined to show none. */
  readonly query: string | undefined
  readonly maskPair: MaskPair
  /** The names of the headers in which any route takes credentials, in lower case. */
  readonly credentialHeaders: ReadonlySet<string>
}

/** Explains a request to an upstream: its URL, its headers, and which part of the gateway added or removed each. */
export function explainUpstream(
  plan: Plan,
  sent: UpstreamRequest,
  client: ClientRequest
): Omit<ExplainedUpstream, 'targets'> {
  const shownValue = makeHeaderMask(plan, client, sent.gate)
  const authorOf = makeAuthors(plan, client.route, sent.gate)
  const removerOf = makeRemovers(plan, client.route, authorOf)
  const fromClient = client.headers.map(([name, value]) => [name.toLowerCase(), value.trim()] as const)
  const headers = fieldPairs(sent.headers).map(([name, value]): ExplainedHeader => {
    const isOwn = fromClient.some(([known, own]) => known === name && own === value)
    const by = isOwn ? null : authorOf(name)
    return { name, value: shownValue({ name, value, by }), by }
  })
  const names = new Set(headers.map(({ name }) => name))
  const removed = [...new Set(fromClient.map(([name]) => name))].filter((name) => !names.has(name))
  return {
    upstream: shownName(plan, sent.upstream),
    askedBy: sent.gate ?? null,
    method: sent.method,
    url:
      (sent.target.startsWith('unix:') ? `${sent.target} ` : originOf(sent.target)) +
      shownPath(maskBase(plan, sent), client),
    headers,
    removed: sent.gate === undefined ? removed.map((name) => ({ name, by: removerOf(name) })) : [],
    bodyBytes: sent.body?.length ?? null,
    headersTimeout: sent.headersTimeout === 0 ? null : sent.headersTimeout
  }
}

/** Returns a function that masks the value of a header: by its name, where it holds credentials, and what the config inserts. */
function makeHeaderMask(
  plan: Plan,
  { route, credentialHeaders }: ClientRequest,
  gate: string | undefined
): (header: ExplainedHeader) => string {
  const masked = maskerOf(plan)
  return ({ name, value, by }) => {
    if (credentialHeaders.has(name)) return '***'
    // A value that the config inserts is masked as in the config.
    const isWritten = by !== null && by !== route?.target && by !== gate
    return String(masked(value, isWritten ? ['headers', 'request', name, 'set'] : ['headers', name]))
  }
}

/** Returns the path and query of a request, without the path of an upstream's URL that comes from a variable, which is masked in the config, too. */
function maskBase({ interpolated }: Plan, { target, path }: UpstreamRequest): string {
  for (const text of interpolated) {
    if (!URL.canParse(text)) continue
    const { host, pathname } = new URL(text)
    const base = pathname.replace(/\/+$/, '')
    if (base !== '' && URL.canParse(target) && new URL(target).host === host && path.startsWith(base))
      return `/***${path.slice(base.length)}`
  }
  return path
}

/** Returns the path and query of a request to an upstream, without values that the client did not send. */
function shownPath(path: string, { query, maskPair }: ClientRequest): string {
  const at = path.indexOf('?')
  if (at === -1) return path
  const own = new Set(query?.split('&'))
  const shown = path
    .slice(at + 1)
    .split('&')
    .map((pair) => (own.has(pair) ? maskPair(pair) : redact(`?${pair}`).slice(1)))
  return `${path.slice(0, at)}?${shown.join('&')}`
}

/** Returns a function that finds the concern that sets or removes a request header, else the gate or the target that sends the request. */
function makeAuthors(
  plan: Plan,
  route: PlannedRoute | undefined,
  gate: string | undefined
): (name: string) => string {
  const found = new Map<string, string>()
  for (const { key, requestHeaders } of plan.catalog.concerns) {
    const options = route?.options[key] ?? plan.options[key]
    if (requestHeaders === undefined || options === undefined || options === false) continue
    for (const name of requestHeaders(options as never)) found.set(name, key)
  }
  return (name) => found.get(name) ?? gate ?? route?.target ?? 'gateway'
}

/** Returns a function that finds what keeps a request header of the client from the upstream. */
function makeRemovers(
  plan: Plan,
  route: PlannedRoute | undefined,
  authorOf: (name: string) => string
): (name: string) => string {
  return (name) => {
    if (HOP_BY_HOP.has(name)) return 'hop-by-hop (RFC 9110 section 7.6.1)'
    // What describes the original request is taken from trusted proxies alone, whatever a concern forwards.
    if (isForwardedHeader(cgiName(name)) || name === plan.clientIp) return authorOf(name)
    const dropping = plan.catalog.concerns.find(({ key, dropsRequestHeader }) =>
      dropsRequestHeader?.((route?.options[key] || undefined) as never, name)
    )
    return dropping?.key ?? authorOf(name)
  }
}

const originOf = (target: string): string => new URL(target).origin
