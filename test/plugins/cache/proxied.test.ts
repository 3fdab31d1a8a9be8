import { once } from 'node:events'
import { type IncomingMessage, request as send } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { Keep } from '../../../src/index.ts'
import { Compression } from '../../../src/lib/http/compression.ts'
import { gateway as build, clock, listening, raw, upstream } from '../../helpers.ts'
import { type Answer, front } from './front.ts'

const FRESH = { 'cache-control': 'max-age=60' }

const fresh =
  (fields: Record<string, string | string[]> = {}): Answer =>
  (_request, response, count) =>
    void response.writeHead(200, { ...FRESH, ...fields }).end(`answer ${count}`)

t.test('applies what changes heads to every hit, and stores none of it', async (t) => {
  const gateway = await front(t, {}, fresh({ 'x-from': 'upstream', 'cache-status': 'origin; hit' }), {
    route: {
      headers: { response: { 'x-seen': '{headers.x-me}', 'x-from': false } },
      cors: { origins: ['https://a.example', 'https://b.example'], credentials: true }
    }
  })
  const got = []
  for (const name of ['a', 'b', 'a'])
    got.push(await gateway.get('/x', { headers: { 'x-me': name, origin: `https://${name}.example` } }))
  t.equal(gateway.seen.length, 1)
  t.strictSame(
    got.map(({ headers }) => [headers['x-seen'], headers['access-control-allow-origin'], headers['x-from']]),
    ['a', 'b', 'a'].map((name) => [name, `https://${name}.example`, undefined])
  )
  t.match(got[2]?.cacheStatus, /^origin; hit, sallyport; hit; ttl=\d+$/, 'appended')
})

t.test('rewrites what names the upstream at every hit', async (t) => {
  let origin = ''
  const gateway = await front(
    t,
    {},
    (_request, response) => response.writeHead(301, { ...FRESH, location: `${origin}/inner/there` }).end(),
    { proxy: { rewrite: '/inner' }, route: { path: ['/one/*', '/two/*'] } }
  )
  origin = `http://${gateway.app.upstreamStates()[0]?.targets[0]?.name}`
  for (const prefix of ['/one', '/one', '/two', '/two'])
    t.match(await gateway.get(`${prefix}/here`), { status: 301, headers: { location: `${prefix}/there` } })
  t.equal(gateway.seen.length, 2)
})

t.test('compresses each hit for its client', async (t) => {
  const body = 'a line of text, '.repeat(500)
  const gateway = await front(
    t,
    {},
    (_request, response) => response.writeHead(200, { ...FRESH, 'content-type': 'text/plain' }).end(body),
    { route: { compress: true } }
  )
  const ask = async (encoding: string): Promise<[string | undefined, string]> => {
    const request = send(`${gateway.url}/a`, { headers: { 'accept-encoding': encoding }, agent: false }).end()
    const [response] = await once(request, 'response')
    const bytes = await buffer(response)
    const coding = response.headers['content-encoding']
    return [coding, coding === 'gzip' ? gunzipSync(bytes).toString() : bytes.toString()]
  }
  for (const encoding of ['gzip', 'identity', 'gzip', 'identity'])
    t.strictSame(await ask(encoding), [encoding === 'gzip' ? 'gzip' : undefined, body])
  t.equal(gateway.seen.length, 1)
})

