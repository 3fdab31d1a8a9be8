import { once } from 'node:events'
import { type IncomingMessage, request as send } from 'node:http'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { Keep } from '../../../src/index.ts'
import { ask, type Listening, listening, raw, statusOf, upstream } from '../../helpers.ts'
import { type Answer, front } from './front.ts'

const FRESH = { 'cache-control': 'max-age=60' }

const AUTH = {
  optional: true,
  apiKeys: {
    list: ['alice', 'bob'].map((id) => ({ id, secret: `the secret of ${id}, 32 characters and more` }))
  },
  identity: { 'x-caller': 'id' }
}

const keyOf = (id: string): Record<string, string> => ({
  'x-api-key': `the secret of ${id}, 32 characters and more`
})

/** Answers with the caller that the gateway names. */
const personal: Answer = (request, response, count) =>
  void response.writeHead(200, FRESH).end(`${String(request.headers['x-caller'])} ${count}`)

t.test('stores and serves nothing for a known caller', async (t) => {
  const gateway = await front(t, { override: '1m' }, personal, { route: { auth: AUTH } })
  t.match(await gateway.get('/a', { headers: keyOf('alice') }), {
    body: 'alice 1',
    cacheStatus: 'sallyport; fwd=bypass; detail=caller'
  })
  t.match(await gateway.get('/a'), { body: 'undefined 2' })
  t.match(await gateway.get('/a', { headers: keyOf('bob') }), { body: 'bob 3' })
  t.match(await gateway.get('/a'), { body: 'undefined 2', cacheStatus: /hit/ })
})

t.test('shares nothing of a request with a credential of another route', async (t) => {
  let count = 0
  const url = await upstream(
    t,
    (request, response) =>
      void response.writeHead(200, FRESH).end(`${String(request.headers['x-api-key'])} ${++count}`)
  )
  const proxy = { upstream: url }
  const gateway = await listening(t, {
    auth: { ...AUTH, global: false },
    routes: [
      { path: '/open', cache: true, proxy },
      { path: '/mine', proxy, auth: true }
    ]
  })
  const get = async (headers: Record<string, string>): Promise<[string, string | null]> => {
    const response = await fetch(`${gateway.url}/open`, { headers })
    return [await response.text(), response.headers.get('cache-status')]
  }
  const [key] = Object.values(keyOf('alice'))
  t.strictSame(await get(keyOf('alice')), [`${key} 1`, 'sallyport; fwd=bypass; detail=authorization'])
  t.strictSame(await get({}), ['undefined 2', 'sallyport; fwd=uri-miss; stored'])
  t.match(await get({ cookie: 'a=1' }), ['undefined 2', /hit/])
})

t.test('"separate" has entries for each caller, and none for others', async (t) => {
  const gateway = await front(t, { callers: 'separate' }, personal, { route: { auth: AUTH } })
  for (let i = 0; i < 2; i++)
    for (const [id, body] of [
      ['alice', 'alice 1'],
      ['bob', 'bob 2']
    ] as const)
      t.match(await gateway.get('/a', { headers: keyOf(id) }), { body })
  t.match(await gateway.get('/a'), { body: 'undefined 3' })
})

t.test('"shared" has one entry, for those who pass the gates', async (t) => {
  const gateway = await front(t, { callers: 'shared' }, personal, {
    route: { auth: { ...AUTH, optional: false } }
  })
  t.match(await gateway.get('/a', { headers: keyOf('alice') }), { body: 'alice 1' })
  t.match(await gateway.get('/a', { headers: keyOf('bob') }), { body: 'alice 1', cacheStatus: /hit/ })
  t.match(await gateway.get('/a'), { status: 401 })
})

t.test('a hit counts against rate limits', async (t) => {
  const gateway = await front(t, {}, personal, { route: { rateLimit: { max: 2, window: '1m' } } })
  const statuses = []
  for (let i = 0; i < 3; i++) statuses.push((await gateway.get('/a')).status)
  t.strictSame(statuses, [200, 200, 429])
  t.equal(gateway.seen.length, 1)
})

