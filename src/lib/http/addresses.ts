import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'

/** Reads the address of a client, an IPv4 one that came through an IPv6 socket in its plain form. */
export function addressOf(request: FastifyRequest): string {
  const said = request.ip ?? ''
  // Nobody stands in between: it is the peer's own.
  if (said === request.raw.socket?.remoteAddress) return unmapped(said)
  if (isIP(said) !== 0) return unmapped(said)
  // A proxy that is believed may write "1.2.3.4:80" or "[::1]:80"; what is no address at all says nothing of the client.
  const bare = /^\[(.+)\](?::\d+)?$/.exec(said)?.[1] ?? /^([\d.]+):\d+$/.exec(said)?.[1] ?? ''
  return isIP(bare) === 0 ? peerOf(request) : unmapped(bare)
}

/** Reads the address of the peer itself, whatever it says of others; empty once its connection is gone. */
export const peerOf = ({ raw }: FastifyRequest): string =>
  unmapped((raw.socket as FastifyRequest['raw']['socket'] | null)?.remoteAddress ?? '')

/** Writes an IPv4 address that came through an IPv6 socket in its plain form. */
const unmapped = (ip: string): string => (ip.startsWith('::ffff:') && ip.includes('.') ? ip.slice(7) : ip)
