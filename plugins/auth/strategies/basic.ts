import { createHmac, randomBytes } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Caller } from '../../../src/lib/caller.ts'
import { monotonic } from '../../../src/lib/clock.ts'
import { addressOf } from '../../../src/lib/http/addresses.ts'
import { callerOf, type Users } from '../users.ts'
import type { Strategy } from './strategy.ts'

// A password that was right is not hashed again for so long, in milliseconds, and for so many at most.
const REMEMBERED = 60_000
const MOST = 1000

/** Lets in local users by HTTP Basic (RFC 7617); a password that was right is remembered for a minute, since hashing takes its time on purpose. */
export function basicStrategy(app: FastifyInstance, users: Users): Strategy {
  // What is remembered is worth nothing outside of this process.
  const secret = randomBytes(32)
  const right = new Map<string, { readonly caller: Caller; readonly ends: number }>()
  const verify = async (request: FastifyRequest, said: string): Promise<Caller | 'wrong'> => {
    const at = said.indexOf(':')
    if (at === -1) return 'wrong'
    const name = said.slice(0, at).normalize('NFC')
    const user = await app.throttle.attempt(addressOf(request), name, () =>
      users.verify(name, said.slice(at + 1))
    )
    if (user === undefined) return 'wrong'
    const caller = { ...callerOf(user), by: 'basic' }
    if (right.size >= MOST) right.delete(right.keys().next().value as string)
    right.set(digest(said), { caller, ends: monotonic() + REMEMBERED })
    return caller
  }
  const digest = (said: string): string => createHmac('sha256', secret).update(said).digest('base64')
  return {
    name: 'basic',
    scheme: 'Basic realm="gateway", charset="UTF-8"',
    headers: [{ name: 'authorization', holds: isBasic }],
    find(request) {
      const { authorization = '' } = request.headers
      if (!isBasic(authorization)) return null
      const encoded = authorization.slice(5).trim()
      if (!/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return 'wrong'
      const said = Buffer.from(encoded, 'base64').toString('utf8')
      const known = right.get(digest(said))
      if (known === undefined) return verify(request, said)
      if (known.ends > monotonic()) return known.caller
      right.delete(digest(said))
      return verify(request, said)
    }
  }
}

const isBasic = (authorization: string): boolean => /^basic(\s|$)/i.test(authorization)
