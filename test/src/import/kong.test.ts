import { generateKeyPairSync } from 'node:crypto'
import { join } from 'node:path'
import { SignJWT } from 'jose'
import { parse } from 'jsonc-parser'
import t from 'tap'
import { catalog } from '../../../src/gateway/catalog.ts'
import { importFile } from '../../../src/import/index.ts'
import { expectAll, translated } from './translated.ts'

const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const KEYS = JSON.stringify({ keys: [publicKey.export({ format: 'jwk' })] })

const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`

t.test('services, routes and plugins of Kong answer as in Kong', async (t) => {
  const made = await translated(t, 'kong', 'kong-bank.yaml')
  const apikey = 'partner-key-1234'
  await expectAll(t, made, [
    { url: '/api/v1/customers/7?x=1', status: 200, path: '/api/v1/customers/7?x=1' },
    {
      url: '/api/v1/customers',
      headers: { origin: 'https://app.bank.example' },
      status: 200,
      has: {
        'access-control-allow-origin': 'https://app.bank.example',
        'access-control-allow-credentials': 'true'
      }
    },
    { url: '/api/v1/customers/7', status: 200 },
    { url: '/api/v1/customers/7', status: 429 },
    { url: '/api/v1/internal/x', status: 403 },
    { url: '/api/v1/internal/x', from: '10.1.2.3', status: 200, path: '/x' },
    { url: '/accounts/1234', status: 401 },
    { url: '/accounts/1234', headers: { apikey: 'other-key-1234' }, status: 403 },
    { url: '/accounts/1234', headers: { apikey: 'limited-key-1234' }, status: 401 },
    {
      url: '/accounts/1234?debug=1',
      headers: { apikey, 'x-internal-secret': 'x', 'x-consumer-username': 'root' },
      status: 200,
      path: '/v2/1234?lang=en',
      gets: {
        apikey: undefined,
        'x-internal-secret': undefined,
        'x-source': 'gateway',
        'x-consumer-username': 'partner-app',
        'x-consumer-groups': 'partner'
      }
    },
    { url: `/accounts/1234?apikey=${apikey}`, status: 200, path: '/v2/1234?lang=en' },
    { url: '/accounts/1234', headers: { apikey }, method: 'DELETE', status: 405 },
    {
      url: '/accounts/1234/balance',
      headers: { apikey },
      status: 200,
      path: '/v2/accounts/1234/balance?lang=en',
      has: { 'x-gateway': 'Kong' }
    },
    { url: '/accounts/1234/balance', status: 401 },
    { url: '/status', status: 503, body: '{"message":"Down for maintenance"}' },
    { url: '/reports', headers: { host: 'reports.bank.example' }, status: 403 },
    { url: '/legacy/x', status: 403 },
    { url: '/other', status: 404 }
  ])
  t.strictSame(made.translation.notes.map(({ text }) => text).toSorted(), [
    'plugin http-log',
    'plugin openid-connect; closed until you have translated it',
    'plugin pre-function; closed until you have translated it',
    'plugin rate-limiting of the consumer limited-app, whose credentials are left out until you have translated it'
  ])
  t.notMatch(made.text, /partner-key-1234|other-key-1234|very-secret/, 'no secret is copied')
})

t.test('tokens, several methods, and limits for all', async (t) => {
  const made = await translated(t, 'kong', 'kong-platform.yaml', { 'jwks-mobile.json': KEYS })
  const token = (issuer: string, secret = 'x'.repeat(64)): Promise<string> =>
    new SignJWT({ sub: 'ada' })
      .setProtectedHeader({ alg: 'HS256' })
      .setIssuer(issuer)
      .setExpirationTime('5m')
      .sign(Buffer.from(secret))
  const web = `Bearer ${await token('web-issuer')}`
  const other = `Bearer ${await token('other-issuer')}`
  const authorization = basic('ada:password-of-ada')
  const apikey = 'ada-has-a-key'
  let address = 0
  // Each from an address of its own, since all together are limited.
  const one = <T extends object>(request: T): T & { from: string } => ({
    ...request,
    from: `198.51.100.${++address}`
  })
  await expectAll(t, made, [
    one({ url: '/api/x', status: 401 }),
    one({ url: '/both/x', status: 401 }),
    one({ url: '/both/x', headers: { apikey }, status: 401 }),
    one({ url: '/both/x', headers: { authorization }, status: 401 }),
    one({
      url: '/both/x',
      headers: { apikey, authorization },
      status: 200,
      path: '/tools/x',
      gets: { apikey, authorization }
    }),
    one({ url: '/either/x', status: 401 }),
    one({ url: '/either/x', headers: { authorization }, status: 200 }),
    one({
      url: '/either/x',
      headers: { 'x-key': apikey },
      status: 200,
      gets: { 'x-consumer-username': 'ada' }
    }),
    one({ url: '/either/x', headers: { 'x-key': 'key-of-ada-ADA_SECOND_KEY' }, status: 200 }),
    one({ url: '/optional/x', status: 200 }),
    one({ url: '/denied/x', headers: { apikey }, status: 403 }),
    one({ url: '/hmac/x', headers: { apikey }, status: 403 }),
    one({ url: '/users/12/x', status: 401 }),
    one({ url: '/users/12/x', headers: { apikey }, status: 200, path: '/tools/x' }),
    one({ url: '/users/x', status: 404 }),
    one({ url: '/odd/x', headers: { apikey }, status: 403 }),
    one({ url: '/odd/public', status: 200 }),
    one({ url: '/nowhere', status: 503 }),
    one({ url: '/cached/x', headers: { host: 'tools.example.com' }, status: 200, path: '/tools/x' }),
    one({ url: '/cached/x', status: 404 }),
    ...[200, 200, 200, 200, 429].map((status) => ({ url: '/optional/x', status, from: '192.0.2.1' }))
  ])
  t.match(made.text, /jwks-mobile\.json: \{"keys":\[\{"kty":"RSA"/, 'a public key is shown as a JWK')
  t.notMatch(made.text, /lovelace|a-secret-of-web|ada-has-a-key/, 'no secret is copied')
  t.test('a service has its own limit in place of that for all', async (t) => {
    const again = await translated(t, 'kong', 'kong-platform.yaml', { 'jwks-mobile.json': KEYS })
    await expectAll(t, again, [
      {
        url: '/api/x',
        headers: { authorization: web },
        status: 200,
        path: '/api/x',
        gets: { authorization: web }
      },
      { url: '/api/admin/x', headers: { authorization: web, 'x-beta': '1' }, status: 200 },
      { url: '/api/x', headers: { authorization: web }, status: 429 }
    ])
  })
  t.test('a token of another issuer, or of another group, is refused', async (t) => {
    const again = await translated(t, 'kong', 'kong-platform.yaml', { 'jwks-mobile.json': KEYS })
    await expectAll(t, again, [
      { url: '/api/x', headers: { authorization: other }, status: 401 },
      { url: '/api/administration', status: 401 }
    ])
  })
})

t.test('what could refuse requests and has no translation closes its routes', async (t) => {
  const service = (rest: string): string =>
    `_format_version: "3.0"\nservices:\n- name: a\n  url: http://127.0.0.1:4001\n${rest}`
  const route = (rest: string): string => service(`  routes:\n  - { name: r, paths: [/x], ${rest} }\n`)
  const plugin = (rest: string): string => route(`plugins: [${rest}]`)
  const cases: readonly [what: string, source: string][] = [
    ['an unknown plugin', plugin('{ name: my-own-guard }')],
    ['a plugin of the service', service('  plugins: [{ name: ldap-auth }]\n  routes: [{ paths: [/x] }]\n')],
    ['a plugin that refers to the route', `${route('tags: [a]')}plugins:\n- { name: opa, route: r }\n`],
    ['a plugin for all', `${route('tags: [a]')}plugins:\n- name: oauth2\n`],
    ['an unknown option of a route', route('expression: http.path == "/x"')],
    ['snis', route('snis: [a.example.com]')],
    ['a header by an expression', route('headers: { x-a: ["~*^b"] }')],
    ['an expression without a path', route('paths: ["~/(a|b/c)+/x"]').replace('paths: [/x], ', '')],
    ['key-auth without a consumer', plugin('{ name: key-auth }')],
    ['acl alone', plugin('{ name: acl, config: { allow: [a] } }')],
    ['a limit by path', plugin('{ name: rate-limiting, config: { minute: 1, limit_by: path } }')],
    [
      'another path at the service',
      plugin('{ name: request-transformer, config: { replace: { uri: /y } } }')
    ],
    ['another method', plugin('{ name: request-transformer, config: { http_method: GET } }')],
    ['a termination with a trigger', plugin('{ name: request-termination, config: { trigger: x } }')],
    ['addresses without any', plugin('{ name: ip-restriction, config: {} }')]
  ]
  for (const [what, source] of cases)
    t.test(what, async (t) => {
      const made = await translated(t, 'kong', source)
      const url = what === 'an expression without a path' ? '/a/x' : '/x'
      await expectAll(t, made, [{ url, headers: { 'x-a': 'b' }, status: 403 }])
      t.match(made.text, /closed until you have translated it/)
    })
})

