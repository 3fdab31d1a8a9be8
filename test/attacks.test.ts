// What attackers tried and once got: each test is named for what it pins.
import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import http2 from 'node:http2'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import t from 'tap'
import {
  ask,
  certificate,
  gateway,
  listening,
  noOpenssl,
  raw,
  readableLog,
  type Scope,
  statusOf,
  upstream
} from './helpers.ts'

const shake = (path: string): string =>
  `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`
const plain = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`

/** Opens a connection to a port and writes to it. */
async function open(t: Scope, port: number, bytes: string): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  socket.write(bytes)
  return socket
}

/** Starts an upstream of raw bytes. */
async function rawServer(t: Scope, serve: (socket: Socket) => void): Promise<string> {
  const server = createServer((socket) => serve(socket.on('error', () => {}))).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('a request to switch protocols behind an unanswered one waits for its turn', async (t) => {
  const { port, url } = await listening(t, {
    routes: [{ path: '/*', proxy: { upstream: await upstream(t) } }]
  })
  const answers = await raw(port, plain('/one') + shake('/two'))
  t.equal(answers.match(/HTTP\/1\.1 200/g)?.length, 2, 'both are answered')
  t.equal((await ask(`${url}/three`)).status, 200, 'and the process lives')
})

t.test('a CONNECT that is reset does not end the process', async (t) => {
  const { port, url } = await listening(t, { routes: [{ path: '/*', respond: { body: 'here' } }] })
  for (let i = 0; i < 30; i++) {
    const socket = await open(t, port, `CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n${'x'.repeat(2000 * i)}`)
    socket.resetAndDestroy()
  }
  t.equal((await ask(`${url}/x`)).text, 'here')
})

t.test('connections that the parser left are closed after a refusal, whatever the client does', async (t) => {
  const { port, served } = await listening(t, {
    routes: [{ path: '/*', methods: ['POST'], proxy: { upstream: await upstream(t) } }]
  })
  for (const bytes of ['CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n', shake('/nope')]) {
    const socket = await open(t, port, bytes)
    socket.resume()
    socket.write('ten bytes.')
    await once(socket, 'end')
    t.pass('the gateway closed its side')
  }
  t.equal(await served.drain(), true, 'and a drain has nothing to wait for')
})

t.test('a drain ends open WebSockets with "going away" once its time is over', async (t) => {
  const origin = await rawServer(t, (socket) => {
    socket.once('data', () =>
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    )
  })
  const { port, served } = await listening(
    t,
    { routes: [{ path: '/*', proxy: { upstream: origin } }] },
    { drainTimeout: 50 }
  )
  const socket = await open(t, port, shake('/ws'))
  await once(socket, 'data')
  const frame = once(socket, 'data') as Promise<[Buffer]>
  const drained = served.drain()
  t.strictSame([...(await frame)[0]], [0x88, 0x02, 0x03, 0xe9])
  socket.destroy()
  t.equal(await drained, false)
})

t.test('no path reaches the routes of another host, or an internal path of the router', async (t) => {
  const { port } = await listening(t, {
    routes: [
      { path: '/internal', host: ['internal.example'], respond: { body: 'inside' } },
      { path: '/wild', host: ['*.internal.example'], respond: { body: 'inside' } }
    ]
  })
  for (const path of [
    '/%20internal.example/internal',
    '/%01internal.example/internal',
    '/ internal.example/internal',
    '//internal.example/internal',
    '/%2501internal.example/internal',
    '/%20.internal.example/wild'
  ])
    t.notMatch(await raw(port, plain(path, 'Connection: close\r\n')), /inside/, path)
  for (const path of ['/%20refused', '/%01refused'])
    t.notMatch(await raw(port, plain(path, 'Connection: close\r\n')), /^HTTP\/1\.1 200/)
})

t.test('a gate holds for every spelling of its path', async (t) => {
  const app = await listening(t, {
    auth: { global: false, apiKeys: { list: [{ id: 'alice', secret: 'key' }] } },
    routes: [
      { path: '/reg/*', respond: { body: 'open' } },
      { path: '/reg/@scope/*', auth: true, respond: { body: 'gated' } },
      { path: '/reg/things:batch', auth: true, respond: { body: 'gated' } },
      { path: '/reg/x%40y', auth: true, respond: { body: 'gated' } },
      { path: '/reg/caf%C3%A9', auth: true, respond: { body: 'gated' } }
    ]
  })
  for (const path of [
    '/reg/@scope/x',
    '/reg/%40scope/x',
    '/reg/things:batch',
    '/reg/things%3Abatch',
    '/reg/things%3abatch',
    '/reg/x@y',
    '/reg/x%40y',
    '/reg/caf%C3%A9',
    '/reg/caf%c3%a9'
  ])
    t.equal(statusOf(await raw(app.port, plain(path, 'Connection: close\r\n'))), 401, path)
  t.equal(statusOf(await raw(app.port, plain('/reg/other', 'Connection: close\r\n'))), 200)
})

// Path literals with characters that clients send as they are, percent-encoded, or both.
const LITERALS = [
  '/x[1]',
  '/q[id]',
  '/a|b',
  '/my docs',
  '/a^b',
  '/q"q',
  '/c`d',
  '/a{b',
  '/a<b',
  '/$metadata',
  '/é'
]

