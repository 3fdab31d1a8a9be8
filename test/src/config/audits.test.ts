import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { adminWarnings } from '../../../src/admin/audit.ts'
import { readSettings } from '../../../src/process/settings.ts'
import { type Audit, audit, codesOf } from '../../audit.ts'
import { gateway, upstream } from '../../helpers.ts'

const KEY = 'k3JvT0xq9mYd7Rw2ZbHs5NcPfLuGaE1i'
// biome-ignore lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
const FROM_ENV = '${KEY}'
const keys = { apiKeys: { list: [{ id: 'a', key: `sha256:${'0'.repeat(64)}` }] } }
const proxy = { upstream: 'http://127.0.0.1:9' }
const route = { path: '/a', proxy }
const auth = { global: false, ...keys }
const jwt = { issuer: 'https://a.example.com', jwks: 'https://a.example.com/jwks' }
const other = { issuer: 'https://b.example.com', jwks: 'https://b.example.com/jwks' }

type Case = [name: string, config: object, codes: string[], setup?: Audit]

const cases: Record<string, Case[]> = {
  'trusted proxies': [
    ['all of IPv4', { trustedProxies: ['0.0.0.0/0'], routes: [route] }, ['SP_WARN_TRUSTED_PROXIES']],
    ['all of IPv6', { trustedProxies: ['::/0'], routes: [route] }, ['SP_WARN_TRUSTED_PROXIES']],
    ['half of IPv4', { trustedProxies: ['0.0.0.0/1'], routes: [route] }, ['SP_WARN_TRUSTED_PROXIES']],
    ['presets', { trustedProxies: ['private', 'loopback'], routes: [route] }, []],
    ['a network', { trustedProxies: ['10.0.0.0/8'], routes: [route] }, []]
  ],
  CORS: [
    ['a shared host', cors(['https://*.vercel.app']), ['SP_WARN_CORS_CREDENTIALS']],
    ['a top-level domain', cors(['https://*.com']), ['SP_WARN_CORS_CREDENTIALS']],
    ['plain http', cors(['http://app.example.com']), ['SP_WARN_CORS_CREDENTIALS']],
    ['plain http on this machine', cors(['http://localhost:5173']), []],
    ['a bucket', cors(['https://*.s3.eu-west-1.amazonaws.com']), ['SP_WARN_CORS_CREDENTIALS']],
    ['subdomains of its own', cors(['https://*.example.com']), []],
    ['everybody without credentials', { cors: { origins: ['*'] }, routes: [route] }, []]
  ],
  upstreams: [
    [
      'an unverified certificate',
      { upstreams: { a: { url: 'https://a', tls: { verify: false } } }, routes: [to('a')] },
      ['SP_WARN_UPSTREAMS_VERIFY']
    ],
    [
      'one that nothing uses',
      { upstreams: named('a', 'b'), routes: [to('a')] },
      ['SP_WARN_UPSTREAMS_UNUSED']
    ],
    [
      'one that only a mirror uses',
      {
        upstreams: named('a', 'b'),
        routes: [{ path: '/a', proxy: { upstream: 'a', mirror: { upstream: 'b' } } }]
      },
      []
    ],
    [
      'one that only forward authentication uses',
      { upstreams: named('a', 'b'), auth: { forward: { upstream: 'b', path: '/' } }, routes: [to('a')] },
      []
    ],
    [
      'one that only a route uses that is off',
      { upstreams: named('a', 'b'), routes: [to('a'), { ...to('b'), path: '/b', enabled: false }] },
      []
    ]
  ],
  caches: [
    [
      'shared by callers',
      { auth: keys, routes: [{ ...route, cache: { ttl: '1m', callers: 'shared' } }] },
      ['SP_WARN_CACHE_SHARED']
    ],
    ['separate', { auth: keys, routes: [{ ...route, cache: { ttl: '1m', callers: 'separate' } }] }, []],
    ['shared on a public route', { routes: [{ ...route, cache: { ttl: '1m', callers: 'shared' } }] }, []]
  ],
  'log-ins of upstreams': [
    ['without a limit', login({}), ['SP_WARN_PROXY_LOGIN_UNLIMITED']],
    ['for GET alone', login({ methods: ['GET'] }), []],
    ['with a limit', login({ rateLimit: { max: 10, window: '1m' } }), []],
    [
      'with a limit in report mode',
      login({ rateLimit: { max: 10, window: '1m', mode: 'report' } }),
      ['SP_WARN_PROXY_LOGIN_UNLIMITED']
    ],
    ['a script', { routes: [{ path: '/wp-login.php', proxy }] }, ['SP_WARN_PROXY_LOGIN_UNLIMITED']],
    ['below a wildcard', { routes: [{ path: '/login/*', proxy }] }, ['SP_WARN_PROXY_LOGIN_UNLIMITED']],
    [
      'behind auth in report mode',
      { auth: { ...keys, mode: 'report' }, ...login({}) },
      ['SP_WARN_PROXY_LOGIN_UNLIMITED']
    ],
    ['behind auth', { auth: keys, ...login({}) }, []],
    ['a name that only contains the word', { routes: [{ path: '/blog-login-tips', proxy }] }, []]
  ],
  'rewrites that lead to protected paths': [
    ['the whole of the upstream', pair({ rewrite: '/' }), ['SP_WARN_ROUTE_BYPASS']],
    ['a part of its own', pair({ rewrite: '/public' }), []],
    ['without a rewrite', pair({}), []],
    ['behind the same gate', pair({ rewrite: '/' }, { auth: true }), []],
    [
      'the protected route’s own',
      pair({}, { path: '/*' }, { rewrite: '/internal' }),
      ['SP_WARN_ROUTE_BYPASS']
    ],
    [
      'of a group',
      {
        auth,
        routes: [
          { path: '/public', auth: false, proxy: { ...proxy, rewrite: '/' }, routes: [{ path: '/*' }] },
          { path: '/admin/*', auth: true, proxy }
        ]
      },
      ['SP_WARN_ROUTE_BYPASS']
    ],
    [
      'where another protected route has that URL',
      {
        auth,
        routes: [
          ...pair({ rewrite: '/' }).routes,
          { path: '/public/admin/*', auth: true, proxy: { ...proxy, rewrite: '/admin' } }
        ]
      },
      []
    ],
    ['to another upstream', pair({ rewrite: '/', upstream: 'http://127.0.0.1:8' }), []]
  ],
  tokens: [
    ['without an audience', withAuth({ jwt }), ['SP_WARN_AUTH_AUDIENCE']],
    ['one issuer of two', withAuth({ jwt: [{ ...jwt, audience: 'a' }, other] }), ['SP_WARN_AUTH_AUDIENCE']],
    ['with an audience', withAuth({ jwt: { ...jwt, audience: 'a' } }), []],
    [
      'signed by a secret of its own',
      withAuth({ jwt: { secret: FROM_ENV, algorithms: ['HS256'] } }),
      [],
      { env: { KEY } }
    ]
  ],
  'public routes': [
    [
      'beside protected ones',
      {
        auth,
        routes: [
          { ...route, auth: true },
          { path: '/b', proxy }
        ]
      },
      ['SP_WARN_PUBLIC_BESIDE_PROTECTED']
    ],
    [
      'that say so',
      {
        auth,
        routes: [
          { ...route, auth: true },
          { path: '/b', auth: false, proxy }
        ]
      },
      []
    ],
    [
      'in a group that says so',
      {
        auth,
        routes: [
          { ...route, auth: true },
          { auth: false, routes: [{ path: '/b', proxy }] }
        ]
      },
      []
    ],
    ['alone', { auth, routes: [route] }, []],
    [
      'a redirect',
      {
        auth,
        routes: [
          { ...route, auth: true },
          { path: '/b', redirect: { to: '/a' } }
        ]
      },
      []
    ]
  ],
  'paths that slip through': [
    ['kept', { ...pair({}, { path: '/*' }), paths: { ambiguous: 'keep' } }, ['SP_WARN_PATHS_AMBIGUOUS']],
    [
      'in report mode',
      { ...pair({}, { path: '/*' }), paths: { mode: 'report' } },
      ['SP_WARN_PATHS_AMBIGUOUS']
    ],
    ['refused', pair({}, { path: '/*' }), []]
  ],
  timeouts: [
    [
      'longer than the deadline',
      { limits: { time: '5s' }, routes: [{ path: '/a', proxy: { ...proxy, timeouts: { headers: '10s' } } }] },
      ['SP_WARN_PROXY_TIMEOUT']
    ],
    [
      'within the deadline',
      {
        limits: { time: '10s' },
        routes: [{ path: '/a', proxy: { ...proxy, timeouts: { headers: '10s' } } }]
      },
      []
    ],
    [
      'beside a deadline that only reports',
      {
        limits: { time: '5s', mode: 'report' },
        routes: [{ path: '/a', proxy: { ...proxy, timeouts: { headers: '10s' } } }]
      },
      []
    ],
    ['of a leg', legs({ timeout: '10s' }, { limits: { time: '5s' } }), ['SP_WARN_AGGREGATE_TIMEOUT']],
    ['of a leg within the deadline', legs({ timeout: '5s' }, { limits: { time: '5s' } }), []]
  ],
  limits: [
    [
      'that clients leave',
      withAuth(keys, { max: 1, window: '1m', by: 'header:x-api-key' }),
      ['SP_WARN_RATE_LIMIT_CHOSEN_BY_CLIENT']
    ],
    [
      'that count known callers',
      withAuth(keys, { max: 1, window: '1m', by: 'caller' }),
      ['SP_WARN_RATE_LIMIT_GUESSING']
    ],
    [
      'by a header that only the gateway sets',
      withAuth({ ...keys, identity: { 'x-user': 'id' } }, { max: 1, window: '1m', by: 'header:x-user' }),
      ['SP_WARN_RATE_LIMIT_IDENTITY_HEADER']
    ],
    [
      'that count addresses, too',
      withAuth(keys, {
        max: 1,
        window: '1m',
        by: 'caller',
        also: { ip: { max: 9, window: '1m', by: 'ip' } }
      }),
      []
    ]
  ],
  'caches of private routes': [
    [
      'that store nothing',
      { auth: keys, routes: [{ ...route, cache: { ttl: '1m' } }] },
      ['SP_WARN_CACHE_NO_EFFECT']
    ],
    [
      'in report mode, where callers may be unknown',
      { auth: { ...keys, mode: 'report' }, routes: [{ ...route, cache: { ttl: '1m' } }] },
      []
    ]
  ],
  expressions: [
    ['that backtrack', { routes: [{ path: '/:a(\\d+\\d+)', proxy }] }, ['SP_WARN_ROUTE_PATTERN']],
    ['that do not', { routes: [{ path: '/:a(\\d{2,})', proxy }] }, []],
    [
      'of bodies',
      { routes: [{ ...route, validate: { body: { type: 'string', pattern: '^(?=a)(a+)+$' } } }] },
      ['SP_WARN_VALIDATE_PATTERN']
    ],
    [
      'of bodies, in linear time',
      { routes: [{ ...route, validate: { body: { type: 'string', pattern: '^(a+)+$' } } }] },
      []
    ]
  ],
  'built-in routes': [
    ['that are replaced', { routes: [{ path: '/-/live', respond: {} }] }, ['SP_WARN_ROUTE_REPLACES_BUILTIN']],
    ['that are not', { routes: [{ path: '/live', respond: {} }] }, []]
  ],
  'unreachable routes': [
    [
      'conditions that exclude each other',
      {
        routes: [
          {
            path: '/a',
            when: { scheme: 'https' },
            routes: [{ path: '/b', when: { scheme: 'http' }, proxy }]
          },
          { path: '/a/b', proxy }
        ]
      },
      ['SP_WARN_ROUTE_UNREACHABLE']
    ],
    [
      'an expression after one that matches everything',
      {
        routes: [
          { path: '/:a(.*)', proxy },
          { path: '/:b(\\d+)', proxy }
        ]
      },
      ['SP_WARN_ROUTE_UNREACHABLE']
    ],
    [
      'an expression before one that matches everything',
      {
        routes: [
          { path: '/:b(\\d+)', proxy },
          { path: '/:a(.*)', proxy }
        ]
      },
      []
    ],
    [
      'a slash that is stripped',
      { slash: 'strip', routes: [{ path: '/a/', proxy }] },
      ['SP_WARN_SLASH_UNREACHABLE']
    ],
    ['a slash that is added', { slash: 'add', routes: [{ path: '/a', proxy }] }, []]
  ]
}

