import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { LogoutDelayed, notLoggedIn, SessionUnknown } from './errors.ts'
import { formField, isForm, isTrue, messageBody, wantsJson } from './form.ts'
import { LOGGED_OUT, redirectPage, withPageHeaders } from './page.ts'

/** POST /logout: ends the session, another one of the user (`session`), or all of them (`everywhere`). */
export async function logOut(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { sessions, callerOfSession } = request.server
  if (sessions === null) throw notLoggedIn()
  try {
    await sessions.read(request, reply)
    if ((await callerOfSession(request, reply)) === null) throw notLoggedIn()
    return await endSessions(request, reply)
  } catch (error) {
    // Only the store knows whether the user has another session with this id.
    const otherSession = formField(request.body, 'session') !== undefined
    if (otherSession || (error as FastifyError).code !== 'SP_ERR_STORE_UNAVAILABLE') throw error
    const everywhere = isTrue(request.body, 'everywhere')
    throw (await sessions.endLater(request, reply, { everywhere })) ? new LogoutDelayed() : notLoggedIn()
  }
}

async function endSessions(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { sessions, oidc } = request.server
  if (sessions === null) throw notLoggedIn()
  reply.header('cache-control', 'no-store')
  const sessionId = formField(request.body, 'session')
  if (sessionId !== undefined) {
    if ((await sessions.endOwn(request, sessionId)) === 0) throw new SessionUnknown()
    return messageBody(request, reply, 'Successfully logged out')
  }
  const { provided } = request.session
  if (isTrue(request.body, 'everywhere')) await sessions.endOwn(request)
  await sessions.end(request, reply)
  const location =
    provided === undefined || oidc === null ? undefined : await oidc.logoutUrl(request, provided)
  // Content-Security-Policy's form-action forbids a redirect to another site, but not a page that leads there.
  if (isForm(request) && location !== undefined) return withPageHeaders(reply, redirectPage(location))
  if (isForm(request))
    return reply.code(303).header('location', `${sessions.routes.login}?${LOGGED_OUT}`).send()
  if (location !== undefined && wantsJson(request)) return { message: 'Successfully logged out', location }
  return messageBody(request, reply, 'Successfully logged out')
}
