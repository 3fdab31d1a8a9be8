import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type BuiltinContext, type BuiltinRoute, createError } from '../src/kit/index.ts'
import { publicOrigin, sessionCounts } from '../src/lib/caller.ts'
import { escapeHtml } from '../src/lib/html.ts'
import { addressOf } from '../src/lib/http/addresses.ts'
import type { Refusal } from '../src/lib/refusals.ts'
import { isObject } from '../src/lib/schema.ts'
import { queryValue } from '../src/lib/values.ts'
import { loginPage } from './login-page.ts'

/** The name or the password is wrong; which of them is not told. */
export const LoginWrong = createError('SP_ERR_AUTH_LOGIN_WRONG', 'The name or the password is wrong', 401)
/** There is no such session of this user. */
export const SessionUnknown = createError(
  'SP_ERR_AUTH_SESSION_UNKNOWN',
  'There is no such session of yours',
  404
)
/** Nobody is logged in. */
export const NobodyHere = createError('SP_ERR_AUTH_NOBODY', 'Nobody is logged in', 401)

/** The session store does not answer, so a log-out waits for it. */
export const LogoutDelayed = createError(
  'SP_ERR_AUTH_LOGOUT_DELAYED',
  'The session store does not answer; the log-out takes effect once it does',
  503
)

const always = { auth: false, csrf: true, securityHeaders: { preset: 'strict' } }
// Routes of some host alone and routes of all hosts are told apart: what a host has beats what has none.
const ANY_HOST: readonly string[] = []

/** The routes by which a user logs in and out, where a session lets callers in. */
export function loginRoutes({ words: root, routes }: BuiltinContext): BuiltinRoute[] {
  const behind = routes.filter((route) => sessionCounts(route.words))
  if (behind.length === 0) return []
  const named = [...new Set(behind.flatMap((route) => route.hosts))]
  const places = [
    ...(behind.some((route) => route.hosts.length === 0) ? [ANY_HOST] : []),
    ...(named.length === 0 ? [] : [named])
  ]
  const { login, logout, who, callback } = (root['session'] as { routes: Readonly<Record<string, string>> })
    .routes as { login: string; logout: string; who: string; callback: string }
  const provided = behind.some(({ words: said }) => (said['auth'] as { oidc?: unknown }).oidc !== undefined)
  // What every route gets of cors is csrf's business here, too: its origins may log in and out.
  const cors = root['cors'] as { global?: boolean } | undefined
  const words = cors === undefined || cors.global === false ? always : { ...always, cors }
  return places.flatMap((hosts): BuiltinRoute[] => [
    { hosts, words, name: 'login page', path: login, methods: ['GET', 'HEAD'], handler: showPage },
    { hosts, words, name: 'login', path: login, methods: ['POST'], handler: logIn },
    { hosts, words, name: 'logout', path: logout, methods: ['POST'], handler: logOut },
    { hosts, words, name: 'who am I', path: who, methods: ['GET', 'HEAD'], handler: whoAmI },
    ...(provided
      ? [
          { hosts, words, name: 'login callback', path: callback, methods: ['GET'], handler: comeBack },
          {
            hosts,
            words,
            name: 'logout by provider',
            path: callback,
            methods: ['POST'],
            handler: endProvided
          }
        ]
      : [])
  ])
}

/** Lets the standing routes read forms, and JSON that is not there as nothing; a context of their own keeps other routes from it. */
export function readForms(app: FastifyInstance): void {
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    function readForm(_request, body, done) {
      done(null, Object.fromEntries(new URLSearchParams(String(body))))
    }
  )
  const parse = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, function readJson(request, body, done) {
    // Many a program says so with every request; who logs out has nothing to tell.
    if (body === '') done(null, undefined)
    else void parse(request, String(body), done)
  })
}

async function showPage(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { oidc, users, callerOfSession } = request.server
  const caller = await callerOfSession(request, reply)
  const asked = queryValue(request.raw.url ?? '', 'with') === 'provider'
  if (oidc !== null && (asked || (caller === null && users.size === 0))) {
    const location = await oidc.begin(request, reply, returnToOf(request))
    return reply.code(303).header('cache-control', 'no-store').header('location', location).send()
  }
  return page(request, reply, { user: caller === null ? undefined : (caller.name ?? caller.id) })
}

