import { randomBytes } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import type { LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { gateway, upstream } from '../../helpers.ts'
import { ALL, decode, textOf } from './helpers.ts'

t.test('changes the headers that are about the bytes', async (t) => {
  const own = {
    'content-type': 'text/plain',
    'accept-ranges': 'bytes',
    'content-digest': 'sha-256=:AAAA:',
    'repr-digest': 'sha-256=:AAAA:',
    digest: 'sha-256=AAAA',
    'content-md5': 'AAAA',
    'last-modified': 'Mon, 01 Jan 2024 00:00:00 GMT'
  }
  const origin = await upstream(t, ({ url = '' }, response) => {
    const etag = decodeURIComponent(url.slice(url.indexOf('?') + 1))
    for (const [name, value] of Object.entries({ ...own, etag })) response.setHeader(name, value)
    response.end(textOf(4000))
  })
  const app = await gateway(t, { compress: true, routes: [{ path: '/', proxy: { upstream: origin } }] })
  const ask = (etag: string, headers: Record<string, string>): Promise<LightMyRequestResponse> =>
    app.inject({ url: `/?${encodeURIComponent(etag)}`, headers })
  for (const [etag, expected] of [
    ['"a"', 'W/"a"'],
    ['W/"a"', 'W/"a"'],
    ['bare', 'bare']
  ] as const) {
    const { headers } = await ask(etag, ALL)
    t.equal(headers.etag, expected, `${etag}: weak`)
    for (const name of Object.keys(own).slice(1, 6)) t.notOk(headers[name], `${name} is removed`)
    t.equal(headers['last-modified'], own['last-modified'])
    const plain = await ask(etag, {})
    t.equal(plain.headers.etag, etag, `${etag}: unchanged without compression`)
    t.match(plain.headers, own)
  }
})

t.test('adds Accept-Encoding to Vary once', async (t) => {
  const origin = await upstream(t, ({ url = '' }, response) => {
    response.setHeader('content-type', 'text/plain')
    response.setHeader('vary', decodeURIComponent(url.slice(2)))
    response.end(textOf(4000))
  })
  const app = await gateway(t, { compress: true, routes: [{ path: '/', proxy: { upstream: origin } }] })
  for (const [vary, expected] of [
    ['Cookie', 'Cookie, Accept-Encoding'],
    ['accept-encoding', 'accept-encoding'],
    ['Origin, Accept-Encoding', 'Origin, Accept-Encoding'],
    ['*', '*']
  ] as const) {
    const { headers } = await app.inject({ url: `/?${encodeURIComponent(vary)}`, headers: ALL })
    t.match(headers, { vary: expected, 'content-encoding': 'zstd' }, vary)
  }
})

t.test('the ETag of a compressed body works in conditional requests', async (t) => {
  const seen: (string | undefined)[] = []
  const origin = await upstream(t, ({ headers, method, url = '' }, response) => {
    seen.push(headers['if-match'])
    const etag = url.includes('weak') ? 'W/"v1"' : '"v1"'
    response.setHeader('etag', etag)
    const ifMatch = headers['if-match']?.split(',').map((each) => each.trim())
    if (ifMatch !== undefined && !(ifMatch.includes(etag) && etag.startsWith('"'))) response.statusCode = 412
    else if (headers['if-none-match']?.includes('"v1"') === true && method === 'GET')
      response.statusCode = 304
    else response.setHeader('content-type', 'text/plain')
    response.end(response.statusCode === 200 ? textOf(4000) : undefined)
  })
  const app = await gateway(t, { compress: true, routes: [{ path: '/*', proxy: { upstream: origin } }] })
  const { headers } = await app.inject({ url: '/', headers: ALL })
  t.equal(headers.etag, 'W/"v1"')
  const cases: [
    method: 'GET' | 'PUT',
    url: string,
    condition: Record<string, string>,
    status: number,
    etag: string
  ][] = [
    ['GET', '/', { 'if-none-match': 'W/"v1"' }, 304, 'W/"v1"'],
    ['GET', '/', { 'if-none-match': '"v0", W/"v1"' }, 304, 'W/"v1"'],
    ['GET', '/', { 'if-none-match': '"v1"' }, 304, '"v1"'],
    ['PUT', '/', { 'if-match': 'W/"v1"' }, 200, 'W/"v1"'],
    ['PUT', '/', { 'if-match': '"v0", W/"v1"' }, 200, 'W/"v1"'],
    ['PUT', '/', { 'if-match': '"v1"' }, 200, 'W/"v1"'],
    ['PUT', '/', { 'if-match': 'W/"v0"' }, 412, '"v1"'],
    ['PUT', '/weak', { 'if-match': 'W/"v1"' }, 412, 'W/"v1"']
  ]
  for (const [method, url, condition, status, etag] of cases) {
    const response = await app.inject({ method, url, headers: { ...ALL, ...condition } })
    const name = `${method} ${url} ${JSON.stringify(condition)}`
    t.equal(response.statusCode, status, name)
    t.equal(response.headers.etag, etag, `${name}: the ETag`)
    if (status === 304) t.equal(response.headers.vary, 'Accept-Encoding', `${name}: Vary`)
  }
  t.ok(seen.includes('"v0", "v1"'), 'the upstream gets its own ETags')
})

t.test('HEAD gets the headers of GET where they are known', async (t) => {
  const dir = t.testdir({ 'page.html': textOf(4000), 'short.html': 'short' })
  const origin = await upstream(t, ({ url = '' }, response) => {
    response.setHeader('content-type', 'text/plain')
    response.setHeader('etag', '"v1"')
    if (url !== '/chunked') response.setHeader('content-length', 4000)
    response.end(textOf(4000))
  })
  const app = await gateway(t, {
    compress: true,
    routes: [
      { path: '/respond', respond: { body: textOf(4000) } },
      { path: '/files/*', files: { root: dir } },
      { path: '/*', proxy: { upstream: origin } }
    ]
  })
  const cases: [url: string, coding: string | undefined, length: string | undefined][] = [
    ['/known', 'zstd', undefined],
    ['/chunked', undefined, undefined],
    ['/respond', 'zstd', undefined],
    ['/files/page.html', 'zstd', undefined],
    ['/files/short.html', undefined, '5']
  ]
  for (const [url, coding, length] of cases) {
    const { headers, body, statusCode } = await app.inject({ method: 'HEAD', url, headers: ALL })
    t.match([statusCode, body], [200, ''], url)
    t.equal(headers['content-encoding'], coding, `${url}: the coding`)
    t.equal(headers['content-length'], length, `${url}: the length`)
    t.equal(headers.vary, 'Accept-Encoding', `${url}: Vary`)
    const plain = await app.inject({ method: 'HEAD', url })
    const whole = await app.inject({ url })
    t.equal(plain.headers['content-encoding'], undefined)
    if (url !== '/chunked')
      t.equal(
        plain.headers['content-length'],
        whole.headers['content-length'],
        `${url} without Accept-Encoding`
      )
  }
})

t.test('works for each kind of target', async (t) => {
  const dir = t.testdir({ 'page.html': textOf(4000), 'large.js': textOf(300_000) })
  const origin = await upstream(t, (_request, response) => {
    response.setHeader('content-type', 'text/plain')
    response.end(textOf(4000))
  })
  const app = await gateway(t, {
    compress: true,
    routes: [
      { path: '/respond', respond: { body: textOf(4000) } },
      { path: '/files/*', files: { root: dir } },
      { path: '/proxy', proxy: { upstream: origin } },
      { path: '/off', compress: false, respond: { body: textOf(4000) } }
    ]
  })
  for (const [url, length, coding] of [
    ['/respond', 4000, 'zstd'],
    ['/files/page.html', 4000, 'zstd'],
    ['/files/large.js', 300_000, 'zstd'],
    ['/proxy', 4000, 'zstd'],
    ['/off', 4000, undefined]
  ] as const) {
    const response = await app.inject({ url, headers: ALL })
    t.equal(response.headers['content-encoding'], coding, url)
    t.equal(decode(response.rawPayload, coding), textOf(length), `${url}: the body`)
  }
  const range = await app.inject({ url: '/files/page.html', headers: { ...ALL, range: 'bytes=0-9' } })
  t.match(range, { statusCode: 206, body: textOf(10) }, 'a range is that of the body without a coding')
})

t.test('compresses what transform makes of a body', async (t) => {
  const body = JSON.stringify({ secret: textOf(4000), shown: textOf(2000) })
  const origin = await upstream(t, ({ headers }, response) => {
    response.setHeader('content-type', 'application/json')
    response.setHeader('x-accept-encoding', headers['accept-encoding'] ?? 'none')
    response.end(body)
  })
  const app = await gateway(t, {
    compress: true,
    routes: [
      { path: '/long', transform: { response: { omit: ['secret'] } }, proxy: { upstream: origin } },
      {
        path: '/short',
        transform: { response: { set: { secret: 1, shown: 2 } } },
        proxy: { upstream: origin }
      }
    ]
  })
  for (const [url, coding, expected] of [
    ['/long', 'zstd', { shown: textOf(2000) }],
    ['/short', undefined, { secret: 1, shown: 2 }]
  ] as const) {
    const response = await app.inject({ url, headers: ALL })
    t.equal(response.headers['content-encoding'], coding, url)
    t.equal(response.headers['x-accept-encoding'], 'identity', `${url}: the upstream is asked for no coding`)
    t.equal(Number(response.headers['content-length']), response.rawPayload.length, `${url}: the length`)
    t.same(JSON.parse(decode(response.rawPayload, coding)), expected, `${url}: the body`)
  }
})

t.test('does not compress the errors and pages of the gateway itself', async (t) => {
  const app = await gateway(t, {
    compress: { minSize: '0b' },
    routes: [
      { path: '/refused', ipAccess: { allow: ['192.0.2.1'] }, respond: { body: textOf(4000) } },
      { path: '/gone', proxy: { upstream: 'http://127.0.0.1:1' } }
    ]
  })
  for (const [url, status] of [
    ['/refused', 403],
    ['/gone', 502],
    ['/unknown', 404],
    ['/-/live', 200]
  ] as const) {
    const response = await app.inject({ url, headers: ALL })
    t.equal(response.statusCode, status, url)
    t.equal(response.headers['content-encoding'], undefined, `${url}: no coding`)
    t.ok(response.body.length > 0)
  }
})

t.test('a body that does not get smaller is sent as it is', async (t) => {
  const noise = randomBytes(3000)
  const origin = await upstream(t, (_request, response) => {
    response.setHeader('content-type', 'text/plain')
    response.end(noise)
  })
  const app = await gateway(t, { compress: true, routes: [{ path: '/*', proxy: { upstream: origin } }] })
  const plain = await app.inject({ url: '/noise', headers: ALL })
  t.equal(plain.headers['content-encoding'], undefined)
  t.same(plain.rawPayload, noise)
  const required = await app.inject({ url: '/noise', headers: { 'accept-encoding': 'gzip, identity;q=0' } })
  t.equal(required.headers['content-encoding'], 'gzip', 'unless the client takes no other')
  t.same(gunzipSync(required.rawPayload), noise)
})
