import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Caller, Provided } from '../../../src/lib/caller.ts'
import { callerOf, type Users } from '../users.ts'
import type { Strategy } from './strategy.ts'

/** Whose sessions are accepted. */
export interface SessionUsers {
  /** The local users. */
  readonly users: Users
  /** The issuer of the OpenID Connect provider; undefined if none is configured. */
  readonly issuer: string | undefined
}

/** Accepts the session of a local user who is still configured, or of a user of the provider; a stale cookie counts as none. */
export function sessionStrategy(known: SessionUsers): Strategy {
  return {
    name: 'session',
    scheme: 'Session',
    headers: [],
    // Without a cookie the result is synchronous.
    authenticate: (request, reply) =>
      mayHaveSession(request) ? callerOfSession(request, reply, known) : null
  }
}

function mayHaveSession({ headers: { cookie }, server: { sessionCookie } }: FastifyRequest): boolean {
  return cookie !== undefined && sessionCookie !== null && cookie.includes(sessionCookie)
}

/** Returns the caller of a request's session, among some local users and those of one provider; null if there is none. */
export async function callerOfSession(
  request: FastifyRequest,
  reply: FastifyReply,
  { users, issuer }: SessionUsers
): Promise<Caller | null> {
  const { sessions, oidc } = request.server
  const session = await sessions?.load(request, reply)
  if (session === null || session === undefined) return null
  if (session.provided === undefined) {
    const user = users.find(session.user)
    if (user === undefined) return null
    return { ...callerOf(user), by: 'session' }
  }
  if (oidc === null || session.provided.issuer !== issuer) return null
  const provided = await oidc.refreshIfDue(request, reply, session.provided)
  return provided === null ? null : callerOfProvider(provided)
}

const callerOfProvider = ({ issuer, sub, name, email, roles, scopes, claims }: Provided): Caller => ({
  id: sub,
  issuer,
  ...(name === undefined ? {} : { name }),
  ...(email === undefined ? {} : { email }),
  roles,
  scopes,
  claims,
  by: 'session'
})
