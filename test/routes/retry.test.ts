import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse
} from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createServer } from 'node:net'
import t from 'tap'
import { ask, bodyOf, gateway, listening, readableLog, type Scope, upstream } from '../helpers.ts'

type Answer = (request: IncomingMessage, response: ServerResponse, nth: number) => void

/** Starts an upstream that tells how often it was asked. */
async function counting(t: Scope, answer: Answer): Promise<{ url: string; hits: () => number }> {
  let hits = 0
  const listener: RequestListener = (request, response) => answer(request, response, ++hits)
  return { url: await upstream(t, listener), hits: () => hits }
}

const failing =
  (times: number, status: number, headers: Record<string, string> = {}): Answer =>
  (request, response, nth) => {
    request.resume()
    if (nth <= times) response.writeHead(status, headers).end('failed')
    else response.end('ok')
  }

const cutting =
  (times: number): Answer =>
  (request, response, nth) => {
    if (nth <= times) request.socket.destroy()
    else response.end('ok')
  }

/** Tells a port of this machine that nobody listens on. */
async function nobody(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return `http://127.0.0.1:${port}`
}

t.test('retries what "on" lists and nothing else', async (t) => {
  const cases: {
    name: string
    answer: Answer
    retry?: object
    method?: 'GET' | 'HEAD' | 'PUT' | 'DELETE' | 'POST' | 'PATCH'
    timeouts?: object
    status: number
    hits: number
  }[] = [
    { name: 'nothing without the word', answer: failing(1, 503), status: 503, hits: 1 },
    { name: 'a 503', answer: failing(1, 503), retry: {}, status: 200, hits: 2 },
    { name: 'a 502', answer: failing(1, 502), retry: {}, status: 200, hits: 2 },
    { name: 'not a 500 by default', answer: failing(1, 500), retry: {}, status: 500, hits: 1 },
    {
      name: 'a 500 where it is named',
      answer: failing(1, 500),
      retry: { on: ['500'] },
      status: 200,
      hits: 2
    },
    {
      name: 'a 429 where it is named',
      answer: failing(1, 429),
      retry: { on: ['429'] },
      status: 200,
      hits: 2
    },
    ...([['5xx'], ['500-504'], [500], ['504-500', 'reset']] as const).map((on) => ({
      name: `a 500 within ${on[0]}`,
      answer: failing(1, 500),
      retry: { on },
      status: 200,
      hits: 2
    })),
    {
      name: 'not a 500 outside of a range',
      answer: failing(1, 500),
      retry: { on: ['501-599', '4xx'] },
      status: 500,
      hits: 1
    },
    { name: 'a lost connection', answer: cutting(1), retry: {}, status: 200, hits: 2 },
    {
      name: 'not a lost one where it is not named',
      answer: cutting(1),
      retry: { on: ['503'] },
      status: 502,
      hits: 1
    },
    {
      name: 'all attempts, the first included',
      answer: failing(9, 503),
      retry: { attempts: 3 },
      status: 503,
      hits: 3
    },
    {
      name: 'one attempt is none again',
      answer: failing(1, 503),
      retry: { attempts: 1 },
      status: 503,
      hits: 1
    },
    { name: 'HEAD', answer: failing(1, 503), retry: {}, method: 'HEAD', status: 200, hits: 2 },
    { name: 'PUT', answer: failing(1, 503), retry: {}, method: 'PUT', status: 200, hits: 2 },
    { name: 'DELETE', answer: failing(1, 503), retry: {}, method: 'DELETE', status: 200, hits: 2 },
    { name: 'never POST', answer: failing(1, 503), retry: {}, method: 'POST', status: 503, hits: 1 },
    { name: 'never PATCH', answer: cutting(1), retry: {}, method: 'PATCH', status: 502, hits: 1 },
    {
      name: 'POST where it is named',
      answer: failing(1, 503),
      retry: { methods: ['GET', 'POST'] },
      method: 'POST',
      status: 200,
      hits: 2
    },
    {
      name: 'not PUT where it is not named',
      answer: failing(1, 503),
      retry: { methods: ['GET', 'POST'] },
      method: 'PUT',
      status: 503,
      hits: 1
    },
    {
      name: 'no request that the upstream may have, while it waits for a target',
      answer: cutting(1),
      retry: { wait: '5s' },
      method: 'POST',
      status: 502,
      hits: 1
    },
    {
      name: 'no answer in time, where it is named',
      answer: (_request, response, nth) => void (nth > 1 && response.end('ok')),
      retry: { on: ['timeout'] },
      timeouts: { headers: '1s' },
      status: 200,
      hits: 2
    }
  ]
  for (const { name, answer, retry, method = 'GET', timeouts, status, hits } of cases)
    await t.test(name, async (t) => {
      const up = await counting(t, answer)
      const app = await gateway(t, {
        routes: [
          {
            path: '/*',
            proxy: {
              upstream: up.url,
              ...(retry === undefined ? {} : { retry: { backoff: '1ms', ...retry } }),
              ...(timeouts === undefined ? {} : { timeouts })
            }
          }
        ]
      })
      const reply = await app.inject({ method, url: '/x' })
      t.equal(reply.statusCode, status)
      t.equal(up.hits(), hits)
    })
})

