// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
import { generateKeyPairSync } from 'node:crypto'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SignJWT } from 'jose'
import t, { type Test } from 'tap'
import type { ConfigError } from '../../src/config/fault.ts'
import { Coverage } from '../../src/test-runner/coverage.ts'
import { prepareTests, runTests } from '../../src/test-runner/run-file.ts'
import { sallyport } from '../helpers.ts'

// The command is run as a user does: many processes, one after the other.
t.setTimeout(600_000)

const KEY = 'a-key-of-this-test-alone-0123456789'
const ORDERS = { url: 'http://10.0.0.1:4000' }
const JWT = { issuer: 'https://id.example', audience: 'api', jwks: 'https://id.example/jwks' }
const OK = { status: 200, body: { id: 1 } }

/** Runs tests of a config in this process; returns what failed of each, without its folder, and the coverage. */
async function run(
  t: Test,
  config: object,
  tests: object,
  more: Readonly<Record<string, string>> = {}
): Promise<{ failures: string[][]; coverage: Coverage }> {
  const folder = t.testdir({
    'gateway.json': JSON.stringify(config),
    'gateway.test.json': JSON.stringify(tests),
    ...more
  })
  const prepared = await prepareTests(join(folder, 'gateway.test.json'), undefined, () => ({}))
  const coverage = new Coverage(prepared.plan)
  const failures: string[][] = []
  for await (const result of runTests(prepared, coverage))
    failures.push(result.failures.map(({ message }) => message))
  return { failures, coverage }
}

const proxied = (more: object = {}): object => ({
  upstreams: { orders: ORDERS },
  routes: [{ path: '/orders/*', proxy: { upstream: 'orders', rewrite: '/v2/', ...more } }]
})

t.test('the example of the contract passes', async (t) => {
  const config = {
    upstreams: { orders: ORDERS },
    auth: {
      apiKeys: { list: [{ id: 'acme', secret: KEY }] },
      jwt: JWT,
      identity: { 'x-user-id': 'id' }
    },
    routes: [
      {
        path: '/orders/:id',
        proxy: {
          upstream: 'orders',
          rewrite: '/v2/orders/{params.id}',
          retry: { attempts: 3, on: ['503'], budget: '100%', backoff: '1s' }
        }
      },
      { path: '/a', auth: false, rateLimit: { max: 3, window: '1m' }, respond: { body: 'hi' } }
    ]
  }
  const tests = {
    config: 'gateway.json',
    clock: '2026-01-01T00:00:00Z',
    callers: { ada: { id: 'ada', roles: ['staff'] } },
    upstreams: {
      orders: [{ when: { method: 'GET', path: '/v2/orders/*' }, answers: [{ status: 503, times: 2 }, OK] }]
    },
    tests: [
      {
        name: 'an order needs a caller',
        request: 'GET /orders/1',
        expect: { status: 401, code: 'SP_ERR_AUTH_MISSING', refusedBy: 'auth', upstream: null }
      },
      {
        request: { method: 'GET', url: '/orders/1', headers: {}, from: '10.1.2.3' },
        as: 'ada',
        expect: {
          status: 200,
          upstream: {
            name: 'orders',
            method: 'GET',
            path: '/v2/orders/1',
            headers: { 'x-user-id': 'ada', cookie: null, 'x-forwarded-for': '10.1.2.3' }
          },
          attempts: 3,
          body: { id: 1 }
        }
      },
      {
        steps: [
          { request: 'GET /a', times: 3, expect: { status: 200 } },
          { request: 'GET /a', expect: { status: 429, refusedBy: 'rateLimit', limit: 'default' } },
          { wait: '1m' },
          { request: 'GET /a', expect: { status: 200 } }
        ]
      }
    ]
  }
  const { failures, coverage } = await run(t, config, tests)
  t.strictSame(failures, [[], [], []])
  t.match(coverage.report(), { percent: 100, gaps: [] })
})

