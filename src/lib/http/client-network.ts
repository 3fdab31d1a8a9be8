import { normalizeIP } from '@fastify/rate-limit'

// An IPv6 client may use any address of its network (RFC 6177).
const IPV6_PREFIX = 64

/** Returns the address of a client for counting: an IPv4 address, or the /64 network of an IPv6 address. */
export const clientNetwork = (address: string): string =>
  address.includes(':') ? normalizeIP(address, IPV6_PREFIX) : address
