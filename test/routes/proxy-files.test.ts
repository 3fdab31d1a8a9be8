import { once } from 'node:events'
import { rmSync, symlinkSync, writeFileSync } from 'node:fs'
import http2 from 'node:http2'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/index.ts'
import { ask, certificate, gateway, listening, noOpenssl, raw, statusOf, upstream } from '../helpers.ts'

/** A folder with a few files, and one beside it that is none of theirs. */
function site(t: Pick<Test, 'testdir'>): string {
  const folder = t.testdir({
    'secret.txt': 'a secret',
    public: {
      'app.js': 'let it = "be"',
      'about.html': '<h1>about</h1>',
      'numbers.txt': '0123456789',
      '.env': 'a secret',
      assets: { 'logo.svg': '<svg/>', 'index.html': 'an index' }
    }
  })
  const root = join(folder, 'public')
  symlinkSync(join(folder, 'secret.txt'), join(root, 'out.txt'))
  return root
}

/** An upstream that says which path it was asked for. */
const rails = (t: Test): Promise<string> =>
  upstream(t, (request, response) => {
    response.setHeader('cache-control', 'max-age=60')
    request.resume().on('end', () => response.end(`${request.method} ${request.url}`))
  })

t.test('sends a file if there is one, and forwards otherwise', async (t) => {
  const root = site(t)
  const to = await rails(t)
  const { app, url, port } = await listening(t, {
    proxy: { files: { root, maxAge: '1h' } },
    routes: [
      { path: '/*', proxy: { upstream: to } },
      { path: '/sub/*', proxy: { upstream: to, rewrite: '/' } },
      { path: '/numbers.txt', proxy: { upstream: to, files: { maxAge: '0s' } } },
      { path: '/none/*', proxy: { upstream: to, files: false } },
      { path: '/mine/*', proxy: { upstream: to }, auth: { apiKeys: { list: [{ id: 'a', secret: 'key' }] } } },
      { path: '/post', methods: ['GET', 'POST'], proxy: { upstream: to } }
    ]
  })
  const cases: [what: string, status: number, body: string, caching?: string][] = [
    ['GET /app.js', 200, 'let it = "be"', 'public, max-age=3600'],
    ['GET /app.js?v=1', 200, 'let it = "be"'],
    ['GET /about.html', 200, '<h1>about</h1>', 'no-cache'],
    ['GET /assets/logo.svg', 200, '<svg/>'],
    ['GET /numbers.txt', 200, '0123456789', 'no-cache'],
    ['GET /sub/app.js', 200, 'let it = "be"'],
    ['GET /sub/orders', 200, 'GET /orders'],
    ['GET /none/app.js', 200, 'GET /none/app.js'],
    ['GET /orders?page=2', 200, 'GET /orders?page=2', 'max-age=60'],
    ['GET /', 200, 'GET /'],
    ['GET /assets', 200, 'GET /assets'],
    ['GET /assets/', 200, 'GET /assets/'],
    ['GET /app.js/', 200, 'GET /app.js/'],
    ['GET /.env', 200, 'GET /.env'],
    ['GET /out.txt', 200, 'GET /out.txt'],
    ['GET /assets%2flogo.svg', 200, 'GET /assets%2flogo.svg'],
    ['POST /app.js', 200, 'POST /app.js'],
    ['PUT /app.js', 200, 'PUT /app.js'],
    ['OPTIONS /app.js', 200, 'OPTIONS /app.js'],
    ['POST /post', 200, 'POST /post'],
    ['GET /mine/app.js', 401, '']
  ]
  for (const [what, status, body, caching] of cases) {
    const [method = '', path = ''] = what.split(' ')
    const answer = await app.inject({ method: method as 'GET', url: path })
    t.equal(answer.statusCode, status, what)
    if (body !== '') t.equal(answer.body, body, what)
    if (caching !== undefined) t.equal(answer.headers['cache-control'], caching, what)
  }
  for (const path of ['/../secret.txt', '/%2e%2e/secret.txt', '/..%2fsecret.txt', '/%252e%252e/secret.txt']) {
    const answer = await raw(port, `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`, 5000)
    t.equal(statusOf(answer), 400, path)
  }
  const mine = await ask(`${url}/mine/app.js`, { headers: { 'x-api-key': 'key' } })
  t.equal(mine.headers.get('cache-control'), 'private, max-age=3600')
  t.equal(mine.text, 'let it = "be"')
  t.ok(mine.headers.get('x-content-type-options'), 'with the headers of concerns')
})

