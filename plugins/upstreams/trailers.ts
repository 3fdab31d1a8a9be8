import { FRAMING, HOP_BY_HOP } from '../../src/lib/http/hop-by-hop.ts'

// Fields for framing, routing, authentication or content format are not allowed in trailers (RFC 9110 section 6.5.1): a recipient that merges trailers into the headers would let them replace what the gateway sent.
const FORBIDDEN_TRAILERS = new Set([
  ...HOP_BY_HOP,
  ...FRAMING,
  'age',
  'authorization',
  'cache-control',
  'content-encoding',
  'content-range',
  'content-type',
  'date',
  'expires',
  'location',
  'retry-after',
  'set-cookie',
  'vary',
  'www-authenticate'
])

/** Returns the trailers that may be forwarded, from lower-case names and values in turn. */
export function allowedTrailers(raw: readonly string[]): [string, string][] {
  const trailers: [string, string][] = []
  for (let i = 0; i < raw.length; i += 2)
    if (!FORBIDDEN_TRAILERS.has(raw[i] as string)) trailers.push([raw[i] as string, raw[i + 1] as string])
  return trailers
}