/** Takes back somebody whom the provider let in. */
async function comeBack(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { oidc, sessions, callerOfSession } = request.server
  if (oidc === null || sessions === null) throw new LoginWrong()
  reply.header('cache-control', 'no-store')
  let found: Awaited<ReturnType<typeof oidc.finish>>
  try {
    found = await oidc.finish(request, reply)
  } catch (error) {
    const returnTo = await oidc.returnTo(request)
    // A user who went back in the history is logged in already.
    if ((error as FastifyError).statusCode === 401 && (await callerOfSession(request, reply)) !== null)
      return reply.code(303).header('location', returnTo).send()
    throw beginAnew(error as Refusal, request, returnTo)
  }
  const { provided, returnTo, begun } = found
  await sessions.start(request, reply, {
    user: provided.name ?? provided.sub,
    provided,
    ...(begun.length === 0 ? {} : { begun })
  })
  // A redirect that another site began does not bring a strict cookie along; a page of ours does.
  if (sessions.cookie.sameSite === 'strict') return onward(reply, returnTo)
  return reply.code(303).header('location', returnTo).send()
}

/** Adds to the refusal of a log-in where it can be begun again. */
function beginAnew(refusal: Refusal, { server }: FastifyRequest, returnTo: string): Refusal {
  const query = new URLSearchParams({ return_to: returnTo })
  // The page of local users would be a detour.
  if (server.users.size > 0) query.set('with', 'provider')
  const href = `${server.sessions?.routes.login ?? '/login'}?${query.toString()}`
  return Object.assign(refusal, {
    link: { href, text: 'Begin the log-in again' },
    members: { ...refusal.members, login: href }
  })
}

/** Ends sessions on the word of the provider (OpenID Connect Back-Channel Logout 1.0 section 2.5). */
async function endProvided(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { oidc } = request.server
  if (oidc === null) throw new LoginWrong()
  await oidc.backChannelLogout(request)
  return reply.header('cache-control', 'no-store').send()
}

