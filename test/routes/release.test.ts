import { EventEmitter, once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import {
  ask,
  bodyOf,
  gateway,
  listening,
  raw,
  readableLog,
  type Scope,
  statusOf,
  upstream
} from '../helpers.ts'

const naming = (t: Scope, name: string): Promise<string> =>
  upstream(t, (_request, response) => response.end(name))

t.test('splits requests by share and pins authenticated callers', async (t) => {
  const keys = Array.from({ length: 60 }, (_, i) => ({ id: `caller ${i}`, secret: `key-${i}` }))
  const split = [
    { upstream: await naming(t, 'old'), share: '80%' },
    { upstream: await naming(t, 'new'), share: '20%' }
  ]
  const app = await gateway(t, {
    auth: { global: false, apiKeys: { list: keys } },
    routes: [
      { path: '/open', proxy: { split } },
      { path: '/known', auth: true, proxy: { split } }
    ]
  })
  const open = await Promise.all(Array.from({ length: 500 }, () => app.inject('/open')))
  const fresh = open.filter(({ body }) => body === 'new').length
  t.ok(fresh > 40 && fresh < 170, `about 100 of 500: ${fresh}`)
  const where = async (key: string): Promise<string> =>
    (await app.inject({ url: '/known', headers: { 'x-api-key': key } })).body
  const first = await Promise.all(keys.map(({ secret }) => where(secret)))
  for (let i = 0; i < 3; i++) t.same(await Promise.all(keys.map(({ secret }) => where(secret))), first)
  t.ok(first.includes('new') && first.includes('old'))
})

t.test('tries parts with conditions first, in order, before any share', async (t) => {
  const old = await naming(t, 'old')
  const canary = await naming(t, 'canary')
  const beta = await naming(t, 'beta')
  const app = await gateway(t, {
    routes: ['/plain', '/cached'].map((path) => ({
      path,
      cache: path === '/cached' && { ttl: '1m' },
      proxy: {
        split: [
          { upstream: old },
          { upstream: canary, when: [{ 'header:x-canary': 'true' }, { 'cookie:canary': true }] },
          { upstream: beta, when: { 'query:beta': true } }
        ]
      }
    }))
  })
  const cases: [url: string, headers: Record<string, string>, body: string][] = [
    ['', {}, 'old'],
    ['', { 'x-canary': 'true' }, 'canary'],
    ['', { 'x-canary': 'false' }, 'old'],
    ['?beta', { cookie: 'canary=' }, 'canary'],
    ['?beta', {}, 'beta'],
    ['?beta', {}, 'beta']
  ]
  for (const path of ['/plain', '/cached'])
    for (const [query, headers, body] of cases) {
      const response = await app.inject({ url: path + query, headers })
      t.equal(response.body, body, `${path}${query} ${JSON.stringify(headers)}`)
      t.match(response.headers['vary'], /x-canary.*cookie/i)
    }
})

t.test('keeps anonymous clients at the part they had first, by a cookie', async (t) => {
  const old = await naming(t, 'old')
  const fresh = await naming(t, 'new')
  const config = (share: string, cache: boolean): Parameters<typeof gateway>[1] => ({
    routes: [
      {
        path: '/a',
        cache: cache && { ttl: '1m' },
        proxy: {
          split: [{ upstream: old }, { upstream: fresh, share }],
          sticky: { cookie: 'release', maxAge: '1h' }
        }
      }
    ]
  })
  for (const cache of [false, true]) {
    const toNew = await gateway(t, config('100%', cache))
    const first = await toNew.inject('/a')
    t.equal(first.body, 'new')
    const cookie = String(first.headers['set-cookie'])
    t.match(cookie, /^release=[\w-]+; Path=\/; HttpOnly; SameSite=Lax; Max-Age=3600$/)
    const back = { cookie: cookie.split(';')[0] ?? '' }
    const again = await toNew.inject({ url: '/a', headers: back })
    t.equal(again.headers['set-cookie'], undefined)
    const toOld = await gateway(t, config('0%', cache))
    t.equal((await toOld.inject('/a')).body, 'old')
    t.equal((await toOld.inject({ url: '/a', headers: back })).body, 'new')
    t.equal((await toOld.inject({ url: '/a', headers: { cookie: 'release=unknown' } })).body, 'old')
    // A stored response has no cookie of another client.
    t.match((await toNew.inject('/a')).headers['set-cookie'], /^release=/)
  }
})

t.test('rejects shares that do not add up to 100%, and split together with upstream', async (t) => {
  const up = { old: { url: 'http://a' }, fresh: { url: 'http://b' } }
  const cases = [
    {
      proxy: { split: [{ upstream: 'old', share: '90%' }] },
      message: /expected shares that add up to 100%, got 90%/
    },
    { proxy: { split: [{ upstream: 'frsh', share: '100%' }] }, message: /did you mean "fresh"/ },
    {
      proxy: { upstream: 'old', split: [{ upstream: 'old', share: '100%' }] },
      message: /either "upstream" or "split"/
    },
    {
      proxy: { split: [{ upstream: 'old', when: { 'header:a': true } }] },
      message: /expected a part without "when"/
    },
    {
      proxy: { split: [{ upstream: 'old' }, { upstream: 'fresh' }] },
      message: /only one part can take what the others leave/
    },
    {
      proxy: { split: [{ upstream: 'old' }, { upstream: 'fresh', share: '5%', when: { 'header:a': true } }] },
      message: /either "when" or "share", got both/
    },
    { proxy: { upstream: 'old', sticky: {} }, message: /expected "split" beside it/ },
    { proxy: { rewrite: '/' }, message: /either "upstream" or "split"/ },
    { proxy: { upstream: 'old', mirror: { upstream: 'frsh' } }, message: /did you mean "fresh"/ },
    {
      proxy: { upstream: 'old', fallback: { headers: { 'content-length': '1' } } },
      message: /content-length/
    },
    { proxy: { upstream: 'old', retry: { on: ['404x'] } }, message: /retry\.on/ }
  ]
  for (const { proxy, message } of cases)
    await t.rejects(loadConfig({ upstreams: up, routes: [{ path: '/*', proxy }] }, {}), { message })
})

t.test('mirrors complete requests without waiting for the mirror', async (t) => {
  const copies: { method?: string; url?: string; body: string; headers: IncomingHttpHeaders }[] = []
  let arrived = Promise.withResolvers<void>()
  const shadow = await upstream(t, (request) => {
    void bodyOf(request).then((body) => {
      const { method = '', url = '', headers } = request
      copies.push({ method, url, headers, body: body.toString('latin1') })
      arrived.resolve()
    })
  })
  const up = await upstream(t, (request, response) => {
    void bodyOf(request).then(() => response.end('real'))
  })
  const app = await gateway(t, {
    routes: [
      { path: '/all/*', proxy: { upstream: up, rewrite: '/v2', mirror: { upstream: `${shadow}/shadow` } } },
      { path: '/none', proxy: { upstream: up, mirror: { upstream: shadow, share: '0%' } } },
      { path: '/one', proxy: { upstream: up, mirror: { upstream: shadow, max: 1, maxBody: '1kb' } } },
      { path: '/gone', proxy: { upstream: up, mirror: { upstream: 'http://nobody.invalid' } } }
    ]
  })
  const body = '{"a":1,"a":2}'
  const answer = await app.inject({
    method: 'POST',
    url: '/all/x?y=1',
    payload: body,
    headers: { 'content-type': 'application/json', 'x-mine': 'yes' }
  })
  t.equal(answer.body, 'real', 'the mirror never answers, and nobody notices')
  await arrived.promise
  t.match(copies[0], { method: 'POST', url: '/shadow/v2/x?y=1', body, headers: { 'x-mine': 'yes' } })
  t.equal(copies[0]?.headers.host, new URL(shadow).host)
  arrived = Promise.withResolvers()
  t.equal((await app.inject('/none')).body, 'real')
  t.equal(
    (await app.inject({ method: 'POST', url: '/one', payload: 'x'.repeat(2000) })).body,
    'real',
    'too large'
  )
  t.equal((await app.inject('/gone')).body, 'real')
  t.equal((await app.inject('/one')).body, 'real')
  await arrived.promise
  t.equal(copies.at(-1)?.url, '/one')
  t.equal((await app.inject('/one')).body, 'real', 'one is under way for ever: no second copy is sent')
  t.equal((await app.inject('/all/last')).body, 'real')
  arrived = Promise.withResolvers()
  await arrived.promise
  t.same(
    copies.map(({ url }) => url),
    ['/shadow/v2/x?y=1', '/one', '/shadow/v2/last']
  )
})

t.test('sends the fallback if the upstream fails, and logs the cause', async (t) => {
  const silent = await upstream(t, () => {})
  const { log, line } = readableLog()
  const fallback = { status: 200, body: { stale: true }, headers: { 'x-from': 'fallback' } }
  const app = await gateway(
    t,
    {
      routes: [
        { path: '/refused', proxy: { upstream: 'http://127.0.0.1:1', fallback: { body: 'Back soon' } } },
        { path: '/slow', proxy: { upstream: silent, timeouts: { headers: '50ms' }, fallback } },
        { path: '/late', proxy: { upstream: silent, fallback }, limits: { time: '50ms' } },
        {
          path: '/fails',
          proxy: { upstream: await upstream(t, (_q, p) => void p.writeHead(503).end('own')), fallback }
        }
      ]
    },
    { log }
  )
  const refused = await app.inject('/refused')
  t.equal(refused.statusCode, 503)
  t.equal(refused.body, 'Back soon')
  t.match(refused.headers['content-type'], 'text/plain')
  t.match(await line(({ path }) => path === '/refused'), { status: 503, code: 'SP_ERR_UPSTREAM_FAILED' })
  for (const path of ['/slow', '/late']) {
    const answer = await app.inject(path)
    t.equal(answer.statusCode, 200, path)
    t.same(answer.json(), { stale: true })
    t.equal(answer.headers['x-from'], 'fallback')
  }
  t.equal((await app.inject('/fails')).body, 'own', "an upstream's own answer is an answer")
})

t.test('sends the fallback for errors of the upstream that it names, and keeps their status', async (t) => {
  const target = await upstream(t, ({ url = '', method }, response) => {
    const status = Number(/\d+/.exec(url)?.[0] ?? 200)
    response.writeHead(status, { 'set-cookie': 'a=b', 'content-type': 'text/html' })
    response.end(method === 'HEAD' ? undefined : 'own'.repeat(30_000))
  })
  const app = await gateway(t, {
    routes: [
      { path: '/page/*', proxy: { upstream: target, fallback: { on: ['404', '5xx'], body: 'ours' } } },
      {
        path: '/app/*',
        proxy: {
          upstream: target,
          fallback: { on: [403, '404'], status: 200, headers: { 'content-type': 'text/html' }, body: '<p>' }
        }
      },
      {
        path: '/retried/*',
        proxy: {
          upstream: target,
          retry: { attempts: 2, backoff: '1ms' },
          fallback: { on: ['503'], body: 'ours' }
        }
      },
      {
        path: '/staged/*',
        transform: { response: { omit: ['a'] } },
        proxy: { upstream: target, fallback: { on: ['500'] } }
      }
    ]
  })
  const own = 'own'.repeat(30_000)
  const cases: [url: string, status: number, body: string][] = [
    ['/page/404', 404, 'ours'],
    ['/page/503', 503, 'ours'],
    ['/page/403', 403, own],
    ['/page/200', 200, own],
    ['/app/404', 200, '<p>'],
    ['/app/403', 200, '<p>'],
    ['/app/500', 500, own],
    ['/retried/503', 503, 'ours'],
    ['/staged/500', 500, '']
  ]
  for (const [url, status, body] of cases) {
    const response = await app.inject(url)
    t.equal(response.statusCode, status, url)
    t.equal(response.body, body, `${url}: body`)
    t.equal(response.headers['set-cookie'], body === own ? 'a=b' : undefined, `${url}: headers`)
  }
  const head = await app.inject({ method: 'HEAD', url: '/page/404' })
  t.same([head.statusCode, head.body, head.headers['content-length']], [404, '', '4'])
  const post = await app.inject({ method: 'POST', url: '/page/404', payload: 'x'.repeat(100_000) })
  t.same([post.statusCode, post.body], [404, 'ours'], 'a body that is unread is discarded')
})

t.test('sends the headers that belong to the status of a replaced response', async (t) => {
  const target = await upstream(t, ({ url }, response) => {
    response.writeHead(401, {
      'www-authenticate': ['Basic realm="a"', 'Bearer'],
      'retry-after': '7',
      allow: 'GET',
      'x-other': 'b',
      ...(url === '/nominated' ? { connection: 'close, allow' } : {})
    })
    response.end('own')
  })
  const on = ['401']
  const proxy = (fallback: object): object => ({ upstream: target, fallback })
  const app = await gateway(t, {
    routes: [
      { path: ['/kept', '/nominated'], proxy: proxy({ on }) },
      { path: '/set', proxy: proxy({ on, headers: { 'retry-after': '1' } }) },
      { path: '/status', proxy: proxy({ on, status: 403 }) },
      { path: '/removed', headers: { response: { 'retry-after': false } }, proxy: proxy({ on }) }
    ]
  })
  const challenges = ['Basic realm="a"', 'Bearer']
  const cases: [url: string, challenge: string[] | undefined, wait: string | undefined, allow?: string][] = [
    ['/kept', challenges, '7', 'GET'],
    ['/nominated', challenges, '7'],
    ['/set', challenges, '1', 'GET'],
    ['/status', undefined, undefined],
    ['/removed', challenges, undefined, 'GET']
  ]
  for (const [url, challenge, retryAfter, allow] of cases) {
    const { headers } = await app.inject(url)
    t.strictSame(
      [headers['www-authenticate'], headers['retry-after'], headers.allow, headers['x-other']],
      [challenge, retryAfter, allow, undefined],
      url
    )
  }
})

t.test('neither changes nor delays a response when the mirror fails', async (t) => {
  const cases: { name: string; mirror: string }[] = [
    { name: 'refuses', mirror: 'http://127.0.0.1:1' },
    { name: 'answers 500', mirror: await upstream(t, (_request, response) => response.writeHead(500).end()) },
    { name: 'cuts', mirror: await upstream(t, (request) => request.socket.destroy()) },
    { name: 'never answers', mirror: await upstream(t, () => {}) }
  ]
  const up = await upstream(t, (_request, response) => response.end('real'))
  const { log, lines } = readableLog()
  const app = await gateway(
    t,
    {
      routes: cases.map(({ name, mirror }) => ({
        path: `/${encodeURIComponent(name)}`,
        proxy: { upstream: up, mirror: { upstream: mirror } }
      }))
    },
    { log }
  )
  for (const { name } of cases)
    for (let i = 0; i < 3; i++) {
      const answer = await app.inject(`/${encodeURIComponent(name)}`)
      t.same([answer.statusCode, answer.body], [200, 'real'], name)
    }
  t.notOk(
    lines.some(({ msg }) => msg === 'upstream request failed'),
    'nobody learns of it'
  )
})

t.test('mirrors any body up to maxBody, but no WebSocket', async (t) => {
  const copies: { url: string; upgrade: boolean; body: Buffer }[] = []
  const arrived = new EventEmitter()
  const shadow = await upstream(t, (request, response) => {
    void bodyOf(request).then((body) => {
      const { url = '', headers } = request
      copies.push({ url, upgrade: headers.upgrade !== undefined, body })
      response.end(() => arrived.emit(url))
    })
  })
  const server = createServer((request, response) => void bodyOf(request).then(() => response.end('real')))
  server.on('upgrade', (_request, socket) => {
    socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const up = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { url, port } = await listening(t, {
    routes: [{ path: '/*', proxy: { upstream: up, retry: {}, mirror: { upstream: shadow, maxBody: '1kb' } } }]
  })
  const bytes = Buffer.from([0xff, 0xfe, 0x00, 0x0d, 0x0a, 0x80])
  const stream = new ReadableStream({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Buffer.from([byte]))
      controller.close()
    }
  })
  const bodies = { '/sized': { body: bytes }, '/chunked': { body: stream, duplex: 'half' } }
  for (const [path, init] of Object.entries(bodies)) {
    const copied = once(arrived, path)
    t.equal((await ask(url + path, { method: 'POST', ...init } as RequestInit)).text, 'real')
    await copied
    t.same(copies.at(-1)?.body, bytes, path)
  }
  // A retry keeps more of it than the mirror may have.
  t.equal((await ask(`${url}/large`, { method: 'PUT', body: Buffer.alloc(1025) })).text, 'real')
  const shake = 'GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
  t.equal(statusOf(await raw(port, shake)), 101)
  const copied = once(arrived, '/last')
  t.equal((await ask(`${url}/last`)).text, 'real')
  await copied
  t.same(
    copies.map(({ url: path, upgrade }) => [path, upgrade]),
    [
      ['/sized', false],
      ['/chunked', false],
      ['/last', false]
    ]
  )
})

t.test('aborts a mirror whose response never ends', async (t) => {
  const left = Promise.withResolvers<void>()
  const shadow = await upstream(t, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const drip = setInterval(() => response.write(':\n\n'), 5)
    response.on('close', () => {
      clearInterval(drip)
      left.resolve()
    })
  })
  const app = await gateway(t, {
    upstreams: { shadow: { url: shadow, timeouts: { body: '100ms' } } },
    routes: [{ path: '/*', proxy: { upstream: await naming(t, 'real'), mirror: { upstream: 'shadow' } } }]
  })
  t.equal((await app.inject('/x')).body, 'real')
  await left.promise
})

