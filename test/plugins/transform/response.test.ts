import { once } from 'node:events'
import { readdirSync, readlinkSync } from 'node:fs'
import type { IncomingMessage, RequestListener } from 'node:http'
import http from 'node:http'
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import t from 'tap'
import { gateway, listening, upstream } from '../../helpers.ts'

type Headers = Record<string, string | string[]>

/** Answers as the request's own header says: status, headers and body. */
const answer: RequestListener = (request, response) => {
  const said = String(request.headers['x-answer'] ?? '')
  const { status, headers, body } = JSON.parse(Buffer.from(said, 'base64').toString()) as {
    status: number
    headers: Headers
    body: string
  }
  response.writeHead(status, headers)
  response.end(Buffer.from(body, 'base64'))
}

const asked = (status: number, headers: Headers, body: Buffer | string): Record<string, string> => ({
  'x-answer': Buffer.from(
    JSON.stringify({ status, headers, body: Buffer.from(body as string).toString('base64') })
  ).toString('base64')
})

const JSON_TYPE = { 'content-type': 'application/json' }

t.test('changes JSON responses of any status, and the headers about their bytes', async (t) => {
  const app = await gateway(t, {
    routes: [
      {
        path: '/users/:id',
        proxy: { upstream: await upstream(t, answer) },
        transform: {
          response: { omit: ['secret', 'items.*.cost'], rename: { a: 'b' }, set: { id: '{params.id}' } }
        }
      },
      {
        path: '/list',
        proxy: { upstream: await upstream(t, answer) },
        transform: { response: { query: 'items[?n > `1`]', pick: ['n'], remove: ['none'] } }
      }
    ]
  })
  const body = '{"secret":1,"a":9007199254740993,"items":[{"cost":1,"n":1},{"cost":2,"n":2}]}'
  const changed = '{"items":[{"n":1},{"n":2}],"b":9007199254740993,"id":"7"}'
  for (const status of [200, 201, 404, 500]) {
    const headers = asked(
      status,
      {
        ...JSON_TYPE,
        'content-length': String(body.length),
        etag: '"strong"',
        'content-md5': 'x',
        'content-digest': 'x',
        'repr-digest': 'x',
        digest: 'x',
        'accept-ranges': 'bytes',
        'x-other': 'stays'
      },
      body
    )
    const response = await app.inject({ url: '/users/7', headers: { ...headers, range: 'bytes=0-9' } })
    t.equal(response.statusCode, status)
    t.equal(response.body, changed)
    t.match(response.headers, { ...JSON_TYPE, 'content-length': String(changed.length), 'x-other': 'stays' })
    for (const name of ['etag', 'content-md5', 'content-digest', 'repr-digest', 'digest', 'accept-ranges'])
      t.equal(response.headers[name], undefined, name)
  }
  const weak = await app.inject({
    url: '/users/7',
    headers: asked(200, { ...JSON_TYPE, etag: 'W/"a"' }, '{}')
  })
  t.match(weak, { headers: { etag: 'W/"a"' }, body: '{"id":"7"}' }, 'a weak ETag stays')
  const list = await app.inject({ url: '/list', headers: asked(200, JSON_TYPE, body) })
  t.equal(list.body, '[{"n":2}]')
})

