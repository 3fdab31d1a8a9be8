import { createHash } from 'node:crypto'

/** Returns a strong ETag made of the bytes of a body. */
export const etagOf = (body: Uint8Array): string =>
  `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`

/** Returns whether the list of an If-None-Match names an ETag, by a weak comparison (RFC 9110 section 8.8.3.2). */
export function matchesEtag(list: string, etag: string | undefined): boolean {
  if (list.trim() === '*') return true
  if (etag === undefined) return false
  return [...list.matchAll(ETAG)].some(([, opaque]) => opaque === opaqueOf(etag))
}

const ETAG = /(?:W\/)?("[\x21\x23-\x7e\x80-\xff]*")/g

const opaqueOf = (etag: string): string => etag.replace(/^W\//, '')