function withAuth(auth: object, rateLimit?: object): object {
  return { auth, routes: [{ ...route, ...(rateLimit === undefined ? {} : { rateLimit }) }] }
}

function legs(leg: object, more: object): object {
  return { ...more, routes: [{ path: '/a', aggregate: { legs: { x: { ...proxy, path: '/x', ...leg } } } }] }
}

function cors(origins: string[]): object {
  return { cors: { origins, credentials: true }, routes: [route] }
}

function pair(of: object, own: object = {}, ofAdmin: object = {}): { auth: object; routes: object[] } {
  return {
    auth,
    routes: [
      { path: '/public/*', auth: false, proxy: { ...proxy, ...of }, ...own },
      { path: '/admin/*', auth: true, proxy: { ...proxy, ...ofAdmin } }
    ]
  }
}

function login(more: object): object {
  return { routes: [{ path: '/api/login', proxy, ...more }] }
}

function named(...names: string[]): object {
  return Object.fromEntries(names.map((name) => [name, { url: `http://${name}` }]))
}

function to(upstream: string): object {
  return { path: '/a', proxy: { upstream } }
}

const accepting = (codes: readonly string[]): object => ({
  'x-ok': Object.fromEntries(codes.map((code) => [code, 'on purpose']))
})

for (const [what, rows] of Object.entries(cases)) {
  const all = [...new Set(rows.flatMap(([, , codes]) => codes))]
  t.test(`warns of ${what}, unless the config accepts it`, async (t) => {
    for (const [name, config, codes, setup] of rows) {
      t.strictSame(codesOf(await audit(config, setup)), codes, name)
      const { warnings, accepted } = await audit({ ...config, ...accepting(all) }, setup)
      t.strictSame(
        accepted.map(({ code }) => code),
        codes,
        `${name}: accepted`
      )
      t.equal(warnings.length, all.length - codes.length, `${name}: what is accepted in vain`)
      for (const { code } of warnings) t.equal(code, 'SP_WARN_ACCEPTANCE_UNUSED', name)
    }
  })
}