t.test('upstreams answer as their script says', async (t) => {
  const answered = (answers: object[], expect: object, count = 1): object => ({
    upstreams: { orders: [{ answers }] },
    steps: Array.from({ length: count }, () => ({ request: 'GET /orders/1', expect }))
  })
  const { failures } = await run(t, proxied(), {
    tests: [
      answered([{ status: 'hang' }], { status: 504, attempts: 1 }),
      answered([{ status: 'refuse' }], { status: 502, refusedBy: 'upstream' }),
      answered([{ status: 'cut' }], { status: 502 }),
      answered([{ status: 200, delay: '10m' }], { status: 504 }),
      answered([{ status: 201, headers: { 'x-a': ['1', '2'] } }], {
        status: 201,
        headers: { 'x-a': ['1', '2'] }
      }),
      answered([{ status: 200, body: 'text' }], { body: 'text', headers: { 'content-length': 4 } }, 3),
      {
        name: 'the first entry that matches answers, until its answers are given',
        upstreams: {
          orders: [
            { when: { path: '/v2/1', headers: { 'x-a': '1' } }, answers: [{ status: 418 }] },
            { when: { method: 'get', path: '/v2/*' }, answers: [{ status: 201, times: 2 }] },
            { answers: [{ status: 202 }] }
          ]
        },
        steps: [
          { request: 'GET /orders/1?a=1', times: 2, expect: { status: 201 } },
          { request: 'GET /orders/1', expect: { status: 202 } },
          { request: { url: '/orders/1', headers: { 'x-a': '1' } }, expect: { status: 418 } }
        ]
      }
    ]
  })
  t.strictSame(failures, [[], [], [], [], [], [], []])
})

t.test('an upstream that is a URL is known by it, and its mirror apart from it', async (t) => {
  const { url } = ORDERS
  const mirror = { upstream: 'http://10.0.0.2:4000' }
  const answers = [{ answers: [{ status: 200 }] }]
  const { failures } = await run(
    t,
    { routes: [{ path: '/orders/*', proxy: { upstream: url, mirror } }] },
    {
      upstreams: { [url]: answers, [mirror.upstream]: answers },
      tests: [
        {
          request: 'GET /orders/1',
          expect: { status: 200, attempts: 1, upstream: { name: url, path: '/orders/1' } }
        },
        { request: 'GET /orders/1', expect: { upstreams: { [mirror.upstream]: { path: '/orders/1' } } } }
      ]
    }
  )
  t.strictSame(failures, [[], []])
})

t.test('what a gate asks is no request of the target, and has to be listed too', async (t) => {
  const config = {
    upstreams: { orders: ORDERS, login: { url: 'http://10.0.0.2:4000' } },
    auth: { forward: { upstream: 'login', path: '/check', caller: { id: 'x-user' } } },
    routes: [
      { path: '/orders', proxy: { upstream: 'orders' } },
      { path: '/asked', auth: false, ask: { upstream: 'login', path: '/ask' }, proxy: { upstream: 'orders' } }
    ]
  }
  const login = (status: number): object => ({
    login: [{ answers: [{ status, headers: { 'x-user': 'ada' } }] }]
  })
  const orders = [{ answers: [OK] }]
  const { failures } = await run(t, config, {
    tests: [
      {
        request: 'GET /orders',
        upstreams: login(401),
        expect: {
          status: 401,
          refusedBy: 'auth',
          upstream: null,
          attempts: 0,
          upstreams: { login: { method: 'GET', path: '/check' }, orders: null }
        }
      },
      {
        request: 'GET /orders',
        upstreams: { ...login(200), orders },
        expect: {
          status: 200,
          upstream: { name: 'orders', path: '/orders' },
          attempts: 1,
          upstreams: { login: [{ path: '/check' }], orders: [{ path: '/orders' }] }
        }
      },
      {
        request: 'GET /asked',
        upstreams: login(403),
        expect: { status: 403, refusedBy: 'ask', upstream: null, upstreams: { login: { path: '/ask' } } }
      },
      {
        request: 'GET /asked',
        upstreams: { ...login(200), orders },
        expect: { status: 200, upstream: { path: '/asked' }, attempts: 1 }
      },
      { request: 'GET /orders', upstreams: { orders }, expect: { upstream: null } }
    ]
  })
  t.strictSame(failures, [
    [],
    [],
    [],
    [],
    ['GET /check to upstream "login", which "auth" asks, is not in "upstreams", which has "orders"']
  ])
})

t.test('a request to an upstream that is not listed fails the test', async (t) => {
  const { failures } = await run(t, proxied(), {
    tests: [
      { request: 'GET /orders/1?a=b', expect: { status: 502 } },
      {
        request: 'POST /orders/1',
        upstreams: { orders: [{ when: { method: 'GET' }, answers: [OK] }], other: [{ answers: [OK] }] }
      }
    ]
  })
  t.strictSame(failures, [
    ['GET /v2/1?a=b to upstream "orders" is not in "upstreams"'],
    [
      'POST /v2/1 to upstream "orders" is not in "upstreams": no entry of this upstream matches, or all its answers are given'
    ]
  ])
})

