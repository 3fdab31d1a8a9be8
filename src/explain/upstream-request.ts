import type { Plan, PlannedRoute } from '../config/plan-types.ts'
import { maskerOf } from '../config/redact.ts'
import { HOP_BY_HOP } from '../lib/http/hop-by-hop.ts'

/** A request to an upstream as it was, or would be, sent. */
export interface UpstreamRequest {
  readonly upstream: string
  readonly target: string
  readonly method: string
  readonly path: string
  /** Lower-case names and values in turn. */
  readonly headers: readonly string[]
  /** null where the body was streamed. */
  readonly bodyBytes: number | null
  readonly headersTimeout: number
  /** The gate that made it; undefined for the target of the route. */
  readonly gate: string | undefined
}

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
}

/** Explains a request to an upstream: its URL, its headers, and which part of the gateway added or removed each. */
export function explainUpstream(
  plan: Plan,
  sent: UpstreamRequest,
  client: ClientRequest
): Omit<ExplainedUpstream, 'targets'> {
  const masked = maskerOf(plan)
  const authorOf = makeAuthors(plan, client.route)
  const fromClient = client.headers.map(([name, value]) => [name.toLowerCase(), value.trim()] as const)
  const headers = pairsOf(sent.headers).map(
    ([name, value]): ExplainedHeader => ({
      name,
      value: String(masked(value, ['headers', name])),
      by: fromClient.some(([known, own]) => known === name && own === value) ? null : authorOf(name)
    })
  )
  const names = new Set(headers.map(({ name }) => name))
  const removed = [...new Set(fromClient.map(([name]) => name))].filter((name) => !names.has(name))
  return {
    upstream: sent.upstream,
    askedBy: sent.gate ?? null,
    method: sent.method,
    url: sent.target.startsWith('unix:') ? `${sent.target} ${sent.path}` : originOf(sent.target) + sent.path,
    headers,
    removed: sent.gate === undefined ? removed.map((name) => ({ name, by: removerOf(name, authorOf) })) : [],
    bodyBytes: sent.bodyBytes,
    headersTimeout: sent.headersTimeout === 0 ? null : sent.headersTimeout
  }
}

/** Returns a function that finds the concern that sets or removes a request header, else the target. */
function makeAuthors(plan: Plan, route: PlannedRoute | undefined): (name: string) => string {
  const found = new Map<string, string>()
  for (const { key, requestHeaders } of plan.catalog.concerns) {
    const options = route?.options[key] ?? plan.options[key]
    if (requestHeaders === undefined || options === undefined || options === false) continue
    for (const name of requestHeaders(options as never)) found.set(name, key)
  }
  return (name) => found.get(name) ?? route?.target ?? 'gateway'
}

const removerOf = (name: string, authorOf: (name: string) => string): string =>
  HOP_BY_HOP.has(name) ? 'hop-by-hop (RFC 9110 section 7.6.1)' : authorOf(name)

const pairsOf = (flat: readonly string[]): [string, string][] =>
  flat.flatMap((name, i): [string, string][] => (i % 2 === 0 ? [[name, flat[i + 1] ?? '']] : []))

const originOf = (target: string): string => new URL(target).origin
