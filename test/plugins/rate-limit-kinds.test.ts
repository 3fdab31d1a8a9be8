import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { lint } from '../../src/config/lint.ts'
import { loadConfig } from '../../src/index.ts'
import { ask, gateway, listening, movableClock, upstream } from '../helpers.ts'

const respond = { body: 'hello' }

// Only the clock is not the real one: windows of minutes would take minutes.
const BEGINS_AT = Date.UTC(2026, 0, 1)

/** Asks a number of times and tells how many passed. */
async function passed(
  app: FastifyInstance,
  times: number,
  headers: Record<string, string> = {}
): Promise<number> {
  let count = 0
  for (let i = 0; i < times; i++) if ((await app.inject({ url: '/a', headers })).statusCode === 200) count++
  return count
}

t.test('counts by the configured algorithm', async (t) => {
  // Seconds that pass, requests that come, and how many of them pass, step by step.
  const cases = [
    {
      name: 'a fixed window begins with the first request, and refused ones count in it alone',
      limit: { max: 10, window: '60s' },
      steps: [
        [0, 15, 10],
        [59, 5, 0],
        [1, 15, 10]
      ]
    },
    {
      name: 'a sliding window lets nobody come twice as often around its edge',
      limit: { max: 10, window: '60s', algorithm: 'slidingWindow' },
      steps: [
        [59, 15, 10],
        [1, 5, 0],
        [30, 10, 5],
        [30, 10, 5],
        [120, 15, 10]
      ]
    },
    {
      name: 'a sliding window lets in who asks a little too often',
      limit: { max: 10, window: '60s', algorithm: 'slidingWindow' },
      steps: [
        [0, 6, 6],
        [59, 12, 4],
        [1, 12, 0],
        [30, 12, 5],
        [30, 12, 5]
      ]
    },
    {
      name: 'a sliding window lets in who was quiet for one, wherever the windows begin',
      limit: { max: 10, window: '60s', algorithm: 'slidingWindow' },
      steps: [
        [0, 12, 10],
        [61, 12, 10],
        [70, 12, 10]
      ]
    },
    {
      name: 'tokens come back steadily',
      limit: { max: 60, window: '60s', algorithm: 'tokenBucket', burst: 5 },
      steps: [
        [0, 10, 5],
        [1, 10, 1],
        [3, 10, 3],
        [60, 10, 5]
      ]
    },
    {
      name: 'a bucket without a burst holds what comes in a window',
      limit: { max: 4, window: '4s', algorithm: 'tokenBucket' },
      steps: [
        [0, 10, 4],
        [2, 10, 2]
      ]
    },
    {
      name: 'a request takes what it costs',
      limit: { max: 10, window: '60s', cost: 3 },
      steps: [[0, 5, 3]]
    }
  ]
  for (const { name, limit, steps } of cases)
    t.test(name, async (t) => {
      const clock = movableClock(t, BEGINS_AT)
      const app = await gateway(t, { rateLimit: limit, routes: [{ path: '/a', respond }] })
      for (const [seconds = 0, times = 0, expected] of steps) {
        clock.advance(seconds * 1000)
        t.equal(await passed(app, times), expected, `after ${seconds} s`)
      }
    })
})

t.test('allows a client again after its window although the wall clock changes', async (t) => {
  const cases = [
    { max: 3, window: '10s' },
    { max: 3, window: '10s', algorithm: 'slidingWindow' },
    { max: 3, window: '10s', algorithm: 'tokenBucket' }
  ]
  for (const limit of cases)
    for (const hours of [-1, 1, -24 * 400])
      t.test(`${JSON.stringify(limit)}, ${hours} h`, async (t) => {
        const clock = movableClock(t, BEGINS_AT)
        const app = await gateway(t, { rateLimit: limit, routes: [{ path: '/a', respond }] })
        t.equal(await passed(app, 2), 2)
        clock.setDate(hours * 3_600_000)
        t.equal(await passed(app, 3), 1, 'what was counted before still counts')
        const { headers } = await app.inject('/a')
        t.ok(Number(headers['retry-after']) <= 20, `${headers['retry-after']} s`)
        clock.advance(20_000)
        t.equal(await passed(app, 3), 3)
      })
})

