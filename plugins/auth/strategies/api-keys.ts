import { hash, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { Caller } from '../../../src/lib/caller.ts'
import { wall } from '../../../src/lib/clock.ts'
import type { ApiKey } from '../credential-files.ts'
import {
  dropParameter,
  headersIn,
  isAuthorization,
  isBearer,
  isTokenShaped,
  parametersIn,
  readerOf
} from './credential-places.ts'
import type { Strategy } from './strategy.ts'

/** Accepts API keys, which are compared by their hashes; with `besideTokens` a Bearer may also be a JSON Web Token. */
export function apiKeysStrategy(
  from: readonly string[],
  keys: readonly ApiKey[],
  { besideTokens }: { readonly besideTokens: boolean }
): Strategy {
  const parameters = parametersIn(from)
  const known = new Map<string, { digest: Buffer; caller: Caller; expiresAt: number }>()
  for (const { id, key, secret, roles = [], scopes = [], claims = {}, expires } of keys) {
    const digest = key === undefined ? sha256(secret ?? '') : Buffer.from(key.slice(7), 'hex')
    known.set(digest.toString('hex'), {
      digest,
      caller: { id, roles, scopes, claims, by: 'apiKeys' },
      expiresAt: expires === undefined ? Number.POSITIVE_INFINITY : Date.parse(expires)
    })
  }
  /** Reads a key from Authorization; undefined if it holds another kind of credential. */
  const keyIn = (authorization: string): string | undefined => {
    const [, scheme = '', rest = ''] = SCHEME.exec(authorization) ?? []
    if (scheme === '') return authorization
    const isKeyScheme = /^(apikey|bearer)$/i.test(scheme)
    const key = isKeyScheme ? rest : authorization
    const isCertain = isKeyScheme && !(besideTokens && isBearer(authorization) && isTokenShaped(rest))
    return isCertain || known.has(sha256(key).toString('hex')) ? key : undefined
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
    authenticate(request) {
      const keys = readers.flatMap((read) => read(request))
      for (const name of parameters) dropParameter(request, name)
      let caller: Caller | null = null
      // Every key that the request has must be valid; the first one sets the caller.
      for (const key of keys) {
        const digest = sha256(key)
        const entry = known.get(digest.toString('hex'))
        if (entry === undefined || !timingSafeEqual(entry.digest, digest) || entry.expiresAt <= wall())
          return 'wrong'
        caller ??= entry.caller
      }
      return caller
    }
  }
}

// A scheme and its credentials (RFC 9110 section 11.4); a bare key has no space.
const SCHEME = /^([^\s]+)\s+(.*)$/

const sha256 = (text: string): Buffer => hash('sha256', text, 'buffer')