t.test('retries on another target and logs the one that failed', async (t) => {
  const good = await upstream(t, (_request, response) => response.end('ok'))
  const sick = await counting(t, failing(99, 503))
  for (const first of [await nobody(), sick.url])
    await t.test(first === sick.url ? 'a 503' : 'no connection', async (t) => {
      const { log, lines } = readableLog()
      const app = await gateway(
        t,
        {
          upstreams: { up: { targets: [first, good] } },
          routes: [{ path: '/*', proxy: { upstream: 'up', retry: { backoff: '1ms' } } }]
        },
        { log }
      )
      for (let i = 0; i < 10; i++) t.equal((await app.inject('/x')).body, 'ok')
      const failures = lines.filter(({ msg }) => msg === 'upstream request failed')
      // A status is an answer: it stands in nobody's way, and in no line.
      t.equal(failures.length, first === sick.url ? 0 : 5)
      for (const each of failures)
        t.match(each, { target: new URL(first).host, cause: 'ECONNREFUSED', requestId: /./, level: 'warn' })
      t.equal(lines.filter(({ status }) => status === 200).length, 10, 'and one line an answer')
    })
  t.equal(sick.hits(), 5)
})

t.test('waits for a target to come up, whatever the method', async (t) => {
  for (const [name, more] of Object.entries({
    'refused connections': {},
    'no healthy target': { health: { path: '/', every: '20ms', healthyAfter: 1, unhealthyAfter: 1 } }
  }))
    await t.test(name, async (t) => {
      const url = await nobody()
      const { log, lines, line } = readableLog()
      const { app, url: front } = await listening(
        t,
        {
          upstreams: { up: { url, ...more } },
          routes: [{ path: '/*', proxy: { upstream: 'up', retry: { wait: '20s' } } }]
        },
        { log }
      )
      if ('health' in more) await line(({ msg }) => msg === 'target unhealthy')
      const asked = fetch(`${front}/x`, { method: 'POST', body: 'whole' })
      if (!('health' in more)) await line(({ msg }) => msg === 'upstream request failed')
      const server = createHttpServer((request, response) => void request.pipe(response))
      server.listen(Number(new URL(url).port), '127.0.0.1')
      t.teardown(() => {
        server.closeAllConnections()
        server.close()
      })
      const answer = await asked
      t.equal(answer.status, 200)
      t.equal(await answer.text(), 'whole')
      t.ok(lines.filter(({ msg }) => msg === 'upstream request failed').length <= 1, 'logged once')
      t.match(app.upstream('up').traffic, { active: 0, retries: 0 })
    })
})

