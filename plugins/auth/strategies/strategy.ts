import { hash, timingSafeEqual } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Caller } from '../../../src/lib/caller.ts'
import { wall } from '../../../src/lib/clock.ts'
import { requestHeader } from '../../../src/lib/http/headers.ts'
import type { PrivateHeader } from '../../../src/lib/http/request-head.ts'
import { queryOf } from '../../../src/lib/values.ts'
import type { ApiKey } from '../credential-files.ts'

/** A credential that is wrong, and why: for the log and metrics, never for the client. */
export class WrongCredential {
  readonly reason: string

  constructor(reason: string) {
    this.reason = reason
  }
}

/** What a way makes of a request: the caller, null where the request has no such credential, or that it is wrong. */
export type Found = Caller | null | 'wrong' | WrongCredential

/** One way to let a caller in. */
export interface Strategy {
  readonly name: string
  /** The scheme that a 401 names for it; undefined where there is none. */
  readonly scheme?: string
  /** The headers that may hold its credential, which is for the gateway alone unless `passOn` says otherwise. */
  readonly headers: readonly PrivateHeader[]
  /** The parameters of the query that hold it, which no upstream ever sees. */
  readonly parameters?: readonly string[]
  /** Whether it is asked only where no other way has found anybody. */
  readonly last?: boolean
  find(request: FastifyRequest, reply: FastifyReply): Promise<Found> | Found
}

/** Lets in whoever has one of the keys, which are known by their hashes alone; `besideTokens` says that a Bearer may as well be a JSON Web Token. */
export function apiKeysStrategy(
  from: readonly string[],
  keys: readonly ApiKey[],
  besideTokens: boolean
): Strategy {
  const parameters = parametersIn(from)
  const known = new Map<string, { digest: Buffer; caller: Caller; ends: number }>()
  for (const { id, key, secret, roles = [], scopes = [], expires } of keys) {
    const digest = key === undefined ? sha256(secret ?? '') : Buffer.from(key.slice(7), 'hex')
    known.set(digest.toString('hex'), {
      digest,
      caller: { id, roles, scopes, claims: {}, by: 'apiKeys' },
      ends: expires === undefined ? Number.POSITIVE_INFINITY : Date.parse(expires)
    })
  }
  /** Reads a key out of Authorization; undefined where it holds a credential of another kind. */
  const keyIn = (authorization: string): string | undefined => {
    const [, scheme = '', rest = ''] = SCHEME.exec(authorization) ?? []
    if (scheme === '') return authorization
    const ours = /^(apikey|bearer)$/i.test(scheme)
    const key = ours ? rest : authorization
    const certain = ours && !(besideTokens && isBearer(authorization) && isTokenShaped(rest))
    return certain || known.has(sha256(key).toString('hex')) ? key : undefined
  }
  const readers = from.map((place) => {
    const read = readerOf(place)
    return isAuthorization(place)
      ? (request: FastifyRequest) => read(request).flatMap((value) => keyIn(value) ?? [])
      : read
  })
  return {
    name: 'apiKeys',
    scheme: 'ApiKey',
    headers: headersIn(from, (value) => keyIn(value) !== undefined),
    parameters,
    find(request) {
      const keys = readers.flatMap((read) => read(request))
      for (const name of parameters) dropParameter(request, name)
      let caller: Caller | null = null
      // Every key has to be right, wherever it stands; the first one tells who calls.
      for (const key of keys) {
        const digest = sha256(key)
        const entry = known.get(digest.toString('hex'))
        if (entry === undefined || !timingSafeEqual(entry.digest, digest) || entry.ends <= wall())
          return 'wrong'
        caller ??= entry.caller
      }
      return caller
    }
  }
}

// A scheme and what follows it (RFC 9110 section 11.4); a key alone has no blank.
const SCHEME = /^([^\s]+)\s+(.*)$/

/** Tells whether an Authorization header holds a Bearer token (RFC 6750 section 2.1). */
export const isBearer = (authorization: string): boolean => /^bearer(\s|$)/i.test(authorization)

/** Tells whether a token has the shape of a JSON Web Token: three parts with dots in between (RFC 7515 section 7.1). */
export const isTokenShaped = (token: string): boolean => token.split('.').length === 3

/** Tells whether a place is the Authorization header. */
export const isAuthorization = (place: string): boolean => place.toLowerCase() === 'header:authorization'

const sha256 = (text: string): Buffer => hash('sha256', text, 'buffer')

const nameIn = (place: string): string => place.slice(place.indexOf(':') + 1)

/** Lists the headers among some places; in Authorization only what `holds` says is a credential of theirs. */
export const headersIn = (from: readonly string[], holds: (value: string) => boolean): PrivateHeader[] =>
  from
    .filter((place) => place.startsWith('header:'))
    .map((place) => ({
      name: nameIn(place).toLowerCase(),
      holds: isAuthorization(place) ? holds : undefined
    }))

/** Names the parameters of the query among some places. */
export const parametersIn = (from: readonly string[]): string[] =>
  from.filter((place) => place.startsWith('query:')).map(nameIn)

/** Compiles a place such as "header:x-api-key" or "query:key" into what reads all that stands there. */
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

/** Takes a parameter out of the query of a request, so that nobody further in sees it; the others stay byte for byte. */
export function dropParameter({ raw }: FastifyRequest, name: string): void {
  const url = raw.url ?? ''
  const query = queryOf(url)
  if (query === '') return
  const pairs = query.slice(1).split('&')
  const kept = pairs.filter((pair) => !new URLSearchParams(pair).has(name))
  if (kept.length === pairs.length) return
  raw.url = url.slice(0, url.length - query.length) + (kept.length === 0 ? '' : `?${kept.join('&')}`)
}
