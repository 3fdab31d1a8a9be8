import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { clock } from '../../helpers.ts'
import { ALL_VERSIONS, type Answer, type Front, front } from './front.ts'

/** Asks until the upstream has got so many requests. */
async function seenBy({ seen }: Front, count: number): Promise<void> {
  while (seen.length < count) await wait(5)
}

const numbered =
  (fields: Record<string, string>): Answer =>
  (_request, response, count) => {
    response.writeHead(200, fields).end(`answer ${count}`)
  }

for (const versions of ALL_VERSIONS)
  t.test(`renews in the background: HTTP/${versions.client} to HTTP/${versions.upstream}`, async (t) => {
    const pass = clock(t)
    const renewal = Promise.withResolvers<void>()
    const answer: Answer = (_request, response, count) => {
      if (count === 1) response.end('answer 1')
      else void renewal.promise.then(() => response.end(`answer ${count}`))
    }
    const gateway = await front(t, { ttl: '10s', staleWhileRevalidate: '1m' }, answer, { versions })
    await gateway.get('/a')
    pass(20)
    const stale = await Promise.all([gateway.get('/a'), gateway.get('/a'), gateway.get('/a')])
    t.strictSame(
      stale.map(({ body }) => body),
      ['answer 1', 'answer 1', 'answer 1']
    )
    t.match(stale[0]?.cacheStatus, 'sallyport; hit; ttl=-11')
    await seenBy(gateway, 2)
    renewal.resolve()
    while ((await gateway.get('/a')).body !== 'answer 2') await wait(5)
    t.equal(gateway.seen.length, 2)
  })

t.test('renews by a 304, which updates what is stored', async (t) => {
  const pass = clock(t)
  const gateway = await front(t, { staleWhileRevalidate: '1m' }, (request, response, count) => {
    const fields = { 'cache-control': 'max-age=10', etag: '"v1"', 'x-count': String(count) }
    if (request.headers['if-none-match'] === '"v1"') response.writeHead(304, fields).end()
    else response.writeHead(200, fields).end('body')
  })
  await gateway.get('/a')
  pass(20)
  t.match(await gateway.get('/a'), { body: 'body', headers: { 'x-count': '1' } })
  await seenBy(gateway, 2)
  while ((await gateway.get('/a')).headers['x-count'] !== '2') await wait(5)
  pass(100)
  const renewed = await gateway.get('/a', { headers: { 'if-none-match': '"other"' } })
  t.match(renewed, { status: 200, body: 'body', cacheStatus: 'sallyport; fwd=stale; fwd-status=304; stored' })
  t.equal(gateway.seen.at(-1)?.headers['if-none-match'], '"v1"', 'not the condition of the client')
  pass(100)
  t.match(await gateway.get('/a', { headers: { 'if-none-match': '"v1"' } }), { status: 304, body: '' })
})

const FAILURES: Record<string, Answer> = {
  500: (_request, response) => void response.writeHead(500).end('down'),
  503: (_request, response) => void response.writeHead(503).end('down'),
  'a closed connection': (request) => void request.socket.destroy(),
  'a timeout': () => {},
  'a head that is not HTTP': (request) => void request.socket.end('nonsense\r\n\r\n')
}

for (const [name, fail] of Object.entries(FAILURES))
  t.test(`sends a stale response in place of ${name}`, async (t) => {
    const pass = clock(t)
    let isDown = false
    const answer: Answer = (request, response, count) => {
      if (isDown) fail(request, response, count)
      else response.end(`answer ${count}`)
    }
    const gateway = await front(t, { ttl: '10s', staleIfError: '1m' }, answer, {
      proxy: {
        timeouts: { headers: name === 'a timeout' ? '1s' : '30s' },
        retry: { attempts: 2, on: ['connect', 'reset', '503'] }
      }
    })
    await gateway.get('/a')
    isDown = true
    pass(20)
    const all = await Promise.all([gateway.get('/a'), gateway.get('/a')])
    for (const got of all) t.match(got, { status: 200, body: 'answer 1' })
    t.match(all.map(({ cacheStatus }) => cacheStatus).join(), /detail=stale-if-error/)
    if (name === '503') t.ok(gateway.seen.length >= 3, 'retries come first')
    pass(100)
    t.match(await gateway.get('/a'), { status: /^5/ }, 'not for ever')
    isDown = false
    t.match(await gateway.get('/a'), { status: 200 })
  })

t.test('sends a stale response where the connection is refused, and then the fallback', async (t) => {
  const pass = clock(t)
  const gateway = await front(t, { ttl: '10s', staleIfError: '1m' }, numbered({}), {
    proxy: { fallback: { status: 200, body: 'fallback' } }
  })
  await gateway.get('/a')
  gateway.stop()
  pass(20)
  t.match(await gateway.get('/a'), { body: 'answer 1', cacheStatus: /detail=stale-if-error/ })
  t.match(await gateway.get('/b'), { body: 'fallback' })
  pass(100)
  t.match(await gateway.get('/a'), { body: 'fallback' })
})

