import { BlockList, isIP } from 'node:net'

/** The domains that a local authority may sign names in: those reserved for private use (RFC 6761, RFC 6762, RFC 8375, ICANN's .internal). */
export const DOMAINS: readonly string[] = ['localhost', 'test', 'local', 'internal', 'home.arpa']

/** The networks that a local authority may sign addresses in: loopback, link-local and private ones. */
export const NETWORKS: readonly string[] = [
  '127.0.0.0/8',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '169.254.0.0/16',
  '::1/128',
  'fc00::/7',
  'fe80::/10'
]

const networks = new BlockList()
for (const network of NETWORKS) {
  const [address = '', prefix] = network.split('/')
  networks.addSubnet(address, Number(prefix), address.includes(':') ? 'ipv6' : 'ipv4')
}

/** Returns whether a local authority may sign a host name or an address. */
export function isLocalName(host: string): boolean {
  const family = isIP(host)
  if (family !== 0) return networks.check(host, family === 6 ? 'ipv6' : 'ipv4')
  return DOMAINS.some((domain) => host === domain || host.endsWith(`.${domain}`))
}
