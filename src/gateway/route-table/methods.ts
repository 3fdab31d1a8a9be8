import { type IncomingMessage, METHODS } from 'node:http'
import { ROUTABLE } from '../../lib/http/methods.ts'

const PREFLIGHT = 'preflight '

/** What a request can ask for: a method, or a preflight for one. */
export const METHOD_SYMBOLS: readonly string[] = [...METHODS, ...ROUTABLE.map((method) => PREFLIGHT + method)]

/** Returns the symbol of a preflight for a method. */
export const preflightFor = (method: string): string => PREFLIGHT + method

/** Returns the method that a preflight's symbol asks for; undefined for the symbol of a method. */
export const preflightedMethod = (symbol: string): string | undefined =>
  symbol.startsWith(PREFLIGHT) ? symbol.slice(PREFLIGHT.length) : undefined

/** Returns whether an OPTIONS request is a preflight (Fetch Standard, "CORS-preflight request"). */
export const isPreflight = ({ headers }: IncomingMessage): boolean =>
  headers.origin !== undefined && ROUTABLE.includes(headers['access-control-request-method'] ?? '')

/** Returns the symbol of what a request asks for. */
export const symbolOf = (method: string, raw: IncomingMessage): string =>
  method === 'OPTIONS' && isPreflight(raw)
    ? preflightFor(raw.headers['access-control-request-method'] ?? '')
    : method

/** Returns whether the gateway routes a method; TRACE and CONNECT are never routed. */
export const isRouted = (method: string): boolean => method !== 'TRACE' && method !== 'CONNECT'
