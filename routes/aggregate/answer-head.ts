import { wall } from '../../src/lib/clock.ts'
import { responseDirectives } from '../../src/lib/http/cache-control.ts'
import { joinVary } from '../../src/lib/http/headers.ts'
import { headerOf } from '../../src/lib/http/request-head.ts'
import type { LegOutcome } from './run.ts'

/** Returns the Cache-Control that is the strictest of all legs; undefined where none of them says anything. */
export function cacheControl(outcomes: readonly LegOutcome[], isPrivate: boolean): string | undefined {
  if (outcomes.some(({ leg, failure }) => failure !== undefined || !leg.safe)) return 'no-store'
  const heads = outcomes.flatMap((outcome) => outcome.heads)
  if (heads.some((head) => headerOf(head, 'set-cookie') !== undefined)) return 'no-store'
  if (heads.every((head) => isSilent(head))) return undefined
  let freshness = Number.POSITIVE_INFINITY
  let isRevalidated = false
  for (const head of heads) {
    const directives = responseDirectives(headerOf(head, 'cache-control') ?? '')
    if (directives === undefined || directives.noStore || directives.private) return 'no-store'
    isRevalidated ||= directives.mustRevalidate || directives.proxyRevalidate
    freshness = Math.min(freshness, directives.noCache ? 0 : freshnessOf(head, directives))
  }
  if (freshness === 0) return 'no-cache'
  const scope = isPrivate ? 'private, ' : ''
  return `${scope}max-age=${freshness}${isRevalidated ? ', must-revalidate' : ''}`
}

const isSilent = (head: readonly string[]): boolean =>
  headerOf(head, 'cache-control') === undefined && headerOf(head, 'expires') === undefined

/** Returns how many seconds a response stays fresh; 0 where it does not say (RFC 9111 section 4.2.1). */
function freshnessOf(
  head: readonly string[],
  { maxAge, sMaxage }: { readonly maxAge: number | undefined; readonly sMaxage: number | undefined }
): number {
  const lifetime = maxAge ?? sMaxage ?? expiresIn(head)
  const age = Number(headerOf(head, 'age') ?? 0)
  return Math.max(0, Math.floor(lifetime - (Number.isFinite(age) ? age : 0)))
}

function expiresIn(head: readonly string[]): number {
  const expires = Date.parse(headerOf(head, 'expires') ?? '')
  const date = Date.parse(headerOf(head, 'date') ?? '')
  const seconds = (expires - (Number.isNaN(date) ? wall() : date)) / 1000
  return Number.isNaN(seconds) ? 0 : seconds
}

/** Returns the headers that any leg varies by; empty for none. */
export const varyOf = (outcomes: readonly LegOutcome[]): string =>
  outcomes.flatMap(({ heads }) => heads.map((head) => headerOf(head, 'vary') ?? '')).reduce(joinVary, '')

/** Returns Sallyport-Partial, a list of the legs that failed (RFC 9651); undefined where the response is complete. */
export function partialHeader(outcomes: readonly LegOutcome[]): string | undefined {
  const failed = outcomes.flatMap(({ leg, failure }) =>
    failure === undefined
      ? []
      : [
          `${leg.name};reason=${failure.reason}${failure.status === undefined ? '' : `;status=${failure.status}`}`
        ]
  )
  return failed.length === 0 ? undefined : failed.join(', ')
}

/** Returns what `_partial` says: the legs that failed, and why. */
export const partialMember = (outcomes: readonly LegOutcome[]): object[] =>
  outcomes.flatMap(({ leg, failure }) =>
    failure === undefined
      ? []
      : [
          {
            leg: leg.name,
            reason: failure.reason,
            ...(failure.status === undefined ? {} : { status: failure.status })
          }
        ]
  )