/** Sends a browser on by a page, where a redirect would not do. */
function onward(reply: FastifyReply, location: string): string {
  reply.type('text/html; charset=utf-8')
  const place = escapeHtml(location)
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>One moment</title>
<meta http-equiv="refresh" content="0; url=${place}">
<p><a href="${place}">Go on</a></p>
</html>
`
}

const returnToOf = (request: FastifyRequest): string =>
  ownPath(queryValue(request.raw.url ?? '', 'return_to') ?? formField(request.body, 'return_to'), request)

function page(
  request: FastifyRequest,
  reply: FastifyReply,
  said: { user?: string | undefined; wrong?: boolean }
): string {
  const routes = request.server.sessions?.routes ?? { login: '/login', logout: '/logout' }
  const returnTo = returnToOf(request)
  reply.type('text/html; charset=utf-8').header('cache-control', 'no-store')
  return loginPage({
    login: routes.login,
    logout: routes.logout,
    returnTo,
    provider: request.server.oidc !== null,
    user: said.user,
    wrong: said.wrong === true
  })
}

async function logIn(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { sessions, users, throttle, callerOfSession } = request.server
  if (sessions === null) throw new LoginWrong()
  const name = formField(request.body, 'username')?.normalize('NFC')
  const password = formField(request.body, 'password')
  const caller = await callerOfSession(request, reply)
  // A program may ask whether it is logged in, without credentials.
  if (caller !== null && name === undefined && password === undefined)
    return done(request, reply, 'Already authenticated')
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
  // Other credentials than those of the session take its place.
  if (caller?.id === user.name && request.session.provided === undefined)
    return done(request, reply, 'Already authenticated')
  await sessions.start(request, reply, { user: user.name })
  return done(request, reply, 'Successfully authenticated')
}

/** Answers a log-in: a page's form goes where it came from, a program gets a text or JSON. */
function done(request: FastifyRequest, reply: FastifyReply, message: string): unknown {
  reply.header('cache-control', 'no-store')
  if (isForm(request))
    return reply
      .code(303)
      .header(
        'location',
        ownPath(
          formField(request.body, 'return_to') ?? queryValue(request.raw.url ?? '', 'return_to'),
          request
        )
      )
      .send()
  return answer(request, reply, message)
}

async function logOut(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { sessions, callerOfSession } = request.server
  if (sessions === null) throw nobodyHere()
  try {
    await sessions.read(request, reply)
    if ((await callerOfSession(request, reply)) === null) throw nobodyHere()
    return await endSessions(request, reply)
  } catch (error) {
    // Of another session of the same user the store has to say whether there is one.
    const other = formField(request.body, 'session') !== undefined
    if (other || (error as FastifyError).code !== 'SP_ERR_STORE_UNAVAILABLE') throw error
    const everywhere = isTrue(request.body, 'everywhere')
    throw (await sessions.endLater(request, reply, { everywhere })) ? new LogoutDelayed() : nobodyHere()
  }
}

async function endSessions(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { sessions, oidc } = request.server
  if (sessions === null) throw nobodyHere()
  reply.header('cache-control', 'no-store')
  const one = formField(request.body, 'session')
  if (one !== undefined) {
    if ((await sessions.endOwn(request, one)) === 0) throw new SessionUnknown()
    return answer(request, reply, 'Successfully logged out')
  }
  const { provided } = request.session
  if (isTrue(request.body, 'everywhere')) await sessions.endOwn(request)
  await sessions.end(request, reply)
  const location =
    provided === undefined || oidc === null ? undefined : await oidc.logoutUrl(request, provided)
  // A form may not lead to another site (Content-Security-Policy: form-action); a page may.
  if (isForm(request) && location !== undefined) return onward(reply, location)
  if (isForm(request)) return reply.code(303).header('location', sessions.routes.login).send()
  if (location !== undefined && wantsJson(request)) return { message: 'Successfully logged out', location }
  return answer(request, reply, 'Successfully logged out')
}

async function whoAmI(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { sessions, callerOfSession } = request.server
  const caller = await callerOfSession(request, reply)
  if (caller === null || sessions === null) throw nobodyHere()
  reply.header('cache-control', 'no-store')
  const { id, name = id, email, roles, by } = caller
  return {
    id,
    name,
    ...(email === undefined ? {} : { email }),
    roles,
    by,
    ...(queryValue(request.raw.url ?? '', 'sessions') === undefined
      ? {}
      : { sessions: (await sessions.listOwn(request)).map(seen) })
  }
}

const seen = ({ created, ...rest }: { id: string; created: number; current: boolean }): object => ({
  ...rest,
  since: new Date(created).toISOString()
})

const nobodyHere = (): Error =>
  Object.assign(new NobodyHere(), { headers: { 'www-authenticate': 'Session' } })

const isTrue = (body: unknown, name: string): boolean =>
  isObject(body) &&
  (body[name] === true || body[name] === 'true' || body[name] === '1' || body[name] === 'on')

const wantsJson = ({ headers }: FastifyRequest): boolean => headers.accept?.includes('json') === true

function answer(request: FastifyRequest, reply: FastifyReply, message: string): unknown {
  if (wantsJson(request)) return { message }
  reply.type('text/plain; charset=utf-8')
  return message
}

function formField(body: unknown, name: string): string | undefined {
  const value = isObject(body) && Object.hasOwn(body, name) ? body[name] : undefined
  return typeof value === 'string' ? value : undefined
}

/** Tells whether a page's form made the request, so that a browser shows what comes back. */
function isForm({ headers }: FastifyRequest): boolean {
  if (headers['content-type']?.toLowerCase().startsWith('application/x-www-form-urlencoded') !== true)
    return false
  const mode = headers['sec-fetch-mode']
  return mode === undefined
    ? headers['upgrade-insecure-requests'] === '1' || headers.accept?.includes('text/html') === true
    : mode === 'navigate'
}

// How long a place to return to may be, in characters.
const LONGEST = 2048

/** Reads a place to return to: a path of our own origin, else "/" (CWE-601; the classes are those of the WHATWG URL parser). */
export function ownPath(asked: string | undefined, request: FastifyRequest): string {
  if (asked === undefined || asked.length > LONGEST) return '/'
  // What the URL parser drops or turns into a slash before it looks for a host: controls, spaces, backslashes.
  for (const char of asked)
    if (char <= ' ' || char === '\\' || char === '\u007f' || (char > '~' && /[\s\p{C}]/u.test(char)))
      return '/'
  const own = publicOrigin(request)
  let url: URL
  try {
    url = new URL(asked, own)
  } catch {
    return '/'
  }
  const path = asked.startsWith('/') && !asked.startsWith('//')
  const absolute = request.server.publicUrl !== null && asked.startsWith(`${own}/`)
  if (
    (!path && !absolute) ||
    url.origin !== new URL(own).origin ||
    url.username !== '' ||
    url.password !== ''
  )
    return '/'
  const made = url.pathname + url.search + url.hash
  // Encoded it may be longer: a cookie has to hold it.
  return made.startsWith('//') || made.length > LONGEST ? '/' : made
}
