import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http2 from 'node:http2'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { certificate, gateway, listening, noOpenssl, raw, statusOf, upstream } from '../../helpers.ts'

interface BodyCase {
  readonly id: string
  readonly group: string
  readonly raw: string
  readonly expect: { readonly status?: readonly number[] }
}

t.test('what parsers of bodies have read wrongly is refused, or passes byte for byte', async (t) => {
  const file = fileURLToPath(new URL('../../cases/cases.json', import.meta.url))
  const cases = (JSON.parse(readFileSync(file, 'utf8')) as readonly BodyCase[]).filter(
    (each) => each.group === 'body-parsing' && each.raw.startsWith('POST /public/x')
  )
  t.ok(cases.length >= 7)
  const bodies: string[] = []
  const origin = await upstream(t, (request, response) => {
    void text(request).then((body) => {
      bodies.push(body)
      response.end()
    })
  })
  const { port } = await listening(t, {
    routes: [{ path: '/public/*', validate: { body: { type: 'object' } }, proxy: { upstream: origin } }]
  })
  for (const { id, raw: request, expect } of cases) {
    bodies.length = 0
    const status = statusOf(await raw(port, request.replaceAll('{{HOST}}', `127.0.0.1:${port}`)))
    // Without a schema of the body, the gateway has no opinion of it.
    const allowed = id === 'body-invalid-json-passthrough' ? [400] : (expect.status ?? [])
    t.ok(allowed.includes(status), `${id}: ${status}`)
    t.strictSame(bodies, status === 200 ? [request.split('\r\n\r\n')[1]] : [], id)
  }
})

t.test('validates over HTTP/2 on both sides', { skip: noOpenssl }, async (t) => {
  const { cert, key } = certificate(t)
  const folder = t.testdir({ 'c.pem': cert, 'k.pem': key })
  const up = http2.createServer()
  up.on('stream', (stream) => {
    void text(stream).then((body) => {
      stream.respond({ ':status': 200, 'content-type': 'application/json' })
      stream.end(body)
    })
  })
  up.listen(0, '127.0.0.1')
  await once(up, 'listening')
  t.teardown(() => up.close())
  const { port } = await listening(t, {
    tls: { certificates: [{ cert: join(folder, 'c.pem'), key: join(folder, 'k.pem') }] },
    upstreams: { up: { url: `http://127.0.0.1:${(up.address() as { port: number }).port}`, http2: true } },
    routes: [
      {
        path: '/*',
        validate: {
          query: { properties: { n: { type: 'integer' } } },
          body: { required: ['a'], properties: { a: { type: 'integer' } } }
        },
        proxy: { upstream: 'up' }
      }
    ]
  })
  const client = http2.connect(`https://localhost:${port}`, { ca: cert })
  t.teardown(() => client.close())
  for (const [path, body, status] of [
    ['/?n=1', '{ "a": 1 }', 200],
    ['/?n=x', '{ "a": 1 }', 400],
    ['/?n=1', '{ "a": "x" }', 400],
    ['/?n=1', '{ "a": 1, "a": 2 }', 400]
  ] as const) {
    const stream = client.request({ ':path': path, ':method': 'POST', 'content-type': 'application/json' })
    stream.end(body)
    const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
    t.equal(head[':status'], status, `${path} ${body}`)
    const answer = await text(stream)
    if (status === 200) t.equal(answer, body)
  }
})

t.test('public documents of each version are routes, and validate', async (t) => {
  const examples = dirname(fileURLToPath(import.meta.resolve('@readme/oas-examples/package.json')))
  const read = (name: string): Record<string, unknown> =>
    JSON.parse(readFileSync(join(examples, name), 'utf8')) as Record<string, unknown>
  const train = read('3.1/json/train-travel.json')
  const origin = await upstream(t, ({ method, url }, response) => void response.end(`${method} ${url}`))
  const booking = { trip_id: 'x' }
  type Call = [method: 'GET' | 'POST' | 'DELETE', url: string, status: number, payload?: object]
  const trains: readonly Call[] = [
    ['GET', '/stations', 200],
    ['GET', '/trips?date=today', 400],
    ['POST', '/bookings', 400, booking],
    ['POST', '/bookings', 200, { trip_id: '4f4e4e1f-c824-4d63-b37a-d8d698862f1d', passenger_name: 'Ada' }],
    ['DELETE', '/stations', 405],
    ['GET', '/planes', 404]
  ]
  const pets: readonly Call[] = [
    ['GET', '/pet/7', 200],
    ['GET', '/pet/x', 400],
    ['POST', '/pet', 400, { name: 1 }],
    ['POST', '/pet', 200, { name: 'a', photoUrls: [] }],
    ['GET', '/pets', 404]
  ]
  for (const [document, calls] of [
    [read('3.0/json/petstore.json'), pets],
    [train, trains],
    [{ ...train, openapi: '3.2.0' }, trains]
  ] as const) {
    const folder = t.testdir({ 'api.json': JSON.stringify(document) })
    const file = `${folder}/api.json`
    for (const [way, route] of [
      ['operations', { path: '/api', operations: file, proxy: { upstream: origin } }],
      [
        'openapi',
        { path: '/api/*', validate: { openapi: file, undeclared: 'reject' }, proxy: { upstream: origin } }
      ]
    ] as const) {
      const app = await gateway(t, { routes: [route] })
      for (const [method, url, status, payload] of calls) {
        const answer = await app.inject({
          method,
          url: `/api${url}`,
          ...(payload === undefined ? {} : { payload })
        })
        t.equal(
          answer.statusCode,
          status,
          `${String(document['openapi'])} ${way}: ${method} ${url} ${answer.body.slice(0, 200)}`
        )
      }
    }
  }
})