t.test('compresses a stored response once for each coding, and counts what it keeps', async (t) => {
  const body = 'a line of text, '.repeat(500)
  const { compressSync } = Compression.prototype
  let compressed = 0
  Compression.prototype.compressSync = function counted(...sides) {
    compressed++
    return compressSync.apply(this, sides)
  }
  t.teardown(() => {
    Compression.prototype.compressSync = compressSync
  })
  const text = { ...FRESH, 'content-type': 'text/plain', etag: '"v"' }
  for (const route of [
    { proxy: { upstream: 'one' } },
    { aggregate: { legs: { a: { upstream: 'one', path: '/a' } } }, proxy: undefined }
  ]) {
    compressed = 0
    const gateway = await front(
      t,
      {},
      (_request, response) => response.writeHead(200, text).end(JSON.stringify(body)),
      { route: { compress: true, ...route } }
    )
    await gateway.get('/a', { headers: { 'accept-encoding': 'identity' } })
    const held = (): number =>
      gateway.app.responseCache?.families().find(({ name }) => name === 'sallyport_cache_bytes')?.values[0]
        ?.value ?? 0
    const before = held()
    for (let i = 0; i < 20; i++)
      for (const coding of ['gzip', 'br']) {
        const got = await gateway.get('/a', { headers: { 'accept-encoding': coding } })
        t.match(got, { headers: { 'content-encoding': coding, vary: /accept-encoding/i, etag: /^W\// } })
        t.ok(got.body.includes(body))
      }
    t.equal(compressed, 2)
    t.ok(held() > before && held() < before + 1000, 'counted')
    const plain = await gateway.get('/a', { headers: { 'accept-encoding': 'identity' } })
    t.match(plain.headers, { vary: /accept-encoding/i, 'content-encoding': undefined })
    const etag = (await gateway.get('/a', { headers: { 'accept-encoding': 'gzip' } })).headers['etag'] ?? ''
    t.match(await gateway.get('/a', { headers: { 'accept-encoding': 'gzip', 'if-none-match': etag } }), {
      status: 304,
      headers: { etag }
    })
    t.equal(gateway.seen.length, 1)
  }
})

t.test('compresses a large stored response once for each coding, in the thread pool', async (t) => {
  const body = JSON.stringify('a line of text, '.repeat(20_000))
  const text = { ...FRESH, 'content-type': 'text/plain', etag: '"v"' }
  for (const route of [
    { proxy: { upstream: 'one' } },
    { aggregate: { legs: { a: { upstream: 'one', path: '/a' } }, body: '{legs.a}' }, proxy: undefined }
  ]) {
    const gateway = await front(t, {}, (_request, response) => response.writeHead(200, text).end(body), {
      route: { compress: true, ...route }
    })
    await gateway.get('/a', { headers: { 'accept-encoding': 'identity' } })
    for (const coding of ['gzip', 'br', 'zstd']) {
      const ask = async (): Promise<string | undefined> => {
        const request = send(`${gateway.url}/a`, {
          headers: { 'accept-encoding': coding },
          agent: false
        }).end()
        const [response] = (await once(request, 'response')) as [IncomingMessage]
        await buffer(response)
        const { headers } = response
        t.match(headers, { 'content-encoding': coding, vary: /accept-encoding/i, etag: /^W\// })
        return headers['content-length']
      }
      t.equal(await ask(), undefined, 'the first one is compressed as it is sent')
      while ((await ask()) === undefined) await setImmediate()
      const got = await gateway.get('/a', { headers: { 'accept-encoding': coding } })
      t.equal(got.body, body, coding)
    }
    t.equal(gateway.seen.length, 1)
  }
})

t.test('stores what the stages before it make of a body', async (t) => {
  const gateway = await front(
    t,
    { ttl: '10s' },
    (request, response, count) => {
      if (request.headers['if-none-match'] !== undefined) return void response.writeHead(304).end()
      response.writeHead(200, { 'content-type': 'application/json', ...(count > 9 ? {} : { etag: '"v"' }) })
      response.end(JSON.stringify({ secret: 'hidden', shown: count }))
    },
    { route: { transform: { response: { omit: ['secret'] } } } }
  )
  for (let i = 0; i < 3; i++) t.match(await gateway.get('/a'), { body: '{"shown":1}' })
  t.equal(gateway.seen.length, 1)
  t.match(await gateway.get('/a', { headers: { range: 'bytes=0-7' } }), { status: 206, body: '{"shown"' })
})

t.test('has keys of what goes upstream', async (t) => {
  const gateway = await front(t, { ignoreQuery: ['utm_*'], vary: ['x-tenant'] }, fresh(), {
    route: {
      headers: { request: { 'x-who': '{headers.x-me}' } },
      query: { lang: '{headers.x-lang}', gone: false }
    }
  })
  const distinct = async (...asked: [string, Record<string, string>?][]): Promise<number> => {
    const bodies = []
    for (const [path, headers = {}] of asked) bodies.push((await gateway.get(path, { headers })).body)
    return new Set(bodies).size
  }
  t.equal(await distinct(['/a'], ['/a?utm_source=x'], ['/a?gone=1']), 1)
  t.equal(await distinct(['/b', { 'x-me': 'a' }], ['/b', { 'x-me': 'b' }], ['/b']), 3, 'a header')
  t.equal(await distinct(['/c', { 'x-lang': 'a' }], ['/c', { 'x-lang': 'b' }]), 2, 'the query')
  t.equal(await distinct(['/d', { 'x-tenant': 'a' }], ['/d', { 'x-tenant': 'b' }]), 2, 'vary')
  t.equal(await distinct(['/e?a=1'], ['/e?a=2'], ['/e?a=1&b=2']), 3)
  t.equal(await distinct(['/f', { cookie: 'a=1' }], ['/f', { cookie: 'a=2' }]), 1, 'not cookies')
  t.equal(
    await distinct(['/g', { 'x-forwarded-host': 'evil.example' }], ['/g']),
    1,
    'not what is not trusted'
  )
})

t.test('keeps the upstreams of a split apart', async (t) => {
  const [one, two] = [
    await upstream(t, (_request, response) => response.writeHead(200, FRESH).end('one')),
    await upstream(t, (_request, response) => response.writeHead(200, FRESH).end('two'))
  ]
  const gateway = await listening(t, {
    upstreams: { one: { url: one }, two: { url: two } },
    routes: [
      {
        path: '/*',
        cache: true,
        proxy: {
          split: [
            { upstream: 'one', share: '50%' },
            { upstream: 'two', share: '50%' }
          ]
        }
      }
    ]
  })
  const bodies = new Set<string>()
  for (let i = 0; i < 60; i++) bodies.add(await (await fetch(`${gateway.url}/a`)).text())
  t.strictSame([...bodies].toSorted(), ['one', 'two'])
})

t.test('passes parts and HEAD on a miss, and stores nothing of them', async (t) => {
  const gateway = await front(t, {}, (request, response) => {
    if (request.headers.range === undefined) response.writeHead(200, FRESH).end('0123456789')
    else response.writeHead(206, { ...FRESH, 'content-range': 'bytes 0-2/10' }).end('012')
  })
  t.match(await gateway.get('/a', { headers: { range: 'bytes=0-2' } }), { status: 206, body: '012' })
  t.match(await gateway.get('/a', { method: 'HEAD' }), {
    status: 200,
    cacheStatus: 'sallyport; fwd=uri-miss'
  })
  t.match(await gateway.get('/a'), { cacheStatus: 'sallyport; fwd=uri-miss; stored' })
  t.match(await gateway.get('/a', { headers: { range: 'bytes=7-' } }), { status: 206, body: '789' })
  t.match(await gateway.get('/a', { headers: { range: 'bytes=99-' } }), { status: 416 })
  t.match(await gateway.get('/a', { headers: { range: 'bytes=0-1,4-5' } }), { status: 200 })
  t.match(await gateway.get('/a', { headers: { range: 'bytes=0-1', 'if-range': 'W/"x"' } }), { status: 200 })
  t.equal(gateway.seen.length, 3)
})

t.test('sends bodies of every size as they are', async (t) => {
  const gateway = await front(t, { maxEntry: '5mb' }, (request, response) => {
    const length = Number(request.url?.slice(1))
    response.writeHead(200, FRESH).end(Buffer.alloc(length, 'abcdefghij'))
  })
  for (const length of [0, 1, 1000, 65_536, 262_144, 262_145, 3_000_000]) {
    await gateway.get(`/${length}`)
    const { body, cacheStatus, headers } = await gateway.get(`/${length}`)
    t.match(cacheStatus, /hit/)
    t.equal(headers['content-length'], String(length))
    t.ok(body === 'abcdefghij'.repeat(Math.ceil(length / 10)).slice(0, length), `${length} bytes`)
  }
})

t.test('an HTTP/1.0 client, and pipelined requests, get hits', async (t) => {
  const gateway = await front(t, {}, fresh())
  await gateway.get('/a', { headers: { host: 'x' } })
  const { port } = gateway
  t.match(await raw(port, `GET /a HTTP/1.0\r\nHost: 127.0.0.1:${port}\r\n\r\n`), /hit; ttl[\s\S]*answer 1$/)
  const one = `GET /a HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`
  t.match((await raw(port, one + one + one)).split('answer 1').length, 4)
})

t.test('entries outlive a reload, unless what they depend on has changed', async (t) => {
  const keep = new Keep()
  let count = 0
  const url = await upstream(t, (_request, response) => {
    count++
    response.writeHead(200, FRESH).end(`answer ${count}`)
  })
  const config = (route: object, maxHeaders = '64kb'): object => ({
    upstreams: { one: { url, maxHeaders } },
    routes: [{ path: '/*', cache: true, proxy: { upstream: 'one' }, ...route }]
  })
  const steps: [object, string | undefined, string][] = [
    [{}, undefined, 'answer 1'],
    [{ headers: { response: { 'x-a': 'b' } } }, undefined, 'answer 1'],
    [{ headers: { request: { 'x-a': 'b' } } }, undefined, 'answer 2'],
    [{}, undefined, 'answer 1'],
    [{ proxy: { upstream: 'one', rewrite: '/inner' } }, undefined, 'answer 3'],
    [{}, '32kb', 'answer 4'],
    [{ proxy: { upstream: 'one', fallback: { on: ['404'] } } }, undefined, 'answer 5'],
    [{ proxy: { upstream: 'one', fallback: { body: 'down' } } }, undefined, 'answer 1'],
    [{}, undefined, 'answer 1']
  ]
  for (const [route, maxHeaders, expected] of steps) {
    const app = await build(t, config(route, maxHeaders), { keep })
    t.equal((await app.inject('/a')).body, expected)
  }
})

t.test('logs and counts a hit as a response without an upstream', async (t) => {
  const gateway = await front(t, {}, fresh(), { root: { metrics: true } })
  for (let i = 0; i < 3; i++) await gateway.get('/a')
  await gateway.get('/a', { method: 'POST' })
  const families = gateway.app.responseCache?.families() ?? []
  const results = families[0]?.values.filter(({ value }) => value > 0)
  t.match(
    results?.map(({ labels, value }) => [labels['result'], value]),
    [
      ['hit', 2],
      ['miss', 1],
      ['bypass', 1]
    ]
  )
  t.match(families.find(({ name }) => name === 'sallyport_cache_entries')?.values, [{ value: 1 }])
  const bytes = gateway.app.metrics?.families().find(({ name }) => name === 'sallyport_response_bytes_total')
  t.match(bytes?.values, [{ value: 32 }])
})

t.test('has keys of the values that stages put into what is stored', async (t) => {
  const gateway = await front(
    t,
    { ttl: '10s' },
    (_request, response) => void response.setHeader('content-type', 'application/json').end('{"a":1}'),
    {
      route: {
        format: { from: 'json', to: ['json', 'xml'], root: 'r' },
        transform: { response: { set: { who: '{headers.x-who}' } } }
      }
    }
  )
  for (const who of ['ada', 'bob', 'ada'])
    t.match(await gateway.get('/a', { headers: { 'x-who': who } }), { body: `{"a":1,"who":"${who}"}` })
  t.equal(gateway.seen.length, 2)
  const xml = await gateway.get('/a', { headers: { 'x-who': 'ada', accept: 'application/xml' } })
  t.match(xml.body, '<who>ada</who>')
  t.equal(xml.headers['content-type'], 'application/xml; charset=utf-8')
})

t.test('a method override passes in any spelling', async (t) => {
  const gateway = await front(t, { ttl: '10s' }, (_request, response) => void response.end('a'))
  for (const name of ['x-http-method-override', 'x_http_method_override', 'x-method_override'])
    t.match(await gateway.get('/a', { headers: { [name]: 'DELETE' } }), { cacheStatus: /method-override/ })
})

t.test('what a stage makes for the cache alone leaves the buffers of the process', async (t) => {
  const advance = clock(t)
  const gateway = await front(
    t,
    { ttl: '10s', staleWhileRevalidate: '1m' },
    (_request, response, count) =>
      void response.setHeader('content-type', 'application/json').end(`{"count":${count}}`),
    { route: { transform: { response: { omit: ['secret'] } } } }
  )
  t.match(await gateway.get('/a'), { body: '{"count":1}' })
  advance(20)
  while ((await gateway.get('/a')).body !== '{"count":2}') await setImmediate()
  t.equal(gateway.app.buffers.held, 0)
})
