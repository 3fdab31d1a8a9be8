import { createHash } from 'node:crypto'
import t from 'tap'
import { authority } from '../../certificates.ts'
import { type Config, diff } from './diffs.ts'

const UPSTREAM = 'http://127.0.0.1:4001'
const hashOf = (secret: string): string => `sha256:${createHash('sha256').update(secret).digest('hex')}`
const KEY = { id: 'partner', key: hashOf('one') }
const apiKeys = { list: [KEY] }
const jwt = {
  issuer: 'https://login.example.com',
  audience: 'api',
  jwks: 'https://login.example.com/jwks.json'
}
const users = { list: [{ name: 'ada', secret: 'correct horse battery staple' }] }

/** A config with one proxied route. */
const route = (options: Config, root: Config = {}): Config => ({
  ...root,
  routes: [{ name: 'orders', path: '/orders/*', proxy: { upstream: UPSTREAM }, ...options }]
})

const auth = (options: Config, root?: Config): Config => route({ auth: { apiKeys, ...options } }, root)
const root = (options: Config): Config => auth({}, options)
const upstream = (options: Config): Config => ({
  upstreams: { orders: { url: 'https://10.0.0.9:4000', ...options } },
  routes: [{ path: '/orders/*', proxy: { upstream: 'orders' } }]
})

