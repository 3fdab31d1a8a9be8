import { METHODS } from 'node:http'

/** The methods that a route can have; CONNECT and TRACE are never forwarded (RFC 9110 section 9). */
export const ROUTABLE: readonly string[] = METHODS.filter(
  (method) => method !== 'CONNECT' && method !== 'TRACE'
)
