import { defineWarning } from '../kit/warning.ts'
import { readAddresses } from '../lib/http/address-lists.ts'
import { expandRanges } from '../lib/http/networks.ts'
import { type Finding, findingAt } from './finding.ts'
import type { InterpolatedSource } from './interpolate.ts'
import { locate } from './where.ts'

const trustsEverybody = defineWarning(
  'SP_WARN_TRUSTED_PROXIES',
  'high',
  'Clients can name any address as their own'
)

// No network of proxies is larger: 10.0.0.0/8 and fc00::/7 are the largest private ones.
const LEAST_BITS = { ipv4: 8, ipv6: 7 }

/** Returns a warning for trusted proxies that hold most of the addresses there are. */
export function trustWarnings(source: InterpolatedSource, trusted: readonly string[]): Finding[] {
  const wide = expandRanges(readAddresses(trusted)).find((range) => {
    const [address = '', bits] = range.split('/')
    return bits !== undefined && Number(bits) < LEAST_BITS[address.includes(':') ? 'ipv6' : 'ipv4']
  })
  return wide === undefined
    ? []
    : [
        findingAt(
          trustsEverybody(
            `"${wide}" trusts the X-Forwarded-* of clients, too, so that they can name any address as their own; name the addresses of your proxies`,
            []
          ),
          locate(source, ['trustedProxies'])
        )
      ]
}
