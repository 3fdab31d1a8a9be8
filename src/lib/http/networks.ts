import { BlockList, isIP, SocketAddress } from 'node:net'

const PRESETS: Readonly<Record<string, readonly string[]>> = {
  loopback: ['127.0.0.0/8', '::1/128'],
  private: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16', 'fc00::/7', 'fe80::/10']
}

/** Returns the origin of a URL as browsers write it: lower case, without a default port; undefined for an invalid URL. */
export function originOf(text: unknown): string | undefined {
  return typeof text === 'string' && URL.canParse(text) ? new URL(text).origin : undefined
}

/** Returns whether the host name of a URL is this machine's. */
export const isLoopbackHost = (hostname: string): boolean =>
  /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname)

/** Returns whether a text is an IP address, a CIDR range or the name of a preset. */
export function isRange(text: string): boolean {
  if (Object.hasOwn(PRESETS, text)) return true
  const [address = '', bits, more] = text.split('/')
  const kind = isIP(address)
  return (
    kind !== 0 &&
    more === undefined &&
    (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (kind === 4 ? 32 : 128)))
  )
}

/** The values that `isRange` accepts, for error messages. */
export const EXPECTED_RANGE = 'an IP address, a CIDR range such as "10.0.0.0/8", "loopback" or "private"'

/** Replaces presets by their ranges. */
export const expandRanges = (ranges: readonly string[]): string[] =>
  ranges.flatMap((range) => PRESETS[range] ?? [range])

/** Compiles addresses, ranges and presets into a test of addresses. A range matches addresses of its own family only. */
export function rangeMatcher(ranges: readonly string[]): (address: string) => boolean {
  if (ranges.length === 0) return () => false
  // In a common list, "::/0" would also match all IPv4 addresses.
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() }
  for (const range of expandRanges(ranges)) {
    const [written = '', bits] = range.split('/')
    const { text, family } = parseAddress(written) ?? { text: written, family: 'ipv6' }
    const mapped = family === 'ipv4' && isIP(written) === 6 ? MAPPED_BITS : 0
    if (bits === undefined) lists[family].addAddress(text, family)
    else if (Number(bits) < mapped) lists.ipv6.addSubnet(written, Number(bits), 'ipv6')
    else lists[family].addSubnet(text, Number(bits) - mapped, family)
  }
  return (address) => {
    const parsed = parseAddress(address)
    return parsed !== undefined && lists[parsed.family].check(parsed.text, parsed.family)
  }
}

/** Returns whether a range has addresses of a private network or of this machine. */
export function hasPrivateAddresses(range: string): boolean {
  const isPrivate = rangeMatcher(['private', 'loopback'])
  const isInRange = rangeMatcher([range])
  // Of two ranges with a common address, one contains the other.
  return (
    expandRanges([range]).some((each) => isPrivate(each.split('/')[0] ?? '')) ||
    expandRanges(['private', 'loopback']).some((each) => isInRange(each.split('/')[0] ?? ''))
  )
}

const MAPPED = '::ffff:'
const MAPPED_BITS = 96

/** Parses an address without its zone; an IPv4-mapped one (RFC 4291 section 2.5.5.2) as IPv4. */
function parseAddress(written: string): { text: string; family: 'ipv4' | 'ipv6' } | undefined {
  const zone = written.indexOf('%')
  const address = zone === -1 ? written : written.slice(0, zone)
  const kind = isIP(address)
  if (kind === 0) return undefined
  if (kind === 4) return { text: address, family: 'ipv4' }
  const { address: text } = new SocketAddress({ address, family: 'ipv6' })
  return text.startsWith(MAPPED) && text.includes('.')
    ? { text: text.slice(MAPPED.length), family: 'ipv4' }
    : { text, family: 'ipv6' }
}
