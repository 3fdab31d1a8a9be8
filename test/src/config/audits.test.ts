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

for (const [what, rows] of Object.entries(cases))
  t.test(`warns of ${what}`, async (t) => {
    for (const [name, config, codes, setup] of rows)
      t.strictSame(codesOf(await audit(config, setup)), codes, name)
  })

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
  const header = (value: string): object => ({
    routes: [{ ...route, headers: { request: { authorization: value } } }]
  })
  const rows: [name: string, config: object, env: Record<string, string>, codes: string[]][] = [
    ['one that is written out', jwt(KEY), {}, [literal]],
    ['one of the environment', jwt(FROM_ENV), { KEY }, []],
    ['a fallback', jwt(`\${KEY:-${KEY}}`), {}, [literal]],
    ['an empty fallback', jwt(FROM_ENV.replace('}', ':-}')), { KEY }, []],
    ['a well-known one', jwt(FROM_ENV), { KEY: 'changeme-changeme-changeme-changeme' }, [weak]],
    ['one that repeats', jwt(FROM_ENV), { KEY: 'abababababababababababababababababab' }, [weak]],
    ['a token in a header', header(`Bearer ${KEY}`), {}, [literal]],
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
