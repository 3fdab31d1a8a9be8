import type { RequestListener } from 'node:http'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import { clock, gateway, listening, raw, type Scope, statusOf, upstream } from '../helpers.ts'

/** Starts targets that answer with their own number, and can be made to fail. */
async function fleet(t: Scope, count: number): Promise<{ urls: string[]; status: number[]; hits: number[] }> {
  const status = Array.from({ length: count }, () => 200)
  const hits = status.map(() => 0)
  const urls = await Promise.all(
    status.map((_, i) =>
      upstream(t, (_request, response) => {
        hits[i] = (hits[i] ?? 0) + 1
        response.writeHead(status[i] ?? 200).end(String(i))
      })
    )
  )
  return { urls, status, hits }
}

const routes = [{ path: '/*', proxy: { upstream: 'up' } }]

/** Asks some times, one after another, and tells the bodies. */
async function askAll(
  app: FastifyInstance,
  times: number,
  headers: Record<string, string> = {}
): Promise<string[]> {
  const bodies: string[] = []
  for (let i = 0; i < times; i++) bodies.push((await app.inject({ url: '/x', headers })).body)
  return bodies
}

const count = (bodies: readonly string[], of: string): number => bodies.filter((body) => body === of).length

t.test('balances by round robin, random and load, all weighted', async (t) => {
  const { urls } = await fleet(t, 3)
  const targets = urls.map((url, i) => ({ url, weight: [1, 2, 0][i] }))
  const inTurn = await gateway(t, { upstreams: { up: { targets } }, routes })
  const turns = await askAll(inTurn, 30)
  t.same([count(turns, '0'), count(turns, '1'), count(turns, '2')], [10, 20, 0])
  const random = await gateway(t, { upstreams: { up: { targets, balance: 'random' } }, routes })
  const any = await askAll(random, 600)
  t.ok(count(any, '1') > 300 && count(any, '1') < 500, `two thirds: ${count(any, '1')} of 600`)
  t.equal(count(any, '2'), 0)
})

t.test('picks the less busy target', async (t) => {
  for (const [balance, least] of [
    ['leastRequests', 20],
    ['powerOfTwo', 8]
  ] as const) {
    const { urls } = await fleet(t, 2)
    const app = await gateway(t, { upstreams: { up: { targets: urls, balance } }, routes })
    const [busy] = app.upstream('up').targets
    if (busy === undefined) throw new Error('there is a first target')
    busy.load.requests += 50
    const bodies = await askAll(app, 20)
    busy.load.requests -= 50
    t.ok(count(bodies, '1') >= least, `${balance}: ${count(bodies, '1')} of 20`)
  }
})

t.test('hashes keys consistently: a new target moves only its own share', async (t) => {
  const { urls } = await fleet(t, 4)
  const on = async (targets: string[]): Promise<string[]> => {
    const app = await gateway(t, {
      upstreams: { up: { targets, balance: 'hash', hashOn: 'header:x-user' } },
      routes
    })
    const bodies: string[] = []
    for (let i = 0; i < 200; i++) bodies.push(...(await askAll(app, 1, { 'x-user': `user ${i}` })))
    return bodies
  }
  const before = await on(urls.slice(0, 3))
  t.same(await on(urls.slice(0, 3)), before, 'the same in every process')
  for (const each of ['0', '1', '2'])
    t.ok(count(before, each) > 35, `${each} has ${count(before, each)} of 200`)
  const after = await on(urls)
  const moved = after.filter((body, i) => body !== before[i])
  t.ok(
    moved.every((body) => body === '3'),
    'who moved is at the new one'
  )
  t.ok(moved.length > 25 && moved.length < 85, `about a quarter moved: ${moved.length} of 200`)
})

