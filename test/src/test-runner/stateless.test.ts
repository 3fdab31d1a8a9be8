import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { Coverage } from '../../../src/test-runner/coverage.ts'
import { prepareTests, runTests } from '../../../src/test-runner/run-file.ts'

const HASH = '$2b$04$KdaCW0BICEyTCSeOG.1Q2ucT8OcTi.n8BpV0a6HgYqN4cG8dMwPq2'
const KIT = fileURLToPath(new URL('../../../src/kit/index.ts', import.meta.url))

/** Counts the instances that are built, and refuses from the third request of one on. */
const counting = (facet: string): string => `
import { createError, fp, perOptions, Type } from ${JSON.stringify(KIT)}
export const key = 'counting'
export const options = Type.Object({}, { additionalProperties: false, description: 'Counts.' })
export const override = options
${facet}
const Third = createError('SP_ERR_THIRD', 'The third request', 418)
globalThis.built ??= 0
export default fp(async (app, root) => {
  globalThis.built++
  let count = 0
  app.simulation?.onRenew(() => { count = globalThis.isForgetful ? 0 : count })
  perOptions(app, key, root, () => ({ onRequest(request, reply, done) { done(++count > 2 ? new Third() : undefined) } }))
}, { name: key })
`

/** Runs tests; returns what failed of each. */
async function run(
  t: Test,
  config: object,
  tests: readonly object[],
  more: Readonly<Record<string, unknown>> = {}
): Promise<string[][]> {
  const { extension, ...rest } = more
  const folder = t.testdir({
    'gateway.json': JSON.stringify(config),
    'gateway.test.json': JSON.stringify({ ...rest, tests }),
    'counting.ts': String(extension ?? '')
  })
  const prepared = await prepareTests(join(folder, 'gateway.test.json'), undefined, () => ({}))
  const failures: string[][] = []
  for await (const result of runTests(prepared, new Coverage(prepared.plan)))
    failures.push(result.failures.map(({ message }) => message))
  return failures
}

const twice = (test: object): object[] => [test, test, test]
const none = [[], [], []]
const answer = (status: number): object => ({ when: {}, answers: [{ status }] })

t.test('each test finds the gateway as new', async (t) => {
  const limit = (algorithm: string, more: object = {}): object => ({
    rateLimit: { max: 2, window: '11s', algorithm, ...more },
    routes: [{ path: '/a', respond: { body: 'a' } }]
  })
  const spent = {
    steps: [
      { request: 'GET /a', expect: { status: 200, headers: { ratelimit: { match: 'r=1' } } } },
      { request: 'GET /a', expect: { status: 200 } },
      { request: 'GET /a', expect: { status: 429 } }
    ]
  }
  const upstreams = { orders: [answer(200)] }
  const proxied = (upstream: object, more: object = {}): object => ({
    upstreams: { orders: { url: 'http://10.0.0.1:4000', ...upstream } },
    routes: [{ path: '/a', proxy: { upstream: 'orders' }, ...more }]
  })
  const targets = { targets: ['http://10.0.0.1:1', 'http://10.0.0.2:1'], url: undefined }
  const basic = { authorization: `Basic ${Buffer.from('ada:wrong').toString('base64')}` }
  const cases: readonly (readonly [string, object, object, Readonly<Record<string, unknown>>?])[] = [
    ['a fixed window', limit('fixedWindow'), spent],
    ['a sliding window', limit('slidingWindow'), spent],
    ['a token bucket', limit('tokenBucket'), spent],
    [
      'a limit of unknown paths',
      { rateLimit: { max: 1, window: '1m' }, routes: [{ path: '/a', respond: {} }] },
      {
        steps: [
          { request: 'GET /x', expect: { status: 404 } },
          { request: 'GET /x', expect: { status: 429 } }
        ]
      }
    ],
    [
      'a limit of requests in flight',
      limit('fixedWindow', { maxInFlight: 1 }),
      { request: 'GET /a', expect: { status: 200 } }
    ],
    [
      'a stored response',
      proxied({}, { cache: { ttl: '1h' } }),
      { request: 'GET /a', expect: { status: 200, attempts: 1 } },
      { upstreams }
    ],
    [
      'a choice of target',
      proxied(targets),
      {
        steps: [
          { request: 'GET /a', expect: { upstream: { headers: { host: '10.0.0.1:1' } } } },
          { request: 'GET /a', expect: { upstream: { headers: { host: '10.0.0.2:1' } } } },
          { request: 'GET /a', expect: { upstream: { headers: { host: '10.0.0.1:1' } } } }
        ]
      },
      { upstreams }
    ],
    [
      'an open circuit breaker',
      proxied({ breaker: { failures: '50%', of: 1, within: '10s', openFor: '1h' } }),
      { request: 'GET /a', expect: { status: 502, attempts: 1 } },
      { upstreams: { orders: [answer(502)] } }
    ],
    [
      'an answer that is given twice',
      proxied({}),
      {
        steps: [
          { request: 'GET /a', expect: { status: 201 } },
          { request: 'GET /a', expect: { status: 200 } }
        ]
      },
      { upstreams: { orders: [{ when: {}, answers: [{ status: 201, times: 1 }, { status: 200 }] }] } }
    ],
    [
      'failed passwords',
      {
        auth: { users: { list: [{ name: 'ada', password: HASH }] }, basic: true },
        routes: [{ path: '/a', auth: true, respond: { body: 'a' } }]
      },
      {
        steps: [
          { request: { url: '/a', headers: basic }, times: 10, expect: { status: 401 } },
          { request: { url: '/a', headers: basic }, expect: { status: 429 } }
        ]
      }
    ],
    [
      'the time',
      limit('fixedWindow'),
      {
        steps: [
          { request: 'GET /a', times: 2, expect: { status: 200 } },
          { wait: '11s' },
          { request: 'GET /a', expect: { status: 200 } }
        ]
      }
    ],
    [
      'the delay of an upstream',
      proxied({}),
      { request: 'GET /a', expect: { status: 504 } },
      { upstreams: { orders: [{ when: {}, answers: [{ status: 'hang' }] }] } }
    ]
  ]
  for (const [name, config, test, more] of cases)
    t.test(name, async (t) => t.strictSame(await run(t, config, twice(test), more), none))
})

