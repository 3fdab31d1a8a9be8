import { createHmac, randomBytes } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Caller } from '../../../src/lib/caller.ts'
import { monotonic } from '../../../src/lib/clock.ts'
import { addressOf } from '../../../src/lib/http/addresses.ts'
import { callerOf, type Users } from '../users.ts'
import type { Strategy } from './strategy.ts'

// How long a verified password is cached, since hashing is slow on purpose, and how many are.
const CACHE_TTL_MS = 60_000
const MAX_CACHED = 1000

/** Accepts name and password of local users (HTTP Basic, RFC 7617); a verified password is cached for a minute. */
export function basicStrategy(app: FastifyInstance, users: Users): Strategy {
  // The cache is keyed by an HMAC with a key of this process, so it holds no password.
  const secret = randomBytes(32)
  const verified = new Map<string, { readonly caller: Caller; readonly expiresAt: number }>()
  const verify = async (request: FastifyRequest, credentials: string): Promise<Caller | 'wrong'> => {
    const at = credentials.indexOf(':')
    if (at === -1) return 'wrong'
    const name = credentials.slice(0, at).normalize('NFC')
    const user = await app.throttle.attempt(addressOf(request), name, () =>
      users.verify(name, credentials.slice(at + 1))
    )
    if (user === undefined) return 'wrong'
    const caller = { ...callerOf(user), by: 'basic' }
    if (verified.size >= MAX_CACHED) verified.delete(verified.keys().next().value as string)
    verified.set(digest(credentials), { caller, expiresAt: monotonic() + CACHE_TTL_MS })
    return caller
  }
  const digest = (credentials: string): string =>
    createHmac('sha256', secret).update(credentials).digest('base64')
  return {
    name: 'basic',
    scheme: 'Basic realm="gateway", charset="UTF-8"',
    headers: [{ name: 'authorization', holds: isBasic }],
    authenticate(request) {
      const { authorization = '' } = request.headers
      if (!isBasic(authorization)) return null
      const encoded = authorization.slice(5).trim()
      if (!/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return 'wrong'
      const credentials = Buffer.from(encoded, 'base64').toString('utf8')
      const known = verified.get(digest(credentials))
      if (known === undefined) return verify(request, credentials)
      if (known.expiresAt > monotonic()) return known.caller
      verified.delete(digest(credentials))
      return verify(request, credentials)
    }
  }
}

const isBasic = (authorization: string): boolean => /^basic(\s|$)/i.test(authorization)