t.test('callers stand in for strategies, or send tokens of a test key', async (t) => {
  const config = {
    upstreams: { orders: ORDERS },
    auth: {
      apiKeys: { list: [{ id: 'acme', secret: KEY }] },
      jwt: JWT,
      identity: { 'x-user': 'id' }
    },
    routes: [
      { path: '/any', proxy: { upstream: 'orders' } },
      { path: '/both', auth: { by: ['apiKeys+jwt'] }, proxy: { upstream: 'orders' } },
      { path: '/staff', auth: { require: { roles: ['staff'] } }, proxy: { upstream: 'orders' } }
    ]
  }
  const to = (user: string): object => ({ status: 200, upstream: { headers: { 'x-user': user } } })
  const { failures } = await run(t, config, {
    callers: {
      ada: { roles: ['staff'] },
      acme: {},
      other: { issuer: 'https://other.example' }
    },
    upstreams: { orders: [{ answers: [OK] }] },
    tests: [
      { request: 'GET /any', as: 'acme', expect: to('acme') },
      { request: 'GET /any', sign: 'ada', expect: to('ada') },
      { request: 'GET /staff', sign: 'ada', expect: to('ada') },
      { request: 'GET /staff', as: 'acme', expect: { status: 403, code: 'SP_ERR_AUTH_LACKING' } },
      { request: 'GET /both', as: { apiKeys: 'acme', jwt: 'ada' }, expect: { status: 200 } },
      { request: 'GET /both', as: { apiKeys: 'acme' }, expect: { status: 401 } },
      { request: 'GET /both', as: 'ada', expect: { status: 200 } },
      { request: { url: '/any', headers: { 'x-api-key': KEY } }, expect: to('acme') },
      { request: { url: '/any', headers: { 'x-api-key': 'wrong' } }, expect: { status: 401 } },
      {
        request: 'GET /any',
        sign: { caller: 'ada', claims: { aud: 'x' } },
        expect: { code: 'SP_ERR_AUTH_WRONG' }
      },
      {
        request: 'GET /any',
        sign: { caller: 'ada', claims: { exp: null } },
        expect: { code: 'SP_ERR_AUTH_WRONG' }
      },
      { request: 'GET /any', sign: 'other', expect: { code: 'SP_ERR_AUTH_WRONG' } },
      {
        steps: [
          {
            request: 'GET /any',
            sign: { caller: 'ada', claims: { exp: 1767225660 } },
            expect: { status: 200 }
          },
          { wait: '10m' },
          {
            request: 'GET /any',
            sign: { caller: 'ada', claims: { exp: 1767225660 } },
            expect: { status: 401 }
          }
        ]
      }
    ]
  })
  t.strictSame(failures.flat(), [])
})

t.test('tokens of several issuers and audiences, and of keys in a file, by the clock', async (t) => {
  const key = (kid: string): object => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    return { ...publicKey.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' }
  }
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const own = { ...publicKey.export({ format: 'jwk' }), kid: 'own', alg: 'ES256', use: 'sig' }
  const seconds = (time: string): number => Date.parse(time) / 1000
  const real = await new SignJWT({ sub: 'real' })
    .setProtectedHeader({ alg: 'ES256', kid: 'own' })
    .setIssuer('https://file.example')
    .setAudience('files')
    .setExpirationTime(seconds('2026-01-01T00:05:00Z'))
    .sign(privateKey)
  const FILE = { issuer: 'https://file.example', audience: 'files', keys: 'keys.json' }
  const config = {
    auth: { jwt: [JWT, { ...FILE, algorithms: ['ES256'] }], identity: { 'x-user': 'id' } },
    routes: [
      { path: '/any', respond: { body: '{caller.claims.iss}' } },
      { path: '/admin', auth: { jwt: { ...JWT, audience: ['admin', 'ops'] } }, respond: {} },
      { path: '/query', auth: { jwt: { ...JWT, from: ['query:token'] } }, respond: {} }
    ]
  }
  const signed = (claims: object): object => ({ sign: { caller: 'ada', claims } })
  const get = (token: string): object => ({ url: '/any', headers: { authorization: `Bearer ${token}` } })
  const { failures } = await run(
    t,
    config,
    {
      callers: { ada: {}, bob: { issuer: 'https://file.example' }, eve: { issuer: 'https://eve.example' } },
      tests: [
        { request: 'GET /any', sign: 'ada', expect: { status: 200, body: JWT.issuer } },
        { request: 'GET /any', sign: 'bob', expect: { status: 200, body: FILE.issuer } },
        { request: 'GET /any', sign: 'eve', expect: { status: 401, code: 'SP_ERR_AUTH_WRONG' } },
        { request: get(real), expect: { status: 200, body: FILE.issuer } },
        { request: 'GET /admin', sign: 'ada', expect: { status: 200 } },
        { request: 'GET /admin', ...signed({ aud: 'api' }), expect: { status: 401 } },
        { request: 'GET /admin', sign: 'bob', expect: { status: 401 } },
        { request: 'GET /query', sign: 'ada', expect: { status: 401 } },
        { request: 'GET /query', sign: { caller: 'ada', from: 'query:token' }, expect: { status: 200 } },
        { request: 'GET /any', ...signed({ exp: seconds('2025-12-31T23:00:00Z') }), expect: { status: 401 } },
        {
          name: 'a token is valid from its time on, and for an hour',
          steps: [
            {
              request: 'GET /any',
              ...signed({ nbf: seconds('2026-01-01T01:00:00Z') }),
              expect: { status: 401 }
            },
            { request: get(real), expect: { status: 200 } },
            { wait: '2h' },
            {
              request: 'GET /any',
              ...signed({ nbf: seconds('2026-01-01T01:00:00Z') }),
              expect: { status: 200 }
            },
            {
              request: 'GET /any',
              ...signed({ iat: seconds('2026-01-02T00:00:00Z') }),
              expect: { status: 401 }
            },
            { request: get(real), expect: { status: 401 } }
          ]
        }
      ]
    },
    { 'keys.json': JSON.stringify({ keys: [key('other'), own] }) }
  )
  t.strictSame(failures.flat(), [])
})

