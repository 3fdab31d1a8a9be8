import t, { type Test } from 'tap'
import { planOf } from '../../src/config/load.ts'
import { objectSource } from '../../src/config/source.ts'
import { catalog } from '../../src/gateway/catalog.ts'
import { monotonic, startInterval, startTimer } from '../../src/lib/clock.ts'
import type { SimulatedResponse } from '../../src/lib/contracts/simulation.ts'
import { SimulatedClock } from '../../src/simulation/clock.ts'
import { SimulatedGateway, type SimulatedRequest } from '../../src/simulation/simulation.ts'

const ROUTE = { path: '/a/*', proxy: { upstream: 'orders', rewrite: '/v2/' } }

const get = (url: string, more: Partial<SimulatedRequest> = {}): SimulatedRequest => ({
  method: 'GET',
  url,
  headers: [],
  body: undefined,
  from: '192.0.2.1',
  ...more
})

const ok = (text: string): SimulatedResponse => ({
  status: 200,
  headers: ['content-type', 'text/plain'],
  body: Buffer.from(text)
})

/** Opens a gateway without sockets, whose upstreams give these responses in turn, and then the last one. */
async function simulated(
  t: Test,
  config: object,
  responses: readonly SimulatedResponse[] = [ok('here')]
): Promise<SimulatedGateway> {
  const plan = await planOf(
    objectSource({ upstreams: { orders: { url: 'http://10.0.0.1:4000' } }, ...config }),
    catalog,
    {}
  )
  let count = 0
  const gateway = await SimulatedGateway.open(
    plan,
    () => responses[Math.min(count++, responses.length - 1)] ?? 'hang'
  )
  t.teardown(() => gateway.close())
  return gateway
}

t.test('a simulated request runs all of the gateway, and calls no upstream', async (t) => {
  const gateway = await simulated(t, { routes: [ROUTE] })
  const { response, request, calls } = await gateway.send(get('https://shop.example/a/%41?x=1'))
  t.equal(response?.status, 200)
  t.equal(response?.body.toString(), 'here')
  t.equal(request?.protocol, 'https')
  t.match(calls, [
    {
      upstream: 'orders',
      target: 'http://10.0.0.1:4000',
      method: 'GET',
      path: '/v2/A?x=1',
      isForwarded: true
    }
  ])
  t.match(calls[0]?.headers.join(' '), /x-forwarded-for 192\.0\.2\.1 x-forwarded-proto https/)
})

t.test('the bytes of a request are not normalized before the gateway has them', async (t) => {
  const gateway = await simulated(t, { routes: [ROUTE] })
  const cases: [url: string, status: number][] = [
    ['/a/../b', 400],
    ['/a/%2e%2e/b', 400],
    ['/a/ü', 400],
    ['/a/b c', 400],
    ['/A/b', 404]
  ]
  for (const [url, status] of cases) {
    const { response, calls } = await gateway.send(get(url))
    t.equal(response?.status, status, url)
    t.strictSame(calls, [], url)
  }
})

t.test('a body goes to the upstream, and the caller stands in for a strategy', async (t) => {
  const gateway = await simulated(t, {
    auth: {
      apiKeys: { list: [{ id: 'x', secret: 'a-secret-of-the-test-alone-123456' }] },
      identity: { 'x-user': 'id' }
    },
    routes: [ROUTE]
  })
  const ada = { id: 'ada', roles: [], scopes: [], claims: {}, by: 'apiKeys' }
  t.equal((await gateway.send(get('/a/b'))).response?.status, 401)
  const { response, calls } = await gateway.send(
    get('/a/b', { method: 'POST', body: Buffer.from('text'), callerFor: () => ada })
  )
  t.equal(response?.status, 200)
  t.equal(calls[0]?.body.toString(), 'text')
  t.match(calls[0]?.headers.join(' '), 'x-user ada')
})