t.test(
  'sends a stale response before a fallback for a status, and stores nothing that it replaces',
  async (t) => {
    const pass = clock(t)
    let status = 200
    const answer: Answer = (_request, response, count) =>
      void response.writeHead(status).end(`answer ${count}`)
    const gateway = await front(t, { ttl: '10s', staleIfError: '1m', notFound: '1h' }, answer, {
      proxy: { fallback: { on: ['404', '503'], body: 'fallback' } }
    })
    await gateway.get('/a')
    status = 503
    pass(20)
    t.match(await gateway.get('/a'), { status: 200, body: 'answer 1', cacheStatus: /detail=stale-if-error/ })
    t.match(await gateway.get('/b'), { status: 503, body: 'fallback' })
    status = 404
    for (let i = 0; i < 2; i++) t.match(await gateway.get('/c'), { status: 404, body: 'fallback' })
    t.equal(gateway.seen.length, 5, 'each is asked for')
  }
)

for (const [status, isKept] of [
  [404, false],
  [410, false],
  [500, true],
  [503, true]
] as const)
  t.test(
    `${isKept ? 'keeps' : 'removes'} a stale response when a ${status} is replaced in the background`,
    async (t) => {
      const pass = clock(t)
      const answer: Answer = (_request, response, count) =>
        void response.writeHead(count === 1 ? 200 : status).end(`answer ${count}`)
      const gateway = await front(t, { ttl: '10s', staleWhileRevalidate: '1m' }, answer, {
        proxy: { fallback: { on: ['4xx', '5xx'], body: 'fallback' } }
      })
      await gateway.get('/a')
      pass(20)
      t.match(await gateway.get('/a'), { status: 200, body: 'answer 1' })
      if (!isKept) {
        while ((await gateway.get('/a')).body === 'answer 1') await wait(5)
        t.match(await gateway.get('/a'), { status, body: 'fallback' })
        return
      }
      // A second renewal begins after the first one has failed.
      while (gateway.seen.length < 3) {
        t.match(await gateway.get('/a'), { status: 200, body: 'answer 1' })
        await wait(5)
      }
    }
  )

t.test('a replaced response tells which errors a stale one takes the place of', async (t) => {
  const cases: [status: number, first: string, later: string][] = [
    [503, 'answer 1', 'answer 1'],
    [501, 'fallback', 'answer 1'],
    [505, 'fallback', 'answer 1'],
    [404, 'fallback', 'fallback']
  ]
  for (const [status, first, later] of cases) {
    const pass = clock(t)
    const answer: Answer = (_request, response, count) =>
      void response.writeHead(count === 1 ? 200 : count === 2 ? status : 502).end(`answer ${count}`)
    const gateway = await front(t, { ttl: '10s', staleIfError: '1m' }, answer, {
      proxy: { fallback: { on: ['4xx', '5xx'], body: 'fallback' } }
    })
    await gateway.get('/a')
    pass(20)
    t.match(await gateway.get('/a'), { body: first }, `${status}`)
    t.match(await gateway.get('/a'), { body: later }, `502 after ${status}`)
  }
})

t.test('never beyond must-revalidate or no-cache', async (t) => {
  for (const field of [
    'max-age=10, must-revalidate',
    'max-age=10, proxy-revalidate',
    'no-cache',
    's-maxage=10'
  ]) {
    const pass = clock(t)
    const gateway = await front(
      t,
      { staleIfError: '1h', staleWhileRevalidate: '1h' },
      (_request, response, count) => {
        if (count > 1) response.writeHead(503).end()
        else response.writeHead(200, { 'cache-control': field, etag: '"x"' }).end('x')
      }
    )
    await gateway.get('/a')
    pass(20)
    t.equal((await gateway.get('/a')).status, field === 's-maxage=10' ? 200 : 503, field)
    if (field === 's-maxage=10') t.equal((await gateway.get('/a')).status, 200, 'while it is renewed')
  }
})

t.test('asks again after a renewal that fails', async (t) => {
  const pass = clock(t)
  const gateway = await front(t, { ttl: '10s', staleWhileRevalidate: '1h' }, (request, response, count) => {
    if (count === 2) request.socket.destroy()
    else response.end(`answer ${count}`)
  })
  await gateway.get('/a')
  pass(20)
  t.match(await gateway.get('/a'), { body: 'answer 1' })
  await seenBy(gateway, 2)
  while ((await gateway.get('/a')).body === 'answer 1') await wait(5)
  t.ok(gateway.seen.length >= 3)
})
