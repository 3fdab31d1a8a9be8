import { once } from 'node:events'
import { copyFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2'
import { type RequestOptions, request as requestHttps } from 'node:https'
import { type AddressInfo, connect as connectPlain } from 'node:net'
import { join } from 'node:path'
import { connect, type DetailedPeerCertificate, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { buildGateway, loadConfig } from '../../src/index.ts'
import { type Authority, authority, type Pair } from '../certificates.ts'
import {
  ask,
  bodyOf,
  closed,
  echo,
  type Listening,
  listening,
  noOpenssl,
  raw,
  running,
  type Scope,
  type Seen,
  upstream
} from '../helpers.ts'

const skip = noOpenssl

const certificateOf = ({ certFile, keyFile }: Pair): object => ({ cert: certFile, key: keyFile })

interface Stage extends Listening {
  readonly ca: Authority
}

async function stage(t: Scope, more: object = {}, tls: object = {}): Promise<Stage> {
  const ca = authority(t)
  const gateway = await listening(t, {
    tls: { certificates: [certificateOf(ca.issue('/CN=localhost', 'DNS:localhost'))], ...tls },
    accessLog: false,
    routes: [{ path: '/*', proxy: { upstream: await upstream(t, echo) } }],
    ...more
  })
  return { ...gateway, ca }
}

interface Answer {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly text: string
  readonly certificate: DetailedPeerCertificate
}

/** Asks by HTTP/1.1 over TLS. */
function secure(port: number, { ca }: Pick<Stage, 'ca'>, options: RequestOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = requestHttps(
      { host: '127.0.0.1', servername: 'localhost', port, path: '/x', ca: ca.cert, agent: false, ...options },
      (response) => {
        const certificate = (response.socket as TLSSocket).getPeerCertificate(true)
        void bodyOf(response).then((body) =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text: body.toString(),
            certificate
          })
        )
      }
    )
    request.on('error', reject).end()
  })
}

/** Opens a connection of HTTP/2. */
async function http2(
  t: Test,
  port: number,
  { ca }: Pick<Stage, 'ca'>,
  more: object = {}
): Promise<ClientHttp2Session> {
  const session = connectHttp2(`https://localhost:${port}`, {
    ca: ca.cert,
    lookup: undefined,
    ...more
  } as never)
  session.on('error', () => {})
  t.teardown(() => session.destroy())
  await once(session, 'connect')
  return session
}

/** Asks by HTTP/2. */
async function over(
  session: ClientHttp2Session,
  headers: Record<string, string | string[]>,
  body?: string | Buffer
): Promise<{
  status: number
  headers: Record<string, unknown>
  text: string
  trailers?: Record<string, unknown>
}> {
  const stream = session.request({ ':path': '/x', ...headers }, { endStream: body === undefined })
  if (body !== undefined) stream.end(body)
  let trailers: Record<string, unknown> | undefined
  stream.on('trailers', (said: Record<string, unknown>) => {
    trailers = said
  })
  const [head] = (await once(stream, 'response')) as [Record<string, unknown>]
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return {
    status: Number(head[':status']),
    headers: head,
    text: Buffer.concat(chunks).toString(),
    ...(trailers === undefined ? {} : { trailers })
  }
}

t.test('accepts TLS with HTTP/1.1 and HTTP/2 on one port', { skip }, async (t) => {
  const at = await stage(t, { responseTime: true, cors: { origins: ['https://app.example'] } })
  const one = await secure(at.port, at)
  t.equal(one.status, 200)
  t.match(JSON.parse(one.text), { headers: { 'x-forwarded-proto': 'https', 'x-forwarded-for': '127.0.0.1' } })
  t.match(one.headers['strict-transport-security'], /^max-age=31536000$/)
  const session = await http2(t, at.port, at)
  t.equal(session.alpnProtocol, 'h2')
  const two = await over(session, { cookie: ['a=1', 'b=2'], 'x-mine': 'yes' })
  t.equal(two.status, 200)
  const seen = JSON.parse(two.text) as Seen
  t.match(seen, {
    method: 'GET',
    url: '/x',
    headers: {
      'x-mine': 'yes',
      cookie: 'a=1; b=2',
      'x-forwarded-proto': 'https',
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-host': `localhost:${at.port}`
    }
  })
  t.notOk(Object.keys(seen.headers).some((name) => name.startsWith(':')))
  t.match(two.headers, { 'x-request-id': /./, 'x-response-time': /ms$/, vary: 'Origin' })
  const many = await Promise.all(
    Array.from({ length: 50 }, (_, i) =>
      over(session, { ':method': 'POST', ':path': `/x/${i}` }, `body ${i}`)
    )
  )
  for (const [i, { text }] of many.entries())
    t.match(JSON.parse(text), { method: 'POST', url: `/x/${i}`, body: `body ${i}` })
})

