import type { IncomingMessage } from 'node:http'
import type { FastifyRequest } from 'fastify'
import {
  canonicalHost,
  canonicalPath,
  HostInvalid,
  matchable,
  type PathPolicy,
  TargetForm,
  VersionInvalid
} from '../lib/http/canonical-path.ts'
import { isHttp2 } from '../lib/http/http2.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { isOtherProtocol } from '../lib/other-protocols.ts'
import {
  CodingUnknown,
  ExpectationUnknown,
  HeaderRepeated,
  Malformed,
  MethodRefused
} from '../lib/refusals.ts'
import { isPreflight, MARK, preflightFor, type Table } from './route-table/index.ts'

/** The path under which the router knows requests that are refused; no request can have it. */
export const REFUSED = `/${MARK}refused`

type Refusal = Error & { code: string }

interface NormalizedRequest extends IncomingMessage {
  /** The canonical URL, where the router was told another. */
  sallyportUrl?: string
  /** The method, where the router was told another. */
  sallyportMethod?: string
  sallyportRefusal?: Refusal
  /** What a policy in report mode would have refused. */
  sallyportReported?: Refusal
}

/** What happens to a raw request before it is routed, and how it is undone after. */
export interface Normalizer {
  readonly ignoreCase: boolean
  /** Whether paths may have empty segments, which no parameter takes. */
  readonly keepsEmpty: boolean
  readonly rewriteUrl: (raw: IncomingMessage) => string
  restore(request: FastifyRequest): void
  /** Takes over the table, once it is made. */
  seal(): void
}

/** Why a request was refused before it was routed. */
export const refusalOf = (raw: IncomingMessage): Refusal =>
  (raw as NormalizedRequest).sallyportRefusal ?? new TargetForm()

const HOSTS_REMEMBERED = 1000