t.test('tests share a gateway as long as its concerns say that requests leave no state', async (t) => {
  const built = (): number => (globalThis as unknown as { built: number }).built
  const config = {
    extensions: [{ module: './counting.ts' }],
    counting: {},
    routes: [{ path: '/a', respond: { body: 'a' } }]
  }
  const tests = [1, 2, 3, 4].map(() => ({ request: 'GET /a', expect: { status: 200 } }))
  const cases = [
    ['no facet', '', 4, []],
    ['stateless: false', 'export const stateless = false', 4, []],
    ['a function', 'export const stateless = () => false', 4, []],
    // What it says is believed: it remembers the requests of the tests before.
    ['stateless: true', 'export const stateless = true', 1, [2, 3]]
  ] as const
  for (const [name, facet, instances, failing] of cases)
    t.test(name, async (t) => {
      const before = built() || 0
      const failures = await run(t, config, tests, { extension: counting(facet) })
      t.equal(built() - before, instances)
      t.strictSame(
        failures.flatMap((each, i) => (each.length > 0 ? [i] : [])),
        failing
      )
    })
  t.test('a concern forgets what it counts', async (t) => {
    const before = built()
    Object.assign(globalThis, { isForgetful: true })
    const failures = await run(t, config, tests, { extension: counting('export const stateless = true') })
    t.equal(built() - before, 1)
    t.strictSame(failures, [[], [], [], []])
  })
})

t.test('a test with a foreign token leaves the keys of an issuer as new', async (t) => {
  const jwt = { issuer: 'https://id.example', audience: 'api', jwks: 'https://id.example/jwks' }
  const token = [
    { alg: 'RS256', kid: 'other' },
    { iss: jwt.issuer, aud: jwt.audience, exp: 1e10, sub: 'x' },
    {}
  ]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')
  const failures = await run(
    t,
    { auth: { jwt }, routes: [{ path: '/a', auth: true, respond: { body: 'a' } }] },
    [
      { request: { url: '/a', headers: { authorization: `Bearer ${token}` } }, expect: { upstream: null } },
      { request: 'GET /a', sign: 'ada', expect: { status: 200 } },
      { request: { url: '/a', headers: { authorization: `Bearer ${token}` } }, expect: { status: 401 } },
      { request: 'GET /a', sign: 'ada', expect: { status: 200 } }
    ],
    { callers: { ada: { id: 'ada' } } }
  )
  t.strictSame(failures, [[], [], [], []])
})

t.test('a test that fails, or never ends, does not fail the next one', async (t) => {
  const config = {
    upstreams: { orders: { url: 'http://10.0.0.1:4000' } },
    routes: [
      { path: '/a', respond: { body: 'a' } },
      { path: '/b', proxy: { upstream: 'orders', timeouts: { headers: false } }, limits: { time: false } }
    ]
  }
  const upstreams = { orders: [{ when: {}, answers: [{ status: 'hang' }] }] }
  const failures = await run(
    t,
    config,
    [
      { request: 'GET /a', expect: { status: 404 } },
      { request: 'GET /a', expect: { status: 200 } },
      { request: 'GET /b', expect: { status: 200 } },
      { request: 'GET /a', expect: { status: 200 } }
    ],
    { upstreams }
  )
  t.strictSame(
    failures.map(({ length }) => length > 0),
    [true, false, true, false]
  )
})
