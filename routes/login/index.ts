import type { FastifyInstance } from 'fastify'
import type { BuiltinContext, BuiltinRoute } from '../../src/kit/builtin.ts'
import { logIn, showLoginPage } from './login.ts'
import { logOut } from './logout.ts'
import { finishProviderLogin, logOutByProvider } from './provider.ts'
import { showSession } from './session.ts'

const BASE_OPTIONS = { auth: false, csrf: true, securityHeaders: { preset: 'strict' } }

const ANY_HOST: readonly string[] = []

/** Returns the routes by which users log in and out; none if no route accepts sessions. */
export function loginRoutes({ options: root, routes }: BuiltinContext): BuiltinRoute[] {
  const withSession = routes.filter(({ usesSession }) => usesSession)
  if (withSession.length === 0) return []
  const session = root['session'] as { routes: Record<'login' | 'logout' | 'who' | 'callback', string> }
  const { login, logout, who, callback } = session.routes
  const usesProvider = withSession.some(
    ({ options }) => (options['auth'] as { oidc?: unknown }).oidc !== undefined
  )
  // Origins that cors allows may log in and out as well: csrf reads its options.
  const cors = root['cors'] as { global?: boolean } | undefined
  const options = cors === undefined || cors.global === false ? BASE_OPTIONS : { ...BASE_OPTIONS, cors }
  return hostListsOf(withSession).flatMap((hosts): BuiltinRoute[] => {
    const common = { hosts, options }
    return [
      { ...common, name: 'login page', path: login, methods: ['GET', 'HEAD'], handler: showLoginPage },
      { ...common, name: 'login', path: login, methods: ['POST'], handler: logIn },
      { ...common, name: 'logout', path: logout, methods: ['POST'], handler: logOut },
      { ...common, name: 'who am I', path: who, methods: ['GET', 'HEAD'], handler: showSession },
      ...(usesProvider
        ? [
            {
              ...common,
              name: 'login callback',
              path: callback,
              methods: ['GET'],
              handler: finishProviderLogin
            },
            {
              ...common,
              name: 'logout by provider',
              path: callback,
              methods: ['POST'],
              handler: logOutByProvider
            }
          ]
        : [])
    ]
  })
}

/** Returns the lists of hosts to register the login routes for: a route with a host wins over routes for any host. */
function hostListsOf(routes: readonly { readonly hosts: readonly string[] }[]): (readonly string[])[] {
  const hosts = [...new Set(routes.flatMap((route) => route.hosts))]
  return [
    ...(routes.some((route) => route.hosts.length === 0) ? [ANY_HOST] : []),
    ...(hosts.length === 0 ? [] : [hosts])
  ]
}

/** Registers the parsers of the built-in routes: forms, and JSON that may be empty. Called in a context that no other route shares. */
export function addBodyParsers(app: FastifyInstance): void {
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    function parseForm(_request, body, done) {
      done(null, Object.fromEntries(new URLSearchParams(String(body))))
    }
  )
  const parse = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'string' },
    function parseJson(request, body, done) {
      // Many clients send this content type with every request, a logout without a body included.
      if (body === '') done(null, undefined)
      else void parse(request, String(body), done)
    }
  )
}