t.test('HTTP/2 passes what HTTP/1.1 passes', { skip }, async (t) => {
  const target = await upstream(t, (request, response) => {
    if (request.url === '/cookies') response.setHeader('set-cookie', ['a=1', 'b=2'])
    if (request.url === '/empty') response.statusCode = 204
    if (request.url === '/hop') response.setHeader('keep-alive', 'timeout=5')
    if (request.url === '/broken') {
      response.writeHead(200, { 'content-length': '100' }).write('half')
      setImmediate(() => request.socket.destroy())
      return
    }
    if (request.url === '/trailers') {
      response.writeHead(200, { trailer: 'x-sum' })
      response.write('body')
      response.addTrailers({ 'x-sum': '42' })
    }
    void bodyOf(request).then(
      (body) => response.end(request.url === '/big' ? String(body.length) : undefined),
      () => response.destroy()
    )
  })
  const at = await stage(t, {
    limits: { body: '3mb' },
    routes: [
      { path: '/*', proxy: { upstream: target } },
      { path: '/own', respond: { body: 'mine' } },
      { path: '/closed', auth: { apiKeys: { list: [{ id: 'a', secret: 'b' }] } }, respond: { body: 'mine' } }
    ]
  })
  const session = await http2(t, at.port, at)
  const path = (name: string): Record<string, string> => ({ ':path': name })
  t.same((await over(session, path('/cookies'))).headers['set-cookie'], ['a=1', 'b=2'])
  t.equal((await over(session, path('/empty'))).status, 204)
  t.equal((await over(session, path('/hop'))).status, 200, 'what belongs to one connection stays there')
  t.equal((await over(session, path('/own'))).text, 'mine')
  t.equal((await over(session, { ...path('/own'), ':method': 'HEAD' })).text, '')
  t.equal((await over(session, { ...path('/own'), ':method': 'PUT' })).status, 200)
  const refused = await over(session, path('/closed'))
  t.equal(refused.status, 401)
  t.match(JSON.parse(refused.text), { code: 'SP_ERR_AUTH_MISSING' })
  t.equal((await over(session, path('/%00'))).status, 400)
  t.match((await over(session, path('/trailers'))).trailers, { 'x-sum': '42' })
  t.equal(
    (await over(session, { ...path('/big'), ':method': 'POST' }, Buffer.alloc(2_000_000))).text,
    '2000000'
  )
  t.equal((await over(session, { ...path('/big'), ':method': 'POST' }, Buffer.alloc(4_000_000))).status, 413)
  await t.rejects(
    over(session, path('/broken')),
    { code: 'ERR_HTTP2_STREAM_ERROR' },
    'half an answer never ends clean'
  )
  t.equal((await over(session, { ':authority': 'a.example', host: 'b.example' })).status, 400)
  t.equal((await over(session, path('/own'))).status, 200, 'the connection has borne all of it')
})

t.test(
  'a client that leaves a request of HTTP/2 cancels it at the upstream, and nothing else',
  { skip },
  async (t) => {
    const { promise: gone, resolve: leave } = Promise.withResolvers<void>()
    const { promise: here, resolve: arrive } = Promise.withResolvers<void>()
    const target = await upstream(t, (request, response) => {
      if (request.url !== '/slow') return void response.end('fast')
      response.on('close', leave)
      arrive()
    })
    const at = await stage(t, { routes: [{ path: '/*', proxy: { upstream: target } }] })
    const session = await http2(t, at.port, at)
    const slow = session.request({ ':path': '/slow' })
    slow.on('error', () => {})
    await here
    slow.close(constants.NGHTTP2_CANCEL)
    await gone
    t.equal((await over(session, { ':path': '/fast' })).text, 'fast')
  }
)

