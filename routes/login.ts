import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  addressOf,
  createError,
  isObject,
  queryValue,
  type StandingAbout,
  type StandingRoute,
  sessionCounts
} from '../src/kit/index.ts'
import { loginPage } from './login-page.ts'

/** The name or the password is wrong; which of them is not told. */
export const LoginWrong = createError('SP_ERR_AUTH_LOGIN_WRONG', 'The name or the password is wrong', 401)
/** Nobody is logged in. */
export const NobodyHere = createError('SP_ERR_AUTH_NOBODY', 'Nobody is logged in', 401)

const always = { auth: false, csrf: true, securityHeaders: { preset: 'strict' } }
// Routes of some host alone and routes of all hosts are told apart: what a host has beats what has none.
const ANY_HOST: readonly string[] = []

/** The routes by which a user logs in and out, where a session lets callers in. */
export function loginRoutes({ words: root, routes }: StandingAbout): StandingRoute[] {
  const behind = routes.filter((route) => sessionCounts(route.words))
  if (behind.length === 0) return []
  const named = [...new Set(behind.flatMap((route) => route.hosts))]
  const places = [
    ...(behind.some((route) => route.hosts.length === 0) ? [ANY_HOST] : []),
    ...(named.length === 0 ? [] : [named])
  ]
  const { login, logout, who } = (
    root['session'] as { routes: { login: string; logout: string; who: string } }
  ).routes
  // What every route gets of cors is csrf's business here, too: its origins may log in and out.
  const cors = root['cors'] as { global?: boolean } | undefined
  const words = cors === undefined || cors.global === false ? always : { ...always, cors }
  return places.flatMap((hosts): StandingRoute[] => [
    { hosts, words, name: 'login page', path: login, methods: ['GET', 'HEAD'], handler: showPage },
    { hosts, words, name: 'login', path: login, methods: ['POST'], handler: logIn },
    { hosts, words, name: 'logout', path: logout, methods: ['POST'], handler: logOut },
    { hosts, words, name: 'who am I', path: who, methods: ['GET', 'HEAD'], handler: whoAmI }
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

/** Finds the user whose session a request has. */
async function userOf(
  request: FastifyRequest,
  reply: FastifyReply
): Promise<{ name: string; roles: readonly string[] } | undefined> {
  const { sessions, users } = request.server
  const session = await sessions?.load(request, reply)
  const user = session === null || session === undefined ? undefined : users.find(session.user)
  return user === undefined ? undefined : { name: user.name, roles: user.roles ?? [] }
}

async function showPage(request: FastifyRequest, reply: FastifyReply): Promise<string> {
  const user = await userOf(request, reply)
  return page(request, reply, { user: user?.name })
}

function page(
  request: FastifyRequest,
  reply: FastifyReply,
  said: { user?: string | undefined; wrong?: boolean }
): string {
  const routes = request.server.sessions?.routes ?? { login: '/login', logout: '/logout' }
  const returnTo = ownPath(
    queryValue(request.raw.url ?? '', 'return_to') ?? formField(request.body, 'return_to'),
    request
  )
  reply.type('text/html; charset=utf-8').header('cache-control', 'no-store')
  return loginPage({
    login: routes.login,
    logout: routes.logout,
    returnTo,
    user: said.user,
    wrong: said.wrong === true
  })
}

async function logIn(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { sessions, users, throttle } = request.server
  if (sessions === null) throw new LoginWrong()
  if ((await userOf(request, reply)) !== undefined) return done(request, reply, 'Already authenticated')
  const name = formField(request.body, 'username')
  const password = formField(request.body, 'password')
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
  await sessions.start(request, reply, user.name)
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
  const { sessions } = request.server
  if (sessions === null || (await userOf(request, reply)) === undefined)
    throw Object.assign(new NobodyHere(), { headers: { 'www-authenticate': 'Session' } })
  await sessions.end(request, reply)
  reply.header('cache-control', 'no-store')
  if (isForm(request)) return reply.code(303).header('location', sessions.routes.login).send()
  return answer(request, reply, 'Successfully logged out')
}

async function whoAmI(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const user = await userOf(request, reply)
  if (user === undefined)
    throw Object.assign(new NobodyHere(), { headers: { 'www-authenticate': 'Session' } })
  reply.header('cache-control', 'no-store')
  return { id: user.name, name: user.name, roles: user.roles, by: 'session' }
}

function answer(request: FastifyRequest, reply: FastifyReply, message: string): unknown {
  if (request.headers.accept?.includes('json') === true) return { message }
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

/** Reads a place to return to: a path of our own origin, else "/" (CWE-601; the classes are those of the WHATWG URL parser). */
export function ownPath(asked: string | undefined, request: FastifyRequest): string {
  if (asked === undefined || asked.length > 2048) return '/'
  // What the URL parser drops or turns into a slash before it looks for a host: controls, spaces, backslashes.
  for (const char of asked)
    if (char <= ' ' || char === '\\' || char === '\u007f' || (char > '~' && /[\s\p{C}]/u.test(char)))
      return '/'
  const own = request.server.publicUrl ?? `${request.protocol}://${request.host}`
  let url: URL
  try {
    url = new URL(asked, own)
  } catch {
    return '/'
  }
  const path = asked.startsWith('/') && !asked.startsWith('//')
  const absolute = request.server.publicUrl !== null && asked.startsWith(`${request.server.publicUrl}/`)
  if (
    (!path && !absolute) ||
    url.origin !== new URL(own).origin ||
    url.username !== '' ||
    url.password !== ''
  )
    return '/'
  return url.pathname.startsWith('//') ? '/' : url.pathname + url.search + url.hash
}
