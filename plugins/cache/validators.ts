import { matchesEtag } from '../../src/lib/http/etags.ts'
import type { Entry } from './entry.ts'
import { fieldIn, httpDate } from './fields.ts'
import type { PresentedRequest } from './presented-request.ts'

/** The fields of a client's request that the cache answers, and the upstream never sees in a request that fills the cache. */
export const CLIENT_CONDITIONS: readonly string[] = [
  'if-none-match',
  'if-modified-since',
  'if-range',
  'range'
]

/** Returns the request fields that revalidate an entry, names and values in turn (RFC 9111 section 4.3.1). */
export function revalidationFields({ fields, ownEtag }: Pick<Entry, 'fields' | 'ownEtag'>): string[] {
  if (ownEtag) return []
  const etag = fieldIn(fields, 'etag')
  const modified = fieldIn(fields, 'last-modified')
  return [
    ...(etag === undefined ? [] : ['if-none-match', etag]),
    ...(modified === undefined ? [] : ['if-modified-since', modified])
  ]
}

/** Tells whether a request asks about a response that its client has already (RFC 9110 section 13.2.2): then a 304 answers it. */
export function isNotModified({ conditions }: PresentedRequest, fields: readonly string[]): boolean {
  const noneMatch = conditions['if-none-match']
  if (noneMatch !== undefined) return matchesEtag(noneMatch, fieldIn(fields, 'etag'))
  if (conditions['if-modified-since'] === undefined) return false
  const since = httpDate(conditions['if-modified-since'])
  const modified = httpDate(fieldIn(fields, 'last-modified') ?? fieldIn(fields, 'date') ?? '')
  return modified <= since
}

/** Tells whether the If-Range of a request names a response, by a strong comparison (RFC 9110 section 13.1.5); so does a request without one. */
export function matchesIfRange({ conditions }: PresentedRequest, fields: readonly string[]): boolean {
  const condition = conditions['if-range']
  if (condition === undefined) return true
  // A date is strong only in rare cases; the whole response is always right.
  return typeof condition === 'string' && condition.startsWith('"') && condition === fieldIn(fields, 'etag')
}

// What a 304 tells beside its status (RFC 9110 section 15.4.5), and what belongs to the body that it does not have.
const OF_THE_BODY = new Set(['content-type', 'content-encoding', 'content-language', 'content-length'])

/** Returns the fields of a 304 that stands for a response. */
export function notModifiedFields(fields: readonly string[]): string[] {
  return fields.filter((_, i) => !OF_THE_BODY.has(fields[i - (i % 2)] as string))
}
