import type { FastifyReply, FastifyRequest } from 'fastify'
import { addressOf } from '../../src/lib/http/addresses.ts'
import { queryValue } from '../../src/lib/values.ts'
import { LoginWrong } from './errors.ts'
import { formField, isForm, messageBody } from './form.ts'
import { loginPage } from './page.ts'
import { returnToOf, returnToOfForm } from './return-to.ts'

/** GET /login: the login page, or a redirect to the provider. */
export async function showLoginPage(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { oidc, users, callerOfSession } = request.server
  const caller = await callerOfSession(request, reply)
  const withProvider = queryValue(request.raw.url ?? '', 'with') === 'provider'
  if (oidc !== null && (withProvider || (caller === null && users.size === 0))) {
    const location = await oidc.begin(request, reply, returnToOf(request))
    return reply.code(303).header('cache-control', 'no-store').header('location', location).send()
  }
  return page(request, reply, { user: caller === null ? undefined : (caller.name ?? caller.id) })
}

/** POST /login: starts a session for a username and a password. */
export async function logIn(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { sessions, users, throttle, callerOfSession } = request.server
  if (sessions === null) throw new LoginWrong()
  const name = formField(request.body, 'username')?.normalize('NFC')
  const password = formField(request.body, 'password')
  const caller = await callerOfSession(request, reply)
  // Without credentials a program asks whether it is logged in.
  if (caller !== null && name === undefined && password === undefined)
    return loggedIn(request, reply, 'Already authenticated')
  const user =
    name === undefined || password === undefined
      ? undefined
      : await throttle.attempt(addressOf(request), name, () => users.verify(name, password))
  if (user === undefined) {
    if (!isForm(request))
      throw Object.assign(new LoginWrong(), { headers: { 'www-authenticate': 'Session' } })
    reply.code(401).header('www-authenticate', 'Session')
    return page(request, reply, { wrong: true })
  }
  // Another user's credentials replace the session.
  if (caller?.id === user.name && request.session.provided === undefined)
    return loggedIn(request, reply, 'Already authenticated')
  await sessions.start(request, reply, { user: user.name })
  return loggedIn(request, reply, 'Successfully authenticated')
}

/** Responds to a login: a browser is redirected to where it came from, a program gets a message. */
function loggedIn(request: FastifyRequest, reply: FastifyReply, message: string): unknown {
  reply.header('cache-control', 'no-store')
  if (!isForm(request)) return messageBody(request, reply, message)
  return reply.code(303).header('location', returnToOfForm(request)).send()
}

function page(
  request: FastifyRequest,
  reply: FastifyReply,
  { user, wrong = false }: { user?: string | undefined; wrong?: boolean }
): string {
  const { login, logout } = request.server.sessions?.routes ?? { login: '/login', logout: '/logout' }
  const returnTo = returnToOf(request)
  reply.type('text/html; charset=utf-8').header('cache-control', 'no-store')
  return loginPage({ login, logout, returnTo, provider: request.server.oidc !== null, user, wrong })
}
