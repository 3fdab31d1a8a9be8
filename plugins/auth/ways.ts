import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Caller, queryValue } from '../../src/kit/index.ts'
import type { ApiKey } from './files.ts'
import type { Users } from './users.ts'

/** One way to let a caller in: the caller, null where the request has no such credential, or "wrong". */
export interface Way {
  readonly name: string
  /** The scheme that a 401 names for it. */
  readonly scheme: string
  find(
    request: FastifyRequest,
    reply: FastifyReply
  ): Promise<Caller | null | 'wrong'> | Caller | null | 'wrong'
}

/** Lets in whoever has a session of a user that is still known; a stale cookie counts as none. */
export function sessionWay(users: Users): Way {
  return {
    name: 'session',
    scheme: 'Session',
    async find(request, reply) {
      const session = await request.server.sessions?.load(request, reply)
      const user = session === null || session === undefined ? undefined : users.find(session.user)
      if (user === undefined) return null
      return {
        id: user.name,
        name: user.name,
        ...(user.email === undefined ? {} : { email: user.email }),
        roles: user.roles ?? [],
        scopes: [],
        claims: {},
        by: 'session'
      }
    }
  }
}

/** Lets in whoever has one of the keys, which are known by their hashes alone. */
export function apiKeysWay(from: readonly string[], keys: readonly ApiKey[]): Way {
  const readers = from.map(readerOf)
  const known = new Map<string, { hash: Buffer; caller: Caller; ends: number }>()
  for (const { id, key, secret, roles = [], scopes = [], expires } of keys) {
    const hash = key === undefined ? sha256(secret ?? '') : Buffer.from(key.slice(7), 'hex')
    known.set(hash.toString('hex'), {
      hash,
      caller: { id, roles, scopes, claims: {}, by: 'apiKeys' },
      ends: expires === undefined ? Number.POSITIVE_INFINITY : Date.parse(expires)
    })
  }
  return {
    name: 'apiKeys',
    scheme: 'ApiKey',
    find(request) {
      for (const read of readers) {
        const key = read(request)
        if (key === undefined) continue
        const hash = sha256(key)
        const entry = known.get(hash.toString('hex'))
        return entry !== undefined && timingSafeEqual(entry.hash, hash) && entry.ends > Date.now()
          ? entry.caller
          : 'wrong'
      }
      return null
    }
  }
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()

function readerOf(place: string): (request: FastifyRequest) => string | undefined {
  const name = place.slice(place.indexOf(':') + 1)
  if (place.startsWith('query:')) return (request) => queryValue(request.raw.url ?? '', name)
  const header = name.toLowerCase()
  return (request) => {
    const value = request.headers[header]
    return Array.isArray(value) ? value.join() : value
  }
}