// Each weakens one option: the option that has to be named, and the config before and after.
const WEAKENED: readonly (readonly [what: string, option: string, before: Config, after: Config])[] = [
  ['auth off', 'auth', auth({}), route({})],
  [
    'auth false on the route',
    'auth',
    { auth: { apiKeys }, ...route({}) },
    { auth: { apiKeys }, ...route({ auth: false }) }
  ],
  ['auth optional', 'auth.optional', auth({}), auth({ optional: true })],
  ['a strategy added to by', 'auth.by', auth({ jwt, by: ['jwt'] }), auth({ jwt, by: ['jwt', 'apiKeys'] })],
  ['a pair taken apart', 'auth.by', auth({ jwt, by: ['apiKeys+jwt'] }), auth({ jwt, by: ['jwt'] })],
  [
    'another caller of two',
    'auth.by',
    auth({ jwt, by: ['apiKeys+jwt'], require: { roles: ['admin'] } }),
    auth({ jwt, by: ['jwt+apiKeys'], require: { roles: ['admin'] } })
  ],
  ['a strategy defined', 'auth.by', auth({}), auth({ jwt })],
  [
    'a role added',
    'auth.require.roles',
    auth({ require: { roles: ['admin'] } }),
    auth({ require: { roles: ['admin', 'staff'] } })
  ],
  ['roles no longer required', 'auth.require.roles', auth({ require: { roles: ['admin'] } }), auth({})],
  [
    'a scope removed',
    'auth.require.scopes',
    auth({ require: { scopes: ['a', 'b'] } }),
    auth({ require: { scopes: ['a'] } })
  ],
  [
    'a claim removed',
    'auth.require.claims.email',
    auth({ require: { claims: { email: '*@a.com', org: 'x' } } }),
    auth({ require: { claims: { org: 'x' } } })
  ],
  [
    'a wider claim pattern',
    'auth.require.claims.org',
    auth({ require: { claims: { org: 'team-a' } } }),
    auth({ require: { claims: { org: 'team-*' } } })
  ],
  [
    'one more value of a claim',
    'auth.require.claims.org',
    auth({ require: { claims: { org: 'team-a' } } }),
    auth({ require: { claims: { org: ['team-b', 'team-a'] } } })
  ],
  [
    'the requirement of a strategy removed',
    'auth.require.jwt',
    auth({ jwt, by: ['apiKeys+jwt'], require: { jwt: { scopes: ['a'] } } }),
    auth({ jwt, by: ['apiKeys+jwt'] })
  ],
  ['an exempt address', 'auth.exempt', auth({}), auth({ exempt: ['203.0.113.0/24'] })],
  ['ipAccess off', 'ipAccess', route({ ipAccess: { allow: ['10.0.0.0/8'] } }), route({})],
  [
    'ipAccess allow grown',
    'ipAccess',
    route({ ipAccess: { allow: ['10.0.0.0/8'] } }),
    route({ ipAccess: { allow: ['10.0.0.0/7'] } })
  ],
  [
    'ipAccess allow removed',
    'ipAccess',
    route({ ipAccess: { allow: ['10.0.0.0/8'], deny: ['10.1.0.0/16'] } }),
    route({ ipAccess: { deny: ['10.1.0.0/16'] } })
  ],
  [
    'ipAccess deny shrunk',
    'ipAccess',
    route({ ipAccess: { deny: ['10.0.0.0/8'] } }),
    route({ ipAccess: { deny: ['10.0.0.0/9'] } })
  ],
  [
    'csrf off',
    'csrf',
    route({ auth: { session: true, users } }),
    route({ auth: { session: true, users }, csrf: false })
  ],
  [
    'csrf origins grown',
    'csrf.origins',
    route({ auth: { session: true, users } }),
    route({ auth: { session: true, users }, csrf: { origins: ['https://a.example'] } })
  ],
  [
    'cors origins grown with credentials',
    'cors.origins',
    route({ cors: { origins: ['https://a.example'], credentials: true } }),
    route({ cors: { origins: ['https://a.example', 'https://*.b.example'], credentials: true } })
  ],
  [
    'cors with credentials',
    'cors.origins',
    route({ cors: { origins: ['https://a.example'] } }),
    route({ cors: { origins: ['https://a.example'], credentials: true } })
  ],
  [
    'more methods of pages with credentials',
    'cors.methods',
    route({ cors: { origins: ['https://a.example'], credentials: true, methods: ['GET'] } }),
    route({ cors: { origins: ['https://a.example'], credentials: true } })
  ],
  [
    'more headers of pages with credentials',
    'cors.headers',
    route({ cors: { origins: ['https://a.example'], credentials: true, headers: ['X-A'] } }),
    route({ cors: { origins: ['https://a.example'], credentials: true, headers: ['x-a', 'x-b'] } })
  ],
  [
    'a path that was refused by a response',
    'proxy',
    {
      routes: [
        { path: '/*', proxy: { upstream: UPSTREAM } },
        { path: '/admin/*', respond: { status: 403 } }
      ]
    },
    { routes: [{ path: '/*', proxy: { upstream: UPSTREAM } }] }
  ],
  [
    'a response that refused',
    'respond',
    { routes: [{ path: '/admin', respond: { status: 403 } }] },
    { routes: [{ path: '/admin', respond: { status: 200 } }] }
  ],
  [
    'more addresses that maintenance lets pass',
    'maintenance.allow',
    route({ maintenance: { allow: ['192.0.2.1'] } }),
    route({ maintenance: { allow: ['192.0.2.0/24'] } })
  ],
  ['auth only reports', 'auth.mode', auth({}), auth({ mode: 'report' })],
  [
    'ipAccess only reports',
    'ipAccess.mode',
    route({ ipAccess: { allow: ['private'] } }),
    route({ ipAccess: { allow: ['private'], mode: 'report' } })
  ],
  [
    'csrf only reports',
    'csrf.mode',
    route({ auth: { session: true, users } }),
    route({ auth: { session: true, users }, csrf: { mode: 'report' } })
  ],
  [
    'validate only reports',
    'validate.mode',
    route({ validate: { query: { type: 'object' } } }),
    route({ validate: { query: { type: 'object' }, mode: 'report' } })
  ],
  [
    'ask only reports',
    'ask.mode',
    route({ ask: { upstream: UPSTREAM } }),
    route({ ask: { upstream: UPSTREAM, mode: 'report' } })
  ],
  [
    'global false',
    'auth',
    { auth: { apiKeys }, ...route({}) },
    { auth: { apiKeys, global: false }, ...route({}) }
  ],
  [
    'trustedProxies grown',
    'trustedProxies',
    root({ trustedProxies: ['10.0.0.0/8'] }),
    root({ trustedProxies: ['10.0.0.0/8', '192.0.2.1'] })
  ],
  ['trustedProxies set', 'trustedProxies', root({}), root({ trustedProxies: ['private'] })],
  [
    'clientIp from another header',
    'clientIp',
    root({ trustedProxies: ['10.0.0.0/8'] }),
    root({ trustedProxies: ['10.0.0.0/8'], clientIp: 'header:x-real-ip' })
  ],
  ['paths ignoreCase', 'paths.ignoreCase', root({}), root({ paths: { ignoreCase: true } })],
  ['paths doubleSlash', 'paths.doubleSlash', root({}), root({ paths: { doubleSlash: 'merge' } })],
  ['paths encodedSlash', 'paths.encodedSlash', root({ paths: { encodedSlash: 'reject' } }), root({})],
  ['paths ambiguous', 'paths.ambiguous', root({}), root({ paths: { ambiguous: 'keep' } })],
  ['paths only reports', 'paths.mode', root({}), root({ paths: { mode: 'report' } })],
  ['passOn grown', 'auth.passOn', auth({}), auth({ passOn: ['apiKeys'] })],
  [
    'an identity header no longer reserved',
    'auth',
    auth({ identity: { 'x-user-id': 'id', 'x-roles': 'roles' } }),
    auth({ identity: { 'x-user-id': 'id' } })
  ],
  ['validate removed', 'validate', route({ validate: { query: { type: 'object' } } }), route({})],
  [
    'a schema removed',
    'validate.body',
    route({ validate: { query: { type: 'object' }, body: { type: 'object' } } }),
    route({ validate: { query: { type: 'object' } } })
  ],
  [
    'a schema changed',
    'validate.query',
    route({ validate: { query: { required: ['a'] } } }),
    route({ validate: { query: { required: ['b'] } } })
  ],
  [
    'unknown parameters kept',
    'validate.unknown.query',
    route({ validate: { query: { type: 'object' }, unknown: { query: 'reject' } } }),
    route({ validate: { query: { type: 'object' } } })
  ],
  ['verify false', 'upstreams.orders.tls.verify', upstream({}), upstream({ tls: { verify: false } })],
  [
    'another issuer',
    'auth.jwt.issuer',
    auth({ jwt }),
    auth({ jwt: { ...jwt, issuer: 'https://other.example.com' } })
  ],
  [
    'an issuer added',
    'auth.jwt[1]',
    auth({ jwt: [jwt] }),
    auth({ jwt: [jwt, { ...jwt, issuer: 'https://other.example.com' }] })
  ],
  ['no issuer', 'auth.jwt.issuer', auth({ jwt }), auth({ jwt: { audience: 'api', jwks: jwt.jwks } })],
  ['another audience', 'auth.jwt.audience', auth({ jwt }), auth({ jwt: { ...jwt, audience: 'shop' } })],
  ['no audience', 'auth.jwt.audience', auth({ jwt }), auth({ jwt: { issuer: jwt.issuer, jwks: jwt.jwks } })],
  [
    'another algorithm',
    'auth.jwt.algorithms',
    auth({ jwt: { ...jwt, algorithms: ['RS256'] } }),
    auth({ jwt: { ...jwt, algorithms: ['RS256', 'PS256'] } })
  ],
  [
    'other keys',
    'auth.jwt.jwks',
    auth({ jwt }),
    auth({ jwt: { ...jwt, jwks: 'https://keys.example.com/jwks.json' } })
  ],
  [
    'another secret',
    'auth.jwt.secret',
    auth({ jwt: { secret: 'a'.repeat(32), algorithms: ['HS256'] } }),
    auth({ jwt: { secret: 'b'.repeat(32), algorithms: ['HS256'] } })
  ],
  [
    'roles in another claim',
    'auth.jwt.rolesClaim',
    auth({ jwt }),
    auth({ jwt: { ...jwt, rolesClaim: 'groups' } })
  ],
  ['more leeway', 'auth.jwt.leeway', auth({ jwt }), auth({ jwt: { ...jwt, leeway: '5m' } })],
  [
    'a key added',
    'auth.apiKeys',
    auth({}),
    auth({ apiKeys: { list: [KEY, { id: 'other', key: hashOf('two') }] } })
  ],
  ['a role of a key', 'auth.apiKeys', auth({}), auth({ apiKeys: { list: [{ ...KEY, roles: ['admin'] }] } })],
  [
    'a key in the query',
    'auth.apiKeys.from',
    auth({}),
    auth({ apiKeys: { list: [KEY], from: ['header:x-api-key', 'query:key'] } })
  ],
  [
    'a user added',
    'auth.users',
    route({ auth: { basic: true, users } }),
    route({
      auth: {
        basic: true,
        users: { list: [...users.list, { name: 'eve', secret: 'another password of somebody' }] }
      }
    })
  ],
  [
    'another service decides',
    'auth.forward.upstream',
    auth({ forward: { upstream: 'http://127.0.0.1:9000' } }),
    auth({ forward: { upstream: 'http://127.0.0.1:9001' } })
  ],
  ['a WebSocket', 'proxy.websocket', route({ proxy: { upstream: UPSTREAM, websocket: false } }), route({})],
  [
    'WebSockets of more origins',
    'proxy.websocket.origins',
    route({ proxy: { upstream: UPSTREAM, websocket: { origins: ['https://a.example'] } } }),
    route({})
  ],
  ['ask off', 'ask', route({ ask: { upstream: UPSTREAM } }), route({})],
  [
    'ask lets through what fails',
    'ask.onFailure',
    route({ ask: { upstream: UPSTREAM } }),
    route({ ask: { upstream: UPSTREAM, onFailure: 'allow' } })
  ]
]

