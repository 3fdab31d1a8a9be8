import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { fp, type Hooks, perOptions, type RouteInfo } from '../../src/kit/index.ts'
import { type Caller, identityHeadersOf, strategiesIn } from '../../src/lib/caller.ts'
import type { PrivateHeader } from '../../src/lib/http/copied-headers.ts'
import type { WrittenHeader } from '../../src/lib/http/request-head.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import { acceptedStrategies } from './alternatives.ts'
import { makeSigner, type Signer } from './assertion.ts'
import { backChannelTo, fetchOver } from './back-channel.ts'
import { type Listed, readUsers, type User } from './credential-files.ts'
import { exemptHead } from './exempt.ts'
import { type GateParts, makeGate } from './gate.ts'
import { resourcesOf, withAudiences } from './jwt/resource.ts'
import { makeOidc, type Oidc, Provider, type TokenNeeds } from './oidc/index.ts'
import type { AuthOptions, StrategyName } from './options.ts'
import { passedTokens } from './passed-tokens.ts'
import { makeStrategies } from './strategies/index.ts'
import { callerOfSession, mayHaveSession } from './strategies/session.ts'
import { simulatedStrategy } from './strategies/simulated.ts'
import { Throttle } from './throttle.ts'
import { Users } from './users.ts'

export { comparison } from './compare.ts'
export { describes } from './describe.ts'
export { faults, planWarnings, warnings } from './faults.ts'
export { type AuthOptions, options, override } from './options.ts'
export { hashPassword } from './password.ts'
export { fromSecurity } from './security.ts'
export { isStricter } from './stricter.ts'

export const key = 'auth'

export const reservedHeaders = (options: AuthOptions): string[] => [...identityHeadersOf(options).everywhere]

/** Lists the headers of credentials and identities. */
export const requestHeaders = (options: AuthOptions): string[] => [
  ...reservedHeaders(options),
  'authorization',
  ...(options.apiKeys?.from ?? [])
    .filter((from) => from.startsWith('header:'))
    .map((from) => from.slice('header:'.length).toLowerCase())
]

export const usesSession = ({ session, by }: AuthOptions): boolean =>
  session === true && (by === undefined || strategiesIn(by).includes('session'))

// Sessions are stored, and failed passwords are counted.
const STATELESS: ReadonlySet<string> = new Set<StrategyName>([
  'clientCertificate',
  'apiKeys',
  'jwt',
  'forward'
])

export const stateless = (options: AuthOptions): boolean =>
  !usesSession(options) && acceptedStrategies(options).every((name) => STATELESS.has(name))

/** Says that a session, which an earlier request began, is not known. */
export const undecided = (options: AuthOptions, request: FastifyRequest): string | undefined =>
  usesSession(options) && request.caller === null && mayHaveSession(request)
    ? `the session of the cookie "${request.server.sessionCookie}"`
    : undefined

declare module 'fastify' {
  interface FastifyInstance {
    /** The local users of every route that accepts a session. */
    users: Users
    /** Limits failed log-ins. */
    throttle: Throttle
    /** Log-ins at an OpenID Connect provider; null if none is configured. */
    oidc: Oidc | null
    /** The signers of assertions for upstreams, by their options. */
    signers: ReadonlyMap<string, Signer>
    /** Finds the caller of a request's session, on any route; null without a valid session. */
    callerOfSession(request: FastifyRequest, reply: FastifyReply): Promise<Caller | null>
    /** The names of all identity headers, in lower case with dashes; removed from every client's request. */
    identityNames: ReadonlySet<string>
    /** The names of the headers, other than cookies, in which any route takes credentials, in lower case; complete when all routes are registered. */
    credentialHeaders: ReadonlySet<string>
    /** The names of the query parameters in which any route takes credentials; complete when all routes are registered. */
    credentialParameters: ReadonlySet<string>
  }
  interface FastifyRequest {
    /** The headers with credentials for the gateway alone; null if the route has none. */
    privateHeaders: readonly PrivateHeader[] | null
    /** Why the request's credential is wrong, as a metric label; null if it is not, or if no reason is known. */
    wrongCredential: string | null
    /** The access token of the session's user at the provider; null unless the route passes it on. Never logged. */
    accessToken: string | null
    /** The ID token of the session's user; null unless the route passes it on. Never logged. */
    idToken: string | null
    /** The headers that tell the upstream who the caller is; null if the route has none. */
    identity: readonly WrittenHeader[] | null
  }
}