// What no cache may store, with a lifetime beside it.
const PRIVATE: Record<string, Record<string, string | string[]>> = {
  private: { 'cache-control': 'private, max-age=60' },
  Private: { 'cache-control': 'max-age=60, Private' },
  'private=""': { 'cache-control': 'max-age=60, private=""' },
  'private="set-cookie"': { 'cache-control': 'max-age=60, private="set-cookie"' },
  'private with spaces': { 'cache-control': 'max-age=60 , \t PRIVATE ' },
  'private = x': { 'cache-control': 'max-age=60, private = x' },
  'two fields': { 'cache-control': ['max-age=60', 'private'] },
  'No-Store': { 'cache-control': 'max-age=60, No-Store' },
  'no-store=1': { 'cache-control': 'no-store=1, max-age=60' },
  'an open quote': { 'cache-control': 'max-age=60, x="private' },
  'two lifetimes': { 'cache-control': 'max-age=60, max-age=10' },
  'public beside private': { 'cache-control': 'public, private, max-age=60' },
  'a private beside a targeted field': { 'cache-control': 'private', 'cdn-cache-control': 'max-age=60' },
  'a cookie': { 'cache-control': 'public, max-age=60', 'set-cookie': 'sid=victim' },
  'Vary: *': { ...FRESH, vary: '*' },
  'many Vary': { ...FRESH, vary: Array.from({ length: 40 }, (_, i) => `x-${i}`).join() }
}

for (const [name, fields] of Object.entries(PRIVATE))
  t.test(`stores no response with ${name}`, async (t) => {
    const gateway = await front(t, { ttl: '1m', override: '1m' }, (_request, response, count) => {
      response.writeHead(200, fields).end(`answer ${count}`)
    })
    const all = await Promise.all(['/a', '/a', '/a'].map((path) => gateway.get(path)))
    t.equal(new Set(all.map(({ body }) => body)).size, 3)
    t.match(await gateway.get('/a'), { body: 'answer 4' })
  })

t.test('keeps bodies, method overrides and credentials of others away from the cache', async (t) => {
  const gateway = await front(t, { ttl: '1m' }, (_request, response, count) =>
    response.end(`answer ${count}`)
  )
  const headers = [
    { authorization: 'Basic eDp5' },
    { 'x-http-method-override': 'DELETE' },
    { 'if-match': '"a"' },
    { 'cache-control': 'no-store' }
  ]
  for (const each of headers) t.notMatch((await gateway.get('/a', { headers: each })).cacheStatus, /stored/)
  t.match(await gateway.get('/a'), { body: `answer ${headers.length + 1}`, cacheStatus: /stored/ })
  const host = `127.0.0.1:${gateway.port}`
  const fat = `GET /a HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nfat`
  t.match(await raw(gateway.port, fat), `answer ${headers.length + 2}`)
})

// What an upstream may send that must not end the gateway, or stay in the cache.
const HOSTILE: Record<string, string> = {
  'a length that is too long':
    'HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 50\r\n\r\nshort',
  'a chunk that is cut':
    'HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nx',
  'a 304 that nobody asked for': 'HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\n\r\n',
  'a 206 that nobody asked for':
    'HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\nContent-Range: bytes 0-0/9\r\nContent-Length: 1\r\n\r\nx',
  'a huge Age': `HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nAge: ${'9'.repeat(400)}\r\nContent-Length: 1\r\n\r\nx`,
  'a head that is not for the cache': `HTTP/1.1 200 OK\r\nCache-Control: ${'"'.repeat(999)}\r\nContent-Length: 1\r\n\r\nx`,
  'a response splitting tag':
    'HTTP/1.1 200 OK\r\nSurrogate-Key: a\x01b\r\nCache-Control: max-age=60\r\nContent-Length: 1\r\n\r\nx'
}

