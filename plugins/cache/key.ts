import { hash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { peerOf } from '../../src/lib/http/addresses.ts'
import { parameterName } from '../../src/lib/values.ts'

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
export const secondaryKey = (primary: string, vary: readonly string[], request: FastifyRequest): string =>
  vary.length === 0
    ? primary
    : hashParts([primary, ...vary.flatMap((name) => [name, forwardedValue(request, name)])])

/** Returns the values of some headers of a request; undefined for one that it does not have. */
export const valuesOf = (request: FastifyRequest, names: readonly string[]): (string | undefined)[] =>
  names.map((name) => forwardedValue(request, name))

/** Returns what decides the value of a header that goes upstream: all fields of the client's, and what the gateway writes itself; undefined for neither. */
function forwardedValue(request: FastifyRequest, name: string): string | undefined {
  const written =
    name === 'x-forwarded-for'
      ? peerOf(request)
      : request.identity?.find((header) => header.name === name)?.value.render(request)
  const sent = fieldsOf(request, name)
  return written === undefined ? sent : JSON.stringify([sent, written])
}

/** Returns a header of the client; of one that is sent twice, Node.js may keep only the first, while both go upstream. */
function fieldsOf({ raw: { rawHeaders } }: FastifyRequest, name: string): string | undefined {
  let found: string | undefined
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.toLowerCase() === name)
      found = found === undefined ? rawHeaders[i + 1] : `${found}, ${rawHeaders[i + 1]}`
  return found
}

/** Compiles which parameters of a query make no difference; returns what removes them. */
export function ignoreParameters(patterns: readonly string[]): (query: string) => string {
  if (patterns.length === 0) return (query) => query
  const exact = new Set(patterns.filter((pattern) => !pattern.includes('*')))
  const globs = patterns.filter((pattern) => pattern.includes('*')).map((pattern) => pattern.split('*'))
  const isIgnored = (name: string): boolean =>
    exact.has(name) || globs.some((parts) => matchesGlob(name, parts))
  return (query) => {
    if (query.length <= 1) return query
    const kept = query
      .slice(1)
      .split('&')
      .filter((pair) => !isIgnored(parameterName(pair)))
    return kept.length === 0 ? '' : `?${kept.join('&')}`
  }
}

/** Tells whether a name has the parts of a glob in order, the first at its start and the last at its end. */
function matchesGlob(name: string, parts: readonly string[]): boolean {
  const first = parts[0] as string
  const last = parts.at(-1) as string
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length)
    return false
  let at = first.length
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at)
    if (found === -1) return false
    at = found + part.length
  }
  return at <= name.length - last.length
}
