import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  type About,
  fp,
  type Hooks,
  type OptionFault,
  perOptions,
  type RouteInfo,
  Type
} from '../../src/kit/index.ts'
import { type Caller, identityHeadersOf } from '../../src/lib/caller.ts'
import type { PrivateHeader, WrittenHeader } from '../../src/lib/http/request-head.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import { gate, overrideOf, type Static } from '../../src/lib/schema.ts'
import { EXPECTED, File } from '../../src/lib/units.ts'
import { TemplateError, template } from '../../src/lib/values.ts'
import { assertion, assertionFaults, makeSigner, type Signer } from './assertion.ts'
import { apiKey, keyFault, type Listed, readEntries, type User, user, userFault } from './credential-files.ts'
import { makeGate, type Parts } from './gate.ts'
import { makeOidc, type Oidc, oidc, oidcFaults, oidcWarnings, Provider } from './oidc/index.ts'
import { basicStrategy } from './strategies/basic.ts'
import { clientCertificateStrategy } from './strategies/client-certificate.ts'
import { forward, forwardFaults, forwardStrategy } from './strategies/forward.ts'
import { jwt, jwtFaults, jwtStrategy, jwtWarnings } from './strategies/jwt.ts'
import { callerOfSession, sessionStrategy } from './strategies/session.ts'
import { apiKeysStrategy, isAuthorization, type Strategy } from './strategies/strategy.ts'
import { Throttle } from './throttle.ts'
import { Users } from './users.ts'

export const key = 'auth'

/** The ways in, in the order in which they are tried. */
const STRATEGIES = ['session', 'jwt', 'apiKeys', 'basic', 'clientCertificate', 'forward'] as const
type StrategyName = (typeof STRATEGIES)[number]

// Those whose credential stands in a header of the request.
const CARRIED: ReadonlySet<StrategyName> = new Set(['jwt', 'apiKeys', 'basic'])

const from = Type.String({
  pattern: '^(header:[A-Za-z0-9-]+|query:[^&=#]+)$',
  [EXPECTED]: '"header:NAME" or "query:NAME"'
})

export const options = Type.Object(
  {
    ...gate,
    session: Type.Boolean({
      default: false,
      description: 'Whether a session lets in; it needs users, or oidc.'
    }),
    users: Type.Optional(
      Type.Object(
        {
          file: Type.Optional(File({ description: 'A JSON file with a list of users.' })),
          list: Type.Optional(Type.Array(user, { description: 'Users, in place.' }))
        },
        { additionalProperties: false, description: 'The local users.' }
      )
    ),
    oidc: Type.Optional(oidc),
    apiKeys: Type.Optional(
      Type.Object(
        {
          from: Type.Array(from, {
            default: ['header:x-api-key'],
            minItems: 1,
            description: 'Where a key may stand: "header:NAME" or "query:NAME".'
          }),
          file: Type.Optional(File({ description: 'A JSON file with a list of keys.' })),
          list: Type.Optional(Type.Array(apiKey, { description: 'Keys, in place.' }))
        },
        { additionalProperties: false, description: 'Callers with a key, which is stored as a hash.' }
      )
    ),
    jwt: Type.Optional(jwt),
    basic: Type.Boolean({
      default: false,
      description: 'Whether a user may say name and password with each request (HTTP Basic); it needs users.'
    }),
    clientCertificate: Type.Boolean({
      default: false,
      description:
        'Whether the certificate of a connection lets in; it needs "tls" with "clientCertificates".'
    }),
    forward: Type.Optional(forward),
    by: Type.Optional(
      Type.Array(Type.Unsafe<StrategyName>({ type: 'string', enum: [...STRATEGIES] }), {
        minItems: 1,
        description: 'Which of the ways count here; by default all that are defined.'
      })
    ),
    optional: Type.Boolean({
      default: false,
      description: 'Whether nobody is fine, too; a wrong credential never is.'
    }),
    require: Type.Optional(
      Type.Object(
        {
          roles: Type.Optional(
            Type.Array(Type.String(), { description: 'The caller has one of these roles.' })
          ),
          scopes: Type.Optional(
            Type.Array(Type.String(), { description: 'The caller has all of these scopes.' })
          ),
          claims: Type.Optional(
            Type.Record(Type.String(), Type.String(), {
              description: 'The caller has all of these claims; "*" in a value stands for anything.'
            })
          )
        },
        { additionalProperties: false, description: 'What a caller must have; without it any caller passes.' }
      )
    ),
    challenge: Type.Unsafe<'auto' | 'login' | 'status'>({
      type: 'string',
      enum: ['auto', 'login', 'status'],
      default: 'auto',
      description:
        'What a request without a caller gets: auto sends navigations to the log-in and answers all else 401, login sends everything, status nothing.'
    }),
    passOn: Type.Array(
      Type.Unsafe<StrategyName>({
        type: 'string',
        enum: STRATEGIES.filter((way) => CARRIED.has(way))
      }),
      {
        default: [],
        description:
          'The ways whose credentials the upstream may see; the session cookie and what came by query never.'
      }
    ),
    assertion: Type.Optional(assertion),
    identity: Type.Record(Type.String({ pattern: '^[a-zA-Z0-9-]+$' }), Type.String(), {
      additionalProperties: false,
      default: {},
      description:
        'Headers that tell the upstream who calls, each with what it tells (id, name, email, roles, scopes, claims.x); no client can send them.'
    })
  },
  { additionalProperties: false, description: 'Who may pass: any of the ways lets a caller in.' }
)