/** Spells a literal with all of it encoded, with what has to be, and as it is where a request can have it so. */
function spellingsOf(literal: string): string[] {
  const bytes = [...Buffer.from(literal.slice(1))]
  const all = `/${bytes.map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')}`
  return [all, all.toUpperCase(), encodeURI(literal), ...(/[ é]/.test(literal) ? [] : [literal])]
}

const gatedLiterals = (end: string, more: object) => ({
  auth: { global: false, apiKeys: { list: [{ id: 'alice', secret: 'key' }] } },
  routes: [
    { path: '/*', respond: { body: 'open' } },
    ...LITERALS.map((literal) => ({ path: literal + end, ...more, auth: true, respond: { body: 'gated' } }))
  ]
})

t.test('a literal with an unusual character matches as it is and percent-encoded', async (t) => {
  const ends: [end: string, below: string[]][] = [
    ['/*', ['', '/', '/x']],
    ['', ['', '/']],
    ['/:id(\\d+)', ['/1']]
  ]
  for (const [end, below] of ends)
    for (const more of [{}, { host: 'a' }, { methods: ['GET'] }]) {
      const { port } = await listening(t, gatedLiterals(end, more))
      for (const path of LITERALS.flatMap(spellingsOf).flatMap((path) => below.map((rest) => path + rest))) {
        const answer = await raw(port, plain(path, 'Connection: close\r\n'))
        t.equal(statusOf(answer), 401, `${end} ${JSON.stringify(more)}: ${path}`)
      }
    }
})

t.test('a literal with an unusual character matches over HTTP/2', { skip: noOpenssl }, async (t) => {
  const { ca } = certificate(t)
  const tls = { certificates: [{ cert: ca, key: ca.replace('.pem', '.key') }] }
  const { port } = await listening(t, { ...gatedLiterals('/*', {}), tls })
  const session = http2.connect(`https://localhost:${port}`, { rejectUnauthorized: false })
  t.teardown(() => session.destroy())
  for (const path of LITERALS.flatMap(spellingsOf)) {
    const stream = session.request({ ':path': `${path}/x` })
    const [head] = await once(stream, 'response')
    stream.resume()
    t.equal(head[':status'], 401, path)
  }
})

t.test('values of a request do not lead a rewrite out of its place', async (t) => {
  const { port } = await listening(t, {
    routes: [
      { path: '/tenant/*', proxy: { upstream: await upstream(t), rewrite: '/tenants/{headers.x-tenant}/' } },
      { path: '/query/*', proxy: { upstream: await upstream(t), rewrite: '/tenants/{query.t}' } }
    ]
  })
  const cases: [path: string, tenant: string, status: number][] = [
    ['/tenant/admin', 'acme', 200],
    ['/tenant/admin', '..', 400],
    ['/tenant/admin', '%2e%2e', 400],
    ['/tenant/admin', '', 400],
    ['/query/x?t=acme', '', 200],
    ['/query/x?t=..', '', 400],
    ['/query/x?t=%252e%252e', '', 400]
  ]
  for (const [path, tenant, status] of cases)
    t.equal(
      statusOf(await raw(port, plain(path, `X-Tenant: ${tenant}\r\nConnection: close\r\n`))),
      status,
      `${path} ${tenant}`
    )
})

t.test(
  "an upstream's Location never leads to another host than it names, nor tells the upstream's address",
  async (t) => {
    let location = ''
    let origin = ''
    origin = await upstream(t, (_request, response) =>
      response
        .writeHead(302, { location: location.replace('ORIGIN', origin), refresh: `0; url=${origin}/next` })
        .end()
    )
    const { url, port } = await listening(t, {
      routes: [
        { path: '/v2base/*', proxy: { upstream: origin, rewrite: '/api' } },
        { path: '/*', proxy: { upstream: origin } }
      ]
    })
    const host = new URL(origin).host
    for (const said of [
      'ORIGIN//evil.com/x',
      'ORIGIN/\\evil.com',
      `http:/${host}/x`,
      `http:\\\\${host}\\x`,
      `http:${host}/x`,
      `//${host}//evil.com`,
      `\\\\${host}/x`,
      'ORIGIN/plain'
    ])
      for (const path of ['/x', '/v2base/x']) {
        location = said
        const answer = await ask(`${url}${path}`)
        const back = answer.headers.get('location') ?? ''
        t.equal(new URL(back, url).origin, url, `${said} on ${path}: ${back}`)
        t.notMatch(JSON.stringify([...answer.headers]), host)
      }
    location = 'https://elsewhere.example/x'
    t.equal((await ask(`${url}/x`)).headers.get('location'), location, 'another host stays as it is')
    t.ok(port)
  }
)

