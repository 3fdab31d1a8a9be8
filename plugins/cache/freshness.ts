import {
  type ResponseDirectives,
  readResponse,
  responseDirectives
} from '../../src/lib/http/cache-control.ts'
import { parseDictionary } from '../../src/lib/http/structured-fields.ts'
import { fieldIn, httpDate } from './fields.ts'

/** What a response says of caches, from whichever field applies. */
export interface CacheControl extends ResponseDirectives {
  /** How long the response is fresh from the moment its origin made it, in ms; undefined where it does not say. */
  readonly lifetime: number | undefined
}

/** When a request was sent and its response came, by the wall clock, in ms. */
export interface Exchange {
  readonly requestedAt: number
  readonly receivedAt: number
}

const NOTHING_SAID = responseDirectives('') as ResponseDirectives

/**
 * Reads what a response says of caches; undefined where it is invalid. The first of CDN-Cache-Control (RFC 9213), s-maxage,
 * max-age and Expires counts; a private in Cache-Control always does.
 */
export function cacheControlOf(
  fields: readonly string[],
  { receivedAt }: Exchange
): CacheControl | undefined {
  const field = fieldIn(fields, 'cache-control')
  const general = responseDirectives(field ?? '')
  if (general === undefined) return undefined
  const targeted = fieldIn(fields, 'cdn-cache-control')?.trim() ?? ''
  if (targeted !== '') {
    const directives = targetedDirectives(targeted)
    if (directives === undefined) return undefined
    const { sMaxage: _sMaxage, ...rest } = directives
    return {
      ...rest,
      // A targeted max-age has no s-maxage beside it (RFC 9213 section 3.1).
      sMaxage: undefined,
      private: directives.private || general.private,
      lifetime: directives.maxAge === undefined ? undefined : directives.maxAge * 1000
    }
  }
  const seconds = general.sMaxage ?? general.maxAge
  if (seconds !== undefined) return { ...general, lifetime: seconds * 1000 }
  // What HTTP/1.0 servers say in place of no-cache.
  const noCache = general.noCache || (field === undefined && isNoCachePragma(fieldIn(fields, 'pragma')))
  return { ...general, noCache, lifetime: expiresIn(fields, receivedAt) }
}

const isNoCachePragma = (pragma: string | undefined): boolean => /\bno-cache\b/i.test(pragma ?? '')

/** Reads how long after its Date a response expires, in ms; an invalid Expires is in the past (RFC 9111 section 5.3). */
function expiresIn(fields: readonly string[], receivedAt: number): number | undefined {
  const expires = fieldIn(fields, 'expires')
  if (expires === undefined) return undefined
  const at = httpDate(expires)
  return Number.isNaN(at) ? 0 : Math.max(0, at - (dateOf(fields) ?? receivedAt))
}

function dateOf(fields: readonly string[]): number | undefined {
  const at = httpDate(fieldIn(fields, 'date') ?? '')
  return Number.isNaN(at) ? undefined : at
}

/** Reads a CDN-Cache-Control field, a Dictionary (RFC 9213 section 2.1); undefined where it is invalid. */
function targetedDirectives(field: string): ResponseDirectives | undefined {
  const members = parseDictionary(field)
  if (members === undefined) return undefined
  const directives = new Map<string, string | true>()
  for (const [name, item] of members) {
    // A directive that is false is not set, but nothing loosens private.
    if (item.type === 'boolean' && !item.value && name !== 'private') continue
    directives.set(name, item.type === 'boolean' ? true : item.type === 'integer' ? String(item.value) : '')
  }
  return members.size === 0 ? NOTHING_SAID : readResponse(directives)
}

// RFC 9111 section 1.2.2.
const MAX_SECONDS = 2 ** 31

/** Calculates the age of a response when it came, in ms (RFC 9111 section 4.2.3). */
export function initialAge(fields: readonly string[], { requestedAt, receivedAt }: Exchange): number {
  const field = fieldIn(fields, 'age') ?? '0'
  // An invalid one, or several, may belong to an old response.
  const age = (/^\d+$/.test(field) ? Math.min(Number(field), MAX_SECONDS) : MAX_SECONDS) * 1000
  const apparent = Math.max(0, receivedAt - (dateOf(fields) ?? receivedAt))
  return Math.max(apparent, age + Math.max(0, receivedAt - requestedAt))
}