t.test('what is not JSON passes, or is rejected; what can not be read never passes', async (t) => {
  const up = await upstream(t, answer)
  const route = (path: string, transform: object): object => ({ path, proxy: { upstream: up }, transform })
  const app = await gateway(t, {
    routes: [
      route('/', { response: { omit: ['secret'] }, maxBody: '1kb' }),
      route('/strict', { response: { omit: ['secret'] }, otherwise: 'reject' }),
      route('/query', { response: { query: 'abs(a)' } }),
      route('/grown', { response: { set: { '*.x': 'x'.repeat(5000) } }, maxBody: '1kb' })
    ]
  })
  const body = '{"secret":"hidden","a":1}'
  const coded = (coding: string): Headers => ({ ...JSON_TYPE, 'content-encoding': coding })
  const cases: { url?: string; status?: number; headers?: Headers; body: Buffer | string; gets?: string }[] =
    [
      { headers: coded('gzip'), body: gzipSync(body), gets: '{"a":1}' },
      { headers: coded('br'), body: brotliCompressSync(body), gets: '{"a":1}' },
      { headers: coded('zstd'), body: zstdCompressSync(body), gets: '{"a":1}' },
      { headers: coded('deflate'), body: deflateSync(body), gets: '{"a":1}' },
      { headers: coded('gzip'), body: gzipSync(body).subarray(0, -5) },
      { headers: coded('gzip'), body },
      { headers: coded('gzip, br'), body: brotliCompressSync(gzipSync(body)) },
      { headers: coded('compress'), body },
      { headers: coded('gzip'), body: gzipSync(Buffer.alloc(1025, 32)) },
      { headers: coded('gzip'), body: gzipSync(Buffer.alloc(50_000_000, 32)).subarray(0, 1024) },
      { headers: { 'content-type': 'application/problem+json' }, status: 403, body, gets: '{"a":1}' },
      { headers: { 'content-type': 'text/json; charset=utf-8' }, body, gets: '{"a":1}' },
      { headers: { 'content-type': 'application/json; charset=utf-16' }, body },
      { headers: { 'content-type': 'application/json; charset=utf-7' }, body: '{"+AHM-ecret":"hidden"}' },
      { headers: { 'content-type': ['application/json', 'text/html'] }, body },
      { headers: { 'content-type': 'application/json(garbage)' }, body },
      { headers: { 'content-type': 'text/html' }, body: '<p>', gets: '<p>' },
      { headers: { 'content-type': 'application/x-ndjson' }, body: '{}\n{}', gets: '{}\n{}' },
      { headers: {}, body: 'text', gets: 'text' },
      { url: '/strict', headers: { 'content-type': 'text/html' }, body: 'hidden' },
      { url: '/strict', headers: {}, body: 'hidden' },
      { url: '/strict', headers: { 'content-type': 'text/event-stream' }, body: 'data: hidden\n\n' },
      { url: '/strict', headers: {}, status: 204, body: '', gets: '' },
      { url: '/strict', headers: { 'content-length': '0' }, body: '', gets: '' },
      { headers: JSON_TYPE, body: '', gets: '' },
      { headers: JSON_TYPE, body: `{"a":"${'x'.repeat(1024)}"}` },
      { headers: JSON_TYPE, body: '{"secret":"hidden",}' },
      { headers: JSON_TYPE, body: Buffer.from('{"s\xe9cret":"hidden"}', 'latin1') },
      { headers: JSON_TYPE, body: `${'['.repeat(65)}${']'.repeat(65)}` },
      { headers: JSON_TYPE, body: '{"secret":"hidden","a":1,"secr\\u0065t":"hidden"}', gets: '{"a":1}' },
      { headers: JSON_TYPE, status: 206, body },
      {
        headers: { 'content-type': 'multipart/byteranges; boundary=x' },
        status: 206,
        body: `--x\r\n\r\n${body}\r\n--x--`
      },
      { headers: JSON_TYPE, status: 304, body: '', gets: '' },
      { url: '/query', headers: JSON_TYPE, body: '{"a":"hidden"}' },
      { url: '/grown', headers: JSON_TYPE, body: '[{},{}]' },
      { url: '/grown', headers: JSON_TYPE, body: '[{}]', gets: `[{"x":"${'x'.repeat(5000)}"}]` }
    ]
  for (const { url = '/', status = 200, headers = {}, body: said, gets } of cases) {
    const name = `${url} ${status} ${JSON.stringify(headers)} ${String(said).slice(0, 30)}`
    const response = await app.inject({ url, headers: asked(status, headers, said) })
    if (gets === undefined) {
      t.equal(response.statusCode, 502, name)
      t.equal(response.json<{ code: string }>().code, 'SP_ERR_TRANSFORM_RESPONSE', name)
      t.notMatch(response.body, /hidden|secret/, 'nothing of it is passed on')
    } else {
      t.equal(response.statusCode, status, name)
      t.equal(response.body, gets, name)
      t.equal(response.headers['content-encoding'], undefined)
    }
  }
})

t.test('HEAD and 304 have the headers that a GET has', async (t) => {
  const app = await gateway(t, {
    routes: [
      {
        path: '/',
        proxy: { upstream: await upstream(t, answer) },
        transform: { response: { omit: ['a'] }, otherwise: 'reject' }
      }
    ]
  })
  const headers = { ...JSON_TYPE, etag: '"strong"', 'content-length': '10', 'accept-ranges': 'bytes' }
  for (const [method, status, type] of [
    ['HEAD', 200, 'application/json'],
    ['GET', 304, 'application/json'],
    ['HEAD', 200, 'text/html']
  ] as const) {
    const response = await app.inject({
      method,
      url: '/',
      headers: asked(status, { ...headers, 'content-type': type }, '')
    })
    const isJson = type === 'application/json'
    t.equal(response.statusCode, status)
    for (const name of ['etag', 'content-length', 'accept-ranges'] as const)
      if (isJson || name !== 'content-length')
        t.equal(response.headers[name] === undefined, isJson, `${method} ${name}`)
  }
})

t.test(
  'responses of other targets are changed as well; a fallback and those of the gateway are not',
  async (t) => {
    const folder = t.testdir({ 'a.json': '{"secret":1,"a":1}' })
    const app = await gateway(t, {
      transform: { response: { omit: ['secret', 'status'] } },
      routes: [
        { path: '/respond', respond: { body: { secret: 1, a: 1 } } },
        { path: '/files/*', files: { root: folder } },
        {
          path: '/fallback',
          proxy: { upstream: 'http://127.0.0.1:1', fallback: { status: 200, body: { secret: 1, a: 1 } } }
        }
      ]
    })
    for (const url of ['/respond', '/files/a.json']) {
      const response = await app.inject({ url, headers: { range: 'bytes=0-15' } })
      t.match(response, { statusCode: 200, body: '{"a":1}', headers: { 'content-length': '7' } }, url)
    }
    t.equal((await app.inject('/fallback')).body, '{"secret":1,"a":1}', 'it is written in the config')
    t.match((await app.inject('/-/live')).body, /status|ok/, 'the health check')
    t.match((await app.inject('/nothing')).json(), { status: 404 }, 'an error of the gateway')
  }
)

