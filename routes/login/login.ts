import type { FastifyReply, FastifyRequest } from 'fastify'
import { addressOf } from '../../src/lib/http/addresses.ts'
import { queryValue } from '../../src/lib/http/url-parts.ts'
import { type Refusal, withHeaders } from '../../src/lib/refusals.ts'
import { LoginWrong } from './errors.ts'
import { formField, isForm, messageBody } from './form.ts'
import { LOGGED_OUT, loggedOutPage, loginPage, type Paths, userPage, withPageHeaders } from './page.ts'
import { returnToOf, returnToOfForm } from './return-to.ts'

// In characters; a longer username is not shown again.
const MAX_NAME_LENGTH = 256

/** GET /login: the login page, a redirect to the provider, or who is logged in. */
export async function showLoginPage(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { oidc, users, callerOfSession } = request.server
  const caller = await callerOfSession(request, reply)
  const paths = pathsOf(request)
  const query = (name: string): string | undefined => queryValue(request.raw.url ?? '', name)
  // Without this page, a provider would log the user in again at once.
  if (caller === null && query(LOGGED_OUT) !== undefined)
    return withPageHeaders(reply, loggedOutPage(paths.login))
  if (oidc !== null && (query('with') === 'provider' || (caller === null && users.size === 0))) {
    const location = await oidc.begin(request, reply, paths.returnTo ?? paths.login)
    return reply.code(303).header('cache-control', 'no-store').header('location', location).send()
  }
  return withPageHeaders(
    reply,
    caller === null
      ? loginPage(paths, { provider: oidc !== null, failed: undefined })
      : userPage(paths, caller)
  )
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
  let user: Awaited<ReturnType<typeof users.verify>>
  if (name !== undefined && password !== undefined)
    try {
      user = await throttle.attempt(addressOf(request), name, () => users.verify(name, password))
    } catch (error) {
      return refuseLogin(request, reply, error as Refusal)
    }
  if (user === undefined)
    return refuseLogin(request, reply, withHeaders(new LoginWrong(), { 'www-authenticate': 'Session' }))
  // Another user's credentials replace the session.
  if (caller?.id === user.name && request.session.provided === undefined)
    return loggedIn(request, reply, 'Already authenticated')
  await sessions.start(request, reply, { user: user.name })
  return loggedIn(request, reply, 'Successfully authenticated')
}

/** Responds to a login: a browser is redirected to where it came from, or to the page that shows who is logged in; a program gets a message. */
function loggedIn(request: FastifyRequest, reply: FastifyReply, message: string): unknown {
  reply.header('cache-control', 'no-store')
  if (!isForm(request)) return messageBody(request, reply, message)
  const location = returnToOfForm(request) ?? pathsOf(request).login
  return reply.code(303).header('location', location).send()
}

/** Refuses a login: a browser gets the page again, which keeps the username; throws for a program. */
function refuseLogin(request: FastifyRequest, reply: FastifyReply, refusal: Refusal): string {
  const { statusCode: status = 500, headers = {}, message } = refusal
  if (!isForm(request) || status >= 500) throw refusal
  request.refusal = refusal
  reply.code(status).headers(headers)
  const name = formField(request.body, 'username') ?? ''
  const failed = { message, name: name.length > MAX_NAME_LENGTH ? '' : name }
  const provider = request.server.oidc !== null
  return withPageHeaders(reply, loginPage(pathsOf(request), { provider, failed }))
}

function pathsOf(request: FastifyRequest): Paths {
  const { login, logout } = request.server.sessions?.routes ?? { login: '/login', logout: '/logout' }
  return { login, logout, returnTo: returnToOf(request) }
}
