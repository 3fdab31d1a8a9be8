import type { FastifyRequest } from 'fastify'
import type { PrivateHeader } from '../../../src/lib/http/copied-headers.ts'
import { requestHeader } from '../../../src/lib/http/headers.ts'
import { queryOf } from '../../../src/lib/http/url-parts.ts'

/** Returns whether an Authorization header holds a Bearer token (RFC 6750 section 2.1). */
export const isBearer = (authorization: string): boolean => /^bearer(\s|$)/i.test(authorization)

/** Returns whether a token has the shape of a JSON Web Token: three parts separated by dots (RFC 7515 section 7.1). */
export const isTokenShaped = (token: string): boolean => token.split('.').length === 3

/** Returns whether a place is the Authorization header. */
export const isAuthorization = (place: string): boolean => place.toLowerCase() === 'header:authorization'

const nameIn = (place: string): string => place.slice(place.indexOf(':') + 1)

/** Lists the headers among some places; `holds` decides whether an Authorization value is a credential of the strategy. */
export const headersIn = (from: readonly string[], holds: (value: string) => boolean): PrivateHeader[] =>
  from
    .filter((place) => place.startsWith('header:'))
    .map((place) => ({
      name: nameIn(place).toLowerCase(),
      holds: isAuthorization(place) ? holds : undefined
    }))

/** Lists the query parameters among some places. */
export const parametersIn = (from: readonly string[]): string[] =>
  from.filter((place) => place.startsWith('query:')).map(nameIn)

/** Compiles a place such as "header:x-api-key" or "query:key" into a function that reads its values. */
export function readerOf(place: string): (request: FastifyRequest) => string[] {
  const name = nameIn(place)
  if (place.startsWith('query:'))
    return (request) => new URLSearchParams(queryOf(request.raw.url ?? '')).getAll(name)
  const header = name.toLowerCase()
  return (request) => {
    const value = requestHeader(request, header)
    return value === undefined ? [] : [value]
  }
}

/** Removes a parameter from the query of a request, so that no log or upstream sees it; the others stay byte for byte. */
export function dropParameter({ raw }: FastifyRequest, name: string): void {
  const url = raw.url ?? ''
  const query = queryOf(url)
  if (query === '') return
  const pairs = query.slice(1).split('&')
  const remaining = pairs.filter((pair) => !new URLSearchParams(pair).has(name))
  if (remaining.length === pairs.length) return
  raw.url =
    url.slice(0, url.length - query.length) + (remaining.length === 0 ? '' : `?${remaining.join('&')}`)
}
