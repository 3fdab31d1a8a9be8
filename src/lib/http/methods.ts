import { METHODS } from 'node:http'

/** The methods that a route can take (RFC 9110 section 9: CONNECT and TRACE are never forwarded). */
export const ROUTABLE: readonly string[] = METHODS.filter(
  (method) => method !== 'CONNECT' && method !== 'TRACE'
)