t.test('warns of what the proxy does: a rewrite reaches what another route protects', async (t) => {
  const url = await upstream(t, ({ url }, response) => response.end(url))
  const app = await gateway(t, pair({ upstream: url, rewrite: '/' }, {}, { upstream: url }))
  t.equal((await app.inject('/admin/x')).statusCode, 401)
  t.equal((await app.inject('/public/admin/x')).body, '/admin/x')
})

t.test('warns of what the router does: an earlier expression takes the requests', async (t) => {
  const text = (body: string): object => ({ respond: { body } })
  const app = await gateway(t, {
    routes: [
      { path: '/:a(.*)', ...text('first') },
      { path: '/:b(\\d+)', ...text('second') }
    ]
  })
  t.equal((await app.inject('/12')).body, 'first')
})

t.test('warns of secrets in the config, and of weak ones, and never shows them', async (t) => {
  const literal = 'SP_WARN_SECRET_LITERAL'
  const weak = 'SP_WARN_SECRET_WEAK'
  const jwt = (secret: string): object => ({
    auth: { jwt: { secret, algorithms: ['HS256'], audience: 'us' } },
    routes: [{ path: '/a', respond: {} }]
  })
  const header = (value: string, name = 'authorization'): object => ({
    routes: [{ ...route, headers: { request: { [name]: value } } }]
  })
  const rows: [name: string, config: object, env: Record<string, string>, codes: string[]][] = [
    ['one that is written out', jwt(KEY), {}, [literal]],
    ['one of the environment', jwt(FROM_ENV), { KEY }, []],
    ['a fallback', jwt(`\${KEY:-${KEY}}`), {}, [literal]],
    ['an empty fallback', jwt(FROM_ENV.replace('}', ':-}')), { KEY }, []],
    ['a well-known one', jwt(FROM_ENV), { KEY: 'changeme-changeme-changeme-changeme' }, [weak]],
    ['one that repeats', jwt(FROM_ENV), { KEY: 'abababababababababababababababababab' }, [weak]],
    ['a token in a header', header(`Bearer ${KEY}`), {}, [literal]],
    ['a key in a header', header(KEY, 'x-api-key'), {}, [literal]],
    ['a key in a parameter', { routes: [{ ...route, query: { access_token: KEY } }] }, {}, [literal]],
    ['a short key of another service', header(FROM_ENV, 'x-api-key'), { KEY: 'h7Gx2kQ9' }, []],
    ['what clients get', { routes: [{ path: '/a', respond: { body: { token: KEY } } }] }, {}, []],
    [
      'a name of data',
      { routes: [{ ...route, transform: { request: { rename: { password: 'pass' } } } }] },
      {},
      []
    ],
    [
      'a schema',
      {
        routes: [
          { ...route, validate: { body: { type: 'object', dependentRequired: { password: ['name'] } } } }
        ]
      },
      {},
      []
    ],
    [
      'a name of a claim',
      { auth: { ...keys, identity: { 'x-auth-token': 'claims.token' } }, routes: [route] },
      {},
      []
    ],
    ['a token of the environment', header(`Bearer ${FROM_ENV}`), { KEY }, []],
    ['a value of the request', header('Bearer {headers.x-token}'), {}, []],
    [
      'a password in a URL',
      { store: { redis: `redis://:${KEY}@127.0.0.1:9` }, routes: [{ path: '/a', respond: {} }] },
      {},
      [literal]
    ],
    [
      'a short key',
      { auth: { apiKeys: { list: [{ id: 'a', secret: FROM_ENV }] } }, routes: [{ path: '/a', respond: {} }] },
      { KEY: 'h7Gx2kQ9' },
      [weak]
    ],
    [
      'a hash',
      {
        auth: { apiKeys: { list: [{ id: 'a', key: `sha256:${'0'.repeat(64)}` }] } },
        routes: [{ path: '/a', respond: {} }]
      },
      {},
      []
    ]
  ]
  for (const [name, config, env, codes] of rows) {
    const folder = t.testdir({})
    writeFileSync(join(folder, 'gateway.json'), JSON.stringify(config))
    const found = await audit(join(folder, 'gateway.json'), { env })
    t.strictSame(codesOf(found), codes, name)
    for (const value of [KEY, ...Object.values(env)])
      t.notOk(JSON.stringify(found.warnings).includes(value), `${name}: the value is not shown`)
  }
})