t.test('allows a client that waits for Retry-After', async (t) => {
  const cases = [
    { max: 10, window: '60s' },
    { max: 10, window: '60s', algorithm: 'slidingWindow' },
    { max: 10, window: '60s', algorithm: 'slidingWindow', cost: 4 },
    { max: 10, window: '60s', algorithm: 'tokenBucket' },
    { max: 10, window: '60s', algorithm: 'tokenBucket', burst: 3, cost: 2 }
  ]
  for (const limit of cases)
    t.test(JSON.stringify(limit), async (t) => {
      const clock = movableClock(t, BEGINS_AT)
      const app = await gateway(t, { rateLimit: limit, routes: [{ path: '/a', respond }] })
      clock.advance(17_000)
      for (let round = 0; round < 5; round++) {
        let refused = await app.inject('/a')
        while (refused.statusCode === 200) refused = await app.inject('/a')
        const seconds = Number(refused.headers['retry-after'])
        t.ok(seconds >= 1 && seconds <= 60, `${seconds} s`)
        clock.advance(seconds * 1000)
        t.equal(await passed(app, 1), 1)
      }
    })
})

t.test('requires a request to be within every limit and reports each', async (t) => {
  const clock = movableClock(t, BEGINS_AT)
  const app = await gateway(t, {
    rateLimit: { max: 2, window: '1s', also: { day: { max: 3, window: '1d', by: 'header:x-user' } } },
    routes: [{ path: '/a', respond }]
  })
  const first = await app.inject({ url: '/a', headers: { 'x-user': 'ada' } })
  t.equal(first.headers['ratelimit-policy'], '"default";q=2;w=1, "day";q=3;w=86400')
  t.equal(first.headers['ratelimit'], '"default";r=1;t=1, "day";r=2;t=86400')
  t.equal(await passed(app, 2, { 'x-user': 'ada' }), 1, 'the second is the narrower one')
  clock.advance(1000)
  const last = await app.inject({ url: '/a', headers: { 'x-user': 'ada' } })
  t.equal(last.statusCode, 429, 'the day is used up: refused requests count')
  t.equal(last.headers['retry-after'], '86399')
  t.equal(await passed(app, 1, { 'x-user': 'grace' }), 1)
})

t.test('applies the largest quota of several roles', async (t) => {
  const list = [
    { id: 'plain', secret: 'plain-key' },
    { id: 'silver', secret: 'silver-key', roles: ['silver'] },
    { id: 'both', secret: 'both-key', roles: ['silver', 'gold'] }
  ]
  const app = await gateway(t, {
    auth: { apiKeys: { list }, optional: true },
    rateLimit: {
      max: 1,
      window: '1h',
      by: 'caller',
      tiers: { silver: { max: 2 }, gold: { max: 3, window: '2h' } }
    },
    routes: [{ path: '/a', respond }]
  })
  for (const [key, expected] of [
    ['plain-key', 1],
    ['silver-key', 2],
    ['both-key', 3]
  ] as const)
    t.equal(await passed(app, 5, { 'x-api-key': key }), expected, key)
  const gold = await app.inject({ url: '/a', headers: { 'x-api-key': 'both-key' } })
  t.equal(gold.headers['ratelimit-policy'], '"default";q=3;w=7200')
  t.equal(await passed(app, 5), 1, 'nobody is nobody special')
})

t.test('counts a request in flight until its response closes', async (t) => {
  const open: (() => void)[] = []
  const waiting: ((value: unknown) => void)[] = []
  const target = await upstream(t, (_request, response) => {
    open.push(() => response.end('done'))
    waiting.shift()?.(undefined)
  })
  const { url } = await listening(t, {
    rateLimit: { maxInFlight: 2 },
    routes: [{ path: '/a', proxy: { upstream: target } }]
  })
  const arrive = (): Promise<unknown> => new Promise((resolve) => waiting.push(resolve))
  const leaving = new AbortController()
  let arrived = arrive()
  const first = ask(`${url}/a`)
  await arrived
  arrived = arrive()
  const second = ask(`${url}/a`, { signal: leaving.signal }).catch(() => undefined)
  await arrived
  const refused = await ask(`${url}/a`)
  t.equal(refused.status, 429)
  t.match(JSON.parse(refused.text), { code: 'SP_ERR_RATE_LIMIT_IN_FLIGHT' })
  t.notOk(refused.headers.has('ratelimit'), 'there is no quota to tell of')
  leaving.abort()
  await second
  // The gateway learns of it a moment later.
  arrived = arrive()
  let third = ask(`${url}/a`)
  while ((await Promise.race([arrived, third])) !== undefined) third = ask(`${url}/a`)
  for (const end of open) end()
  t.equal((await first).status, 200)
  t.equal((await third).status, 200)
})