t.test('supports ranges, validators and HEAD', async (t) => {
  const root = site(t)
  const app = await gateway(t, {
    routes: [{ path: '/*', proxy: { upstream: await rails(t), files: { root } } }]
  })
  const first = await app.inject('/numbers.txt')
  const cases: [headers: Record<string, string>, status: number, body: string][] = [
    [{ range: 'bytes=2-4' }, 206, '234'],
    [{ 'if-none-match': String(first.headers.etag) }, 304, ''],
    [{ 'if-modified-since': String(first.headers['last-modified']) }, 304, ''],
    [{ range: 'bytes=20-30' }, 416, '']
  ]
  for (const [headers, status, body] of cases) {
    const answer = await app.inject({ url: '/numbers.txt', headers })
    t.equal(answer.statusCode, status, JSON.stringify(headers))
    if (status !== 416) t.equal(answer.body, body)
  }
  const head = await app.inject({ method: 'HEAD', url: '/numbers.txt' })
  t.match(head, { statusCode: 200, body: '', headers: { 'content-length': '10' } })
})

t.test('prefers a file to what the cache has, and keeps it out of there', async (t) => {
  const root = site(t)
  const app = await gateway(t, {
    routes: [{ path: '/*', cache: { ttl: '1m' }, proxy: { upstream: await rails(t), files: { root } } }]
  })
  t.equal((await app.inject('/new.txt')).body, 'GET /new.txt')
  t.match((await app.inject('/new.txt')).headers['cache-status'], /hit/)
  writeFileSync(join(root, 'new.txt'), 'a file')
  const file = await app.inject('/new.txt')
  t.equal(file.body, 'a file')
  t.notOk(file.headers['cache-status'])
  rmSync(join(root, 'new.txt'))
  t.equal((await app.inject('/new.txt')).body, 'GET /new.txt')
})

t.test('runs the stages of the route on a file', async (t) => {
  const root = site(t)
  writeFileSync(join(root, 'big.json'), JSON.stringify({ secret: 1, list: 'x'.repeat(5000) }))
  const app = await gateway(t, {
    routes: [
      {
        path: '/*',
        compress: true,
        transform: { response: { omit: ['secret'] } },
        proxy: { upstream: await rails(t), files: { root } }
      }
    ]
  })
  const plain = await app.inject({ url: '/big.json', headers: { range: 'bytes=0-3' } })
  t.equal(plain.statusCode, 200, 'a stage needs the whole body')
  t.same(Object.keys(plain.json<object>()), ['list'])
  const small = await app.inject({ url: '/big.json', headers: { 'accept-encoding': 'gzip' } })
  t.equal(small.headers['content-encoding'], 'gzip')
  t.match(small.headers.vary, /accept-encoding/i)
})

t.test('leaves the connection usable after a GET with a body', async (t) => {
  const root = site(t)
  const { port } = await listening(t, {
    routes: [{ path: '/*', proxy: { upstream: await rails(t), files: { root } } }]
  })
  const one = 'GET /app.js HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello'
  const answer = await raw(port, `${one}GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`, 5000)
  t.equal(answer.match(/HTTP\/1\.1 200/g)?.length, 2)
  t.match(answer, 'GET /next')
})

t.test('forwards a WebSocket at the path of a file', async (t) => {
  const root = site(t)
  const to = await upstream(t, (_request, response) => response.writeHead(418).end())
  const { port } = await listening(t, { routes: [{ path: '/*', proxy: { upstream: to, files: { root } } }] })
  const upgrade = [
    'Host: a',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='
  ]
  const answer = await raw(port, `GET /app.js HTTP/1.1\r\n${upgrade.join('\r\n')}\r\n\r\n`, 5000)
  t.equal(statusOf(answer), 418, 'the response of the upstream')
})

t.test('sends files over HTTP/2', { skip: noOpenssl }, async (t) => {
  const { key, cert } = certificate(t)
  const root = site(t)
  const names = { cert: join(root, '..', 'cert.pem'), key: join(root, '..', 'key.pem') }
  writeFileSync(names.cert, cert)
  writeFileSync(names.key, key)
  const { port } = await listening(t, {
    tls: { certificates: [names] },
    routes: [{ path: '/*', proxy: { upstream: await rails(t), files: { root } } }]
  })
  const session = http2.connect(`https://127.0.0.1:${port}`, { ca: cert, servername: 'localhost' })
  t.teardown(() => session.close())
  for (const [path, range, status, body] of [
    ['/app.js', 'bytes=0-2', 206, 'let'],
    ['/orders', '', 200, 'GET /orders']
  ] as const) {
    const stream = session.request({ ':path': path, ...(range === '' ? {} : { range }) })
    const [headers] = await once(stream, 'response')
    t.equal(headers[':status'], status)
    t.equal(await text(stream), body)
  }
})

t.test('rejects a folder that does not exist', async (t) => {
  const proxy = { upstream: 'http://localhost:4001', files: { root: '/nowhere' } }
  await t.rejects(loadConfig({ routes: [{ path: '/*', proxy }] }, {}), {
    message: /routes\[0\]\.proxy\.files\.root: There is no folder "\/nowhere"/
  })
})