t.test(
  'a client that reads no byte of its response is closed, so that others get the upstream connection',
  async (t) => {
    const origin = await upstream(t, (request, response) => {
      if (request.url === '/small') return response.end('small')
      const chunk = Buffer.alloc(65_536)
      const go = (): void => {
        while (response.write(chunk));
        response.once('drain', go)
      }
      go()
    })
    const { log, line } = readableLog()
    const { port, url } = await listening(
      t,
      {
        limits: { idle: '100ms' },
        upstreams: { up: { url: origin, connections: { max: 1 } } },
        routes: [{ path: '/*', proxy: { upstream: 'up' } }]
      },
      { log }
    )
    const socket = await open(t, port, plain('/large'))
    socket.pause()
    t.match(await line((each) => each['path'] === '/large'), { aborted: true, status: 200 })
    t.equal((await ask(`${url}/small`)).text, 'small')
  }
)

t.test('a client that pipelines has one request in flight', async (t) => {
  let most = 0
  let now = 0
  const origin = await upstream(t, (request, response) => {
    request.resume()
    most = Math.max(most, ++now)
    setImmediate(() => {
      now--
      response.end('x')
    })
  })
  const { port } = await listening(t, { routes: [{ path: '/*', proxy: { upstream: origin } }] })
  const answers = await raw(port, plain('/x').repeat(200), 1000)
  t.equal(answers.match(/HTTP\/1\.1 200/g)?.length, 200, 'all are answered, in their order')
  t.equal(most, 1)
})

t.test('X-Forwarded-For of a trusted proxy is ignored unless it is an address', async (t) => {
  const app = await gateway(t, {
    trustedProxies: ['loopback'],
    rateLimit: { max: 1, window: '1h' },
    routes: [{ path: '/*', respond: { body: '{client.ip}' } }]
  })
  const from = async (said: string) => app.inject({ url: '/x', headers: { 'x-forwarded-for': said } })
  t.equal((await from('1.2.3.4:80')).body, '1.2.3.4')
  t.equal((await from('1.2.3.4:81')).statusCode, 429, 'a port makes no other client')
  t.equal((await from('[2001:db8::1]:443')).body, '2001:db8::1')
  t.equal((await from('5.6.7.8, 127.0.0.1:443')).body, '5.6.7.8', 'a port makes no proxy less trusted')
  t.equal((await from('5.6.7.9, [::1]:80, 127.0.0.1')).body, '5.6.7.9')
  t.equal((await from('5.6.7.10:1, [::ffff:127.0.0.1]:2')).body, '5.6.7.10')
  t.equal((await from('5.6.7.11, 5.6.7.12:443')).body, '5.6.7.12', 'nor another one more')
  t.equal((await from('unknown')).body, '127.0.0.1')
  for (const said of ['a b c', '::ffff:zz', '999.1.1.1', 'x'.repeat(500)])
    t.equal((await from(said)).statusCode, 429, said)
})

t.test('an empty X-Forwarded-For of a trusted proxy adds no empty address', async (t) => {
  const seen: unknown[] = []
  const record: RequestListener = ({ headers }, response) => {
    seen.push(headers['x-forwarded-for'])
    response.end()
  }
  const app = await gateway(t, {
    trustedProxies: ['loopback'],
    auth: { forward: { upstream: await upstream(t, record) } },
    routes: [{ path: '/*', proxy: { upstream: await upstream(t, record) } }]
  })
  await app.inject({ url: '/x', headers: { 'x-forwarded-for': '' } })
  t.same(seen, ['127.0.0.1', '127.0.0.1'])
})

t.test('a trusted proxy may write the scheme in upper case', async (t) => {
  const app = await gateway(t, {
    trustedProxies: ['loopback'],
    auth: { global: false, session: true, users: { list: [{ name: 'ada', secret: 'lovelace' }] } },
    routes: [{ path: '/x', auth: true, respond: { body: 'x' } }]
  })
  for (const [scheme, secure] of [
    ['https', true],
    ['HTTPS', true],
    ['http', false],
    ['HTTP', false]
  ] as const) {
    const { headers } = await app.inject({
      method: 'POST',
      url: '/login',
      headers: { 'x-forwarded-proto': scheme, 'content-type': 'application/json' },
      payload: { username: 'ada', password: 'lovelace' }
    })
    t.equal(/; Secure/i.test(String(headers['set-cookie'])), secure, scheme)
  }
})

