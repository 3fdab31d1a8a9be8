import { wall } from '../../src/lib/clock.ts'
import { deltaSeconds, MAX_SECONDS, responseDirectives } from '../../src/lib/http/cache-control.ts'
import { headerOf } from '../../src/lib/http/flat-head.ts'
import { joinVary } from '../../src/lib/http/headers.ts'
import type { LegOutcome } from './run.ts'

/** Returns the headers of a response that its legs decide. */
export function headersFor(outcomes: readonly LegOutcome[]): Record<string, string> {
  const headers: Record<string, string> = {}
  const caching = cacheControl(outcomes)
  if (caching !== undefined) headers['cache-control'] = caching
  const vary = varyOf(outcomes)
  if (vary !== '') headers['vary'] = vary
  const partial = partialHeader(outcomes)
  if (partial !== undefined) headers['sallyport-partial'] = partial
  return headers
}

/** Returns the Cache-Control that is the strictest of all legs; undefined where none of them says anything. */
function cacheControl(outcomes: readonly LegOutcome[]): string | undefined {
  if (outcomes.some(({ leg, failure }) => failure !== undefined || !leg.safe)) return 'no-store'
  const heads = outcomes.flatMap((outcome) => outcome.heads)
  if (heads.some((head) => headerOf(head, 'set-cookie') !== undefined)) return 'no-store'
  if (heads.every((head) => isSilent(head))) return undefined
  let freshness = Number.POSITIVE_INFINITY
  let isRevalidated = false
  let whileRevalidate = Number.POSITIVE_INFINITY
  let ifError = Number.POSITIVE_INFINITY
  for (const head of heads) {
    const general = headerOf(head, 'cache-control')
    const targeted = headerOf(head, 'cdn-cache-control')
    // What is said to this cache alone (RFC 9213) does not loosen what is said to all.
    for (const field of targeted === undefined ? [general] : [general ?? targeted, targeted]) {
      const directives = responseDirectives(field ?? '')
      if (directives === undefined || directives.noStore || directives.private) return 'no-store'
      isRevalidated ||= directives.mustRevalidate || directives.proxyRevalidate
      freshness = Math.min(freshness, directives.noCache ? 0 : freshnessOf(head, directives))
      whileRevalidate = Math.min(whileRevalidate, directives.staleWhileRevalidate ?? whileRevalidate)
      // A shared cache reads s-maxage as proxy-revalidate (RFC 9111 section 5.2.2.10).
      ifError = Math.min(ifError, directives.sMaxage === undefined ? (directives.staleIfError ?? ifError) : 0)
    }
  }
  if (freshness === 0) return 'no-cache'
  const said = [`max-age=${freshness}`]
  if (isRevalidated) said.push('must-revalidate')
  else {
    if (Number.isFinite(whileRevalidate)) said.push(`stale-while-revalidate=${whileRevalidate}`)
    if (Number.isFinite(ifError)) said.push(`stale-if-error=${ifError}`)
  }
  return said.join(', ')
}

/** Returns the Cache-Control that a known caller gets: no other cache may store the response. */
export const privateCacheControl = (field: string): string =>
  field.startsWith('max-age=') ? `private, ${field}` : field

const isSilent = (head: readonly string[]): boolean =>
  ['cache-control', 'cdn-cache-control', 'expires'].every((name) => headerOf(head, name) === undefined)

/** Returns how many seconds a response stays fresh; 0 where it does not say (RFC 9111 section 4.2.1). */
function freshnessOf(
  head: readonly string[],
  { maxAge, sMaxage }: { readonly maxAge: number | undefined; readonly sMaxage: number | undefined }
): number {
  const lifetime =
    maxAge === undefined && sMaxage === undefined
      ? expiresIn(head)
      : Math.min(maxAge ?? Number.POSITIVE_INFINITY, sMaxage ?? Number.POSITIVE_INFINITY)
  const age = deltaSeconds(headerOf(head, 'age') ?? '0')
  return Math.max(0, Math.floor(Math.min(lifetime, MAX_SECONDS) - (Number.isNaN(age) ? 0 : age)))
}

function expiresIn(head: readonly string[]): number {
  const expires = Date.parse(headerOf(head, 'expires') ?? '')
  const date = Date.parse(headerOf(head, 'date') ?? '')
  const seconds = (expires - (Number.isNaN(date) ? wall() : date)) / 1000
  return Number.isNaN(seconds) ? 0 : seconds
}

/** Returns the headers that any leg varies by; empty for none. */
const varyOf = (outcomes: readonly LegOutcome[]): string =>
  outcomes.flatMap(({ heads }) => heads.map((head) => headerOf(head, 'vary') ?? '')).reduce(joinVary, '')

/** Returns Sallyport-Partial, a list of the legs that failed (RFC 9651); undefined where the response is complete. */
function partialHeader(outcomes: readonly LegOutcome[]): string | undefined {
  const failed = failedLegs(outcomes).map(({ leg, reason, status }) =>
    [leg, `reason=${reason}`, ...(status === undefined ? [] : [`status=${status}`])].join(';')
  )
  return failed.length === 0 ? undefined : failed.join(', ')
}

/** A leg that failed, as the client is told. */
export interface FailedLeg {
  readonly leg: string
  readonly reason: string
  readonly status?: number
}

/** Returns the legs that failed, and why. */
export const failedLegs = (outcomes: readonly LegOutcome[]): FailedLeg[] =>
  outcomes.flatMap(({ leg, failure }) => {
    if (failure === undefined) return []
    const { reason, status } = failure
    return [{ leg: leg.name, reason, ...(status === undefined ? {} : { status }) }]
  })

/** Returns the fields that name what the responses of legs can be purged by: names and values in turn. */
export function tagsOf(outcomes: readonly LegOutcome[]): string[] {
  const heads = outcomes.flatMap((outcome) => outcome.heads)
  return ['surrogate-key', 'cache-groups'].flatMap((name) =>
    heads.flatMap((head) => {
      const value = headerOf(head, name)
      return value === undefined ? [] : [name, value]
    })
  )
}