for (const [name, bytes] of Object.entries(HOSTILE))
  t.test(`survives ${name}`, async (t) => {
    let isHostile = true
    const gateway = await front(t, { staleIfError: false }, (request, response) => {
      if (isHostile) request.socket.end(Buffer.from(bytes, 'latin1'))
      else response.end('well')
    })
    const ask = `GET /a HTTP/1.1\r\nHost: 127.0.0.1:${gateway.port}\r\nConnection: close\r\n\r\n`
    await Promise.all([raw(gateway.port, ask), raw(gateway.port, ask), raw(gateway.port, ask)])
    isHostile = false
    const last = await raw(gateway.port, ask)
    t.equal(statusOf(last), 200)
    if (!name.includes('tag')) t.match(last, 'well')
    while (gateway.app.buffers.held > 0) await new Promise((done) => setImmediate(done))
  })

t.test('tags are bounded, and clients don’t see them', async (t) => {
  const tags = Array.from({ length: 500 }, (_, i) => `tag-${i}`).join(' ')
  const gateway = await front(t, {}, (request, response) => {
    response.writeHead(200, { ...FRESH, 'surrogate-key': tags }).end(request.method)
  })
  for (const got of [
    await gateway.get('/a'),
    await gateway.get('/a'),
    await gateway.get('/a', { method: 'POST' })
  ])
    t.equal(got.headers['surrogate-key'], undefined)
})

t.test('a Vary on what the gateway writes, or on a header sent twice, keeps responses apart', async (t) => {
  const vary: Answer = (request, response, count) =>
    void response
      .writeHead(200, { ...FRESH, vary: String(request.url).slice(1).split('?', 1)[0] })
      .end(`answer ${count}`)
  const gateway = await front(t, { callers: 'shared' }, vary, {
    root: { trustedProxies: ['127.0.0.1'] },
    route: { auth: AUTH }
  })
  const distinct = async (path: string, ...headers: readonly string[]): Promise<number> => {
    const answers = new Set<string | undefined>()
    for (const head of headers) {
      const sent = `GET ${path} HTTP/1.1\r\nHost: a.test\r\n${head}\r\nConnection: close\r\n\r\n`
      answers.add(/answer \d+/.exec(await raw(gateway.port, sent))?.[0])
    }
    return answers.size
  }
  const key = (id: string): string => `X-API-Key: ${keyOf(id)['x-api-key']}`
  t.equal(await distinct('/x-caller', key('alice'), key('bob'), key('alice')), 2, 'identity')
  t.equal(await distinct('/user-agent', 'User-Agent: a\r\nUser-Agent: b', 'User-Agent: a'), 2, 'twice')
  t.equal(await distinct('/x-forwarded-for', 'X-Forwarded-For: 1.1.1.1', 'X-Forwarded-For: 1.1.1.2'), 2)
})

t.test('"shared" keeps what a caller got from clients without one, also after a reload', async (t) => {
  const keep = new Keep()
  const url = await upstream(t, (request, response) => {
    response.writeHead(200, FRESH).end(String(request.headers['x-caller']))
  })
  const gateway = (cache: object, more: object): Promise<Listening> =>
    listening(t, { routes: [{ path: '/*', cache, proxy: { upstream: url }, ...more }] }, { keep })
  const shared = await gateway({ callers: 'shared' }, { auth: AUTH })
  t.match(await ask(`${shared.url}/a`, { headers: keyOf('alice') }), { text: 'alice' })
  t.match(await ask(`${shared.url}/a`), { text: 'undefined' })
  t.match(await ask(`${shared.url}/b`, { headers: keyOf('alice') }), { text: 'alice' })
  t.match(await ask(`${(await gateway({}, { auth: AUTH })).url}/b`), { text: 'undefined' })
  t.match(await ask(`${(await gateway({}, {})).url}/b`), { text: 'undefined' })
})