export const override = overrideOf(options)
export type AuthOptions = Static<typeof options>

export function faults(said: AuthOptions, about: About): OptionFault[] {
  const { word } = about
  const found: OptionFault[] = []
  const defined = strategiesOf(said)
  if (said.session && said.users === undefined && said.oidc === undefined)
    found.push({
      path: ['session'],
      message: 'A session needs somebody to log in; say "users" or "oidc" beside it'
    })
  if (said.challenge === 'login' && !said.session)
    found.push({
      path: ['challenge'],
      message:
        '"login" sends to the log-in of a session; "session": true with "users" or "oidc" would work, or "challenge": "status"'
    })
  if (said.oidc !== undefined) {
    if (!said.session)
      found.push({
        path: ['oidc'],
        message: 'Who comes from a provider needs a session; say "session": true beside it'
      })
    for (const fault of oidcFaults(said.oidc)) found.push({ ...fault, path: ['oidc', ...fault.path] })
  }
  if (said.session && (word('session') as { secrets?: unknown } | undefined)?.secrets === undefined)
    found.push({
      path: ['session'],
      message:
        'A session needs a secret of 32 characters or more; set SESSION_SECRET in the environment, or say "session": { "secrets": [...] } at the root'
    })
  if (defined.length === 0)
    found.push({
      path: [],
      message: '"auth" has no way in; define one, such as "session" with "users", "jwt" or "apiKeys"'
    })
  for (const [i, way] of (said.by ?? []).entries())
    if (!defined.includes(way))
      found.push({
        path: ['by', i],
        message: `The way "${way}" is not defined; defined are ${defined.join(', ') || 'none'}`
      })
  if (said.basic && said.users === undefined)
    found.push({ path: ['basic'], message: 'Basic needs somebody to know; say "users" beside it' })
  const tls = word('tls') as { clientCertificates?: unknown } | false | undefined
  if (said.clientCertificate && (tls === undefined || tls === false || tls.clientCertificates === undefined))
    found.push({
      path: ['clientCertificate'],
      message: 'Nobody is asked for a certificate; say "tls" with "clientCertificates" at the root'
    })
  const within = (name: string, faults: readonly OptionFault[]): void => {
    for (const fault of faults) found.push({ ...fault, path: [name, ...fault.path] })
  }
  if (said.jwt !== undefined) within('jwt', jwtFaults(said.jwt))
  if (said.forward !== undefined) within('forward', forwardFaults(said.forward, about))
  if (said.assertion !== undefined) within('assertion', assertionFaults(said.assertion))
  if (said.users !== undefined) {
    const { entries, faults: wrong } = readEntries(said.users as Listed<User>, user, userFault)
    for (const fault of wrong) found.push({ ...fault, path: ['users', ...fault.path] })
    const twice = entries.find(
      ({ name }, i) => entries.findIndex((other) => sameName(other.name, name)) !== i
    )
    if (twice !== undefined)
      found.push({
        path: ['users'],
        message: `Two users are named "${twice.name}"; each needs a name of its own`
      })
  }
  if (said.apiKeys !== undefined)
    for (const fault of readEntries(said.apiKeys, apiKey, keyFault).faults)
      found.push({ ...fault, path: ['apiKeys', ...fault.path] })
  for (const [name, listed] of [
    ['users', said.users],
    ['apiKeys', said.apiKeys]
  ] as const)
    if (listed !== undefined && listed.file === undefined && listed.list === undefined)
      found.push({ path: [name], message: `"${name}" names nobody; it needs "file" or "list"` })
  for (const [name, value] of Object.entries(said.identity)) {
    try {
      template(`{caller.${value}}`)
    } catch (error) {
      if (!(error instanceof TemplateError)) throw error
      found.push({ path: ['identity', name], message: error.message })
    }
  }
  return found
}

