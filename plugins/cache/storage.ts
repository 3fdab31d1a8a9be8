import type { CacheHead } from '../../src/lib/contracts/cache.ts'
import { isHeaderName } from '../../src/lib/http/headers.ts'
import { fieldIn } from './fields.ts'
import { type CacheControl, cacheControlOf, type Exchange, initialAge } from './freshness.ts'
import type { CachePolicy } from './options.ts'

/** What of a request decides whether its response may be stored. */
export interface StorageRequest {
  /** Whether the request says no-store, or has a Cache-Control that is invalid. */
  readonly noStore: boolean
  /** Whether the gateway knows the caller. */
  readonly hasCaller: boolean
  readonly hasAuthorization: boolean
}

/** How a response is stored; times are in ms. */
export interface Storage {
  /** How long it is fresh from now on; 0 where it is stored to be revalidated, or to be served stale. */
  readonly freshFor: number
  /** How old it is now. */
  readonly age: number
  /** How long after that it is served stale while it is renewed. */
  readonly staleWhileRevalidate: number
  /** How long after that it is served stale where the upstream fails. */
  readonly staleIfError: number
  /** The request headers that it varies by, in lower case and in order. */
  readonly vary: readonly string[]
}

/** What a response, the request for it and the route say about storing. */
export interface StorageQuestion {
  readonly response: CacheHead
  readonly request: StorageRequest
  readonly policy: CachePolicy
  readonly exchange: Exchange
}

// Final statuses that say what the resource is; 206 and errors of the moment are never stored.
const STORABLE = new Set([200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 451, 501])

/** The most request headers that a response may vary by and be stored. */
export const MAX_VARY = 16

/** Decides whether and for how long a response is stored (RFC 9111 section 3); a reason where it is not. */
export function decideStorage(question: StorageQuestion): Storage | string {
  const { response, request, policy, exchange } = question
  const { status, fields } = response
  if (!STORABLE.has(status)) return 'status'
  if (request.noStore) return 'request-no-store'
  if (request.hasCaller && policy.callers === 'never') return 'caller'
  const control = cacheControlOf(fields, exchange)
  if (control === undefined) return 'invalid-cache-control'
  if (control.private) return 'private'
  if (control.noStore) return 'no-store'
  if (fieldIn(fields, 'set-cookie') !== undefined && !policy.stripsCookies) return 'set-cookie'
  if (fieldIn(fields, 'content-range') !== undefined) return 'content-range'
  if (request.hasAuthorization && !request.hasCaller && !allowsAuthorization(control)) return 'authorization'
  const vary = varyOf(fields)
  if (vary === undefined) return 'vary'
  const age = initialAge(fields, exchange)
  const freshFor = freshnessOf(question, control, age)
  if (freshFor === undefined) return 'no-freshness'
  const windows = staleWindows(control, policy)
  const isOfUse =
    freshFor > 0 || hasValidator(fields) || windows.staleWhileRevalidate > 0 || windows.staleIfError > 0
  return isOfUse ? { freshFor, age, vary, ...windows } : 'stale'
}

// RFC 9111 section 3.5.
const allowsAuthorization = ({ public: isPublic, mustRevalidate, sMaxage }: CacheControl): boolean =>
  isPublic || mustRevalidate || sMaxage !== undefined

/** Reads the Vary field of a response; undefined where no stored response can be chosen by it. */
function varyOf(fields: readonly string[]): string[] | undefined {
  const names = (fieldIn(fields, 'vary') ?? '')
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '')
  // A response that is encoded was chosen by Accept-Encoding, said or not.
  if (fieldIn(fields, 'content-encoding') !== undefined) names.push('accept-encoding')
  const unique = [...new Set(names)].toSorted()
  return unique.length > MAX_VARY || unique.some((name) => name === '*' || !isHeaderName(name))
    ? undefined
    : unique
}

/** Returns how long a response is fresh from now on, in ms; undefined where nothing says so. */
function freshnessOf(
  { response: { status }, policy }: StorageQuestion,
  { lifetime, noCache }: CacheControl,
  age: number
): number | undefined {
  const longest = policy.maxTtl ?? Number.POSITIVE_INFINITY
  const says = lifetime !== undefined || noCache
  if (policy.override !== undefined && (status === 200 || says)) return Math.min(policy.override, longest)
  if (noCache) return 0
  if (lifetime !== undefined) return Math.min(Math.max(0, lifetime - age), longest)
  const ours = status === 200 ? policy.ttl : status === 404 || status === 410 ? policy.notFound : undefined
  return ours === undefined ? undefined : Math.min(ours, longest)
}

/** Returns for how long a response is served stale: the shorter of what the route and the upstream say (RFC 5861). */
function staleWindows(
  control: CacheControl,
  policy: CachePolicy
): Pick<Storage, 'staleWhileRevalidate' | 'staleIfError'> {
  const never =
    control.mustRevalidate || control.proxyRevalidate || (control.noCache && policy.override === undefined)
  if (never) return { staleWhileRevalidate: 0, staleIfError: 0 }
  return {
    staleWhileRevalidate: shorter(policy.staleWhileRevalidate, control.staleWhileRevalidate),
    // A shared cache reads s-maxage as proxy-revalidate (RFC 9111 section 5.2.2.10).
    staleIfError: control.sMaxage === undefined ? shorter(policy.staleIfError, control.staleIfError) : 0
  }
}

function shorter(ours: number | undefined, seconds: number | undefined): number {
  const theirs = seconds === undefined ? undefined : seconds * 1000
  if (ours === undefined) return theirs ?? 0
  return theirs === undefined ? ours : Math.min(ours, theirs)
}

/** Tells whether a response can be revalidated. */
export const hasValidator = (fields: readonly string[]): boolean =>
  fieldIn(fields, 'etag') !== undefined || fieldIn(fields, 'last-modified') !== undefined
