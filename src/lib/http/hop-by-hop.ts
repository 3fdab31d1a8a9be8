import { wordsIn } from './headers.ts'

/** Names the fields that frame a message or belong to its connection. HTTP2-Settings belongs to a switch to h2c (RFC 7540 section 3.2.1), Proxy-Connection to no RFC at all. */
export const OF_THE_CONNECTION: readonly string[] = [
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade'
]

/** Names the fields that hold for one connection alone and are never passed on, in either direction (RFC 9110 section 7.6.1). */
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  ...OF_THE_CONNECTION,
  'proxy-authenticate',
  'proxy-authorization'
])

/** Names the fields that frame or address a message, which no config may set. */
export const FRAMING: ReadonlySet<string> = new Set([
  ...OF_THE_CONNECTION,
  'content-length',
  'host',
  'trailer'
])

// What no Connection field can take away, since it frames or addresses the message, or says who sends it.
const NEVER_NOMINATED = new Set([
  'authorization',
  'cache-control',
  'content-length',
  'content-type',
  'cookie',
  'date',
  'host'
])

/** Lists the fields that a Connection field takes away with it; undefined for none. */
export function nominatedBy(connection: string | undefined): string[] | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined
  return wordsIn(connection).filter((name) => name !== '' && !NEVER_NOMINATED.has(name))
}
