import type { RequestListener } from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { authority } from '../certificates.ts'
import { bodyOf, listening, noOpenssl, readableLog, type Scope, upstream } from '../helpers.ts'
import { http2Service } from './aggregate/services.ts'

// Features that read whole bodies, each over HTTP/1.1 and HTTP/2 on either side.

const document = JSON.stringify({
  openapi: '3.1.0',
  info: { title: 'Shop', version: '1' },
  paths: {
    '/items/{id}': {
      parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'integer' } }],
      get: {
        operationId: 'getItem',
        responses: {
          200: {
            description: 'An item',
            content: { 'application/json': { schema: { type: 'object', required: ['id'] } } }
          }
        }
      },
      put: {
        operationId: 'putItem',
        requestBody: {
          required: true,
          content: {
            'application/json': {
              schema: { type: 'object', required: ['name'], properties: { name: { type: 'string' } } }
            }
          }
        }
      }
    }
  }
})

const service: RequestListener = (request, response) => {
  void bodyOf(request).then((body) => {
    const { method, url = '' } = request
    response.setHeader('content-type', 'application/json')
    if (url.endsWith('/9')) response.end('{"broken":true}')
    else response.end(JSON.stringify({ id: 1, method, url, body: body.toString() }))
  })
}

interface Asked {
  readonly method: string
  readonly path: string
  readonly body?: string
}

type Ask = (asked: Asked) => Promise<{ status: number; text: string }>

/** Makes a client of one version of HTTP over TLS. */
function clientOf(t: Scope, version: 1 | 2, port: number): Ask {
  const headersOf = (body: string | undefined): Record<string, string> =>
    body === undefined ? {} : { 'content-type': 'application/json' }
  if (version === 1)
    return async ({ method, path, body }) => {
      const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>()
      const request = https.request(
        { port, host: 'localhost', method, path, headers: headersOf(body), rejectUnauthorized: false },
        (response) => {
          text(response).then((all) => resolve({ status: response.statusCode ?? 0, text: all }), reject)
        }
      )
      request.on('error', reject)
      request.end(body)
      return promise
    }
  const session = http2.connect(`https://localhost:${port}`, { rejectUnauthorized: false })
  t.teardown(() => session.close())
  return async ({ method, path, body }) => {
    const stream = session.request({ ':method': method, ':path': path, ...headersOf(body) })
    let status = 0
    stream.on('response', (headers) => {
      status = Number(headers[':status'])
    })
    stream.end(body)
    return { text: await text(stream), status }
  }
}

const cases: [name: string, asked: Asked, status: number, expected: RegExp][] = [
  ['an operation', { method: 'GET', path: '/shop/items/1' }, 200, /"url":"\/items\/1"/],
  ['an invalid parameter', { method: 'GET', path: '/shop/items/x' }, 400, /SP_ERR_VALIDATE/],
  [
    'a valid body',
    { method: 'PUT', path: '/shop/items/1', body: '{"name":"a"}' },
    200,
    /{\\"name\\":\\"a\\"}/
  ],
  ['an invalid body', { method: 'PUT', path: '/shop/items/1', body: '{"name":1}' }, 400, /SP_ERR_VALIDATE/],
  ['no such operation', { method: 'DELETE', path: '/shop/items/1' }, 405, /SP_ERR_ROUTE_METHOD/],
  [
    'an invalid response, which is reported',
    { method: 'GET', path: '/shop/items/9' },
    200,
    /^{"broken":true}$/
  ],
  ['two legs', { method: 'GET', path: '/both' }, 200, /^{"a":{"id":1.*},"b":{"broken":true}}$/],
  ['a body for a leg', { method: 'POST', path: '/sent', body: '{"x":[1]}' }, 200, /{\\"y\\":\[1\]}/],
  ['a changed response', { method: 'GET', path: '/changed' }, 200, /^{"id":1}$/]
]

for (const client of [1, 2] as const)
  for (const server of [1, 2] as const)
    t.test(`client over HTTP/${client}, upstream over HTTP/${server}`, { skip: noOpenssl }, async (t) => {
      const { certFile: cert, keyFile: key } = authority(t).issue('/CN=localhost', 'DNS:localhost')
      const url = server === 1 ? await upstream(t, service) : await http2Service(t, service)
      const folder = t.testdir({ 'shop.json': document })
      const { log, lines } = readableLog('warn')
      const { port } = await listening(
        t,
        {
          tls: { certificates: [{ cert, key }] },
          upstreams: { up: { url, http2: server === 2 } },
          routes: [
            {
              path: '/shop',
              operations: `${folder}/shop.json`,
              validate: { response: true },
              proxy: { upstream: 'up', rewrite: '/' }
            },
            {
              path: '/both',
              aggregate: {
                legs: { a: { upstream: 'up', path: '/items/1' }, b: { upstream: 'up', path: '/items/9' } }
              }
            },
            {
              path: '/sent',
              methods: ['POST'],
              aggregate: {
                legs: {
                  a: { upstream: 'up', path: '/a', method: 'POST', body: { y: '{body.x}' } }
                }
              }
            },
            {
              path: '/changed',
              transform: { response: { pick: ['id'] } },
              proxy: { upstream: 'up' }
            }
          ]
        } as never,
        { log }
      )
      const ask = clientOf(t, client, port)
      for (const [name, asked, status, expected] of cases) {
        const response = await ask(asked)
        t.equal(response.status, status, name)
        t.match(response.text.trim(), expected, name)
      }
      const reported = lines.filter(({ msg }) => /does not match/.test(String(msg)))
      // The document has no response of the PUT.
      t.strictSame(
        reported.map(({ method, keyword }) => [method, keyword]),
        [
          ['PUT', 'status'],
          ['GET', 'required']
        ]
      )
    })