t.test('rejects a limit without a maximum', async (t) => {
  const cases: [object, RegExp][] = [
    [{ window: '1m' }, /rateLimit: expected "max" or "maxInFlight", got neither/],
    [{ max: 5, cost: 6 }, /rateLimit\.cost: expected at most 5, got a cost of 6/],
    [
      { max: 50, cost: 6, burst: 5, algorithm: 'tokenBucket' },
      /rateLimit\.cost: expected at most 5, got a cost of 6, which is never allowed; lower it, or raise "burst"/
    ],
    [
      { max: 5, also: { default: { max: 1 } } },
      /rateLimit\.also\.default: "default" is the name of the main limit/
    ],
    [{ max: 5, also: { day: {} } }, /rateLimit\.also\.day: expected "max" or "maxInFlight", got neither/],
    [{ max: 5, onStoreFailure: 'panic' }, /rateLimit\.onStoreFailure: expected .*, got "panic"/]
  ]
  for (const [rateLimit, expected] of cases)
    await t.rejects(loadConfig({ rateLimit, routes: [{ path: '/a', respond }] }, {}), { message: expected })
})

t.test('warns about limits that count authenticated callers only', async (t) => {
  const caller = { max: 1, by: 'caller' }
  const auth = { apiKeys: { list: [] } }
  const jwt = { jwt: { issuer: 'https://a', audience: 'a', jwks: 'https://a/jwks' } }
  const route = (more: object): object => ({ path: '/a', respond, ...more })
  const cases: { name: string; config: object; warns: boolean }[] = [
    {
      name: "in the place of the root's",
      config: { auth, rateLimit: { max: 9 }, routes: [route({ rateLimit: caller })] },
      warns: true
    },
    { name: 'at the root', config: { auth, rateLimit: caller, routes: [route({})] }, warns: true },
    {
      name: 'by role',
      config: { auth, rateLimit: { max: 9, tiers: { gold: { max: 99 } } }, routes: [route({})] },
      warns: true
    },
    {
      name: 'all of several',
      config: { auth, rateLimit: { ...caller, also: { day: caller } }, routes: [route({})] },
      warns: true
    },
    {
      name: 'beside one by address',
      config: { auth, rateLimit: { max: 9 }, routes: [route({ rateLimit: { also: { caller } } })] },
      warns: false
    },
    {
      name: 'with one by address beside it',
      config: { auth, rateLimit: { ...caller, also: { ip: { max: 9 } } }, routes: [route({})] },
      warns: false
    },
    {
      name: 'with one by a header, which the client chooses, beside it',
      config: {
        auth,
        rateLimit: { ...caller, also: { device: { max: 9, by: 'header:x-device' } } },
        routes: [route({})]
      },
      warns: true
    },
    {
      name: 'with one of requests in flight beside it',
      config: { auth, rateLimit: { ...caller, also: { flight: { maxInFlight: 5 } } }, routes: [route({})] },
      warns: true
    },
    { name: 'without auth', config: { rateLimit: caller, routes: [route({})] }, warns: false },
    {
      name: 'where nothing can be guessed',
      config: { auth: jwt, rateLimit: caller, routes: [route({})] },
      warns: false
    },
    {
      name: 'where keys do not count on the route',
      config: { auth: { ...auth, ...jwt }, rateLimit: caller, routes: [route({ auth: { by: ['jwt'] } })] },
      warns: false
    }
  ]
  for (const { name, config, warns } of cases)
    t.test(name, async (t) => {
      const plan = await loadConfig(config, {})
      const found = lint(plan, [], { workers: 1, pairs: [] }).warnings.filter(({ message }) =>
        /guessed without a limit/.test(message)
      )
      t.equal(found.length, warns ? 1 : 0)
      for (const { message } of found) t.match(message, /^The route \/a counts only authenticated callers/)
    })
})
