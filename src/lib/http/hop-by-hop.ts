import { tokensOf } from './headers.ts'

/** The fields that frame a message or belong to its connection. HTTP2-Settings is from RFC 7540 section 3.2.1; Proxy-Connection is from no RFC. */
export const CONNECTION_FIELDS: readonly string[] = [
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade'
]

/** The fields of one connection, which are never forwarded in either direction (RFC 9110 section 7.6.1). */
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  ...CONNECTION_FIELDS,
  'proxy-authenticate',
  'proxy-authorization'
])

/** The fields that frame or address a message, which no config may set. */
export const FRAMING: ReadonlySet<string> = new Set([
  ...CONNECTION_FIELDS,
  'content-length',
  'host',
  'trailer'
])

// A Connection field cannot remove fields that frame or address the message, or that authenticate the client.
const NEVER_NOMINATED = new Set([
  'authorization',
  'cache-control',
  'content-length',
  'content-type',
  'cookie',
  'date',
  'host'
])

/** Returns the fields that a Connection field nominates as hop-by-hop; undefined for none. */
export function nominatedBy(connection: string | undefined): string[] | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined
  return tokensOf(connection).filter((name) => name !== '' && !NEVER_NOMINATED.has(name))
}