export default fp<AuthOptions>(
  async function auth(app, root) {
    const allUsers = new Users()
    const identityNames = new Set<string>()
    const signers = new Map<string, Signer>()
    const credentialHeaders = new Set<string>()
    const credentialParameters = new Set<string>()
    app.decorate('users', allUsers)
    app.decorate('throttle', leaseThrottle(app))
    app.decorate('oidc', null)
    app.decorate('signers', signers)
    app.decorate('callerOfSession', (request: FastifyRequest, reply: FastifyReply) =>
      callerOfSession(request, reply, { users: allUsers, issuer: app.oidc?.issuer })
    )
    app.decorate('identityNames', identityNames)
    app.decorate('credentialHeaders', credentialHeaders)
    app.decorate('credentialParameters', credentialParameters)
    app.decorateRequest('privateHeaders', null)
    app.decorateRequest('identity', null)
    app.decorateRequest('wrongCredential', null)
    app.decorateRequest('accessToken', null)
    app.decorateRequest('idToken', null)
    // The newest generation decides: a user who was removed from the config has no session any more.
    app.addHook('onReady', async function checkSessionUsers() {
      app.sessions?.setUserCheck(({ user, provided }) =>
        provided === undefined ? allUsers.find(user) !== undefined : provided.issuer === app.oidc?.issuer
      )
    })
    const needs: TokenNeeds = { accessToken: false, idToken: false }
    const useProvider = makeProviderSetup(app, needs)
    const usersOf = makeUserLists(allUsers)
    const addIdentityNames = (options: AuthOptions): void => {
      for (const name of identityHeadersOf(options).everywhere) identityNames.add(name)
    }
    const partsOf = (options: AuthOptions, route: RouteInfo): GateParts => {
      const { jwt } = options
      const resources = resourcesOf(jwt, route, app.publicUrl)
      const complete =
        resources.length === 0 || jwt === undefined
          ? options
          : { ...options, jwt: withAudiences(jwt, resources) }
      const made = makeStrategies(app, complete, passedTokens(options, route), () => usersOf(options.users))
      const { simulation } = app
      const defined =
        simulation === null ? made : made.map((strategy) => simulatedStrategy(strategy, simulation))
      const accepted = acceptedStrategies(options)
      const strategies = defined.filter(({ name }) => accepted.includes(name as StrategyName))
      // Cookies are for the gateway, whatever the route.
      for (const { name } of defined.flatMap(({ headers }) => headers))
        if (name !== 'cookie') credentialHeaders.add(name)
      const parameters = defined.flatMap(({ parameters: names = [] }) => names)
      for (const name of parameters) credentialParameters.add(name)
      const hidden = strategies.filter(({ name }) => !options.passOn.includes(name as StrategyName))
      return {
        strategies,
        privateHeaders: [
          ...hidden.flatMap(({ headers }) => headers),
          ...identityHeadersOf(options).here.map((name) => ({ name, holds: undefined }))
        ],
        parameters,
        resources,
        signer: signerOf(options.assertion)
      }
    }
    const signerOf = (options: AuthOptions['assertion']): Signer | undefined =>
      options === undefined
        ? undefined
        : getOrCreate(signers, JSON.stringify(options), () =>
            makeSigner(options, app.publicUrl ?? 'sallyport')
          )
    const build = (options: AuthOptions, route: RouteInfo): Hooks | undefined => {
      if (isPublic(route)) return undefined
      useProvider(options.oidc)
      const tokens = passedTokens(options, route)
      needs.accessToken ||= tokens.accessToken
      needs.idToken ||= tokens.idToken
      addIdentityNames(options)
      const onHead = exemptHead(options)
      return {
        onRequest: makeGate(options, partsOf(options, route)),
        ...(onHead === undefined ? {} : { onHead })
      }
    }
    addIdentityNames(root)
    perOptions(app, key, root, build, (options, route) =>
      isPublic(route)
        ? 'public'
        : JSON.stringify([
            passedTokens(options, route),
            ...resourcesOf(options.jwt, route, app.publicUrl).map(({ identifier }) => identifier)
          ])
    )
  },
  { name: key, fastify: '5.x', dependencies: ['store', 'session', 'upstreams'] }
)

const isPublic = ({ kind }: RouteInfo): boolean => kind === 'builtin' || kind === 'notFound'

const leaseThrottle = (app: FastifyInstance): Throttle =>
  app.resources.lease(
    app,
    `auth throttle ${app.store.shared?.id ?? ''}`,
    () => new Throttle(app.store, app.resources.peers),
    (throttle) => throttle.close()
  )

/** Returns a function that reads the users of some options once and adds them to `allUsers`. */
function makeUserLists(allUsers: Users): (options: AuthOptions['users']) => Users {
  const users = new Map<unknown, Users>()
  return (options) =>
    getOrCreate(users, options, () => {
      const { entries } = readUsers((options ?? {}) as Listed<User>)
      for (const entry of entries) allUsers.add(entry)
      return new Users(entries)
    })
}

/** Returns a function that sets `app.oidc` for some options; it throws for a second provider. */
function makeProviderSetup(app: FastifyInstance, needs: TokenNeeds): (options: AuthOptions['oidc']) => void {
  let configured: string | undefined
  return (options) => {
    if (options === undefined || app.sessions === null) return
    const text = JSON.stringify(options)
    if (configured === text) return
    if (configured !== undefined)
      throw new Error(`expected one OpenID Connect provider, got a second one in "oidc": ${options.issuer}`)
    configured = text
    const { store, log } = app
    const { upstream, issuer } = options
    const back = upstream === undefined ? undefined : backChannelTo(app, { upstream, issuer })
    const fetch = back === undefined ? undefined : fetchOver(back.channel)
    const provider = app.resources.lease(
      app,
      `oidc ${text} ${store.shared?.id ?? ''} ${back?.id ?? ''}`,
      () => new Provider(options, { store, peers: app.resources.peers, fetch, log })
    )
    app.oidc = makeOidc(app, provider, needs)
  }
}
