import { once } from 'node:events'
import { type IncomingMessage, type ServerResponse, request as send } from 'node:http'
import { connect } from 'node:http2'
import { text } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { clock, noOpenssl } from '../../helpers.ts'
import { ALL_VERSIONS, type Answer, type Front, front, type Got } from './front.ts'

const FRESH = { 'cache-control': 'max-age=60' }

/** An upstream that answers when the test says so. */
function held(): { answer: Answer; next(): Promise<ServerResponse>; aborted: Promise<void> } {
  const waiting: ((response: ServerResponse) => void)[] = []
  const came: ServerResponse[] = []
  const aborted = Promise.withResolvers<void>()
  return {
    answer(_request, response) {
      response.on('close', () => {
        if (!response.writableFinished) aborted.resolve()
      })
      const take = waiting.shift()
      if (take === undefined) came.push(response)
      else take(response)
    },
    next: () => {
      const first = came.shift()
      return first === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(first)
    },
    aborted: aborted.promise
  }
}

/** Waits until so many requests wait for the response to another one. */
async function followers({ app }: Front, count: number): Promise<void> {
  const values = (): number =>
    app.responseCache
      ?.families()
      .find(({ name }) => name === 'sallyport_cache_requests_total')
      ?.values.find(({ labels }) => labels['result'] === 'collapsed')?.value ?? 0
  while (values() < count) await wait(5)
}

/** Begins a request whose response the test reads by hand. */
async function begin(url: string): Promise<IncomingMessage> {
  const request = send(url, { agent: false }).end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return response
}

for (const versions of ALL_VERSIONS)
  t.test(
    `asks once for 200 requests: HTTP/${versions.client} to HTTP/${versions.upstream}`,
    { skip: versions.client === 2 && noOpenssl },
    async (t) => {
      const { answer, next } = held()
      const gateway = await front(t, {}, answer, { versions })
      const all = Array.from({ length: 200 }, () => gateway.get('/a'))
      await followers(gateway, 199)
      const response = await next()
      response.writeHead(200, FRESH)
      response.write('one ')
      await wait(10)
      response.end('for all')
      const got = await Promise.all(all)
      t.ok(got.every(({ status, body }) => status === 200 && body === 'one for all'))
      t.equal(got.filter(({ cacheStatus }) => cacheStatus.endsWith('collapsed')).length, 199)
      t.equal(gateway.seen.length, 1)
    }
  )

t.test('asks once for 1,000 requests', async (t) => {
  const { answer, next } = held()
  const gateway = await front(t, {}, answer)
  const all = Array.from({ length: 1000 }, () => gateway.get('/a'))
  await followers(gateway, 999)
  ;(await next()).writeHead(200, FRESH).end('x')
  t.ok((await Promise.all(all)).every(({ status, body }) => status === 200 && body === 'x'))
  t.equal(gateway.seen.length, 1)
})

t.test('shares no byte of a response that turns out private', async (t) => {
  const release = Promise.withResolvers<void>()
  const gateway = await front(t, {}, (request, response, count) => {
    const own = async (): Promise<void> => {
      if (count === 1) await release.promise
      response.writeHead(200, { 'cache-control': 'private, max-age=60' })
      response.end(`for ${String(request.headers['x-me'])}`)
    }
    void own()
  })
  // More than 511 connections at once may wait for a second to be accepted.
  const all = Array.from({ length: 400 }, (_, i) => gateway.get('/a', { headers: { 'x-me': String(i) } }))
  await followers(gateway, 399)
  release.resolve()
  const got = await Promise.all(all)
  t.strictSame(
    got.map(({ body }) => body),
    got.map((_, i) => `for ${i}`)
  )
  t.equal(gateway.seen.length, 400)
  t.ok(got.every(({ cacheStatus }) => cacheStatus.includes('detail=private')))
})

t.test('gives followers of another variant a response of their own', async (t) => {
  const release = Promise.withResolvers<void>()
  const gateway = await front(t, {}, (request, response, count) => {
    const own = async (): Promise<void> => {
      if (count === 1) await release.promise
      response.writeHead(200, { ...FRESH, vary: 'accept-language' })
      response.end(String(request.headers['accept-language']))
    }
    void own()
  })
  const all = ['de', 'fr', 'de', 'fr'].map((language) =>
    gateway.get('/a', { headers: { 'accept-language': language } })
  )
  await followers(gateway, 3)
  release.resolve()
  t.strictSame(
    (await Promise.all(all)).map(({ body }) => body),
    ['de', 'fr', 'de', 'fr']
  )
})

t.test('goes on for the others when the first client leaves', async (t) => {
  for (const when of ['before the head', 'within the body'] as const)
    await t.test(when, async (t) => {
      const { answer, next } = held()
      const gateway = await front(t, {}, answer)
      const first = send(`${gateway.url}/a`, { agent: false }).end()
      first.on('error', () => {})
      first.on('response', (response) => response.on('error', () => {}).resume())
      const response = await next()
      const second = gateway.get('/a')
      await followers(gateway, 1)
      if (when === 'within the body') {
        response.writeHead(200, FRESH).write('half ')
        await once(first, 'response')
      }
      first.destroy()
      await wait(50)
      if (when === 'before the head') response.writeHead(200, FRESH)
      response.end('done')
      t.match(await second, { status: 200, body: /done$/ })
      t.match(await gateway.get('/a'), { body: /done$/, cacheStatus: /hit/ })
      t.equal(gateway.seen.length, 1)
    })
})

