import type { FastifyRequest } from 'fastify'
import { canonicalHost } from '../../src/lib/http/canonical-path.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import type { ProtectedResource } from '../../src/lib/protected-resource.ts'
import { alternativesOf, type Callers, challengeOf, type Shown } from './alternatives.ts'
import type { AuthOptions } from './options.ts'
import type { Strategy } from './strategies/strategy.ts'

type Headers = Readonly<Record<string, string>>

/** Makes the `WWW-Authenticate` of refusals. */
export interface Challenges {
  /** Returns that of a request that lacks a credential. */
  missing(request: FastifyRequest, callers: Callers): Headers
  /** Returns that of a request with a wrong credential. */
  wrong(request: FastifyRequest, callers: Callers, strategy: Strategy): Headers
  /** Returns that of a token without the scopes that the route requires; none unless the route is a resource. */
  lackingScope(request: FastifyRequest): Headers
}

/** Compiles the challenges of a route, whose tokens may be for a protected resource (RFC 9728 section 5.1). */
export function compileChallenges(
  options: AuthOptions,
  strategies: readonly Strategy[],
  resources: readonly ProtectedResource[]
): Challenges {
  const alternatives = alternativesOf(options)
  const scopes = scopesOf(options)
  const byUrl = new Map<string | undefined, ReadonlyMap<string, string>>()
  const schemesFor = (url: string | undefined): ReadonlyMap<string, string> =>
    getOrCreate(byUrl, url, () => schemesOf(strategies, url === undefined ? [] : aboutResource(url, scopes)))
  const challenge = (request: FastifyRequest, shown: Shown): Headers =>
    challengeOf(alternatives, schemesFor(metadataUrlFor(request, resources)), shown)
  return {
    missing: (request, callers) => challenge(request, { callers, wrong: undefined }),
    wrong(request, callers, { name, scheme }) {
      const headers = challenge(request, { callers, wrong: name })
      return scheme === 'Bearer' ? withError('invalid_token', headers) : headers
    },
    lackingScope(request) {
      const url = metadataUrlFor(request, resources)
      if (url === undefined) return {}
      return { 'www-authenticate': bearer(['error="insufficient_scope"', ...aboutResource(url, scopes)]) }
    }
  }
}

/** Returns the URL of the metadata at the host of a request; undefined if the route is no resource. */
const metadataUrlFor = (
  { headers }: FastifyRequest,
  resources: readonly ProtectedResource[]
): string | undefined =>
  (resources.length < 2
    ? resources[0]
    : (resources.find(({ host }) => host === canonicalHost(headers.host ?? '')) ?? resources[0])
  )?.metadataUrl

// The characters of a scope (RFC 6749 section 3.3), which need no escape in a quoted string.
const SCOPE = /^[!#-[\]-~]+$/

/** Lists the scopes that a token needs on a route. */
const scopesOf = ({ require }: AuthOptions): string[] =>
  [...new Set([...(require?.scopes ?? []), ...(require?.jwt?.scopes ?? [])])].filter((scope) =>
    SCOPE.test(scope)
  )

const aboutResource = (url: string, scopes: readonly string[]): string[] => [
  `resource_metadata="${url}"`,
  ...(scopes.length === 0 ? [] : [`scope="${scopes.join(' ')}"`])
]

const bearer = (parameters: readonly string[]): string =>
  parameters.length === 0 ? 'Bearer' : `Bearer ${parameters.join(', ')}`

/** Returns the scheme of each strategy that has one; Basic is left out beside a session, since browsers would open a password dialog. */
function schemesOf(
  strategies: readonly Strategy[],
  ofBearer: readonly string[]
): ReadonlyMap<string, string> {
  const acceptsSession = strategies.some(({ name }) => name === 'session')
  const schemes = strategies.flatMap(({ name, scheme }) =>
    scheme === undefined || (name === 'basic' && acceptsSession)
      ? []
      : [[name, scheme === 'Bearer' ? bearer(ofBearer) : scheme] as const]
  )
  return new Map(schemes)
}

// A wrong token is named in the challenge (RFC 6750 section 3.1).
const withError = (error: string, { 'www-authenticate': schemes = '' }: Headers): Headers => ({
  'www-authenticate': schemes.replace(/Bearer( ?)/, (_match, space) =>
    space === '' ? `Bearer error="${error}"` : `Bearer error="${error}", `
  )
})