/** Makes the hygiene step before routing: one canonical path and host that router, gates and upstream all see, or a refusal. */
export function makeNormalizer(paths: PathPolicy, getTable: () => Table): Normalizer {
  const report = paths.mode === 'report'
  const hosts = new Map<string, string | null>()
  let table = getTable()
  let virtual: ((host: string, path: string) => string) | undefined

  function hostOf(host: string): string | null {
    if (hosts.size >= HOSTS_REMEMBERED) hosts.clear()
    return getOrCreate(hosts, host, () => canonicalHost(host) ?? null)
  }

  function refuse(raw: NormalizedRequest, refusal: Refusal): string {
    raw.sallyportRefusal = refusal
    raw.sallyportUrl = raw.url ?? '/'
    raw.sallyportMethod = raw.method ?? 'GET'
    raw.method = 'GET'
    return REFUSED
  }

  function rewriteUrl(raw: NormalizedRequest): string {
    let target = raw.url ?? ''
    if (raw.httpVersionMajor === 1 ? raw.httpVersionMinor > 1 : !isHttp2(raw))
      return refuse(raw, new VersionInvalid())
    // HTTP/1.0 knows no transfer codings: a peer in between may read the body otherwise (RFC 9112 section 6.1).
    if (
      raw.httpVersionMinor === 0 &&
      raw.httpVersionMajor === 1 &&
      (raw.headers['transfer-encoding'] !== undefined || isOtherProtocol(raw))
    )
      return refuse(raw, new Malformed())
    const { expect, 'transfer-encoding': coding, 'content-length': length } = raw.headers
    if (coding !== undefined && !isChunkedAlone(coding)) return refuse(raw, new CodingUnknown())
    if (length !== undefined && length.length > 1 && length.startsWith('0')) writeLengthAsNumber(raw, length)
    if (expect !== undefined && expect.toLowerCase() !== '100-continue')
      return refuse(raw, new ExpectationUnknown())
    const repeated = repeatedIn(raw)
    if (repeated !== undefined) return refuse(raw, new HeaderRepeated(repeated))
    if (isHttp2(raw)) {
      // The authority stands for the Host, and may not differ from one (RFC 9113 section 8.3.1).
      const authority = raw.headers[':authority']
      if (typeof authority === 'string') {
        if (raw.headers.host !== undefined && raw.headers.host !== authority)
          return refuse(raw, new HostInvalid('a Host beside another authority'))
        raw.headers.host = authority
      }
    }
    const host = countHosts(raw)
    if (host !== 1) return refuse(raw, new HostInvalid(host === 0 ? 'no Host' : 'more than one Host'))
    if (target.charCodeAt(0) !== 47) {
      const absolute = /^https?:\/\/([^/?#]*)(.*)$/i.exec(target)
      if (absolute === null) return refuse(raw, new TargetForm())
      raw.headers.host = absolute[1] ?? ''
      const rest = absolute[2] ?? ''
      target = rest.startsWith('/') ? rest : `/${rest}`
    }
    const name = hostOf(raw.headers.host ?? '')
    if (name === null) return refuse(raw, new HostInvalid('a malformed Host'))
    const method = raw.method ?? 'GET'
    const query = target.indexOf('?')
    const read = canonicalPath(query === -1 ? target : target.slice(0, query), paths)
    if (read.refusal !== undefined) {
      if (!report || read.byPolicy !== true) return refuse(raw, read.refusal)
      raw.sallyportReported = read.refusal
    }
    const asked =
      method === 'OPTIONS' && isPreflight(raw) ? raw.headers['access-control-request-method'] : undefined
    const routed = asked === undefined ? table.methods.get(method) : table.preflights.get(asked)
    if (routed === undefined) return refuse(raw, new MethodRefused(method))
    if (routed !== method) {
      raw.sallyportMethod = method
      raw.method = routed
    }
    const url = query === -1 ? read.path : read.path + target.slice(query)
    const plain = matchable(read.path)
    const prefix = virtual === undefined ? '' : virtual(name, plain)
    const known = prefix === '' ? plain : prefix + plain
    const symbol = asked === undefined ? method : preflightFor(asked)
    const told = table.aliases.get(paths.ignoreCase ? known.toLowerCase() : known)
    const alias = typeof told === 'object' ? told.get(symbol) : told
    const picked = table.pick === undefined || alias !== undefined ? '' : table.pick(prefix, plain, symbol)
    if (alias === undefined && picked === '' && known === read.path) return url
    raw.sallyportUrl = url
    return picked + (alias ?? known) + url.slice(read.path.length)
  }

  return {
    ignoreCase: paths.ignoreCase,
    keepsEmpty: paths.doubleSlash === 'keep',
    rewriteUrl,
    restore({ raw }: { raw: NormalizedRequest }) {
      if (raw.sallyportUrl !== undefined) raw.url = raw.sallyportUrl
      if (raw.sallyportMethod !== undefined) raw.method = raw.sallyportMethod
    },
    seal() {
      table = getTable()
      virtual = virtualHosts(table)
    }
  }
}

// Node.js takes "gzip, chunked" and passes on what is still gzip; an upstream would take it for the content (RFC 9112 section 6.1).
const isChunkedAlone = (coding: string): boolean => /^[\s,]*chunked[\s,]*$/i.test(coding)

/** Takes the leading zeros off a Content-Length, which another parser may read as octal. */
function writeLengthAsNumber({ headers, rawHeaders }: IncomingMessage, length: string): void {
  const number = length.replace(/^0+(?=\d)/, '')
  headers['content-length'] = number
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.toLowerCase() === 'content-length') rawHeaders[i + 1] = number
}

// Node keeps the first of several of these in silence, and an upstream may keep the last: they are counted as they came.
function countHosts(raw: IncomingMessage): number {
  if (isHttp2(raw)) return raw.headers[':authority'] === undefined && raw.headers.host === undefined ? 0 : 1
  const { rawHeaders } = raw
  let found = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]
    if (name?.length === 4 && name.toLowerCase() === 'host') found++
  }
  return found
}

/** Finds a header that stands there twice and may stand there once; by length first, since most names are neither. */
function repeatedIn({ rawHeaders }: IncomingMessage): string | undefined {
  let types = 0
  let credentials = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]
    if (name?.length === 12 && name.toLowerCase() === 'content-type' && ++types > 1) return 'Content-Type'
    if (name?.length === 13 && name.toLowerCase() === 'authorization' && ++credentials > 1)
      return 'Authorization'
  }
  return undefined
}

/** Finds what stands before the path in the router: a host that routes name and that knows the path, else nothing. */
function virtualHosts({
  hosts,
  wildcards,
  hasPath
}: Table): ((host: string, path: string) => string) | undefined {
  if (hosts.size === 0 && wildcards.size === 0) return undefined
  return (host, path) => {
    const exact = hosts.get(host)
    if (exact !== undefined && hasPath(exact, path)) return exact
    const dot = host.indexOf('.')
    const wide = dot === -1 ? undefined : wildcards.get(host.slice(dot))
    return wide !== undefined && hasPath(wide, path) ? wide : ''
  }
}