t.test('the clock, the variables, a purge and a reload are those of the test', async (t) => {
  const config = {
    upstreams: { orders: { url: '${ORDERS_URL}' } },
    session: true,
    auth: {
      global: false,
      session: true,
      apiKeys: { list: [{ id: 'acme', secret: '${ACME_KEY}', expires: '2026-06-01' }] },
      users: { list: [{ name: 'ada', password: '${ADA_PASSWORD}' }] }
    },
    routes: [
      { path: '/key', auth: { by: ['apiKeys'] }, respond: { body: 'in' } },
      { path: '/cached', cache: { ttl: '1m' }, proxy: { upstream: 'orders' } },
      { path: '/limited', rateLimit: { max: 1, window: '1h' }, respond: { body: 'one' } }
    ]
  }
  const reloaded = {
    ...config,
    routes: [...config.routes.slice(0, 2), { ...config.routes[2], respond: { body: 'two' } }]
  }
  const key = { url: '/key', headers: { 'x-api-key': KEY } }
  const HASH =
    '$argon2id$v=19$m=19456,t=2,p=1$WIrkPI3RCfpFYMDnNzFOzw$cOFj+sJGgh8hDRYpTX7ILJ3rGPiOowhcKYpCSr6NrQI'
  const { failures } = await run(
    t,
    config,
    {
      clock: '2026-05-31T12:00:00Z',
      env: { ORDERS_URL: 'http://orders.example', ACME_KEY: KEY, ADA_PASSWORD: HASH },
      upstreams: {
        orders: [
          {
            answers: [
              { status: 200, body: 'a' },
              { status: 200, body: 'b' }
            ]
          }
        ]
      },
      tests: [
        {
          steps: [
            { request: key, expect: { status: 200 } },
            { wait: '2d' },
            { request: key, expect: { status: 401 } }
          ]
        },
        {
          steps: [
            { request: 'GET /cached', expect: { body: 'a', attempts: 1 } },
            { request: 'GET /cached', expect: { body: 'a', attempts: 0, upstream: null } },
            { purge: { urls: ['/cached'] } },
            { request: 'GET /cached', expect: { body: 'b', attempts: 1 } },
            { wait: '61s' },
            { request: 'GET /cached', expect: { attempts: 1 } }
          ]
        },
        {
          steps: [
            { request: 'GET /limited', expect: { status: 200, body: 'one' } },
            { reload: 'next.json' },
            { request: 'GET /limited', expect: { status: 429 } },
            { wait: '2h' },
            { request: 'GET /limited', expect: { body: 'two' } }
          ]
        },
        { name: 'the store is fresh', request: 'GET /limited', expect: { status: 200, body: 'one' } },
        { steps: [{ purge: { nonsense: true } }] }
      ]
    },
    { 'next.json': JSON.stringify(reloaded) }
  )
  t.strictSame(failures.slice(0, 4), [[], [], [], []])
  t.equal(failures[4]?.length, 1)
})