t.test('ends the request when all clients have left', async (t) => {
  const { answer, next, aborted } = held()
  const gateway = await front(t, {}, answer)
  const clients = [1, 2, 3].map(() =>
    send(`${gateway.url}/a`, { agent: false })
      .end()
      .on('error', () => {})
  )
  await next()
  await followers(gateway, 2)
  for (const client of clients) client.destroy()
  await aborted
  const again = gateway.get('/a')
  ;(await next()).writeHead(200, FRESH).end('x')
  t.match(await again, { body: 'x' }, 'nothing is in flight any more')
})

t.test('stores nothing of a body that is cut, and cuts it for all', async (t) => {
  const { answer, next } = held()
  const gateway = await front(t, {}, answer)
  const all = [gateway.get('/a'), gateway.get('/a')].map((got) =>
    got.then(
      () => 'whole',
      () => 'cut'
    )
  )
  await followers(gateway, 1)
  const response = await next()
  response.writeHead(200, { ...FRESH, 'content-length': '100' }).write('half')
  await wait(20)
  response.destroy()
  t.strictSame(await Promise.all(all), ['cut', 'cut'])
  const again = gateway.get('/a')
  ;(await next()).writeHead(200, FRESH).end('x')
  t.match(await again, { body: 'x', cacheStatus: /uri-miss/ })
})

t.test('asks again for those that wait when the upstream fails', async (t) => {
  const { answer, next } = held()
  const gateway = await front(t, {}, answer)
  const all = [gateway.get('/a'), gateway.get('/a')]
  await followers(gateway, 1)
  ;(await next()).destroy()
  ;(await next()).writeHead(200, FRESH).end('x')
  const statuses = (await Promise.all(all)).map(({ status }) => status)
  t.strictSame(
    statuses.toSorted((a, b) => a - b),
    [200, 502]
  )
})

t.test('a first client that reads nothing holds nobody back', async (t) => {
  const body = 'x'.repeat(16_000_000)
  const { answer, next } = held()
  const gateway = await front(t, { maxEntry: '20mb' }, answer)
  const slow = send(`${gateway.url}/a`, { agent: false }).end()
  slow.on('response', () => {})
  const response = await next()
  const second = gateway.get('/a')
  await followers(gateway, 1)
  response.writeHead(200, FRESH).end(body)
  t.equal((await second).body.length, body.length)
  t.match(await gateway.get('/a'), { cacheStatus: /hit/ })
  slow.destroy()
  while (gateway.app.buffers.held > 0) await wait(5)
})

t.test('counts what slow followers have not read', async (t) => {
  const body = 'x'.repeat(16_000_000)
  const { answer, next } = held()
  const gateway = await front(t, { maxEntry: '20mb' }, answer)
  const first = gateway.get('/a')
  const response = await next()
  const slow = send(`${gateway.url}/a`, { agent: false }).end()
  slow.on('response', () => {})
  await followers(gateway, 1)
  response.writeHead(200, FRESH).end(body)
  t.equal((await first).body.length, body.length)
  // The rest is in the buffers of the connections.
  t.ok(gateway.app.buffers.held > 4_000_000, String(gateway.app.buffers.held))
  slow.destroy()
  while (gateway.app.buffers.held > 0) await wait(5)
})

t.test('a body that is too large streams through for all', async (t) => {
  const { answer, next } = held()
  const gateway = await front(t, { maxEntry: '100kb' }, answer)
  const all = [gateway.get('/a'), gateway.get('/a'), gateway.get('/a')]
  await followers(gateway, 2)
  const response = await next()
  response.writeHead(200, FRESH)
  for (let i = 0; i < 20; i++) response.write('x'.repeat(50_000))
  response.end()
  t.ok((await Promise.all(all)).every(({ body }) => body.length === 1_000_000))
  while (gateway.app.buffers.held > 0) await wait(5)
  const again = gateway.get('/a')
  ;(await next()).writeHead(200, FRESH).end('x')
  t.match(await again, { cacheStatus: /miss/ })
})

t.test('waits at most as long as the time limit of its route', async (t) => {
  const pass = clock(t)
  const { answer, next } = held()
  const gateway = await front(t, {}, answer, { route: { limits: { time: '30s' } } })
  const first = gateway.get('/a')
  const response = await next()
  const second = gateway.get('/a')
  await followers(gateway, 1)
  pass(31)
  const got = await Promise.all([first, second])
  t.strictSame(
    got.map(({ status }: Got) => status),
    [504, 504]
  )
  response.destroy()
})

t.test('one HTTP/2 connection of many requests', { skip: noOpenssl }, async (t: Test) => {
  const { answer, next } = held()
  const gateway = await front(t, {}, answer, { versions: { client: 2, upstream: 1 } })
  const session = connect(`https://localhost:${gateway.port}`, { rejectUnauthorized: false })
  t.teardown(() => session.destroy())
  const all = Array.from({ length: 90 }, () => text(session.request({ ':path': '/a' })))
  await followers(gateway, 89)
  ;(await next()).writeHead(200, FRESH).end('shared')
  t.ok((await Promise.all(all)).every((body) => body === 'shared'))
  t.equal(gateway.seen.length, 1)
})

t.test('a follower gets headers before the body has ended', async (t) => {
  const { answer, next } = held()
  const gateway = await front(t, {}, answer)
  const first = begin(`${gateway.url}/a`)
  const response = await next()
  const second = begin(`${gateway.url}/a`)
  await followers(gateway, 1)
  response.writeHead(200, FRESH).write('half ')
  const bodies = [await first, await second].map((each) => text(each))
  response.end('done')
  t.strictSame(await Promise.all(bodies), ['half done', 'half done'])
})
