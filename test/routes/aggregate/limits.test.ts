import { once } from 'node:events'
import { Agent, request as send } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { text } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { certificate, gateway, listening, noOpenssl, type Seen, upstream } from '../../helpers.ts'
import { service } from './services.ts'

t.test('bodies count against "overload.buffers": what does not fit is a 503 with Retry-After', async (t) => {
  const json = JSON.stringify('x'.repeat(60_000))
  const hungry = `[${'{},'.repeat(20_000)}{}]`
  const url = await service(t, {
    '/big': json,
    '/hungry': hungry,
    '/gzip': (_request, response) =>
      void response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(json)),
    '/list': '[1,2,3,4]',
    '/500': 500,
    '/small': '{}'
  })
  const leg = { upstream: 'up', path: '/big' }
  const cases: readonly [name: string, legs: object, status: number, more?: object][] = [
    ['what fits', { a: { ...leg, path: '/small' } }, 200],
    ['two large legs', { a: leg, b: leg }, 503],
    ['optional ones, too', { a: { ...leg, required: false }, b: { ...leg, fallback: 1 } }, 503],
    [
      'a list of large items',
      { list: { ...leg, path: '/list' }, x: { ...leg, path: '/big?{item}', each: '{legs.list}' } },
      503
    ],
    ['a value far larger than its text', { a: { ...leg, path: '/hungry', first: true } }, 503],
    ['a leg that is decoded', { a: { ...leg, path: '/gzip', maxBody: '1mb' } }, 503],
    [
      'the body of a leg',
      { a: { ...leg, maxBody: '64kb' }, b: { ...leg, path: '/small', method: 'POST', body: '{legs.a}' } },
      503
    ],
    ['merged objects', { a: { ...leg, path: '/small' } }, 200, { merge: ['a'] }],
    ['a required leg that fails', { a: { ...leg, path: '/500' }, b: { ...leg, path: '/small' } }, 502]
  ]
  const app = await gateway(t, {
    upstreams: { up: { url } },
    overload: { buffers: '100kb' },
    routes: cases.map(([, legs, , more], i) => ({ path: `/${i}`, aggregate: { legs, ...more } }))
  })
  for (const [i, [name, , status]] of cases.entries()) {
    const response = await app.inject(`/${i}`)
    t.equal(response.statusCode, status, name)
    if (status === 503)
      t.match([response.json().code, response.headers['retry-after']], ['SP_ERR_OVERLOAD_BUFFERS', '1'], name)
    t.equal(app.buffers.held, 0, `${name}: everything is given back`)
  }
})

t.test('the client body is bounded by "limits.body", and its connection goes on', async (t) => {
  const { app, port } = await listening(t, {
    upstreams: { up: { url: await upstream(t) } },
    limits: { body: '2kb' },
    overload: { buffers: '3kb' },
    routes: [
      {
        path: '/',
        methods: ['POST'],
        aggregate: { legs: { a: { upstream: 'up', path: '/', method: 'POST', body: '{body}' } } }
      },
      {
        path: '/json',
        methods: ['POST'],
        aggregate: { legs: { a: { upstream: 'up', path: '/?{body.x}' } } }
      },
      { path: '/none', methods: ['POST'], aggregate: { legs: { a: { upstream: 'up', path: '/' } } } }
    ]
  })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const post = async (
    path: string,
    body: string,
    chunked: boolean
  ): Promise<{ status: number | undefined; body: string }> => {
    const request = send({ port, path, method: 'POST', agent })
    request.on('error', () => {})
    if (chunked) request.write(body.slice(0, 10))
    request.end(chunked ? body.slice(10) : body)
    const [response] = await once(request, 'response')
    return { status: response.statusCode, body: await text(response) }
  }
  const cases: readonly [path: string, body: string, status: number][] = [
    ['/', 'x'.repeat(100), 200],
    ['/', 'x'.repeat(3000), 413],
    ['/', 'x'.repeat(100), 200],
    ['/json', '{"x":1}', 200],
    ['/json', 'x'.repeat(100), 400],
    ['/json', '{"x":1}', 200],
    ['/json', `{"x":1,"y":[${'{},'.repeat(300)}{}]}`, 503],
    ['/json', '{"x":1}', 200],
    ['/none', 'x'.repeat(1000), 200],
    ['/none', 'x'.repeat(1000), 200]
  ]
  for (const chunked of [false, true])
    for (const [path, body, status] of cases)
      t.equal(
        (await post(path, body, chunked)).status,
        status,
        `${path} ${body.slice(0, 12)}, chunked: ${chunked}`
      )
  t.equal(app.buffers.held, 0)
})

t.test('clients over HTTP/2', { skip: noOpenssl }, async (t) => {
  const { key, cert, ca } = certificate(t)
  t.ok(key.length > 0 && cert.length > 0)
  const large = JSON.stringify('x'.repeat(200_000))
  const url = await upstream(t, (request, response) => {
    if (request.url === '/large') response.end(large)
    else if (request.url === '/hangs') request.socket.on('close', () => {})
    else {
      let body = ''
      request.on('data', (chunk) => {
        body += chunk
      })
      request.on('end', () =>
        response.end(JSON.stringify({ method: request.method, body, headers: request.headers }))
      )
    }
  })
  const { app, port } = await listening(t, {
    tls: { certificates: [{ cert: ca, key: ca.replace('.pem', '.key') }] },
    routes: [
      {
        path: '/',
        methods: ['GET', 'POST'],
        aggregate: {
          legs: {
            echo: { upstream: url, path: '/echo', method: 'POST', body: '{body}' },
            large: { upstream: url, path: '/large' }
          }
        }
      },
      { path: '/hangs', aggregate: { legs: { a: { upstream: url, path: '/hangs' } } } }
    ]
  })
  const session = connectHttp2(`https://localhost:${port}`, {
    ca: (await import('node:fs')).readFileSync(ca)
  })
  t.teardown(() => session.close())
  for (const [method, length] of [
    ['POST', large.length],
    ['HEAD', 0]
  ] as const) {
    const stream = session.request({ ':path': '/', ':method': method, cookie: ['a=1', 'b=2'] })
    stream.end(method === 'POST' ? 'hello' : undefined)
    const [headers] = await once(stream, 'response')
    const body = await text(stream)
    t.equal(headers[':status'], 200)
    if (length === 0) t.equal(body, '')
    else {
      const { echo, large } = JSON.parse(body) as { echo: Seen; large: string }
      t.match([echo.body, echo.headers['cookie'], large.length], ['hello', 'a=1; b=2', 200_000])
    }
  }
  const left = session.request({ ':path': '/hangs' })
  left.end()
  await new Promise((resolve) => setTimeout(resolve, 50))
  left.close(8)
  await once(left, 'close')
  while (app.buffers.held > 0) await new Promise(setImmediate)
  t.equal(app.buffers.held, 0)
})
