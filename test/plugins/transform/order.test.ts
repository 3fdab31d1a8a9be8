import { once } from 'node:events'
import { connect } from 'node:net'
import { gunzipSync } from 'node:zlib'
import type { LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { bodyOf, gateway, listening, type Seen, upstream } from '../../helpers.ts'

const JSON_TYPE = { 'content-type': 'application/json' }

t.test('a request is validated, then transformed; a response is transformed, then compressed', async (t) => {
  const long = 'x'.repeat(5000)
  const app = await gateway(t, {
    routes: [
      {
        path: '/',
        proxy: {
          upstream: await upstream(t, (request, response) => {
            void bodyOf(request).then((body) => {
              response.setHeader('content-type', 'application/json')
              response.end(JSON.stringify({ seen: String(body), secret: 'hidden', long }))
            })
          })
        },
        validate: { body: { required: ['a'], properties: { b: false } } },
        transform: { request: { rename: { a: 'b' } }, response: { omit: ['secret'] } },
        compress: true
      }
    ]
  })
  const post = (payload: string): Promise<LightMyRequestResponse> =>
    app.inject({ method: 'POST', url: '/', headers: { ...JSON_TYPE, 'accept-encoding': 'gzip' }, payload })
  t.match((await post('{"b":1}')).json(), { status: 400, code: 'SP_ERR_VALIDATE_INVALID' })
  const response = await post('{"a":1}')
  t.match(response, { statusCode: 200, headers: { 'content-encoding': 'gzip', vary: /accept-encoding/i } })
  t.equal(String(gunzipSync(response.rawPayload)), JSON.stringify({ seen: '{"b":1}', long }))
  t.equal(response.headers['content-length'], String(response.rawPayload.length))
})

t.test('a changed body is sent again by a retry, and copied to a mirror', async (t) => {
  const copies: string[] = []
  const copied = Promise.withResolvers<void>()
  const mirror = await upstream(t, (request, response) => {
    void bodyOf(request).then((body) => {
      copies.push(`${request.headers['content-length']} ${String(body)}`)
      response.end()
      copied.resolve()
    })
  })
  let failures = 0
  const app = await gateway(t, {
    routes: [
      {
        path: '/',
        proxy: {
          upstream: await upstream(t, (request, response) => {
            void bodyOf(request).then((body) => {
              response.writeHead(failures++ === 0 ? 503 : 200, JSON_TYPE)
              response.end(JSON.stringify({ body: String(body), headers: request.headers }))
            })
          }),
          mirror: { upstream: mirror },
          retry: { attempts: 2, on: ['503'] }
        },
        transform: { request: { omit: ['b'] } }
      }
    ]
  })
  const response = await app.inject({ method: 'PUT', url: '/', headers: JSON_TYPE, payload: '{"a":1,"b":2}' })
  t.match(response.json<Seen>(), { body: '{"a":1}', headers: { 'content-length': '7' } })
  t.equal(failures, 2)
  await copied.promise
  t.same(copies, ['7 {"a":1}'])
})

t.test('the next request on the connection is read where this one ended', async (t) => {
  const { port } = await listening(t, {
    routes: [{ path: '/*', proxy: { upstream: await upstream(t) }, transform: { request: { omit: ['b'] } } }]
  })
  const socket = connect(port, '127.0.0.1')
  const chunked =
    'POST /1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n'
  socket.write(`${chunked}d\r\n{"a":1,"b":2}\r\n0\r\n\r\n`)
  socket.write(
    'POST /2 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"b":2}'
  )
  socket.write('GET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  let seen = ''
  socket.on('data', (data) => {
    seen += String(data)
  })
  await once(socket, 'close')
  t.equal(seen.match(/HTTP\/1\.1 200/g)?.length, 3)
  for (const part of ['"url":"/1"', '"body":"{\\"a\\":1}"', '"url":"/2"', '"body":"{}"', '"url":"/3"'])
    t.ok(seen.includes(part), part)
})

t.test('routes without an upstream ignore what becomes of the request', async (t) => {
  const app = await gateway(t, {
    transform: { request: { omit: ['b'] } },
    routes: [{ path: '/', respond: { body: { a: 1 } } }]
  })
  t.match(await app.inject({ method: 'POST', url: '/', headers: JSON_TYPE, payload: '{"b":1}' }), {
    statusCode: 200
  })
})