t.test('event streams pass as they come', async (t) => {
  const { url } = await listening(t, {
    routes: [
      {
        path: '/',
        proxy: {
          upstream: await upstream(t, (_request, response) => {
            response.setHeader('content-type', 'text/event-stream')
            response.write('data: {"secret":1}\n\n')
          })
        },
        transform: { response: { omit: ['secret'] } }
      }
    ]
  })
  const request = http.get(url)
  request.on('error', () => {})
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const [part] = (await once(response, 'data')) as [Buffer]
  t.equal(String(part), 'data: {"secret":1}\n\n')
  request.destroy()
})

t.test('what is held is counted and given back', async (t) => {
  let body: Buffer = Buffer.alloc(0)
  const stalled = Promise.withResolvers<void>()
  const { app, url } = await listening(t, {
    overload: { buffers: '1mb' },
    routes: [
      {
        path: '/*',
        proxy: {
          upstream: await upstream(t, (request, response) => {
            response.writeHead(200, {
              ...JSON_TYPE,
              ...(request.url === '/gzip' ? { 'content-encoding': 'gzip' } : {})
            })
            if (request.url === '/stalled') response.write(body, () => stalled.resolve())
            else response.end(body)
          })
        },
        transform: { response: { omit: ['secret'] }, maxBody: '2mb' }
      }
    ]
  })
  body = Buffer.from(JSON.stringify({ a: 'x'.repeat(1_500_000) }))
  for (const [path, size, coded] of [
    ['/large', 1_500_000, false],
    ['/twice', 600_000, false],
    ['/gzip', 10, true]
  ] as const) {
    const json = JSON.stringify({ a: 'x'.repeat(size) })
    body = coded ? gzipSync(json) : Buffer.from(json)
    const response = await fetch(url + path)
    t.equal(response.status, 503, path)
    t.match(await response.json(), { code: 'SP_ERR_OVERLOAD_BUFFERS' })
    t.equal(app.buffers.held, 0)
  }
  body = Buffer.from(JSON.stringify({ a: 'x'.repeat(100_000) }))
  t.equal((await (await fetch(`${url}/small`)).text()).length, body.length)
  t.equal(app.buffers.held, 0)

  const request = http.get(`${url}/stalled`)
  request.on('error', () => {})
  await stalled.promise
  while (app.buffers.held === 0) await new Promise(setImmediate)
  request.destroy()
  while (app.buffers.held > 0) await new Promise(setImmediate)
  t.equal(app.buffers.held, 0, 'also when the client leaves')
})

t.test('one byte a chunk takes no more memory than the body', async (t) => {
  const json = `[${'1,'.repeat(20_000)}{"secret":1}]`
  const { app, url } = await listening(t, {
    routes: [
      {
        path: '/',
        proxy: {
          upstream: await upstream(t, (_request, response) => {
            response.writeHead(200, JSON_TYPE)
            for (const char of json) response.write(char)
            response.end()
          })
        },
        transform: { response: { omit: ['*.secret'] } }
      }
    ]
  })
  const response = await fetch(url)
  t.equal(await response.text(), json.replace('"secret":1', ''))
  t.equal(app.buffers.held, 0)
})

t.test('a response that breaks off is an error, not half a body', async (t) => {
  const app = await gateway(t, {
    routes: [
      {
        path: '/',
        proxy: {
          upstream: await upstream(t, (_request, response) => {
            response.writeHead(200, { ...JSON_TYPE, 'content-length': '100' })
            response.write('{"a":1}', () => response.destroy())
          })
        },
        transform: { response: { omit: ['secret'] } }
      }
    ]
  })
  t.match(await app.inject('/'), { statusCode: 502 })
})

t.test('a response that is refused leaves no file and no connection open', async (t) => {
  const folder = t.testdir({ 'a.txt': 'text', 'a.json': `"${'x'.repeat(100_000)}"` })
  const closed = Promise.withResolvers<void>()
  const up = await upstream(t, (_request, response) => {
    response.writeHead(200, { ...JSON_TYPE, 'content-length': '1000000000' })
    response.write(Buffer.alloc(200_000))
    response.on('close', closed.resolve)
  })
  const transform = { response: { omit: ['a'] }, otherwise: 'reject', maxBody: '1kb' }
  const { url } = await listening(t, {
    routes: [
      { path: '/files/*', files: { root: folder }, transform },
      { path: '/proxied', proxy: { upstream: up }, transform }
    ]
  })
  const openFiles = (): string[] =>
    readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`)].filter((file) => file.startsWith(folder))
      } catch {
        return []
      }
    })
  for (const path of ['/files/a.txt', '/files/a.json', '/proxied']) {
    const response = await fetch(url + path)
    t.match([response.status, await response.json()], [502, { code: 'SP_ERR_TRANSFORM_RESPONSE' }], path)
  }
  await closed.promise
  while (openFiles().length > 0) await new Promise(setImmediate)
  t.same(openFiles(), [])
})