t.test('serves each host its own certificate, wildcards included', { skip }, async (t) => {
  const ca = authority(t)
  const names = { first: 'DNS:localhost', shop: 'DNS:shop.example', wild: 'DNS:*.example' }
  const certificates = Object.entries(names).map(([name, san]) => certificateOf(ca.issue(`/CN=${name}`, san)))
  const { port } = await listening(t, {
    tls: { certificates },
    routes: [{ path: '/*', respond: { body: 'in' } }]
  })
  const cases: [string, string][] = [
    ['localhost', 'first'],
    ['shop.example', 'shop'],
    ['SHOP.example', 'shop'],
    ['other.example', 'wild'],
    ['a.b.example', 'first'],
    ['nobody.test', 'first']
  ]
  for (const [servername, expected] of cases) {
    const { certificate } = await secure(port, { ca }, { servername, rejectUnauthorized: false })
    t.equal(certificate.subject.CN, expected, servername)
  }
})

t.test('refuses old TLS versions and ciphers', { skip }, async (t) => {
  const at = await stage(t)
  const hello = (options: object): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect(
        { port: at.port, host: '127.0.0.1', servername: 'localhost', ca: at.ca.cert, ...options },
        () => {
          resolve(`${socket.getProtocol()} ${socket.getCipher().name}`)
          socket.destroy()
        }
      )
      socket.on('error', () => resolve('refused'))
    })
  t.match(await hello({}), /^TLSv1\.3 /)
  t.match(await hello({ maxVersion: 'TLSv1.2' }), /^TLSv1\.2 ECDHE-.*(GCM|POLY1305)/)
  for (const options of [
    { maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' },
    { maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA' },
    { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' }
  ])
    t.equal(await hello(options), 'refused', JSON.stringify(options))
  const strict = await stage(t, {}, { minVersion: 'TLSv1.3' })
  await t.rejects(secure(strict.port, strict, { maxVersion: 'TLSv1.2' }))
  const plain = await stage(t, {}, { http2: false })
  t.equal((await secure(plain.port, plain, { ALPNProtocols: ['h2', 'http/1.1'] } as never)).status, 200)
})

t.test('accepts every ALPN name of HTTP/1 and prefers newer protocols', { skip }, async (t) => {
  const cases = [
    { offered: ['http/1.0'], http2: 'http/1.0', http1: 'http/1.0' },
    { offered: ['http/1.0', 'http/1.1'], http2: 'http/1.1', http1: 'http/1.1' },
    { offered: ['http/1.0', 'h2'], http2: 'h2', http1: 'http/1.0' },
    { offered: ['http/0.9'], http2: 'refused', http1: 'refused' }
  ]
  for (const version of ['http2', 'http1'] as const) {
    const at = await stage(t, {}, { http2: version === 'http2' })
    for (const { offered, ...chosen } of cases) {
      const socket = connect({
        port: at.port,
        host: '127.0.0.1',
        servername: 'localhost',
        ca: at.ca.cert,
        ALPNProtocols: offered
      })
      t.teardown(() => socket.destroy())
      const name = await once(socket, 'secureConnect').then(
        () => socket.alpnProtocol,
        () => 'refused'
      )
      t.equal(name, chosen[version], `${version}: ${offered.join()}`)
      if (name !== 'http/1.0') continue
      socket.write('GET /x HTTP/1.0\r\nHost: localhost\r\n\r\n')
      const [data] = (await once(socket, 'data')) as [Buffer]
      t.match(String(data), /^HTTP\/1\.1 200/)
    }
  }
})

/** Asks once over a connection that may go on from an earlier session, and tells how it went. */
function visit(
  { port, ca }: Stage,
  maxVersion: 'TLSv1.2' | 'TLSv1.3',
  earlier?: Buffer
): Promise<{ reused: boolean; status: string; ticket: Buffer | undefined }> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      ...{ port, host: '127.0.0.1', servername: 'localhost', ca: ca.cert, maxVersion },
      ...(earlier === undefined ? {} : { session: earlier })
    })
    let ticket: Buffer | undefined
    let seen = ''
    socket.on('session', (session: Buffer) => {
      ticket = session
    })
    socket.on('error', reject)
    socket.on('data', (data) => {
      seen += data.toString()
    })
    socket.on('end', () => resolve({ reused: socket.isSessionReused(), status: seen.slice(9, 12), ticket }))
    socket.write('GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  })
}