t.test('a request never meets fewer gates than those of the route that Kong would choose', async (t) => {
  const made = await translated(
    t,
    'kong',
    `_format_version: "3.0"
services:
- name: a
  url: http://127.0.0.1:4001
  routes:
  - { name: all, paths: [/], strip_path: false }
  - { name: admin, paths: [/admin], strip_path: false, plugins: [{ name: ip-restriction, config: { allow: [10.0.0.0/8] } }] }
  - { name: stripped, paths: [/inner], plugins: [{ name: ip-restriction, config: { allow: [10.0.0.0/8] } }] }
  - { name: more, paths: [/more], methods: [GET], plugins: [{ name: ip-restriction, config: { allow: [10.0.0.0/8] } }] }
  - { name: below, paths: [/more/public] }
  - { name: regex, paths: ["~/files/.*"], plugins: [{ name: ip-restriction, config: { allow: [10.0.0.0/8] } }], strip_path: false }
  - { name: file, paths: [/files/public] }
`
  )
  await expectAll(t, made, [
    { url: '/x', status: 200 },
    { url: '/admin', status: 403 },
    { url: '/administrator', status: 403 },
    { url: '/administrator', from: '10.0.0.1', status: 200, path: '/administrator' },
    { url: '/inner/x', from: '10.0.0.1', status: 200, path: '/x' },
    { url: '/innermost', status: 403 },
    { url: '/more/public', status: 403 },
    { url: '/files/public', status: 403 },
    { url: '/files/x', from: '10.0.0.1', status: 200 }
  ])
})

