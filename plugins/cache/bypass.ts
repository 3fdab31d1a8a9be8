import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyRequest } from 'fastify'
import type { TargetQuestion } from '../../src/lib/contracts/cache.ts'
import { mayHaveBody } from '../../src/lib/http/bodies.ts'
import { type RequestDirectives, requestDirectives } from '../../src/lib/http/cache-control.ts'
import { headerOf } from '../../src/lib/http/flat-head.ts'
import { cgiName } from '../../src/lib/http/headers.ts'
import { upgradeOf } from '../../src/lib/http/upgrade.ts'
import type { CacheStatus } from './cache-status.ts'
import { ageOf, type Entry, freshness } from './entry.ts'
import type { CachePolicy } from './options.ts'
import type { StorageRequest } from './storage.ts'

/** What the cache has to know of a request. */
export interface CacheRequest extends StorageRequest {
  readonly directives: RequestDirectives | undefined
}

const NO_DIRECTIVES = requestDirectives('')

/** Reads what the cache has to know of a request; `credentials` are the headers in which other routes take credentials. */
export function readRequest(
  { headers, caller }: FastifyRequest,
  credentials: ReadonlySet<string>
): CacheRequest {
  const field = headers['cache-control']
  const directives = field === undefined ? NO_DIRECTIVES : requestDirectives(field)
  return {
    directives,
    noStore: directives?.noStore ?? true,
    hasCaller: caller !== null,
    hasAuthorization: headers.authorization !== undefined || hasAny(headers, credentials)
  }
}

function hasAny(headers: IncomingHttpHeaders, names: ReadonlySet<string>): boolean {
  for (const name of names) if (headers[name] !== undefined) return true
  return false
}

/** Reads what the cache has to know of a request that a target makes, and why the cache has nothing to do with it; undefined where it has. */
export function readTargetRequest(
  { headers, caller }: FastifyRequest,
  { head, configured }: TargetQuestion,
  { policy, credentials }: { readonly policy: CachePolicy; readonly credentials: ReadonlySet<string> }
): { readonly read: CacheRequest; readonly bypass: CacheStatus | undefined } {
  const field = headers['cache-control']
  const directives = field === undefined ? NO_DIRECTIVES : requestDirectives(field)
  const read = {
    // That only stored responses are taken is said of the client's own response.
    directives: directives === undefined ? undefined : { ...directives, onlyIfCached: false },
    noStore: directives?.noStore ?? true,
    hasCaller: caller !== null,
    // What the config sets is not a credential of the client, or is in the key.
    hasAuthorization: ['authorization', ...credentials].some(
      (name) => !configured.has(name) && headerOf(head, name) !== undefined
    )
  }
  return { read, bypass: callerReason(read, policy) }
}

/** Returns why a request has nothing to do with the cache; undefined where it has. */
export function bypassReason(
  request: FastifyRequest,
  read: CacheRequest,
  policy: CachePolicy
): CacheStatus | undefined {
  const { method, headers } = request
  if (method !== 'GET' && method !== 'HEAD') return { fwd: 'method' }
  if (upgradeOf(request.raw) !== undefined) return { fwd: 'bypass', detail: 'upgrade' }
  const reason = callerReason(read, policy)
  if (reason !== undefined) return reason
  // The upstream may take it for another method than GET.
  if (Object.keys(headers).some((name) => METHOD_OVERRIDES.has(cgiName(name))))
    return { fwd: 'bypass', detail: 'method-override' }
  if (mayHaveBody(request.raw)) return { fwd: 'bypass', detail: 'content' }
  // Only the origin can judge these (RFC 9111 section 4.3.2).
  if (headers['if-match'] !== undefined || headers['if-unmodified-since'] !== undefined)
    return { fwd: 'bypass', detail: 'precondition' }
  return undefined
}

function callerReason(
  { hasCaller, hasAuthorization }: CacheRequest,
  { callers }: CachePolicy
): CacheStatus | undefined {
  if (hasCaller && callers === 'never') return { fwd: 'bypass', detail: 'caller' }
  // The upstream knows the caller, and the gateway does not.
  return hasAuthorization && !hasCaller && callers !== 'shared'
    ? { fwd: 'bypass', detail: 'authorization' }
    : undefined
}

const METHOD_OVERRIDES = new Set(['x-http-method-override', 'x-http-method', 'x-method-override'])

/** Tells whether a request takes an entry by its Cache-Control, where clients may ask for a renewed response. */
export function isAcceptable(
  { directives }: CacheRequest,
  entry: Entry,
  { requestDirectives: honored }: CachePolicy
): boolean {
  if (!honored || directives === undefined) return true
  const { noCache, maxAge, minFresh } = directives
  return (
    !noCache &&
    (maxAge === undefined || ageOf(entry) <= maxAge * 1000) &&
    (minFresh === undefined || freshness(entry) >= minFresh * 1000)
  )
}