t.test(
  'goes on from an earlier session, and begins anew after a change of certificates',
  { skip },
  async (t) => {
    const at = await stage(t)
    const routes = [{ path: '/*', respond: { body: 'in' } }]
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const first = await visit(at, version)
      t.match(await visit(at, version, first.ticket), { reused: true, status: '200' }, version)
      const certificates = [certificateOf(at.ca.issue('/CN=next', 'DNS:localhost'))]
      at.served.swap(await buildGateway(await loadConfig({ tls: { certificates }, routes }, {})))
      const second = await visit(at, version, first.ticket)
      t.match(second, { reused: false, status: '200' }, 'the ticket of before is no harm')
      t.match(await visit(at, version, second.ticket), { reused: true, status: '200' })
    }
  }
)

t.test('refuses renegotiation', { skip }, async (t) => {
  const at = await stage(t)
  const socket = connect({
    ...{ port: at.port, host: '127.0.0.1', servername: 'localhost', ca: at.ca.cert, maxVersion: 'TLSv1.2' }
  })
  await once(socket, 'secureConnect')
  socket.renegotiate({}, () => {})
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  t.match(error.message, /no renegotiation/)
  t.equal((await secure(at.port, at)).status, 200)
})

t.test('does not wait for handshakes on close', { skip }, async (t) => {
  const at = await stage(t)
  const silent = connectPlain(at.port, '127.0.0.1').resume()
  silent.on('error', () => {})
  const gone = closed(silent)
  // Its handshake has begun once a later client got a response.
  t.equal((await secure(at.port, at)).status, 200)
  t.equal(await at.served.drain(), true)
  await gone
})

t.test('redirects the plain port to https, whatever the path and the method', { skip }, async (t) => {
  const at = await stage(t, {}, { redirectFrom: 0 })
  const { redirects } = at.served
  for (const [method, path] of [
    ['GET', '/a?b=c&d=%2F'],
    ['POST', '/']
  ] as const) {
    const answer = await ask(`http://127.0.0.1:${redirects}${path}`, { method })
    t.equal(answer.status, 308)
    t.equal(answer.headers.get('location'), `https://127.0.0.1:${at.port}${path}`)
  }
  const named = await stage(t, { publicUrl: 'https://api.example.com' }, { redirectFrom: 0 })
  const answer = await ask(`http://127.0.0.1:${named.served.redirects}/x`)
  t.equal(answer.headers.get('location'), 'https://api.example.com/x')
})