for (const [what, option, before, after] of WEAKENED)
  t.test(`names ${what} as widened-access`, async (t) => {
    const found = await diff(before, after)
    const names = found
      .filter((finding) => finding.class === 'widened-access')
      .map((finding) => finding.option)
    t.ok(names.includes(option), `${option} is among ${names.join(', ')}`)

    const back = await diff(after, before)
    if (!/schema changed|another|other keys|a pair|clientIp|in another claim/.test(what))
      t.strictSame(
        back.filter((finding) => finding.class === 'widened-access').map((finding) => finding.option),
        [],
        'and the way back is not'
      )
  })

t.test('names client certificates that are no longer required, or of other authorities', async (t) => {
  const [ca, other] = [authority(t), authority(t)]
  const { certFile: cert, keyFile: key } = ca.issue('/CN=localhost', 'DNS:localhost')
  const tls = (options: Config): Config =>
    root({ tls: { certificates: [{ cert, key }], clientCertificates: { ca: ca.certFile, ...options } } })
  for (const [option, after] of [
    ['tls.clientCertificates.required', tls({ required: false })],
    ['tls.clientCertificates', root({ tls: { certificates: [{ cert, key }] } })],
    ['tls.clientCertificates.ca', tls({ ca: other.certFile })]
  ] as const)
    t.match(await diff(tls({}), after), [{ class: 'widened-access', option }])
})
