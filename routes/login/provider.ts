import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import type { Refusal } from '../../src/lib/refusals.ts'
import { LoginWrong } from './errors.ts'
import { redirectPage, withPageHeaders } from './page.ts'

/** GET /login/callback: starts a session for a user whom the provider has authenticated. */
export async function finishProviderLogin(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { oidc, sessions, callerOfSession } = request.server
  if (oidc === null || sessions === null) throw new LoginWrong()
  reply.header('cache-control', 'no-store')
  let login: Awaited<ReturnType<typeof oidc.finish>>
  try {
    login = await oidc.finish(request, reply)
  } catch (error) {
    const returnTo = await oidc.returnTo(request)
    // A user who went back in the browser's history is already logged in.
    if ((error as FastifyError).statusCode === 401 && (await callerOfSession(request, reply)) !== null)
      return reply.code(303).header('location', returnTo).send()
    throw withLoginLink(error as Refusal, request, returnTo)
  }
  const { provided, returnTo, begun } = login
  await sessions.start(request, reply, {
    user: provided.name ?? provided.sub,
    provided,
    ...(begun.length === 0 ? {} : { begun })
  })
  // Browsers don't send a strict cookie after a redirect that another site began, but after a page of ours.
  if (sessions.cookie.sameSite === 'strict') return withPageHeaders(reply, redirectPage(returnTo))
  return reply.code(303).header('location', returnTo).send()
}

/** Adds to the error of a failed login the link that starts it again. */
function withLoginLink(refusal: Refusal, { server }: FastifyRequest, returnTo: string): Refusal {
  const query = new URLSearchParams({ return_to: returnTo })
  // Skips the page for local users.
  if (server.users.size > 0) query.set('with', 'provider')
  const href = `${server.sessions?.routes.login ?? '/login'}?${query.toString()}`
  return Object.assign(refusal, {
    link: { href, text: 'Log in again' },
    members: { ...refusal.members, login: href }
  })
}

/** POST /login/callback: ends the sessions that the provider names (OpenID Connect Back-Channel Logout 1.0 section 2.5). */
export async function logOutByProvider(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { oidc } = request.server
  if (oidc === null) throw new LoginWrong()
  await oidc.backChannelLogout(request)
  return reply.header('cache-control', 'no-store').send()
}
