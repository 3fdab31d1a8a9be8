import { hash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { callerIdentity } from '../../src/lib/caller.ts'
import { matchesGlob } from '../../src/lib/glob.ts'
import { parameterName } from '../../src/lib/http/url-parts.ts'
import type { CachePolicy } from './options.ts'
import type { PresentedRequest } from './presented-request.ts'

/** Hashes parts, each with its length in front, so that no two lists of parts have one key; an absent part is none of any length. */
export function hashParts(parts: readonly (string | undefined)[]): string {
  let text = ''
  for (const part of parts) text += part === undefined ? '-;' : `${part.length}:${part};`
  return hash('sha256', text, 'base64url')
}

/** What a stored response belongs to, beside the request headers that it varies by. */
export interface KeyParts {
  /** What the route is, and which upstream gets the request. */
  readonly place: readonly string[]
  readonly scheme: string
  readonly host: string
  /** The canonical path. */
  readonly path: string
  /** The query as it goes upstream, without ignored parameters. */
  readonly query: string
  /** The caller where callers have entries of their own, or that there is one; undefined for none. */
  readonly caller: string | undefined
  /** Values of the request that go upstream by templates, and those of the headers of `vary`. */
  readonly values: readonly (string | undefined)[]
}

/** Returns the key under which a store has the entry, or the list of headers that entries vary by. */
export const primaryKey = (parts: KeyParts): string =>
  hashParts([
    String(parts.place.length),
    ...parts.place,
    parts.scheme,
    parts.host.toLowerCase(),
    parts.path,
    parts.query,
    parts.caller,
    ...parts.values
  ])

/** Returns the key of the entry for a request among those that vary by some headers. */
export const secondaryKey = (primary: string, vary: readonly string[], request: PresentedRequest): string =>
  vary.length === 0 ? primary : hashParts([primary, ...vary.flatMap((name) => [name, request.sent(name)])])

// Clients without a caller never get what was sent to one, also not after a reload that makes the route public.
const ANY_CALLER = 'any'

/** Returns what a key says of the caller; undefined without one. Where callers have entries of their own, one is known by the strategy, issuer and id of each credential, and by the roles and scopes that services may look at. */
export function callerKey(
  { caller, callers }: Pick<FastifyRequest, 'caller' | 'callers'>,
  policy: CachePolicy
): string | undefined {
  if (caller === null) return undefined
  if (policy.callers !== 'separate') return ANY_CALLER
  // Services may see the credentials of all strategies.
  return hashParts(
    (callers ?? [caller]).flatMap((each) => [
      callerIdentity(each),
      String(each.roles.length),
      ...each.roles.toSorted(),
      String(each.scopes.length),
      ...each.scopes.toSorted()
    ])
  )
}

/** Compiles which parameters of a query make no difference; returns what removes them. */
export function ignoreParameters(patterns: readonly string[]): (query: string) => string {
  if (patterns.length === 0) return (query) => query
  const exact = new Set(patterns.filter((pattern) => !pattern.includes('*')))
  const globs = patterns.filter((pattern) => pattern.includes('*'))
  const isIgnored = (name: string): boolean =>
    exact.has(name) || globs.some((glob) => matchesGlob(glob, name))
  return (query) => {
    if (query.length <= 1) return query
    const kept = query
      .slice(1)
      .split('&')
      .filter((pair) => !isIgnored(parameterName(pair)))
    return kept.length === 0 ? '' : `?${kept.join('&')}`
  }
}