t.test('waits for a target no longer than wait, the deadline and the client', async (t) => {
  const { app, url } = await listening(t, {
    upstreams: { up: { url: await nobody() } },
    routes: [
      { path: '/short/*', proxy: { upstream: 'up', retry: { wait: '300ms' } } },
      { path: '/deadline/*', limits: { time: '300ms' }, proxy: { upstream: 'up', retry: { wait: '1h' } } },
      { path: '/long/*', proxy: { upstream: 'up', retry: { wait: '1h' } } }
    ]
  })
  t.equal((await fetch(`${url}/short/x`)).status, 502)
  // 504 where the deadline passes between two looks, on a busy machine.
  t.match((await fetch(`${url}/deadline/x`)).status, /^50[24]$/)
  const gone = new AbortController()
  const asked = fetch(`${url}/long/x`, { signal: gone.signal })
  while (app.upstream('up').traffic.active === 0) await new Promise(setImmediate)
  gone.abort()
  await t.rejects(asked, { name: 'AbortError' })
  while (app.upstream('up').traffic.active > 0) await new Promise(setImmediate)
  t.equal(app.upstream('up').traffic.active, 0)
})

t.test('does not retry after a byte of the response was sent', async (t) => {
  const up = await counting(t, (_request, response) => {
    response.writeHead(200, { 'content-length': 100 })
    response.write('the first bytes', () => response.destroy())
  })
  const { log, line } = readableLog()
  const { url, app } = await listening(
    t,
    {
      upstreams: { up: { url: up.url } },
      routes: [{ path: '/*', proxy: { upstream: 'up', retry: { attempts: 5, backoff: '1ms' } } }]
    },
    { log }
  )
  await t.rejects(ask(`${url}/x`), 'the client sees the cut')
  t.match(await line(({ path }) => path === '/x'), { aborted: true })
  t.equal(up.hits(), 1)
  t.match(app.upstream('up').traffic, { active: 0, activeRetries: 0 })
})

t.test('drains a short response before a retry and cuts a long one', async (t) => {
  for (const { length, opened } of [
    { length: 1000, opened: 1 },
    { length: 10_000_000, opened: 2 }
  ])
    await t.test(`${length} bytes`, async (t) => {
      const sockets = new Set<Socket>()
      const cut = Promise.withResolvers<void>()
      const up = await counting(t, (request, response, nth) => {
        sockets.add(request.socket)
        if (nth > 1) return void response.end('ok')
        request.socket.on('close', cut.resolve)
        response.writeHead(503, { 'content-length': length, 'retry-after': '1' }).end(Buffer.alloc(length))
      })
      const app = await gateway(t, {
        routes: [{ path: '/*', proxy: { upstream: up.url, retry: { backoff: '1ms' } } }]
      })
      t.equal((await app.inject('/x')).body, 'ok')
      t.equal(sockets.size, opened)
      if (opened > 1) await cut.promise
    })
})

t.test('ends a slow response that was discarded for a retry', async (t) => {
  const cut = Promise.withResolvers<void>()
  const up = await counting(t, (_request, response, nth) => {
    if (nth > 1) return void response.end('ok')
    response.writeHead(503)
    const drip = setInterval(() => response.write('.'), 5)
    response.on('close', () => {
      clearInterval(drip)
      cut.resolve()
    })
  })
  const app = await gateway(t, {
    upstreams: { up: { url: up.url, timeouts: { body: '100ms' } } },
    routes: [{ path: '/*', proxy: { upstream: 'up', retry: { backoff: '1ms' } } }]
  })
  t.equal((await app.inject('/x')).body, 'ok')
  await cut.promise
})

t.test('keeps a body for a retry up to maxBody, even if a mirror keeps more', async (t) => {
  const shadow = await upstream(t)
  const up = await counting(t, (request, response) => {
    void bodyOf(request).then(() => response.writeHead(503).end())
  })
  const { url } = await listening(t, {
    routes: [
      {
        path: '/*',
        proxy: { upstream: up.url, retry: { maxBody: '100b' }, mirror: { upstream: shadow, maxBody: '1mb' } }
      }
    ]
  })
  t.equal((await ask(`${url}/x`, { method: 'PUT', body: 'x'.repeat(101) })).status, 503)
  t.equal(up.hits(), 1)
  t.equal((await ask(`${url}/x`, { method: 'PUT', body: 'x'.repeat(100) })).status, 503)
  t.equal(up.hits(), 3)
})

