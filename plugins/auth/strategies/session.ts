import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Caller, Provided } from '../../../src/lib/caller.ts'
import { callerOf, type Users } from '../users.ts'
import type { Strategy } from './strategy.ts'

/** Lets in whoever has a session of a user that is still known, or of one whom a provider knows; a stale cookie counts as none. */
export function sessionStrategy(users: Users, issuer: string | undefined): Strategy {
  return {
    name: 'session',
    scheme: 'Session',
    headers: [],
    // Nothing waits for a store where there is no cookie to look up.
    find: (request, reply) => (mayHave(request) ? callerOfSession(request, reply, users, issuer) : null)
  }
}

function mayHave({ headers: { cookie }, server: { sessionCookie } }: FastifyRequest): boolean {
  return cookie !== undefined && sessionCookie !== null && cookie.includes(sessionCookie)
}

/** Finds who the session of a request belongs to, among some users and those of one provider. */
export async function callerOfSession(
  request: FastifyRequest,
  reply: FastifyReply,
  users: Users,
  issuer: string | undefined
): Promise<Caller | null> {
  const { sessions, oidc } = request.server
  const kept = await sessions?.load(request, reply)
  if (kept === null || kept === undefined) return null
  if (kept.provided === undefined) {
    const user = users.find(kept.user)
    if (user === undefined) return null
    return { ...callerOf(user), by: 'session' }
  }
  if (oidc === null || kept.provided.issuer !== issuer) return null
  const provided = await oidc.fresh(request, reply, kept.provided)
  return provided === null ? null : callerProvided(provided)
}

const callerProvided = ({ sub, name, email, roles, scopes, claims }: Provided): Caller => ({
  id: sub,
  ...(name === undefined ? {} : { name }),
  ...(email === undefined ? {} : { email }),
  roles,
  scopes,
  claims,
  by: 'session'
})
