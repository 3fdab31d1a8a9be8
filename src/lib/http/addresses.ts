import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'

/** Reads the address of a client, an IPv4 one that came through an IPv6 socket in its plain form. */
export function addressOf(request: FastifyRequest): string {
  const said = request.ip ?? ''
  // Nobody stands in between: it is the peer's own.
  if (said === request.raw.socket?.remoteAddress) return unmapped(said)
  const bare = withoutPort(said)
  // What is no address at all says nothing of the client.
  return isIP(bare) === 0 ? peerOf(request) : unmapped(bare)
}

/** Reads an address that a proxy may have written with its port: "1.2.3.4:80" or "[::1]:80". */
export function withoutPort(written: string): string {
  if (isIP(written) !== 0) return written
  return /^\[(.+)\](?::\d+)?$/.exec(written)?.[1] ?? /^([\d.]+):\d+$/.exec(written)?.[1] ?? written
}

/** Reads the address of the peer itself, whatever it says of others; empty once its connection is gone. */
export const peerOf = ({ raw }: FastifyRequest): string =>
  unmapped((raw.socket as FastifyRequest['raw']['socket'] | null)?.remoteAddress ?? '')

/** Writes an IPv4 address that came through an IPv6 socket in its plain form. */
const unmapped = (ip: string): string => (ip.startsWith('::ffff:') && ip.includes('.') ? ip.slice(7) : ip)
