import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Caller, Provided } from '../../../src/lib/caller.ts'
import { wall } from '../../../src/lib/clock.ts'
import type { TokenNeeds } from '../oidc/token-lifetime.ts'
import { authUnavailable } from '../unavailable.ts'
import { callerOf, type Users } from '../users.ts'
import type { Strategy } from './strategy.ts'

/** Whose sessions are accepted. */
export interface SessionUsers {
  /** The local users. */
  readonly users: Users
  /** The issuer of the OpenID Connect provider; undefined if none is configured. */
  readonly issuer: string | undefined
}

/** Accepts the session of a local user who is still configured, or of a user of the provider; a stale cookie counts as none. The needed tokens are set on the request. */
export function sessionStrategy(known: SessionUsers, needs: Readonly<TokenNeeds>): Strategy {
  const authenticate = async (request: FastifyRequest, reply: FastifyReply): Promise<Caller | null> => {
    const found = await findSession(request, reply, known)
    if (found === null || found.provided === undefined) return found?.caller ?? null
    if (needs.accessToken) {
      const token = validTokenOf(found.provided)
      // A new log-in brings a token.
      if (token === undefined) return null
      request.accessToken = token === '' ? null : token
    }
    if (needs.idToken) request.idToken = found.provided.idToken ?? null
    return found.caller
  }
  return {
    name: 'session',
    scheme: 'Session',
    headers: [],
    // Without a cookie the result is synchronous.
    authenticate: (request, reply) => (mayHaveSession(request) ? authenticate(request, reply) : null)
  }
}

/** Returns the access token, empty if the provider gives none; undefined if it has expired. Throws SP_ERR_AUTH_UNAVAILABLE if the provider did not renew it. */
function validTokenOf({ accessToken, accessTokenExpiresAt, refreshToken }: Provided): string | undefined {
  if (accessToken === '') return ''
  if (accessToken !== undefined && (accessTokenExpiresAt === undefined || accessTokenExpiresAt > wall()))
    return accessToken
  if (refreshToken === undefined) return undefined
  throw authUnavailable(5)
}

/** Returns whether a request has a cookie that may be that of a session. */
export function mayHaveSession({ headers: { cookie }, server: { sessionCookie } }: FastifyRequest): boolean {
  return cookie !== undefined && sessionCookie !== null && cookie.includes(sessionCookie)
}

/** Returns the caller of a request's session, among some local users and those of one provider; null if there is none. */
export const callerOfSession = async (
  request: FastifyRequest,
  reply: FastifyReply,
  known: SessionUsers
): Promise<Caller | null> => (await findSession(request, reply, known))?.caller ?? null

interface FoundSession {
  readonly caller: Caller
  /** The provider's data; undefined for a local user. */
  readonly provided?: Provided
}

async function findSession(
  request: FastifyRequest,
  reply: FastifyReply,
  { users, issuer }: SessionUsers
): Promise<FoundSession | null> {
  const { sessions, oidc } = request.server
  const session = await sessions?.load(request, reply)
  if (session === null || session === undefined) return null
  if (session.provided === undefined) {
    const user = users.find(session.user)
    return user === undefined ? null : { caller: { ...callerOf(user), by: 'session' } }
  }
  if (oidc === null || session.provided.issuer !== issuer) return null
  const provided = await oidc.refreshIfDue(request, reply, session.provided)
  return provided === null ? null : { caller: callerOfProvider(provided), provided }
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