t.test('keeps a client at its target by an opaque cookie', async (t) => {
  const { urls, status } = await fleet(t, 3)
  const app = await gateway(t, {
    publicUrl: 'https://a.example.com',
    upstreams: { up: { targets: urls, sticky: { cookie: 'lb' }, eject: { failures: 1, for: '1m' } } },
    routes
  })
  const first = await app.inject('/x')
  const said = String(first.headers['set-cookie'])
  t.match(said, /^lb=[\w-]{22}; Path=\/; HttpOnly; SameSite=Lax; Secure$/)
  const cookie = said.split(';')[0] ?? ''
  const again = await askAll(app, 10, { cookie })
  t.equal(count(again, first.body), 10)
  t.equal(
    (await app.inject({ url: '/x', headers: { cookie } })).headers['set-cookie'],
    undefined,
    'said once'
  )
  t.ok(
    (await app.inject({ url: '/x', headers: { cookie: 'lb=forged' } })).headers['set-cookie'],
    'a wrong one is replaced'
  )
  status[Number(first.body)] = 500
  t.equal((await app.inject({ url: '/x', headers: { cookie } })).statusCode, 500)
  const moved = await app.inject({ url: '/x', headers: { cookie } })
  t.equal(moved.statusCode, 200, 'no client sticks to an ejected target')
  t.ok(moved.headers['set-cookie'])
})

t.test('ejects a failing target, keeps the others, and uses it again', async (t) => {
  const { urls, status, hits } = await fleet(t, 3)
  const app = await gateway(t, {
    upstreams: { up: { targets: urls, eject: { failures: 2, for: '1s' } } },
    routes
  })
  status[1] = 503
  await askAll(app, 6)
  t.equal(app.upstream('up').ready.length, 2)
  const seen = hits[1]
  const bodies = await askAll(app, 20)
  t.equal(count(bodies, '1'), 0)
  t.equal(hits[1], seen)
  status[1] = 200
  const back = Promise.withResolvers<void>()
  app.upstream('up').targets[1]?.health.watch(back.resolve)
  await back.promise
  t.ok(count(await askAll(app, 6), '1') >= 2, 'it is back')
})

t.test('does not count a slow upload as a failure of the target', async (t) => {
  const url = await upstream(t, (request, response) => void request.on('end', () => response.end()).resume())
  const { app, port } = await listening(t, {
    upstreams: { up: { targets: [url, url.replace('127.0.0.1', 'localhost')], eject: { failures: 1 } } },
    routes
  })
  const answer = await raw(port, 'POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf', 10_000)
  t.equal(statusOf(answer), 408)
  t.equal(app.upstream('up').ready.length, 2)
})

t.test('ejects at most eject.max targets, and uses all of them in panic', async (t) => {
  const { urls, status } = await fleet(t, 4)
  const limited = await gateway(t, {
    upstreams: { up: { targets: urls, eject: { failures: 1, for: '1m', max: '50%', panic: '0%' } } },
    routes
  })
  status.fill(500)
  await askAll(limited, 20)
  t.equal(limited.upstream('up').ready.length, 2, 'half of four')
  const panics = await gateway(t, {
    upstreams: { up: { targets: urls, eject: { failures: 1, for: '1m', max: '75%', panic: '50%' } } },
    routes
  })
  await askAll(panics, 20)
  t.equal(panics.upstream('up').ready.length, 4, 'with one of four well all are used')
})

t.test('uses backups only while no main target is healthy, and answers 503 without any', async (t) => {
  const { urls, status } = await fleet(t, 2)
  const health = { path: '/healthz', every: '20ms', unhealthyAfter: 1, healthyAfter: 1 }
  const app = await gateway(t, {
    upstreams: { up: { targets: [urls[0], { url: urls[1], backup: true }], health } },
    routes
  })
  const [main, backup] = app.upstream('up').targets
  if (main === undefined || backup === undefined) throw new Error('there are two targets')
  const until = async (ready: number): Promise<void> => {
    while (app.upstream('up').ready.length !== ready || main.health.isEligible !== (status[0] === 200))
      await new Promise<void>((resolve) => {
        const stop = [main, backup].map(({ health: condition }) => condition.watch(() => done()))
        const done = (): void => {
          for (const each of stop) each()
          resolve()
        }
      })
  }
  t.equal(count(await askAll(app, 4), '0'), 4)
  status[0] = 500
  await until(1)
  t.equal(count(await askAll(app, 4), '1'), 4)
  status[1] = 500
  await until(0)
  const none = await app.inject('/x')
  t.equal(none.statusCode, 503)
  t.equal(none.headers['retry-after'], '5')
  t.match((await app.inject('/-/ready?verbose')).json(), {
    status: 'ready',
    upstreams: { up: { targets: 2, ready: 0 } }
  })
  status.fill(200)
  await until(1)
  t.equal(count(await askAll(app, 4), '0'), 4, 'the main one is back')
})

