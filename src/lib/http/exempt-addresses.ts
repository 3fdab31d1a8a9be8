import type { FastifyRequest } from 'fastify'
import type { OptionFault } from '../schema.ts'
import { addressFaults, notARange, readAddresses } from './address-lists.ts'
import { addressOf, peerOf } from './addresses.ts'
import { hasPrivateAddresses, rangeMatcher } from './networks.ts'

/** Compiles a list of addresses that a gate does not apply to into a test whether a request comes from one. */
export function exemptMatcher(exempt: readonly string[]): (request: FastifyRequest) => boolean {
  if (exempt.length === 0) return () => false
  const isExempt = rangeMatcher(readAddresses(exempt))
  return (request) => {
    const address = addressOf(request)
    // A trusted proxy that names no client may speak for anyone.
    return isExempt(address) && !(address === peerOf(request) && request.server.trusts(address))
  }
}

/** Lists the errors in `exempt`: texts that are no ranges, and private ranges without `trustedProxies`, since behind a proxy that is not trusted every client has its address. */
export function exemptFaults(
  exempt: readonly string[],
  trustedProxies: readonly string[] | undefined
): OptionFault[] {
  return addressFaults(exempt, ['exempt'], (range) => {
    const invalid = notARange(range)
    if (invalid !== undefined || trustedProxies !== undefined || !hasPrivateAddresses(range)) return invalid
    return `expected "trustedProxies" at the root beside a range with private addresses, got "${range}"; behind a proxy that is not trusted every client would be exempt, so name your proxies there, or write [] if clients connect directly`
  })
}
