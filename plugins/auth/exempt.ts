import type { FastifyRequest } from 'fastify'
import type { About, OptionFault } from '../../src/kit/index.ts'
import { addressFaults, notARange, readAddresses } from '../../src/lib/http/address-lists.ts'
import { addressOf, peerOf } from '../../src/lib/http/addresses.ts'
import { hasPrivateAddresses, rangeMatcher } from '../../src/lib/http/networks.ts'
import type { AuthOptions } from './options.ts'

/** Compiles `exempt` into a test whether a request needs no caller. */
export function compileExempt({
  exempt,
  require
}: Pick<AuthOptions, 'exempt' | 'require'>): (request: FastifyRequest) => boolean {
  // A requirement is one of a caller.
  if (exempt.length === 0 || require !== undefined) return () => false
  const isExempt = rangeMatcher(readAddresses(exempt))
  return (request) => {
    const address = addressOf(request)
    // A trusted proxy that names no client may speak for anyone.
    return isExempt(address) && !(address === peerOf(request) && request.server.trusts(address))
  }
}

/** Lists the errors in `exempt`: texts that are no ranges, and private ranges without `trustedProxies`, since behind a proxy that is not trusted every client has its address. */
export function exemptFaults({ exempt }: AuthOptions, { trustedProxies }: About): OptionFault[] {
  return addressFaults(exempt, ['exempt'], (range) => {
    const invalid = notARange(range)
    if (invalid !== undefined || trustedProxies !== undefined || !hasPrivateAddresses(range)) return invalid
    return `expected "trustedProxies" at the root beside a range with private addresses, got "${range}"; behind a proxy that is not trusted every client would be exempt, so name your proxies there, or write [] if clients connect directly`
  })
}
