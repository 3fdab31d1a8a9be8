import { once } from 'node:events'
import http, { createServer, type IncomingMessage } from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { loadConfig } from '../../../src/index.ts'
import { authority } from '../../certificates.ts'
import { gateway, listening, noOpenssl, originOf, type Scope, upstream } from '../../helpers.ts'

/** Starts a service that knows itself as "minio", and tells the Host and SNI of what it is asked. */
async function minio(t: Scope, server: http.Server | https.Server): Promise<string> {
  server.on('upgrade', ({ headers }: IncomingMessage, socket) =>
    socket.end(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Host: ${headers.host}\r\n\r\n`
    )
  )
  return originOf(t, server)
}

const sayHost: http.RequestListener = ({ headers }, response) =>
  void response.setHeader('x-host', headers.host ?? '').end(JSON.stringify(headers.host))

t.test('sends the host of an upstream in requests, WebSockets, legs and mirrored requests', async (t) => {
  const mirrored = Promise.withResolvers<string | undefined>()
  const url = await minio(t, createServer(sayHost))
  const shadow = await upstream(t, ({ headers }, response) => {
    mirrored.resolve(headers.host)
    response.end()
  })
  const { port, url: front } = await listening(t, {
    upstreams: { files: { url, host: 'minio' }, shadow: { url: shadow, host: 'shadow:9000' } },
    routes: [
      { path: '/own', proxy: { upstream: 'files' } },
      { path: '/preserved', proxy: { upstream: 'files', preserveHost: true } },
      { path: '/mirrored', proxy: { upstream: 'files', mirror: { upstream: 'shadow' } } },
      { path: '/legs', aggregate: { legs: { one: { upstream: 'files', path: '/x', format: 'json' } } } }
    ]
  })
  for (const [path, body] of Object.entries({
    own: '"minio"',
    preserved: `"127.0.0.1:${port}"`,
    mirrored: '"minio"',
    legs: '{"one":"minio"}'
  }))
    t.equal(await (await fetch(`${front}/${path}`)).text(), body, path)
  t.equal(await mirrored.promise, 'shadow:9000')
  const shake = http.get(`${front}/own`, { headers: { connection: 'upgrade', upgrade: 'websocket' } })
  const [answer] = (await once(shake, 'upgrade')) as [IncomingMessage]
  t.equal(answer.headers['x-host'], 'minio', 'WebSocket')
})

t.test('checks the health by the host, unless the check has its own', async (t) => {
  for (const [health, expected] of [
    [{ path: '/healthz' }, 'minio'],
    [{ path: '/healthz', host: 'checks' }, 'checks']
  ] as const) {
    const checked = Promise.withResolvers<string | undefined>()
    const url = await upstream(t, ({ headers }, response) => {
      checked.resolve(headers.host)
      response.end()
    })
    const app = await gateway(t, {
      upstreams: { files: { url, host: 'minio', health } },
      routes: [{ path: '/*', proxy: { upstream: 'files' } }]
    })
    await app.ready()
    t.equal(await checked.promise, expected)
  }
})

t.test('sends the host as :authority over HTTP/2', async (t) => {
  const server = http2.createServer()
  server.on('stream', (stream, headers) => {
    stream.respond()
    stream.end(headers[':authority'])
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const app = await gateway(t, {
    upstreams: {
      files: {
        url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
        http2: true,
        host: 'minio:9000'
      }
    },
    routes: [{ path: '/*', proxy: { upstream: 'files' } }]
  })
  t.teardown(() => server.close())
  t.equal((await app.inject('/x')).body, 'minio:9000')
})

t.test(
  'uses the host as the name in TLS, and verifies the certificate for it',
  { skip: noOpenssl },
  async (t) => {
    const ca = authority(t)
    const { cert, key } = ca.issue('/CN=minio', 'DNS:minio')
    const server = https.createServer({ cert, key }, (request, response) =>
      response.end(
        `${request.headers.host} ${String((request.socket as { servername?: unknown }).servername)}`
      )
    )
    const url = (await minio(t, server)).replace('http:', 'https:')
    const tls = { ca: ca.certFile }
    const upstreams = {
      named: { url, host: 'minio:9000', tls },
      negotiated: { url, host: 'minio', http2: true, tls },
      other: { url, host: 'other', tls },
      nameless: { url, tls },
      serverName: { url, host: 'other', tls: { ...tls, serverName: 'minio' } },
      address: { url, host: '127.0.0.1', tls }
    }
    const app = await gateway(t, {
      upstreams,
      routes: Object.keys(upstreams).map((name) => ({ path: `/${name}`, proxy: { upstream: name } }))
    })
    for (const [name, expected] of Object.entries({
      named: 'minio:9000 minio',
      negotiated: 'minio minio',
      other: 502,
      nameless: 502,
      serverName: 'other minio',
      address: 502
    })) {
      const { statusCode, body } = await app.inject(`/${name}`)
      t.equal(statusCode === 200 ? body : statusCode, expected, name)
    }
  }
)

t.test('rewrites the host and the address in responses as the own ones of the upstream', async (t) => {
  const url = await upstream(t, (request, response) => {
    const [location = '', cookie = ''] = JSON.parse(String(request.headers['x-answer'])) as string[]
    response.writeHead(302, { location, 'set-cookie': cookie }).end()
  })
  const { host: address, port } = new URL(url)
  const app = await gateway(t, {
    upstreams: { files: { url, host: 'minio' } },
    routes: [{ path: '/s3/*', proxy: { upstream: 'files', rewrite: '/' } }]
  })
  const cases: [location: string, domain: string, path: string, cookie: string][] = [
    ['http://minio/a', 'minio', '/s3/a', 'a=1; Path=/s3'],
    ['http://MINIO/a?b', '.minio', '/s3/a?b', 'a=1; Path=/s3'],
    [`http://minio:${port}/a`, '127.0.0.1', '/s3/a', 'a=1; Path=/s3'],
    [`http://${address}/a`, 'minio', '/s3/a', 'a=1; Path=/s3'],
    ['//minio/a', 'minio', '/s3/a', 'a=1; Path=/s3'],
    ['http://minio:1/a', 'minio.test', 'http://minio:1/a', 'a=1; Domain=minio.test; Path=/s3'],
    ['http://other/a', 'other', 'http://other/a', 'a=1; Domain=other; Path=/s3']
  ]
  for (const [location, domain, path, cookie] of cases) {
    const { headers } = await app.inject({
      url: '/s3/x',
      headers: { 'x-answer': JSON.stringify([location, `a=1; Domain=${domain}; Path=/`]) }
    })
    t.equal(headers.location, path, location)
    t.equal(headers['set-cookie'], cookie, domain)
  }
})

t.test('refuses what is no host', async (t) => {
  for (const host of ['http://minio', 'minio/x', 'a b', '', 'minio:', 'm{path}'])
    await t.rejects(
      loadConfig(
        {
          upstreams: { files: { url: 'http://localhost:1', host } },
          routes: [{ path: '/', proxy: { upstream: 'files' } }]
        },
        {}
      ),
      /expected a host such as "minio" or "minio:9000"/,
      host
    )
})