t.test('replays a body unchanged up to maxBody', async (t) => {
  const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
  const small = randomBytes(40_000)
  const big = randomBytes(100_000)
  for (const { body, chunked, status, hits } of [
    { body: small, chunked: false, status: 200, hits: 2 },
    { body: small, chunked: true, status: 200, hits: 2 },
    { body: big, chunked: false, status: 503, hits: 1 },
    { body: big, chunked: true, status: 503, hits: 1 }
  ]) {
    const up = await counting(t, (request, response, nth) => {
      void bodyOf(request).then((bytes) => response.writeHead(nth === 1 ? 503 : 200).end(digest(bytes)))
    })
    const { url } = await listening(t, {
      routes: [{ path: '/*', proxy: { upstream: up.url, retry: { backoff: '1ms', maxBody: '64kb' } } }]
    })
    const stream = new ReadableStream({
      start(controller) {
        for (let i = 0; i < body.length; i += 10_000) controller.enqueue(body.subarray(i, i + 10_000))
        controller.close()
      }
    })
    const init = chunked ? { body: stream, duplex: 'half' } : { body }
    const answer = await fetch(`${url}/x`, { method: 'PUT', ...init } as RequestInit)
    t.equal(answer.status, status, `${body.length} ${chunked}`)
    t.equal(await answer.text(), digest(body))
    t.equal(up.hits(), hits)
  }
})

t.test('honors Retry-After within the deadline and passes the response otherwise', async (t) => {
  const dated = new Date(Date.now() + 3_600_000).toUTCString()
  for (const { said, time, status, hits } of [
    { said: '0', time: '30s', status: 200, hits: 2 },
    { said: '1', time: '30s', status: 200, hits: 2 },
    { said: '30', time: '29900ms', status: 503, hits: 1 },
    { said: '3600', time: '30s', status: 503, hits: 1 },
    { said: dated, time: '30s', status: 503, hits: 1 },
    { said: new Date(Date.now() - 60_000).toUTCString(), time: '30s', status: 200, hits: 2 },
    { said: 'soon', time: '30s', status: 200, hits: 2 },
    // No timer of Node.js waits for so long: it would be tried again at once.
    { said: '99999999', time: false, status: 503, hits: 1 }
  ]) {
    let began = 0
    let waited = 0
    const up = await counting(t, (_request, response, nth) => {
      if (nth === 1) began = Date.now()
      else waited = Date.now() - began
      response.writeHead(nth === 1 ? 503 : 200, nth === 1 ? { 'retry-after': said } : {}).end()
    })
    const app = await gateway(t, {
      limits: { time },
      routes: [{ path: '/*', proxy: { upstream: up.url, retry: { backoff: '1ms' } } }]
    })
    const answer = await app.inject('/x')
    t.equal(answer.statusCode, status, said)
    t.equal(up.hits(), hits)
    if (status === 503) t.equal(answer.headers['retry-after'], said, 'it comes to the client as it was')
    if (hits === 2 && said === '1') t.ok(waited >= 990, 'it was waited for')
  }
})

t.test('ends all attempts at the deadline of the request', async (t) => {
  const up = await counting(t, () => {})
  const app = await gateway(t, {
    limits: { time: '250ms' },
    routes: [
      {
        path: '/*',
        proxy: {
          upstream: up.url,
          retry: { attempts: 10, on: ['timeout'], backoff: '1ms' },
          timeouts: { headers: '100ms' }
        }
      }
    ]
  })
  const answer = await app.inject('/x')
  t.equal(answer.statusCode, 504)
  t.equal(answer.json<{ code: string }>().code, 'SP_ERR_LIMITS_TIME')
})