t.test('a caller whose roles change gets nothing that was stored before', async (t) => {
  const keep = new Keep()
  let count = 0
  const url = await upstream(
    t,
    (_request, response) => void response.writeHead(200, FRESH).end(String(++count))
  )
  const [alice] = AUTH.apiKeys.list
  const gateway = (roles: readonly string[]): Promise<Listening> => {
    const auth = { apiKeys: { list: [{ ...alice, roles }] } }
    return listening(
      t,
      { routes: [{ path: '/*', cache: { callers: 'separate' }, auth, proxy: { upstream: url } }] },
      { keep }
    )
  }
  // Entries belong to the host that the client asks for.
  const get = async (roles: readonly string[]): Promise<string> => {
    const headers = { ...keyOf('alice'), host: 'shop' }
    const request = send(`${(await gateway(roles)).url}/a`, { headers, agent: false }).end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    return await text(response)
  }
  t.strictSame([await get(['admin', 'user']), await get(['user', 'admin'])], ['1', '1'])
  t.strictSame([await get(['user']), await get([]), await get(['admin', 'user'])], ['2', '3', '1'])
})

t.test('keeps apart what a trusted proxy says of the original request', async (t) => {
  const echoed = ['x-original-url', 'x-rewrite-url', 'x-forwarded-prefix', 'x-forwarded-host', 'forwarded']
  const answer: Answer = (request, response) =>
    void response.writeHead(200, FRESH).end(echoed.map((name) => request.headers[name]).join())
  const lies: readonly [name: string, value: string][] = [
    ['x-original-url', '/admin'],
    ['x-rewrite-url', '/admin'],
    ['x-forwarded-prefix', '//evil.example'],
    ['x-forwarded-host', 'evil.example'],
    ['x-forwarded-scheme', 'http'],
    ['x-original-host', 'evil.example'],
    ['forwarded', 'for=10.0.0.1;host=evil.example']
  ]
  const trusting = await front(t, {}, answer, { root: { trustedProxies: ['127.0.0.1'] } })
  for (const [name, value] of lies) {
    const poisoned = await trusting.get('/a', { headers: { [name]: value } })
    t.match(poisoned.cacheStatus, /uri-miss; stored/, name)
    t.notMatch((await trusting.get('/a')).body, /evil|admin/, name)
    t.match((await trusting.get('/a', { headers: { [name]: value } })).cacheStatus, /hit/, name)
  }
  for (const headers of [
    { 'x-forwarded-for': '10.0.0.7' },
    { 'x-real-ip': '10.0.0.7' },
    { 'x-forwarded-for': '10.0.0.7', forwarded: 'for=10.0.0.7;by=10.0.0.8' }
  ]) {
    const forClient = { ...headers } as Record<string, string>
    await trusting.get('/b', { headers: forClient })
    for (const name of Object.keys(forClient)) forClient[name] = forClient[name]?.replace('.7', '.9') ?? ''
    t.match(
      (await trusting.get('/b', { headers: forClient })).cacheStatus,
      /hit/,
      'addresses make no difference'
    )
  }
  const open = await front(t, {}, answer)
  await open.get('/a')
  for (const [name, value] of lies)
    t.match((await open.get('/a', { headers: { [name]: value } })).cacheStatus, /hit/, `${name} of a client`)
})

t.test('keeps apart the upstreams of a split that are URLs', async (t) => {
  const services = await Promise.all(
    ['one', 'other'].map((name) =>
      upstream(t, (_request, response) => void response.writeHead(200, FRESH).end(name))
    )
  )
  const split = services.map((url) => ({ upstream: url, share: '50%' }))
  const gateway = await listening(t, { routes: [{ path: '/*', cache: true, proxy: { split } }] })
  const bodies = new Set<string>()
  for (let i = 0; i < 100; i++) bodies.add((await ask(`${gateway.url}/a`)).text)
  t.strictSame([...bodies].toSorted(), ['one', 'other'])
})