t.test('failures of upstreams are those of the network', async (t) => {
  const retry = { attempts: 2, on: ['connect', 'reset', '503'], budget: '100%', backoff: '10s' }
  const cases: [name: string, responses: SimulatedResponse[], status: number, calls: number][] = [
    ['a refused connection', ['refuse', 'refuse'], 502, 2],
    ['a refused connection, then a response', ['refuse', ok('x')], 200, 2],
    ['a connection that is cut', ['cut', ok('x')], 200, 2],
    ['no response', ['hang'], 504, 1],
    ['a late response', [{ status: 200, headers: [], body: Buffer.alloc(0), delay: 20_000 }], 200, 1],
    [
      'a response that is too late',
      [{ status: 200, headers: [], body: Buffer.alloc(0), delay: 90_000 }],
      504,
      1
    ]
  ]
  for (const [name, responses, status, count] of cases)
    await t.test(name, async (t) => {
      const clock = new SimulatedClock(Date.UTC(2026, 0, 1))
      t.teardown(() => clock.close())
      const gateway = await simulated(
        t,
        { routes: [{ ...ROUTE, proxy: { ...ROUTE.proxy, retry } }] },
        responses
      )
      const { response, calls } = await clock.whileWaiting(gateway.send(get('/a/b')))
      t.equal(response?.status, status)
      t.equal(calls.length, count)
    })
})

t.test('time stands still, and counts begin anew once it has moved on', async (t) => {
  const clock = new SimulatedClock(Date.UTC(2026, 0, 1))
  t.teardown(() => clock.close())
  const gateway = await simulated(t, { rateLimit: { max: 1, window: '1m' }, routes: [ROUTE] })
  const status = async (): Promise<number | undefined> => (await gateway.send(get('/a'))).response?.status
  t.strictSame([await status(), await status()], [200, 429])
  await clock.advance(61_000)
  t.equal(await status(), 200)
})

t.test(
  'a wait of a hundred years ends: a repeating timer fires a thousand times, then once at the end',
  async (t) => {
    const clock = new SimulatedClock(0)
    t.teardown(() => clock.close())
    const year = 365 * 86_400_000
    const fired: number[] = []
    startInterval(() => void fired.push(monotonic()), 1000)
    startTimer(() => void fired.push(-1), year)
    await clock.advance(100 * year)
    t.equal(monotonic(), 100 * year)
    t.strictSame(fired.slice(998), [999_000, 1_000_000, -1, 100 * year])
  }
)

t.test('nothing outside is called: store, discovery, health checks, key sets, certificates', async (t) => {
  const gateway = await simulated(t, {
    store: { redis: 'redis://192.0.2.1:1' },
    upstreams: {
      orders: { discover: { dns: 'orders.invalid', port: 80 }, health: { path: '/up', every: '1s' } }
    },
    auth: { jwt: { issuer: 'https://issuer.invalid', audience: 'x', jwks: 'https://issuer.invalid/jwks' } },
    routes: [
      { ...ROUTE, auth: false },
      { path: '/token', proxy: { upstream: 'orders' } }
    ]
  })
  const open = await gateway.send(get('/a/b'))
  t.equal(open.response?.status, 200)
  t.equal(open.calls[0]?.target, 'http://orders.invalid:80')
  const token = `${Buffer.from('{"alg":"RS256"}').toString('base64url')}.${Buffer.from('{}').toString('base64url')}.AA`
  const asked = await gateway.send(get('/token', { headers: [['authorization', `Bearer ${token}`]] }))
  t.match(asked.calls, [{ upstream: 'https://issuer.invalid', path: '/jwks', isForwarded: false }])
})

t.test(
  'one target stands for those that SRV records would name, without the service and the protocol',
  async (t) => {
    const gateway = await simulated(t, {
      upstreams: { orders: { discover: { srv: '_http._tcp.orders.invalid' } } },
      routes: [ROUTE]
    })
    t.equal((await gateway.send(get('/a/b'))).calls[0]?.target, 'http://orders.invalid')
  }
)