t.test('opens a circuit breaker, probes with one request, and closes it', async (t) => {
  let status = 500
  let hits = 0
  const held: (() => void)[] = []
  const reached = Promise.withResolvers<void>()
  const url = await upstream(t, (request, response) => {
    hits++
    if (request.url !== '/hold') return void response.writeHead(status).end()
    held.push(() => response.end('held'))
    reached.resolve()
  })
  const pass = clock(t)
  const app = await gateway(t, {
    upstreams: { up: { url, breaker: { failures: '50%', of: 4, within: '1h', openFor: '1m' } } },
    routes
  })
  const { health: condition } = app.upstream('up').targets[0] ?? {}
  if (condition === undefined) throw new Error('there is a target')
  await askAll(app, 4)
  t.equal(hits, 4)
  const open = await app.inject('/x')
  t.equal(open.statusCode, 503)
  t.match(open.headers['retry-after'], /^(60|[1-5]\d)$/)
  t.equal(hits, 4, 'nothing is sent')
  pass(61)
  const probe = app.inject('/hold')
  await reached.promise
  t.equal((await app.inject('/x')).statusCode, 503, 'one alone tries')
  status = 200
  for (const answer of held) answer()
  t.equal((await probe).statusCode, 200)
  t.equal((await app.inject('/x')).statusCode, 200, 'closed again')
  status = 500
  await askAll(app, 4)
  t.equal(condition.breakerOpen, true)
})

t.test('uses another target when one is full, and answers 503 when all are', async (t) => {
  const held: (() => void)[] = []
  const reached = Promise.withResolvers<void>()
  const slow: RequestListener = (_request, response) => {
    held.push(() => response.end('ok'))
    if (held.length === 2) reached.resolve()
  }
  const app = await gateway(t, {
    upstreams: {
      up: { targets: [await upstream(t, slow), await upstream(t, slow)], connections: { max: 1, pending: 0 } }
    },
    routes
  })
  const both = [app.inject('/x'), app.inject('/x')]
  await reached.promise
  const full = await app.inject('/x')
  t.equal(full.statusCode, 503)
  t.ok(full.headers['retry-after'])
  for (const answer of held) answer()
  t.same(
    (await Promise.all(both)).map(({ statusCode }) => statusCode),
    [200, 200]
  )
})

t.test(
  'rejects upstreams without a source of targets, with two, or with a URL that there is not',
  async (t) => {
    const cases = [
      { up: {}, message: /needs exactly one of "url", "targets" and "discover"/ },
      { up: { url: 'http://a', targets: ['http://b'] }, message: /needs exactly one of/ },
      { up: { discover: {} }, message: /exactly one of "dns" and "srv"/ },
      { up: { discover: { dns: 'a', srv: 'b' } }, message: /exactly one of "dns" and "srv"/ },
      { up: { discover: { srv: '_http._tcp.a', port: 80 } }, message: /"port" works with "dns" only/ },
      { up: { url: 'http://a:65536' }, message: /up\.url: .* a port up to 65535, got "http:\/\/a:65536"/ },
      { up: { url: 'http://256.1.1.1' }, message: /up\.url: .* a valid host/ },
      { up: { targets: ['http://a:1', 'http://a:b'] }, message: /up\.targets\[1\]: .* a port up to 65535/ },
      { up: { targets: [{ url: 'http://a:b' }] }, message: /up\.targets\[0\]\.url: .* a port up to 65535/ },
      { up: { url: 'http://a', balance: 'roundrobin' }, message: /balance/ },
      { up: { url: 'http://a', hashOn: 'user' }, message: /hashOn/ },
      {
        up: { url: 'unix:/run/a.sock', health: { port: 81 } },
        message: /health\.port: expected targets with ports beside it, got "unix:\/run\/a\.sock"/
      }
    ]
    for (const { up, message } of cases)
      await t.rejects(loadConfig({ upstreams: { up }, routes }, {}), { message }, JSON.stringify(up))
  }
)