const sameName = (one: string, other: string): boolean => one.normalize('NFC') === other.normalize('NFC')

const strategiesOf = (said: AuthOptions): StrategyName[] =>
  STRATEGIES.filter((way) => said[way] !== undefined && said[way] !== false)

declare module 'fastify' {
  interface FastifyInstance {
    /** The local users who may log in, those of every route that a session unlocks. */
    users: Users
    /** Keeps log-ins from being guessed. */
    throttle: Throttle
    /** Log-ins at a provider; null where there are none. */
    oidc: Oidc | null
    /** What signs for upstreams who calls. */
    signers: ReadonlyMap<string, Signer>
    /** Finds who the session of a request belongs to, whatever route unlocks with it. */
    callerOfSession(request: FastifyRequest, reply: FastifyReply): Promise<Caller | null>
    /** The names of all identity headers, in lower case with dashes: no client's own ever reaches an upstream. */
    identityNames: ReadonlySet<string>
  }
  interface FastifyRequest {
    /** The headers with the credentials that are for the gateway alone; null where the route has none. */
    privateHeaders: readonly PrivateHeader[] | null
    /** Why a credential of the request is wrong, as one of a few words; null where none is, or nobody says why. */
    wrongCredential: string | null
    /** The headers that tell the upstream who calls; null where the route has none. */
    identity: readonly WrittenHeader[] | null
  }
}

