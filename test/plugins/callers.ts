import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'

/** Users who log in. */
export const users = {
  list: [
    { name: 'ada', secret: 'lovelace', roles: ['staff', 'chief'], email: 'ada@example.com' },
    { name: 'bob', secret: 'builder' }
  ]
}

/** The hash of a key, as the config has it. */
export const sha256 = (text: string): string => `sha256:${createHash('sha256').update(text).digest('hex')}`

/** API keys: two of alice, one of carol, and an expired one of dave. */
export const keys = [
  { id: 'alice', key: sha256('key of alice'), roles: ['staff'], scopes: ['orders:read', 'orders:write'] },
  { id: 'alice', secret: 'second key of alice' },
  { id: 'carol', key: sha256('key of carol'), expires: '2999-01-01' },
  { id: 'dave', key: sha256('key of dave'), expires: '2020-01-01' }
]
export const apiKeys = { from: ['header:x-api-key', 'query:apikey'], list: keys }
export const both = { session: true, users, apiKeys }
/** A route that responds with the caller. */
export const who = { path: '/who', respond: { body: '{caller.id}|{caller.roles}|{caller.scopes}' } }

/** Logs a user in and returns the session cookie. */
export async function cookieOf(app: FastifyInstance, username = 'ada', host = 'localhost'): Promise<string> {
  const { secret } = users.list.find(({ name }) => name === username) ?? {}
  const { headers } = await app.inject({
    method: 'POST',
    url: '/login',
    payload: { username, password: secret },
    headers: { host }
  })
  return String(headers['set-cookie']).split(';')[0] ?? ''
}
