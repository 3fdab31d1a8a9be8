import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { FastifyRequest } from 'fastify'

/** Returns the address of the client; an IPv4-mapped IPv6 address in its IPv4 form. */
export function addressOf(request: FastifyRequest): string {
  const { server } = request
  if (server?.clientIpHeader) return clientAddress(request.raw, server)
  const address = request.ip ?? ''
  // There is no trusted proxy: it is the peer's own address.
  if (address === request.raw.socket?.remoteAddress) return unmapped(address)
  const bare = withoutPort(address)
  // A proxy may send a text that is not an address.
  return isIP(bare) === 0 ? peerOf(request) : unmapped(bare)
}

/** Removes the port and the brackets from an address such as "1.2.3.4:80" or "[::1]:80". */
export function withoutPort(written: string): string {
  if (isIP(written) !== 0) return written
  return /^\[(.+)\](?::\d+)?$/.exec(written)?.[1] ?? /^([\d.]+):\d+$/.exec(written)?.[1] ?? written
}

/** Returns the address of the peer, whatever its X-Forwarded-For says; empty once the connection is closed. */
export const peerOf = ({ raw }: FastifyRequest): string =>
  unmapped((raw.socket as FastifyRequest['raw']['socket'] | null)?.remoteAddress ?? '')

/** Returns the IPv4 form of an IPv4-mapped IPv6 address. */
const unmapped = (ip: string): string => (ip.startsWith('::ffff:') && ip.includes('.') ? ip.slice(7) : ip)

/** Returns whether the X-Forwarded-* headers of a peer are trusted. */
export type TrustsPeer = (address: string) => boolean

/** How the address of a client is found. */
export interface ClientTrust {
  readonly trusts: TrustsPeer
  /** The header, in lower case, in which trusted proxies name the client; null for X-Forwarded-For alone. */
  readonly clientIpHeader: string | null
}

/** Returns the address of the client of a request that has not been routed: what a trusted proxy says in the header of `clientIp`, else the last one in X-Forwarded-For that no trusted proxy has. */
export function clientAddress(
  { headers, socket }: IncomingMessage,
  { trusts, clientIpHeader }: ClientTrust
): string {
  const peer = unmapped(socket?.remoteAddress ?? '')
  if (!trusts(peer)) return peer
  const named = clientIpHeader === null ? undefined : headers[clientIpHeader]
  // A proxy may send a text that is not an address.
  if (named !== undefined) return addressIn([named].flat().join(',')) ?? peer
  let address = peer
  const forwarded = [headers['x-forwarded-for'] ?? []].flat().join(',')
  for (const text of forwarded === '' ? [] : forwarded.split(',').toReversed()) {
    const next = addressIn(text)
    if (next === undefined) return address
    address = next
    if (!trusts(address)) return address
  }
  return address
}

function addressIn(text: string): string | undefined {
  const bare = withoutPort(text.trim())
  return isIP(bare) === 0 ? undefined : unmapped(bare)
}

/** Returns the scheme that the client of a request used: that of the connection, or the one that a trusted proxy names. */
export function clientScheme({ headers, socket }: IncomingMessage, trusts: TrustsPeer): string {
  const own = (socket as TLSSocket).encrypted ? 'https' : 'http'
  const named = headers['x-forwarded-proto']
  if (named === undefined || !trusts(unmapped(socket.remoteAddress ?? ''))) return own
  return [named].flat().join(',').split(',').at(-1)?.trim().toLowerCase() ?? own
}