t.test('redirects the plain port to a host and port that the client can reach', { skip }, async (t) => {
  const routes = [
    { host: ['shop.example.com', '*.example.net'], path: '/*', respond: { body: 'in' } },
    { path: '/*', respond: { body: 'in' } }
  ]
  const cases: [publicUrl: string | undefined, host: string, place: string][] = [
    [undefined, 'any.example.org', 'any.example.org'],
    [undefined, 'any.example.org:8080', 'any.example.org:PORT'],
    [undefined, '[::1]:80', '[::1]:PORT'],
    ['https://api.example.com', 'shop.example.com', 'shop.example.com'],
    ['https://api.example.com', 'SHOP.example.com.:8080', 'shop.example.com'],
    ['https://api.example.com', 'a.example.net', 'a.example.net'],
    ['https://api.example.com', 'a.b.example.net', 'api.example.com'],
    ['https://api.example.com', 'any.example.org', 'api.example.com'],
    ['https://api.example.com', 'a b', 'api.example.com'],
    ['https://api.example.com:8443', 'shop.example.com:8080', 'shop.example.com:8443'],
    ['https://api.example.com:8443', 'shop.example.com', 'shop.example.com:8443'],
    ['https://api.example.com:8443', 'any.example.org', 'api.example.com:8443']
  ]
  const stages = new Map<string | undefined, Awaited<ReturnType<typeof stage>>>()
  for (const [publicUrl, host, place] of cases) {
    const config = { routes, ...(publicUrl === undefined ? {} : { publicUrl }) }
    const at = stages.get(publicUrl) ?? (await stage(t, config, { redirectFrom: 0 }))
    stages.set(publicUrl, at)
    const to = `https://${place.replace('PORT', String(at.port))}/x?y=1`
    for (const target of ['/x?y=1', `http://${host}/x?y=1`]) {
      if (host.includes(' ') && target !== '/x?y=1') continue
      const answer = await raw(
        at.served.redirects ?? 0,
        `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
      )
      t.match(answer, `\r\nlocation: ${to}\r\n`, `${publicUrl} ${host} ${target}`)
    }
  }
})

t.test('authenticates callers by client certificates', { skip }, async (t) => {
  const clients = authority(t)
  const strangers = authority(t)
  const ada = clients.issue(
    '/O=Analytical Engines/OU=math/CN=ada',
    'email:ada@example.com,URI:spiffe://example/ada'
  )
  const nameless = clients.issue('/O=Nobody', 'DNS:machine.example')
  const eve = strangers.issue('/CN=ada', 'email:ada@example.com')
  const shared = {
    auth: {
      clientCertificate: true,
      identity: { 'x-id': 'id', 'x-mail': 'email', 'x-ou': 'claims.ou' }
    },
    routes: [
      { path: '/up', proxy: { upstream: await upstream(t, echo) } },
      { path: '/math', auth: { require: { claims: { ou: 'math' } } }, respond: { body: 'in' } },
      {
        path: '/spiffe',
        auth: { require: { claims: { san: 'spiffe://example/*' } } },
        respond: { body: 'in' }
      },
      { path: '/open', auth: false, respond: { body: 'for all' } }
    ]
  }
  const loose = await stage(t, shared, { clientCertificates: { ca: clients.certFile, required: false } })
  const as = (pair: Pair | undefined, path: string, at = loose): Promise<Answer> =>
    secure(at.port, at, { path, ...(pair === undefined ? {} : { cert: pair.cert, key: pair.key }) })
  t.match(JSON.parse((await as(ada, '/up')).text), {
    headers: { 'x-id': 'ada', 'x-mail': 'ada@example.com', 'x-ou': 'math' }
  })
  const cases: [string, Pair | undefined, string, number][] = [
    ['a claim of the subject', ada, '/math', 200],
    ['an alternative name', ada, '/spiffe', 200],
    ['a caller without it', nameless, '/math', 403],
    ['no certificate', undefined, '/math', 401],
    ['no certificate, where none is required', undefined, '/open', 200],
    ['a certificate of an unknown authority', eve, '/math', 401]
  ]
  for (const [name, pair, path, expected] of cases) t.equal((await as(pair, path)).status, expected, name)
  t.match(JSON.parse((await as(nameless, '/up')).text), { headers: { 'x-id': 'machine.example' } })
  const session = await http2(t, loose.port, loose, { cert: ada.cert, key: ada.key })
  t.equal((await over(session, { ':path': '/math' })).status, 200, 'over HTTP/2 as well')
  const strict = await stage(t, shared, { clientCertificates: { ca: clients.certFile } })
  t.equal((await as(ada, '/math', strict)).status, 200)
  await t.rejects(as(undefined, '/open', strict), 'without a required certificate there is no connection')
  await t.rejects(as(eve, '/open', strict))
})

t.test(
  'takes up renewed certificates by itself, and keeps the old ones where the new are broken',
  { skip },
  async (t) => {
    const ca = authority(t)
    const dir = t.testdir({
      'gateway.json': JSON.stringify({
        tls: { certificates: [{ cert: 'live.pem', key: 'live.key' }] },
        routes: [{ path: '/*', respond: { body: 'in' } }]
      })
    })
    const install = ({ certFile, keyFile }: Pair): void => {
      copyFileSync(keyFile, join(dir, 'live.key'))
      copyFileSync(certFile, join(dir, 'live.pem'))
    }
    install(ca.issue('/CN=one', 'DNS:localhost'))
    const gateway = await running(t, ['-c', join(dir, 'gateway.json')])
    const shown = async (): Promise<string | undefined> =>
      [(await secure(gateway.port, { ca })).certificate.subject.CN].flat()[0]
    t.equal(await shown(), 'one')
    install(ca.issue('/CN=two', 'DNS:localhost'))
    await gateway.line(({ msg }) => msg === 'reloaded')
    t.equal(await shown(), 'two')
    writeFileSync(join(dir, 'live.pem'), 'broken')
    const refused = await gateway.line(({ msg }) => /^reload refused/.test(String(msg)))
    t.match(JSON.stringify(refused), /live\.pem contains no certificate in PEM format/)
    t.equal(await shown(), 'two')
  }
)

t.test('refuses a reload that needs a restart and keeps running', { skip }, async (t) => {
  const at = await stage(t)
  const certificates = [certificateOf(at.ca.issue('/CN=localhost', 'DNS:localhost'))]
  const routes = [{ path: '/*', respond: { body: 'new' } }]
  const cases: [object, RegExp][] = [
    [{}, /^"tls" can't be switched off without a restart$/],
    [{ tls: { certificates, http2: false } }, /^"tls\.http2" can't change without a restart$/],
    [{ tls: { certificates, redirectFrom: 0 } }, /^"tls\.redirectFrom" can't change without a restart$/]
  ]
  for (const [tls, expected] of cases) {
    const next = await buildGateway(await loadConfig({ ...tls, routes }, {}))
    t.throws(() => at.served.swap(next), { message: expected })
    await next.close()
  }
  t.equal((await secure(at.port, at)).status, 200)
  const next = await buildGateway(await loadConfig({ tls: { certificates }, routes }, {}))
  at.served.swap(next)
  t.equal((await secure(at.port, at)).text, 'new')
})

t.test('finishes HTTP/2 requests while draining and accepts no new ones', { skip }, async (t) => {
  const { promise: here, resolve: arrive } = Promise.withResolvers<void>()
  let answer = (): void => {}
  const target = await upstream(t, (_request, response) => {
    answer = () => response.end('done')
    arrive()
  })
  const at = await stage(t, { routes: [{ path: '/*', proxy: { upstream: target } }] })
  const session = await http2(t, at.port, at)
  const pending = over(session, { ':path': '/slow' })
  await here
  const goaway = once(session, 'goaway')
  const drained = at.served.drain()
  await goaway
  answer()
  t.equal((await pending).text, 'done')
  t.equal(await drained, true)
})

t.test('rejects invalid certificates and keys', { skip }, async (t) => {
  const ca = authority(t)
  const one = ca.issue('/CN=a', 'DNS:a.example')
  const two = ca.issue('/CN=b', 'DNS:b.example')
  const broken = join(t.testdir({ 'x.pem': 'no pem' }), 'x.pem')
  const cases: [object, RegExp][] = [
    [
      { certificates: [{ cert: one.certFile, key: two.keyFile }] },
      /tls\.certificates\[0\]\.key: The key .* does not belong to/
    ],
    [
      { certificates: [{ cert: broken, key: one.keyFile }] },
      /tls\.certificates\[0\]\.cert: .* contains no certificate in PEM format/
    ],
    [
      { certificates: [{ cert: one.certFile, key: broken }] },
      /tls\.certificates\[0\]\.key: .* contains no private key in PEM format/
    ],
    [
      { certificates: [{ cert: '/gone.pem', key: one.keyFile }] },
      /tls\.certificates\[0\]\.cert: There is no file /
    ],
    [
      { certificates: [certificateOf(one)], clientCertificates: { ca: broken } },
      /tls\.clientCertificates\.ca: .* contains no certificate in PEM format/
    ]
  ]
  const routes = [{ path: '/*', respond: { body: 'in' } }]
  for (const [tls, expected] of cases) await t.rejects(loadConfig({ tls, routes }, {}), { message: expected })
  await t.rejects(loadConfig({ auth: { clientCertificate: true }, routes }, {}), {
    message: /auth\.clientCertificate: expected "tls" with "clientCertificates"/
  })
})

t.test('tunnels WebSockets over TLS', { skip }, async (t) => {
  const server = createServer()
  server.on('upgrade', (_request, socket) => {
    socket.on('error', () => {})
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    socket.pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const up = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const at = await stage(t, { routes: [{ path: '/ws', proxy: { upstream: up } }] })
  const socket = connect({
    port: at.port,
    host: '127.0.0.1',
    servername: 'localhost',
    ca: at.ca.cert,
    ALPNProtocols: ['http/1.1']
  })
  t.teardown(() => socket.destroy())
  socket.write(
    'GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\nSec-WebSocket-Version: 13\r\n\r\n'
  )
  const [head] = (await once(socket, 'data')) as [Buffer]
  t.match(head.toString(), /^HTTP\/1\.1 101 /)
  socket.write('hello')
  const [echoed] = (await once(socket, 'data')) as [Buffer]
  t.equal(echoed.toString(), 'hello')
})