t.test('a secret that is not set gets a harmless value', async (t) => {
  const config = {
    auth: {
      jwt: { secret: '${JWT_SECRET}', algorithms: ['HS256'], audience: 'api' },
      apiKeys: { list: [{ id: 'acme', secret: '${ACME_KEY:-the fallback of the config, long enough}' }] }
    },
    routes: [{ path: '/a', respond: { body: 'in' } }]
  }
  const { failures } = await run(t, config, {
    callers: { ada: {} },
    tests: [
      { request: 'GET /a', sign: 'ada', expect: { status: 200 } },
      {
        request: { url: '/a', headers: { 'x-api-key': 'the fallback of the config, long enough' } },
        expect: { status: 200 }
      }
    ]
  })
  t.strictSame(failures, [[], []])
})

t.test('requests reach the gateway as they are written', async (t) => {
  const { failures } = await run(t, proxied(), {
    upstreams: { orders: [{ answers: [OK] }] },
    tests: [
      { request: 'GET /orders/../admin', expect: { status: 400, upstream: null } },
      { request: 'GET /orders/a b', expect: { status: 400 } },
      { request: 'GET /nothing', expect: { status: 404, route: null, code: 'SP_ERR_ROUTE_UNKNOWN' } },
      {
        request: { method: 'POST', url: '/orders/1', body: { a: 1 } },
        expect: { upstream: { body: { a: 1 }, headers: { 'content-type': 'application/json' } } }
      },
      { request: { url: '/orders/1', headers: { connection: 'keep-alive' } }, expect: { status: 200 } },
      { request: 'HEAD /orders/1', expect: { status: 200, body: null } }
    ]
  })
  t.strictSame(failures.flat(), [])
})