t.test('logs the original error if a fallback was sent', async (t) => {
  const busy = Promise.withResolvers<void>()
  const silent = await upstream(t, () => busy.resolve())
  const { log, line } = readableLog()
  const fallback = { status: 200, headers: { 'content-type': 'text/html' }, body: '<p>Back soon</p>' }
  const app = await gateway(
    t,
    {
      upstreams: { full: { url: silent, connections: { max: 1, pending: 0 } } },
      routes: [
        { path: '/first', proxy: { upstream: 'full' }, limits: { time: '2s' } },
        { path: '/none', proxy: { upstream: 'full', fallback } },
        { path: '/timeout', proxy: { upstream: silent, timeouts: { headers: '50ms' }, fallback } },
        { path: '/deadline', proxy: { upstream: silent, fallback }, limits: { time: '50ms' } },
        {
          path: '/body',
          limits: { body: '10b' },
          proxy: { upstream: await upstream(t, (request) => request.resume()), fallback }
        }
      ]
    },
    { log }
  )
  const first = app.inject('/first')
  await busy.promise
  for (const { path, code, refusedBy } of [
    { path: '/none', code: 'SP_ERR_UPSTREAM_UNAVAILABLE', refusedBy: 'upstream' },
    { path: '/timeout', code: 'SP_ERR_UPSTREAM_TIMEOUT', refusedBy: 'upstream' },
    { path: '/deadline', code: 'SP_ERR_LIMITS_TIME', refusedBy: 'limits' }
  ]) {
    const answer = await app.inject(path)
    t.same([answer.statusCode, answer.body], [200, fallback.body], path)
    t.equal(answer.headers['content-type'], 'text/html')
    t.match(await line((each) => each['path'] === path), { status: 200, code, refusedBy })
  }
  const large = await app.inject({ method: 'POST', url: '/body', payload: 'x'.repeat(11) })
  t.equal(large.statusCode, 413, "a refusal of the gateway's own is none of the upstream's")
  t.equal((await first).statusCode, 504)
})