t.test('a header that is removed or replaced, and then added, is never that of the client', async (t) => {
  const made = await translated(
    t,
    'kong',
    `_format_version: "3.0"
services:
- name: a
  url: http://127.0.0.1:4001
  routes: [{ paths: [/x] }]
  plugins:
  - name: request-transformer
    config:
      remove: { headers: [x-role] }
      add: { headers: ["x-role:guest", "x-zone:here", "x-free:new"] }
      replace: { headers: ["x-zone:there"] }
      rename: { headers: ["x-old:x-new"] }
`
  )
  const forged = { 'x-role': 'admin', 'x-zone': 'a', 'x-free': 'own', 'x-old': '1' }
  await expectAll(t, made, [
    {
      url: '/x',
      headers: forged,
      status: 200,
      gets: { 'x-role': 'guest', 'x-zone': 'here', 'x-free': 'own', 'x-old': undefined, 'x-new': '1' }
    },
    { url: '/x', status: 200, gets: { 'x-role': 'guest', 'x-free': 'new', 'x-new': undefined } }
  ])
})

t.test('the path of a service follows what is stripped, without a slash of its own', async (t) => {
  const made = await translated(
    t,
    'kong',
    `_format_version: "3.0"
services:
- { name: a, url: "http://127.0.0.1:4001/rpc/run", routes: [{ paths: [/run] }] }
- { name: b, url: "http://127.0.0.1:4001/v1", routes: [{ paths: [/kept], strip_path: false }, { paths: [/cut] }] }
`
  )
  await expectAll(t, made, [
    { url: '/run?a=b', status: 200, path: '/rpc/run?a=b' },
    { url: '/run/x', status: 200, path: '/rpc/run/x' },
    { url: '/kept/x', status: 200, path: '/v1/kept/x' },
    { url: '/cut/x', status: 200, path: '/v1/x' }
  ])
})

t.test('limits in Redis, weights and health checks are those of the upstream', async (t) => {
  const file = join(
    t.testdir({
      'kong.yaml': `
_format_version: "1.1"
plugins:
- { name: rate-limiting, config: { second: 5, policy: redis, redis_host: r.internal, redis_password: hidden } }
services:
- { name: a, host: all, protocol: https, port: 443, path: /v1, retries: 5, routes: [{ paths: [/a] }] }
upstreams:
- name: all
  algorithm: consistent-hashing
  hash_on: header
  hash_on_header: x-user
  targets: [{ target: "a.internal:8443", weight: 20 }, { target: b.internal, weight: 10 }, { target: c.internal, weight: 0 }]
  healthchecks: { active: { http_path: /up, healthy: { interval: 3, successes: 1 } }, passive: { unhealthy: { tcp_failures: 2, timeouts: 7 } } }
`
    }),
    'kong.yaml'
  )
  const { text } = await importFile('kong', file, catalog)
  const { upstreams, store, rateLimit, routes } = parse(text) as Record<string, unknown>
  t.strictSame(upstreams, {
    a: {
      targets: [
        { url: 'https://a.internal:8443', weight: 20 },
        { url: 'https://b.internal:8000', weight: 10 }
      ],
      balance: 'hash',
      hashOn: 'header:x-user',
      health: { path: '/up', every: '3s', healthyAfter: 1 },
      eject: { failures: 2 }
    }
  })
  t.match(
    { store, rateLimit, routes },
    {
      store: { redis: `\${REDIS_URL}` },
      rateLimit: { max: 5, window: '1s', by: 'caller' },
      routes: [{ path: '/a/*', proxy: { upstream: 'a', rewrite: '/v1', retry: { attempts: 6 } } }]
    }
  )
  t.notMatch(text, /hidden/)
})

t.test('a source that is no declarative config is an error with its place', async (t) => {
  const cwd = t.testdir({ 'a.yaml': 'services: [', 'b.yaml': '- a', 'c.yaml': 'routers: {}' })
  for (const [file, message] of [
    ['a.yaml', /a\.yaml:\d+:\d+ This is not YAML/],
    ['b.yaml', /b\.yaml:1: expected an object/],
    ['c.yaml', /c\.yaml: expected a declarative config of Kong/]
  ] as const)
    await t.rejects(importFile('kong', join(cwd, file), catalog), { name: 'ImportError', message })
})