t.test('limits retries to the budget', async (t) => {
  let underWay = 0
  let most = 0
  const seen = new Set<string>()
  const up = await upstream(t, (request, response) => {
    const id = String(request.headers['x-id'])
    const again = seen.has(id)
    seen.add(id)
    if (again) most = Math.max(most, ++underWay)
    setImmediate(() => {
      if (again) underWay--
      response.writeHead(503).end()
    })
  })
  const app = await gateway(t, {
    upstreams: { up: { url: up } },
    routes: [{ path: '/*', proxy: { upstream: 'up', retry: { backoff: '5ms', budget: '10%' } } }]
  })
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, i) => app.inject({ url: '/x', headers: { 'x-id': String(i) } }))
  )
  t.ok(answers.every(({ statusCode }) => statusCode === 503))
  t.ok(most >= 1 && most <= 10, `a tenth of 100 at a time at most: ${most}`)
  t.match(app.upstream('up').traffic, { active: 0, activeRetries: 0 }, 'the count comes back to nothing')
})

t.test('hedges to a second target and aborts the slower attempt', async (t) => {
  const left = Promise.withResolvers<void>()
  const slow = await upstream(t, (_request, response) => response.on('close', left.resolve))
  const quick = await counting(t, (_request, response) => response.end('quick'))
  const app = await gateway(t, {
    upstreams: {
      up: { targets: [slow, quick.url] },
      one: { url: slow },
      post: { targets: [slow, quick.url] }
    },
    routes: [
      { path: '/both/*', proxy: { upstream: 'up', hedge: { after: '20ms' } } },
      { path: '/one', limits: { time: '400ms' }, proxy: { upstream: 'one', hedge: { after: '20ms' } } },
      { path: '/post', limits: { time: '400ms' }, proxy: { upstream: 'post', hedge: { after: '20ms' } } }
    ]
  })
  const turn = app.upstream('up').targets
  const first = await app.inject('/both/a')
  const second = await app.inject('/both/b')
  t.same([first.body, second.body], ['quick', 'quick'])
  await left.promise
  t.equal(quick.hits(), 2)
  t.equal((await app.inject('/one')).statusCode, 504, 'one target is not asked twice')
  t.equal(
    turn.reduce((sum, { load }) => sum + load.requests, 0),
    0
  )
  const post = await app.inject({ method: 'POST', url: '/post' })
  t.equal(post.statusCode, 504, 'what may not be done twice is asked once')
  t.equal(quick.hits(), 2)
})

t.test('hedges only requests whose complete body was kept', async (t) => {
  const body = 'x'.repeat(1000)
  const slow = await upstream(t, (request, response) => {
    void bodyOf(request).then((bytes) => {
      if (request.url !== '/hedged') setTimeout(() => response.end(`slow ${bytes.length}`), 150)
    })
  })
  const quick = await upstream(t, (request, response) => {
    void bodyOf(request).then((bytes) => response.end(`quick ${bytes.length}`))
  })
  for (const { retry, after, path, answer } of [
    { retry: undefined, after: '20ms', path: '/alone', answer: 'slow 1000' },
    { retry: { maxBody: '10b' }, after: '20ms', path: '/alone', answer: 'slow 1000' },
    // The body has to be there by then, on a busy machine too.
    { retry: { maxBody: '64kb' }, after: '1s', path: '/hedged', answer: 'quick 1000' }
  ]) {
    const { url } = await listening(t, {
      upstreams: { up: { targets: [slow, quick] } },
      routes: [
        {
          path: '/*',
          proxy: { upstream: 'up', hedge: { after }, ...(retry === undefined ? {} : { retry }) }
        }
      ]
    })
    const got = await fetch(`${url}${path}`, { method: 'PUT', body })
    t.equal(got.status, 200)
    t.equal(await got.text(), answer)
  }
})

t.test('waits for the hedge when the first attempt fails', async (t) => {
  const failedAt = Promise.withResolvers<void>()
  const fails = await upstream(t, (request) => {
    failedAt.promise.then(() => request.socket.destroy())
  })
  const works = await upstream(t, (_request, response) => {
    failedAt.resolve()
    setImmediate(() => setImmediate(() => response.end('ok')))
  })
  const app = await gateway(t, {
    upstreams: { up: { targets: [fails, works] } },
    routes: [{ path: '/*', proxy: { upstream: 'up', hedge: { after: '20ms' } } }]
  })
  t.equal((await app.inject('/x')).body, 'ok')
})