t.test('a request for a WebSocket is accepted by the upstream, or refused', async (t) => {
  const config = {
    upstreams: { orders: ORDERS },
    auth: { apiKeys: { list: [{ id: 'acme', secret: KEY }] }, identity: { 'x-user': 'id' } },
    routes: [
      { path: '/ws', proxy: { upstream: 'orders', rewrite: '/socket' } },
      { path: '/off', proxy: { upstream: 'orders', websocket: false } }
    ]
  }
  const to = (url: string, headers: object = {}): object => ({
    url,
    headers: { upgrade: 'websocket', ...headers }
  })
  const orders = (...answers: object[]): object => ({ orders: [{ answers }] })
  const { failures, coverage } = await run(t, config, {
    callers: { ada: {} },
    upstreams: orders({ status: 101, headers: { 'sec-websocket-accept': 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=' } }),
    tests: [
      {
        request: to('/ws'),
        expect: { status: 401, code: 'SP_ERR_AUTH_MISSING', refusedBy: 'auth', upstream: null }
      },
      {
        request: to('/ws', { 'sec-websocket-protocol': 'chat' }),
        as: 'ada',
        expect: {
          status: 101,
          code: null,
          headers: {
            upgrade: 'websocket',
            connection: 'Upgrade',
            'sec-websocket-accept': 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
          },
          upstream: {
            path: '/socket',
            headers: {
              'x-user': 'ada',
              'sec-websocket-version': '13',
              'sec-websocket-key': { match: '.' },
              'sec-websocket-protocol': 'chat'
            }
          },
          attempts: 1
        }
      },
      {
        request: to('/ws'),
        as: 'ada',
        upstreams: orders({ status: 403, body: 'no' }),
        expect: { status: 403, body: 'no', code: null, attempts: 1 }
      },
      { request: to('/ws'), as: 'ada', upstreams: orders({ status: 'refuse' }), expect: { status: 502 } },
      { request: to('/ws'), as: 'ada', upstreams: orders({ status: 'hang' }), expect: { status: 504 } },
      { request: 'GET /ws', as: 'ada', expect: { status: 502 } },
      { request: to('/ws', { upgrade: 'h2c' }), as: 'ada', upstreams: orders(OK), expect: { status: 200 } },
      { request: to('/off'), as: 'ada', upstreams: orders(OK), expect: { status: 200 } },
      {
        name: 'what the upstream sends at once',
        request: to('/ws'),
        as: 'ada',
        upstreams: orders({ status: 101, body: 'hi' }),
        expect: { status: 101, body: 'hi' }
      },
      {
        steps: [
          { request: to('/ws'), as: 'ada', expect: { status: 101 } },
          { request: 'GET /ws', expect: { status: 401 } }
        ]
      }
    ]
  })
  t.strictSame(failures, [[], [], [], [], [], [], [], [], [], []])
  t.strictSame(coverage.report().gaps, ['/off was never tried without a caller: auth never refused'])
})

t.test('a client that would wait for ever gives up', async (t) => {
  const { failures } = await run(
    t,
    { limits: { time: false }, ...proxied({ timeouts: { headers: false, body: false } }) },
    {
      upstreams: { orders: [{ answers: [{ status: 'hang' }] }] },
      tests: [{ request: 'GET /orders/1' }]
    }
  )
  t.match(
    failures[0]?.[0],
    /^expected a response, got none within 60 minutes .*; it waits for GET \/v2\/1 to upstream "orders"$/
  )
})

t.test('the refusal of a gate of an extension, and of a limit by its name', async (t) => {
  const config = {
    extensions: [{ module: fileURLToPath(new URL('../../examples/extensions/tenant.ts', import.meta.url)) }],
    tenant: { known: ['acme'] },
    rateLimit: { max: 5, window: '1m', also: { burst: { max: 1, window: '1s' } } },
    routes: [{ path: '/a', respond: { body: 'in' } }]
  }
  const request = { url: '/a', headers: { 'x-tenant': 'acme' } }
  const { failures, coverage } = await run(t, config, {
    tests: [
      {
        steps: [
          { request, expect: { status: 200, refusedBy: null, code: null } },
          { request, expect: { status: 429, limit: 'burst', refusedBy: 'rateLimit' } }
        ]
      },
      { request: 'GET /a', expect: { code: 'SP_ERR_TENANT_UNKNOWN', refusedBy: 'tenant', limit: null } }
    ]
  })
  t.strictSame(failures, [[], []])
  t.equal(coverage.report().percent, 100)
})

t.test('errors of a file of tests that only its config shows', async (t) => {
  const tests = {
    tests: [
      { request: 'GET /orders/1', expect: { upstreams: { ordres: null, 'https://id.example': null } } },
      { steps: [{ request: 'GET /orders/1', expect: { upstreams: { orders: null, x: {} } } }] }
    ]
  }
  const folder = t.testdir({
    'gateway.json': JSON.stringify(proxied()),
    'gateway.test.json': JSON.stringify(tests, undefined, 1)
  })
  const error = await prepareTests(join(folder, 'gateway.test.json'), undefined, () => ({})).catch(
    (reason: unknown) => reason
  )
  t.match((error as ConfigError).faults, [
    {
      line: 7,
      path: 'tests[0].expect.upstreams.ordres',
      message: 'The config has no upstream "ordres"; did you mean "orders"?'
    },
    { line: 19, message: 'The config has no upstream "x"; known: orders' }
  ])
})

t.test(
  'coverage: gates in report mode or of several phases, routes without an answer, no tests',
  async (t) => {
    const config = {
      upstreams: { orders: ORDERS },
      rateLimit: { max: 1, window: '1h', mode: 'report' },
      auth: { global: false, apiKeys: { list: [{ id: 'acme', secret: KEY }] } },
      routes: [
        { path: '/orders', proxy: { upstream: 'orders' } },
        { path: '/in', rateLimit: false, auth: true, respond: { body: 'in' } }
      ]
    }
    const of = async (tests: object[], answer: object = OK): Promise<object> => {
      const { coverage } = await run(t, config, {
        callers: { a: {} },
        upstreams: { orders: [{ answers: [answer] }] },
        tests
      })
      const { routes, gates, gaps } = coverage.report()
      return { routes: routes.covered, gates: gates.covered, of: routes.of + gates.of, gaps }
    }
    t.strictSame(await of([]), {
      routes: 0,
      gates: 0,
      of: 4,
      gaps: ['/orders was never tried', '/in was never tried']
    })
    const twice = { steps: [{ request: 'GET /orders' }, { request: 'GET /orders', expect: { status: 200 } }] }
    t.strictSame(
      await of([twice, { request: 'GET /in' }, { request: 'GET /in', as: 'a' }]),
      { routes: 2, gates: 2, of: 4, gaps: [] },
      'what would be refused counts as refused'
    )
    t.strictSame(
      await of([{ request: 'GET /orders' }, { request: { url: '/in', headers: { 'x-api-key': 'no' } } }], {
        status: 'refuse'
      }),
      {
        routes: 0,
        gates: 0,
        of: 4,
        gaps: [
          '/orders never got as far as its target',
          '/orders: rateLimit never refused',
          '/in never got as far as its target',
          '/in: auth let no request pass'
        ]
      }
    )
  }
)

t.test('a token is sent where the config reads it, also from a parameter alone', async (t) => {
  const jwt = { ...JWT, from: ['query:access token'] }
  const { failures } = await run(
    t,
    {
      auth: { jwt },
      upstreams: { orders: ORDERS },
      routes: [{ path: '/a', proxy: { upstream: 'orders' } }]
    },
    {
      callers: { ada: {} },
      upstreams: { orders: [{ answers: [OK] }] },
      tests: [
        { request: 'GET /a', expect: { status: 401 } },
        { request: 'GET /a', sign: 'ada', expect: { status: 200, upstream: { path: '/a' } } },
        { request: 'GET /a?q=1', sign: 'ada', expect: { status: 200, upstream: { path: '/a?q=1' } } },
        {
          request: 'GET /a',
          sign: { caller: 'ada', from: 'header:authorization' },
          expect: { status: 401, upstream: null }
        }
      ]
    }
  )
  t.strictSame(failures, [[], [], [], []])
})

t.test('coverage: a gate has passed when a request has passed all of its phases', async (t) => {
  const request = 'GET /a'
  const named = 'GET /a?q=1'
  const halves = `
import { fp, perRoute } from '${new URL('../../src/kit/index.ts', import.meta.url).href}'
export const key = 'halves'
export const options = { type: 'object', additionalProperties: false, description: 'x', properties: {
  open: { type: 'boolean', default: false, description: 'x' },
  mode: { type: 'string', enum: ['enforce', 'report'], default: 'enforce', description: 'x' } } }
export const override = options
export default fp(async (app, root) => perRoute(app, key, root, ({ open }) => ({
  onRequest: (_request, _reply, done) => done(),
  preHandler: (_request, _reply, done) => done(open ? undefined : Object.assign(new Error('no'), { statusCode: 403 }))
})), { name: key })`
  const behind = (more: object): object => ({
    extensions: [{ module: './halves.js' }],
    halves: more,
    routes: [
      {
        path: '/a',
        validate: { query: { required: ['q'], properties: { q: {} } } },
        respond: { body: 'in' }
      }
    ]
  })
  const byBoth = {
    auth: { apiKeys: { list: [{ id: 'acme', secret: KEY }] } },
    rateLimit: { max: 9, window: '1h', also: { each: { max: 1, window: '1h', by: 'caller' } } },
    routes: [{ path: '/a', respond: { body: 'in' } }]
  }
  const inBody = {
    limits: { body: '4b', mode: 'report' },
    routes: [{ path: '/a', proxy: { upstream: ORDERS.url } }]
  }
  const post = (body: string): object => ({ request: { method: 'POST', url: '/a', body } })
  const limited = {
    steps: [
      { request, as: 'a' },
      { request, as: 'a', expect: { status: 429 } }
    ]
  }
  const cases: [name: string, config: object, tests: object[], gaps: string[]][] = [
    ['a first phase alone', behind({}), [{ request }, { request: named }], ['halves let no request pass']],
    [
      'a first phase, before the second one that never refuses',
      behind({ open: true }),
      [{ request }, { request: named }],
      ['halves never refused']
    ],
    [
      'a second phase in report mode',
      behind({ mode: 'report' }),
      [{ request: named }],
      ['halves let no request pass']
    ],
    ['both phases', byBoth, [{ request }, limited], []],
    ['a body in report mode', inBody, [post('hi'), post('hello')], []]
  ]
  for (const [name, config, tests, gaps] of cases) {
    const upstreams = { [ORDERS.url]: [{ answers: [OK] }] }
    const { failures, coverage } = await run(
      t,
      config,
      { callers: { a: {} }, upstreams, tests },
      { 'halves.js': halves }
    )
    t.strictSame(failures.flat(), [], name)
    const found = coverage.report().gaps.filter((gap) => !/validate|target/.test(gap))
    t.strictSame(
      found,
      gaps.map((gap) => `/a: ${gap}`),
      name
    )
  }
})

t.test('tests of one name are told apart, in a report as well', async (t) => {
  const tests = [
    { request: 'GET /a' },
    { request: 'GET /a' },
    { name: 'GET /a (2)', request: 'GET /b' },
    { name: 'same', request: 'GET /a' },
    { name: 'same', request: 'GET /b' },
    { name: 'same', request: 'GET /b' }
  ]
  const folder = t.testdir({
    'gateway.json': JSON.stringify({ routes: [{ path: '/:x', respond: {} }] }),
    'gateway.test.json': JSON.stringify({ tests })
  })
  const prepared = await prepareTests(join(folder, 'gateway.test.json'), undefined, () => ({}))
  const names: string[] = []
  for await (const { name } of runTests(prepared, new Coverage(prepared.plan))) names.push(name)
  t.strictSame(names, ['GET /a', 'GET /a (3)', 'GET /a (2)', 'same', 'same (2)', 'same (3)'])
})

t.test('coverage names what was never tried, refused or passed', async (t) => {
  const config = {
    auth: { apiKeys: { list: [{ id: 'acme', secret: KEY }] } },
    ipAccess: { deny: ['10.0.0.1'], global: false },
    routes: [
      { path: '/orders', respond: { body: 'x' } },
      { path: '/admin/*', respond: { body: 'x' } },
      { path: '/other', auth: false, respond: { body: 'x' } },
      { path: '/inside', auth: false, ipAccess: true, respond: { body: 'x' } }
    ]
  }
  const { coverage } = await run(t, config, {
    callers: { acme: {} },
    tests: [
      { request: 'GET /orders' },
      { request: 'GET /admin/x', as: 'acme' },
      { request: { url: '/inside', from: '10.0.0.1' } }
    ]
  })
  const { routes, gates, gaps } = coverage.report()
  t.match({ routes, gates }, { routes: { covered: 1, of: 4 }, gates: { covered: 0, of: 3 } })
  t.strictSame(gaps, [
    '/orders never got as far as its target',
    '/orders: auth let no request pass',
    '/admin/* was never tried without a caller: auth never refused',
    '/other was never tried',
    '/inside never got as far as its target',
    '/inside: ipAccess let no request pass'
  ])
})

t.test('the command', async (t) => {
  const config = JSON.stringify({
    routes: [
      { path: '/a', respond: { body: 'hi' } },
      { path: '/b', respond: {} }
    ]
  })
  const passing =
    '{ "tests": [\n  { "name": "says <\\"hi\\">\\u001b[31m", "request": "GET /a", "expect": { "body": "hi" } }\n] }'
  const failing = '{ "tests": [\n  { "request": "GET /a", "expect": {\n    "status": 401\n} }\n] }'
  const cwd = t.testdir({
    'gateway.json': config,
    'gateway.test.json': passing,
    'wrong.test.json': failing,
    'typo.test.json': '{ "tests": [{ "request": "GET /", "expct": {} }] }',
    'broken.test.json': '{ "config": "broken.json", "tests": [] }',
    'broken.json': '{ "routs": [] }'
  })
  const wrong = ['test', 'wrong.test.json', '-c', 'gateway.json']
  const cases: [args: string[], code: number, stdout: RegExp, stderr: RegExp][] = [
    [
      ['test'],
      0,
      /✔ says <"hi">\\u001b\[31m.*coverage: 50 % \(1 of 2 routes answered.*not covered: \/b was never tried/s,
      /^$/
    ],
    [wrong, 3, /wrong\.test\.json:3:5 expected status 401, got 200 \(route "\/a"\)/, /^$/],
    [['test', '--min-coverage', '50'], 0, /coverage: 50 %/, /^$/],
    [['test', '--min-coverage', '80%'], 3, /below --min-coverage: expected 80 %, got 50\.0 %/, /^$/],
    [['test', '--reporter', 'tap'], 0, /^TAP version 13\n.*^1\.\.1$/ms, /^$/],
    [[...wrong, '--reporter', 'tap'], 3, /^ {4}not ok 1 - GET \/a$.*^not ok 1 - wrong\.test\.json$/ms, /^$/],
    [['test', '--reporter', 'junit'], 0, /<testcase name="says &lt;'hi'>\\u001b\[31m"/, /^$/],
    [
      ['test', 'typo.test.json'],
      1,
      /^$/,
      /typo\.test\.json:1:35 tests\[0\]\.expct: Unknown option "expct"; did you mean "expect"\?/
    ],
    [['test', 'broken.test.json'], 1, /^$/, /broken\.json:1:3 routs: Unknown option/],
    [['test', 'none.test.json'], 1, /^$/, /There is no file none\.test\.json/],
    [['test', '--reporter', 'dot'], 2, /^$/, /--reporter: expected spec, tap, junit, got "dot"/],
    [
      ['test', '--min-coverage', '101'],
      2,
      /^$/,
      /--min-coverage: expected a number from 0 to 100, got "101"/
    ],
    [['test', '-c', 'broken.json'], 1, /^$/, /routs/]
  ]
  for (const [args, code, stdout, stderr] of cases) {
    const ended = await sallyport(args, { cwd })
    t.equal(ended.code, code, args.join(' '))
    t.match(ended.stdout, stdout)
    t.match(ended.stderr, stderr)
  }
})
