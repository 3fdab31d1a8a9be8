import type { IncomingMessage } from 'node:http'
import type { FastifyRequest } from 'fastify'
import type { ClientTrust } from '../lib/http/addresses.ts'
import {
  canonicalHost,
  canonicalPath,
  HostInvalid,
  matchable,
  type PathPolicy,
  TargetForm
} from '../lib/http/canonical-path.ts'
import { queryOf } from '../lib/http/url-parts.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { MethodRefused } from '../lib/refusals.ts'
import { headRefusal, type RequestRefusal, removeLeadingZeros, takeAuthority } from './check-head.ts'
import { isPreflight, MARK, preflightFor, type Table } from './route-table/index.ts'

/** The route of refused requests in the router; no request can have this path. */
export const REFUSED = `/${MARK}refused`

interface NormalizedRequest extends IncomingMessage {
  /** The canonical URL, where the router gets another one. */
  sallyportUrl?: string
  /** The method, where the router gets another one. */
  sallyportMethod?: string
  sallyportRefusal?: RequestRefusal
  /** The refusal of a policy in report mode. */
  sallyportReported?: RequestRefusal
}

/** Normalizes a raw request before it is routed, and restores its own URL and method afterwards. */
export interface Normalizer {
  readonly ignoreCase: boolean
  /** Whether paths may have empty segments, which match no parameter. */
  readonly allowsEmptySegments: boolean
  readonly rewriteUrl: (raw: IncomingMessage) => string
  restore(request: FastifyRequest): void
  /** Uses the route table from now on; call it once the table is complete. */
  useTable(): void
}

/** Returns why a request was refused before it was routed. */
export const refusalOf = (raw: IncomingMessage): RequestRefusal =>
  (raw as NormalizedRequest).sallyportRefusal ?? new TargetForm()

const MAX_CACHED_HOSTS = 1000

/** Makes the normalizer of a gateway, which gives router, gates and upstream the same path and host, or refuses the request. */
export function makeNormalizer(policy: PathPolicy, trust: ClientTrust, getTable: () => Table): Normalizer {
  const reportsOnly = policy.mode === 'report'
  const hosts = new Map<string, string | null>()
  let table = getTable()
  let hostPrefix: ((host: string, path: string) => string) | undefined

  function canonicalHostOf(host: string): string | null {
    if (hosts.size >= MAX_CACHED_HOSTS) hosts.clear()
    return getOrCreate(hosts, host, () => canonicalHost(host) ?? null)
  }

  function refuse(raw: NormalizedRequest, refusal: RequestRefusal): string {
    raw.sallyportRefusal = refusal
    raw.sallyportUrl = raw.url ?? '/'
    raw.sallyportMethod = raw.method ?? 'GET'
    raw.method = 'GET'
    return REFUSED
  }

  function rewriteUrl(raw: NormalizedRequest): string {
    const refusal = headRefusal(raw)
    if (refusal !== undefined) return refuse(raw, refusal)
    removeLeadingZeros(raw)
    const target = takeAuthority(raw)
    if (target === undefined) return refuse(raw, new TargetForm())
    const host = canonicalHostOf(raw.headers.host ?? '')
    if (host === null) return refuse(raw, new HostInvalid('a malformed Host'))
    const query = target.indexOf('?')
    const canonical = canonicalPath(query === -1 ? target : target.slice(0, query), policy)
    if (canonical.refusal !== undefined) {
      if (!reportsOnly || canonical.byPolicy !== true) return refuse(raw, canonical.refusal)
      raw.sallyportReported = canonical.refusal
    }
    const url = query === -1 ? canonical.path : canonical.path + target.slice(query)
    return route(raw, url, { path: canonical.path, host })
  }

  /** Returns the URL under which the router finds the route of a request. */
  function route(
    raw: NormalizedRequest,
    url: string,
    { path, host }: { readonly path: string; readonly host: string }
  ): string {
    const method = raw.method ?? 'GET'
    const preflighted =
      method === 'OPTIONS' && isPreflight(raw) ? raw.headers['access-control-request-method'] : undefined
    const routedMethod =
      preflighted === undefined ? table.methods.get(method) : table.preflights.get(preflighted)
    if (routedMethod === undefined) return refuse(raw, new MethodRefused(method))
    if (routedMethod !== method) {
      raw.sallyportMethod = method
      raw.method = routedMethod
    }
    const compared = matchable(path)
    const prefix = hostPrefix === undefined ? '' : hostPrefix(host, compared)
    const routedPath = prefix === '' ? compared : prefix + compared
    const symbol = preflighted === undefined ? method : preflightFor(preflighted)
    const aliases = table.aliases.get(policy.ignoreCase ? routedPath.toLowerCase() : routedPath)
    const alias = typeof aliases === 'object' ? aliases.get(symbol) : aliases
    const picked =
      table.pick === undefined || alias !== undefined
        ? ''
        : table.pick({ host: prefix, path: compared, symbol, raw, query: queryOf(url).slice(1), trust })
    if (alias === undefined && picked === '' && routedPath === path) return url
    raw.sallyportUrl = url
    return picked + (alias ?? routedPath) + url.slice(path.length)
  }

  return {
    ignoreCase: policy.ignoreCase,
    allowsEmptySegments: policy.doubleSlash === 'keep',
    rewriteUrl,
    restore({ raw }: { raw: NormalizedRequest }) {
      if (raw.sallyportUrl !== undefined) raw.url = raw.sallyportUrl
      if (raw.sallyportMethod !== undefined) raw.method = raw.sallyportMethod
    },
    useTable() {
      table = getTable()
      hostPrefix = makeHostPrefix(table)
    }
  }
}

/** Makes the function that returns the prefix of a host in the router; empty where no route of this host has the path. */
function makeHostPrefix({
  hosts,
  wildcards,
  hasPath
}: Table): ((host: string, path: string) => string) | undefined {
  if (hosts.size === 0 && wildcards.size === 0) return undefined
  return (host, path) => {
    const exact = hosts.get(host)
    if (exact !== undefined && hasPath(exact, path)) return exact
    const dot = host.indexOf('.')
    const wildcard = dot === -1 ? undefined : wildcards.get(host.slice(dot))
    return wildcard !== undefined && hasPath(wildcard, path) ? wildcard : ''
  }
}
