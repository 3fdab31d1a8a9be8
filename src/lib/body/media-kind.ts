/** What a Content-Type says of a body: JSON, something else, or nothing that all readers understand alike. */
export type MediaKind = 'json' | 'other' | 'unclear'

// RFC 9110 section 8.3.1; a list of types, or anything behind a subtype, is no media type.
const MEDIA_TYPE = /^\s*([\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+)\s*(?:;(.*))?$/s

// The JSON MIME types of the WHATWG MIME Sniffing Standard, except for gRPC.
const JSON_TYPE = /^(?:(?:application|text)\/json|(?!application\/grpc\+)[^/]+\/.+\+json)$/

const CHARSET = /;\s*charset\s*=\s*"?([^\s;"]*)/gi

/** Returns the media type of a Content-Type in lower case, without parameters; undefined where it has none. */
export const mediaTypeOf = (contentType: string | undefined): string | undefined =>
  MEDIA_TYPE.exec(contentType ?? '')?.[1]?.toLowerCase()

/** Tells whether a Content-Type is JSON; unclear where some readers would take the body for JSON, or for JSON in another charset than UTF-8. */
export function mediaKindOf(contentType: string | undefined): MediaKind {
  const type = mediaTypeOf(contentType)
  if (type === undefined) return /json/i.test(contentType ?? '') ? 'unclear' : 'other'
  if (!JSON_TYPE.test(type)) return 'other'
  // Some readers take the first of two charsets, and others the last.
  const charsets = [...(contentType ?? '').matchAll(CHARSET)]
  return charsets.every(([, charset = '']) => /^(?:utf-?8|us-ascii)$/i.test(charset)) ? 'json' : 'unclear'
}