export default fp<AuthOptions>(
  async function auth(app, root) {
    const throttle = app.resources.lease(
      app,
      `auth throttle ${app.store.shared?.id ?? ''}`,
      () => new Throttle(app.store, app.resources.peers),
      (kept) => kept.close()
    )
    const users = new Map<unknown, Users>()
    const everybody = new Users()
    const usersOf = (said: AuthOptions['users']): Users =>
      getOrCreate(users, said, () => {
        const { entries } = readEntries((said ?? {}) as Listed<User>, user, userFault)
        for (const entry of entries) everybody.add(entry)
        return new Users(entries)
      })
    const names = new Set<string>()
    app.decorate('users', everybody)
    app.decorate('throttle', throttle)
    app.decorate('oidc', null)
    app.decorate('callerOfSession', (request: FastifyRequest, reply: FastifyReply) =>
      callerOfSession(request, reply, everybody, app.oidc?.issuer)
    )
    app.decorate('identityNames', names)
    app.decorateRequest('privateHeaders', null)
    app.decorateRequest('identity', null)
    app.decorateRequest('wrongCredential', null)
    const addNames = (said: AuthOptions): void => {
      for (const name of identityHeadersOf(said).everywhere) names.add(name)
    }
    // Of the generation that came last: a user who was taken out of the config has no session any more.
    app.addHook('onReady', async function judgeSessions() {
      app.sessions?.judgeBy(({ user, provided }) =>
        provided === undefined ? everybody.find(user) !== undefined : provided.issuer === app.oidc?.issuer
      )
    })
    addNames(root)
    const signers = new Map<string, Signer>()
    app.decorate('signers', signers)
    let provider: string | undefined
    const useProvider = (said: AuthOptions['oidc']): void => {
      if (said === undefined || app.sessions === null) return
      const text = JSON.stringify(said)
      if (provider === text) return
      if (provider !== undefined)
        throw new Error(
          `Two log-ins at providers ("oidc" of ${said.issuer} is the second); a gateway has one`
        )
      provider = text
      const { shared } = app.store
      app.oidc = makeOidc(
        app,
        app.resources.lease(
          app,
          `oidc ${text} ${shared?.id ?? ''}`,
          () => new Provider(said, app.store, app.resources.peers, app.log)
        )
      )
    }
    const partsOf = (said: AuthOptions): Parts => {
      const ways = strategiesFor(app, said, usersOf)
      const counting = ways.filter(({ name }) => said.by?.includes(name as StrategyName) ?? true)
      const hidden = counting.filter(({ name }) => !said.passOn.includes(name as StrategyName))
      const signed = said.assertion
      return {
        ways: counting,
        hidden: [
          ...hidden.flatMap(({ headers }) => headers),
          ...identityHeadersOf(said).here.map((name) => ({ name, holds: undefined }))
        ],
        parameters: ways.flatMap(({ parameters = [] }) => parameters),
        signer:
          signed === undefined
            ? undefined
            : getOrCreate(signers, JSON.stringify(signed), () =>
                makeSigner(signed, app.publicUrl ?? 'sallyport')
              )
      }
    }
    const isOpen = ({ kind }: RouteInfo): boolean => kind === 'standing' || kind === 'notFound'
    const build = (said: AuthOptions, route: RouteInfo): Hooks | undefined => {
      if (isOpen(route)) return undefined
      useProvider(said.oidc)
      addNames(said)
      return { onRequest: makeGate(said, partsOf(said)) }
    }
    perOptions(app, key, root, build, (_said, route) => isOpen(route))
  },
  { name: key, fastify: '5.x', dependencies: ['store', 'session', 'upstreams'] }
)

/** Lists what is worth a second look: a provider may know the whole world, and make tokens for all of it. */
export const warnings = ({ oidc: at, jwt: token, require, optional, by }: AuthOptions): string[] => [
  ...(at !== undefined && require === undefined && !optional && by?.includes('session') !== false
    ? [`lets in everybody whom ${at.issuer} knows; "require" says who of them is meant`]
    : []),
  ...(at === undefined ? [] : oidcWarnings(at)),
  ...(token !== undefined && by?.includes('jwt') !== false ? jwtWarnings(token) : [])
]

/** Makes the ways that are defined, in their order. */
function strategiesFor(
  app: FastifyInstance,
  said: AuthOptions,
  usersOf: (said: AuthOptions['users']) => Users
): Strategy[] {
  const readsAuthorization = (name: StrategyName, from: readonly string[] = []): boolean =>
    (said.by?.includes(name) ?? true) && from.some(isAuthorization)
  const make: Record<StrategyName, () => Strategy | undefined> = {
    session: () => (said.session ? sessionStrategy(usersOf(said.users), said.oidc?.issuer) : undefined),
    jwt: () =>
      said.jwt === undefined
        ? undefined
        : jwtStrategy(app, said.jwt, readsAuthorization('apiKeys', said.apiKeys?.from)),
    apiKeys: () =>
      said.apiKeys === undefined
        ? undefined
        : apiKeysStrategy(
            said.apiKeys.from,
            readEntries(said.apiKeys, apiKey, keyFault).entries,
            readsAuthorization('jwt', said.jwt?.from)
          ),
    basic: () => (said.basic ? basicStrategy(app, usersOf(said.users)) : undefined),
    clientCertificate: () => (said.clientCertificate ? clientCertificateStrategy() : undefined),
    forward: () => (said.forward === undefined ? undefined : forwardStrategy(app, said.forward))
  }
  return STRATEGIES.flatMap((name) => make[name]() ?? [])
}

export { hashPassword } from './password.ts'
