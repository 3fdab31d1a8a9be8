import type { FastifyRequest } from 'fastify'
import type { About, Hooks, OptionFault } from '../../src/kit/index.ts'
import { addressFaults, notARange, readAddresses } from '../../src/lib/http/address-lists.ts'
import { addressOf, peerOf } from '../../src/lib/http/addresses.ts'
import { privateField } from '../../src/lib/http/cache-control.ts'
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

/** Returns the hook that makes responses to exempt clients private, since no request header tells a shared cache the address; undefined where every client passes. */
export function exemptHead(options: Pick<AuthOptions, 'exempt' | 'require' | 'optional'>): Hooks['onHead'] {
  if (options.exempt.length === 0 || options.require !== undefined || options.optional) return undefined
  const isExempt = compileExempt(options)
  return (request, _reply, head) => {
    if (request.caller === null && isExempt(request))
      head.set('cache-control', privateField(head.get('cache-control')))
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