t.test(
  "an upstream can't set the gateway's session, and gets no header that others would take for the gateway's word",
  async (t) => {
    const origin = await upstream(t, (request, response) => {
      response.setHeader('set-cookie', ['sid=evil; Path=/', 'side=fine', 'other=fine'])
      response.setHeader('connection', 'x-a')
      response.end(JSON.stringify({ headers: request.headers }))
    })
    const { port } = await listening(t, {
      auth: { global: false, session: true, users: { list: [{ name: 'ada', secret: 'lovelace' }] } },
      routes: [{ path: '/*', proxy: { upstream: origin } }]
    })
    const spoofed =
      'Proxy: http://evil\r\nX-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\nTrue-Client-IP: 1.2.3.4\r\nForwarded-For: 1.2.3.4\r\nClient_IP: 1.2.3.4\r\n'
    const answer = await raw(port, plain('/x', `${spoofed}Connection: close\r\n`))
    t.notMatch(answer, /sid=evil/)
    t.match(answer, /set-cookie: side=fine\r\n[\s\S]*set-cookie: other=fine/)
    t.notMatch(answer, /evil|admin|1\.2\.3\.4/)
    for (const name of ['Authorization', 'Content-Type', 'authorization'])
      t.equal(statusOf(await raw(port, plain('/x', `${name}: a\r\n${name}: b\r\n`))), 400, `two ${name}`)
  }
)

t.test('a request to switch protocols has no body, and dot segments hide behind no separator', async (t) => {
  const { port } = await listening(t, { routes: [{ path: '/*', proxy: { upstream: await upstream(t) } }] })
  const body = await raw(port, `${shake('/x').slice(0, -2)}Content-Length: 5\r\n\r\nhello`)
  t.match(body, /^HTTP\/1\.1 200 OK[\s\S]*"body":"hello"/, 'it is an ordinary request')
  for (const path of ['/a/..%23/b', '/a/..%20/b', '/a/.%20/b', '/a/%2e%2e%2523'])
    t.equal(statusOf(await raw(port, plain(path))), 400, path)
})

t.test('with doubleSlash "keep" no parameter is empty', async (t) => {
  const { port } = await listening(t, {
    paths: { doubleSlash: 'keep' },
    routes: [{ path: '/any/:id/edit', respond: { body: 'any' } }]
  })
  t.equal(statusOf(await raw(port, plain('/any/1/edit'))), 200)
  t.equal(statusOf(await raw(port, plain('/any//edit'))), 404)
})

t.test('a parser error behind a pending request is not sent as its response', async (t) => {
  const reached = Promise.withResolvers<() => void>()
  const origin = await upstream(t, (_request, response) => reached.resolve(() => response.end('at last')))
  const { port } = await listening(t, { routes: [{ path: '/*', proxy: { upstream: origin } }] })
  const socket = await open(t, port, plain('/slow'))
  const answer = await reached.promise
  let seen = ''
  socket.on('data', (data: Buffer) => {
    seen += data.toString()
  })
  socket.write('GARBAGE\r\n\r\n')
  // The gateway has read it once it has answered what was sent after it.
  t.equal((await ask(`http://127.0.0.1:${port}/-/live`)).status, 200)
  t.equal(seen, '')
  answer()
  await once(socket, 'end')
  t.match(seen, /^HTTP\/1\.1 200[\s\S]*at last[\s\S]*HTTP\/1\.1 400/)
})

t.test('the queue of a slow upstream is bounded, and the next request is refused at once', async (t) => {
  const held: (() => void)[] = []
  const reached = Promise.withResolvers<void>()
  const origin = await upstream(t, (_request, response) => {
    held.push(() => response.end('late'))
    reached.resolve()
  })
  const { url, app } = await listening(t, {
    upstreams: { up: { url: origin, connections: { max: 1, pending: 1 } } },
    routes: [{ path: '/*', proxy: { upstream: 'up' } }]
  })
  const first = ask(`${url}/one`)
  await reached.promise
  const { load } = app.upstream('up').targets[0] ?? { load: { requests: -1 } }
  const left = new AbortController()
  const second = ask(`${url}/two`, { signal: left.signal })
  second.catch(() => {})
  while (load.requests < 2) await new Promise((resolve) => setImmediate(resolve))
  const refused = await ask(`${url}/three`)
  t.equal(refused.status, 503)
  t.equal(refused.headers.get('retry-after'), '5')
  t.match(refused.text, /SP_ERR_UPSTREAM_UNAVAILABLE/)
  left.abort()
  held[0]?.()
  t.equal((await first).text, 'late')
  while (load.requests > 0) await new Promise((resolve) => setImmediate(resolve))
  t.equal(load.requests, 0, 'who left takes no place')
})