t.test('warns of an admin listener without a token that others reach', async (t) => {
  const rows: [env: Record<string, string>, count: number][] = [
    [{}, 0],
    [{ ADMIN_HOST: '0.0.0.0' }, 1],
    [{ ADMIN_HOST: '::' }, 1],
    [{ ADMIN_HOST: '::1' }, 0],
    [{ ADMIN_HOST: 'localhost' }, 0],
    [{ ADMIN_HOST: '0.0.0.0', ADMIN_TOKEN: KEY }, 0],
    [{ ADMIN_HOST: '0.0.0.0', ADMIN_PORT: '' }, 0]
  ]
  for (const [env, count] of rows) {
    const found = adminWarnings(readSettings(env))
    t.equal(found.length, count, JSON.stringify(env))
    for (const { message } of found) t.notOk(message.includes(KEY))
  }
  const setup: Audit = { ofProcess: adminWarnings(readSettings({ ADMIN_HOST: '0.0.0.0' })) }
  const accepted = { 'x-ok': { SP_WARN_ADMIN_OPEN: 'a network policy' }, routes: [route] }
  t.strictSame(codesOf(await audit({ routes: [route] }, setup)), ['SP_WARN_ADMIN_OPEN'])
  t.strictSame(codesOf(await audit(accepted, setup)), [])
})
