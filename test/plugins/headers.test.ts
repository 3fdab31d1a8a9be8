import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import { certificate, gateway, listening, noOpenssl, originOf, raw, statusOf, upstream } from '../helpers.ts'

const respond = { body: 'hello' }

const target = await upstream(t, (request, response) => {
  response.setHeader('x-theirs', 'theirs').setHeader('set-cookie', ['a=1', 'b=2'])
  response.end(JSON.stringify(request.headers))
})
const auth = {
  optional: true,
  apiKeys: { list: [{ id: 'alice', roles: ['staff', 'ops'], secret: 'key of alice' }] }
}
const routes = (headers: object) => [
  { path: '/plain/*', proxy: { upstream: target }, headers },
  { path: '/named/:name/*', proxy: { upstream: target }, headers },
  { path: '/respond', respond, headers }
]

t.test('sets, replaces and removes headers of requests and responses', async (t) => {
  const app = await gateway(t, {
    headers: { request: { 'x-root': 'root', 'x-both': 'root' }, response: { 'x-served-by': 'sallyport' } },
    routes: [
      { path: '/root/*', proxy: { upstream: target } },
      {
        path: '/own/*',
        proxy: { upstream: target },
        headers: {
          request: { 'X-Both': 'own', 'x-root': false, 'x-client': false, accept: 'text/x-ours' },
          response: { 'X-Theirs': false, 'set-cookie': 'c=3', 'x-served-by': false }
        }
      },
      { path: '/off/*', proxy: { upstream: target }, headers: false }
    ]
  })
  const headers = { 'x-client': 'mine', 'x-both': 'mine', accept: '*/*' }
  const root = await app.inject({ url: '/root/x', headers })
  t.match(root.json(), { 'x-root': 'root', 'x-both': 'root', 'x-client': 'mine', accept: '*/*' })
  t.match(root.headers, { 'x-served-by': 'sallyport', 'x-theirs': 'theirs' })
  const own = await app.inject({ url: '/own/x', headers })
  t.match(own.json(), {
    'x-root': undefined,
    'x-both': 'own',
    'x-client': undefined,
    accept: 'text/x-ours'
  })
  t.match(own.headers, { 'x-theirs': undefined, 'x-served-by': undefined })
  t.same([own.headers['set-cookie']].flat(), ['c=3'])
  const off = await app.inject({ url: '/off/x', headers })
  t.match(off.json(), { 'x-root': undefined, 'x-both': 'mine' })
  t.equal(off.headers['x-served-by'], undefined)
  const unknown = await app.inject('/nowhere')
  t.equal(unknown.headers['x-served-by'], 'sallyport')
})

t.test('replaces values of the request', async (t) => {
  const app = await gateway(t, {
    auth,
    routes: routes({
      request: {
        'x-ip': '{client.ip}',
        'x-host': '{host}',
        'x-path': '{path}',
        'x-name': 'is {params.name}!',
        'x-q': '{query.q}',
        'x-agent': '{headers.User-Agent}',
        'x-caller': '{caller.id}/{caller.roles}',
        'x-id': '{requestId}',
        'x-braces': '{{literal}}'
      },
      response: { 'x-name': '{params.name}', 'x-caller': '{caller.id}', 'x-q': '{query.q}' }
    })
  })
  const answer = await app.inject({
    url: '/named/b%C3%A9a/x?q=a%20b&q=c',
    headers: { 'user-agent': 'tap', host: 'api.test:81', 'x-api-key': 'key of alice' }
  })
  t.match(answer.json(), {
    'x-ip': '127.0.0.1',
    'x-host': 'api.test:81',
    'x-path': '/named/b%C3%A9a/x',
    'x-name': Buffer.from('is béa!', 'latin1').toString('latin1'),
    'x-q': 'a b',
    'x-agent': 'tap',
    'x-caller': 'alice/staff,ops',
    'x-id': answer.headers['x-request-id'],
    'x-braces': '{literal}'
  })
  t.match(answer.headers, { 'x-caller': 'alice', 'x-q': 'a b' })
  const anonymous = await app.inject('/plain/x')
  t.match(anonymous.json(), { 'x-name': undefined, 'x-caller': undefined, 'x-q': undefined })
  t.equal(anonymous.headers['x-q'], undefined, 'a header without a value is not sent')
})

t.test('percent-encodes values that stand in a URL of a header', async (t) => {
  const cases = [
    ['location', 'https://x.test/{params.name}', 'https://x.test/a%2F%3Fb%20%C3%A9'],
    [
      'location',
      '/new/{params.name}?from={url}',
      '/new/a%2F%3Fb%20%C3%A9?from=http%3A%2F%2Fapi.test%2Fnamed'
    ],
    ['location', '{scheme}://{host}/x/{query.q}', 'http://api.test/x/%0D%0Aset-cookie%3A%20a%3D1'],
    [
      'location',
      'https://x.test{path}?q={query.q}',
      'https://x.test/named/a%2F%3Fb%20%C3%A9/rest/of?q=%0D%0Aset-'
    ],
    ['location', 'https://x.test/{params.*}', 'https://x.test/rest/of'],
    ['location', 'https://{query.host}.x.test/', 'https://evil.test%2F.x.test/'],
    ['location', '{query.q}', '%0D%0Aset-cookie:%20a=1'],
    ['location', '{path}', '/named/a%2F%3Fb%20%C3%A9/rest/of'],
    ['location', '/é €/', '/%C3%A9%20%E2%82%AC/'],
    ['link', '<https://x.test/{params.name}>; rel=next', '<https://x.test/a%2F%3Fb%20%C3%A9>; rel=next'],
    ['link', '</a/{query.gt}>; title="{query.gt}"', '</a/%3E>; title=">"'],
    ['refresh', '5; url=/a/{params.name}', '5; url=/a/a%2F%3Fb%20%C3%A9'],
    ['x-report', 'default; to=https://x.test/{query.sp} {query.sp}', 'default; to=https://x.test/a%20b a b'],
    ['x-plain', '{params.name}/{query.sp}', /^a\/\?b .\/a b$/]
  ] as const
  const app = await gateway(t, {
    routes: cases.map(([name, value], i) => ({
      path: `/named/:name/*`,
      when: { 'header:x-case': String(i) },
      headers: { response: { [name]: value } },
      respond
    }))
  })
  for (const [i, [name, value, expected]] of cases.entries()) {
    const { headers } = await app.inject({
      url: '/named/a%2F%3Fb%20%C3%A9/rest/of?q=%0D%0Aset-cookie:%20a=1&host=evil.test/&gt=%3E&sp=a%20b',
      headers: { host: 'api.test', 'x-case': String(i) }
    })
    const sent = String(headers[name])
    if (typeof expected === 'string') t.ok(sent.startsWith(expected), `${value}: ${sent}`)
    else t.match(sent, expected, value)
    t.equal(headers['set-cookie'], undefined)
  }
})

t.test('omits a header with a missing value, in requests and responses', async (t) => {
  const text = {
    'x-auth': 'Bearer {caller.id}',
    'x-both': '{query.a}/{query.b}',
    'x-empty': 'a={query.e}',
    'x-none': '{headers.constructor}'
  }
  const app = await gateway(t, {
    auth: { ...auth, optional: true },
    routes: routes({ request: text, response: text })
  })
  const headers = { 'x-auth': 'Bearer root', 'x-both': 'forged', 'x-empty': 'forged', 'x-none': 'forged' }
  const expected: [string, object, object][] = [
    ['/plain/x', {}, { 'x-auth': undefined, 'x-both': undefined, 'x-empty': undefined }],
    ['/plain/x?a=1&e=', {}, { 'x-both': undefined, 'x-empty': 'a=' }],
    ['/named/x/y?a=1&b=2', { 'x-api-key': 'key of alice' }, { 'x-both': '1/2' }]
  ]
  for (const [url, more, seen] of expected) {
    const answer = await app.inject({ url, headers: { ...headers, ...more } })
    t.match(answer.json(), { ...seen, 'x-none': undefined }, url)
    t.match(answer.headers, { ...seen, 'x-none': undefined }, `${url}, back`)
  }
})

t.test('removes control and other invalid characters from values of the request', async (t) => {
  const app = await gateway(t, {
    routes: routes({
      request: { 'x-out': '{query.q}' },
      response: { 'x-back': '{query.q}' }
    })
  })
  const cases: [name: string, url: string, seen: string][] = [
    ['a line break in the query', '/plain/x?q=a%0d%0ax-evil:%201', 'ax-evil: 1'],
    ['a bare line feed', '/plain/x?q=a%0ax-evil:1', 'ax-evil:1'],
    ['a NUL', '/plain/x?q=a%00b', 'ab'],
    ['a character outside of Latin-1', '/plain/x?q=a%E2%82%AC', 'a'],
    ['a line separator', '/plain/x?q=a%E2%80%A8b', 'ab']
  ]
  for (const [name, url, seen] of cases)
    t.test(name, async (t) => {
      const answer = await app.inject(url)
      t.equal(answer.statusCode, 200)
      t.match(answer.json(), { 'x-out': seen, 'x-evil': undefined })
      t.match(answer.headers, { 'x-back': seen, 'x-evil': undefined })
    })
  t.test('in a response of the gateway itself', async (t) => {
    const { headers } = await app.inject('/respond?q=a%0d%0aset-cookie:%20a=1')
    t.match(headers, { 'x-back': 'aset-cookie: a=1', 'set-cookie': undefined })
  })
})

t.test('rejects a config that would break the message', async (t) => {
  const cases: [name: string, headers: object, message: RegExp][] = [
    ['framing', { request: { 'Content-Length': '5' } }, /"Content-Length" frames the message itself/],
    ['framing of the response', { response: { 'transfer-encoding': false } }, /frames the message itself/],
    ['a host', { request: { host: 'a' } }, /frames the message itself/],
    ['a line break', { response: { 'x-a': 'a\r\nb' } }, /has a line break/],
    ['an invalid name', { request: { 'x a': 'b' } }, /x a/],
    ['an unknown value', { request: { 'x-a': '{client.up}' } }, /got "\{client\.up\}"/],
    ['an unclosed brace', { request: { 'x-a': '{client.ip' } }, /expected a "\}" after/],
    ['a listed host', { only: ['Host'] }, /can be forwarded, got "Host"; "preserveHost": true of the target/],
    ['a listed upgrade', { only: ['upgrade'] }, /got "upgrade"; it belongs to one connection/],
    ['listed trailers', { only: ['accept', 'TE'] }, /got "TE"; it belongs to one connection/],
    ['a listed expectation', { only: ['expect'] }, /got "expect"; the gateway meets it itself/],
    ['a listed Trailer', { only: ['trailer'] }, /got "trailer"; it is about the framing of one message/],
    ['a listed Proxy', { only: ['Proxy'] }, /got "Proxy"; it is never forwarded, .* \(CVE-2016-5385\)/],
    ['a signature', { only: ['sallyport-explain'] }, /"sallyport-explain"; it is for the gateway alone/]
  ]
  for (const [name, headers, message] of cases)
    t.test(name, async (t) => {
      await t.rejects(loadConfig({ headers, routes: [] }, {}), { message })
    })
})

t.test('forwards no headers of a client but those that a route lists', async (t) => {
  const app = await gateway(t, {
    upstreams: { echo: { url: target } },
    routes: [
      { path: '/all', proxy: { upstream: 'echo' } },
      { path: '/some', headers: { only: ['X-Tenant'] }, proxy: { upstream: 'echo' } },
      {
        path: '/none',
        headers: { only: [], request: { 'x-set': 'ours', cookie: { default: 'a=1' } } },
        proxy: { upstream: 'echo' }
      },
      {
        path: '/leg',
        headers: { only: ['x-tenant'] },
        aggregate: { legs: { a: { upstream: 'echo', path: '/' } }, body: '{legs.a}' }
      }
    ]
  })
  const headers = {
    'x-tenant': 'a',
    'x-other': 'b',
    'x-set': 'theirs',
    cookie: 'b=2',
    'content-type': 'text/plain'
  }
  for (const { url, gets } of [
    { url: '/all', gets: headers },
    { url: '/some', gets: { 'x-tenant': 'a', 'content-type': 'text/plain' } },
    { url: '/none', gets: { 'x-set': 'ours', cookie: 'a=1', 'content-type': 'text/plain' } },
    { url: '/leg', gets: { 'x-tenant': 'a' } }
  ]) {
    const method = url === '/leg' ? 'GET' : 'POST'
    const payload = method === 'GET' ? undefined : 'hello'
    const response = await app.inject({ method, url, headers, ...(payload !== undefined && { payload }) })
    const seen = response.json<Record<string, string>>()
    for (const name of Object.keys(headers))
      t.equal(seen[name], gets[name as keyof typeof gets], `${url}: ${name}`)
    t.match(seen['x-forwarded-for'], '127.0.0.1', `${url}: x-forwarded-for`)
    if (payload !== undefined) t.equal(seen['content-length'], '5', `${url}: content-length`)
  }
})

t.test(
  'forwards the listed headers and trailers between all versions of HTTP',
  { skip: noOpenssl },
  async (t) => {
    const { ca: cert } = certificate(t)
    const older = http.createServer((request, response) => {
      response.writeHead(200, { trailer: 'x-end', 'content-type': 'application/json' })
      response.write(JSON.stringify(request.headers))
      response.addTrailers({ 'x-end': 'yes' })
      request.resume().on('end', () => response.end())
    })
    const newer = http2.createServer()
    newer.on('stream', (stream, headers) => {
      stream.respond({ ':status': 200, 'content-type': 'application/json' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-end': 'yes' }))
      stream.resume().on('end', () => stream.end(JSON.stringify(headers)))
    })
    const sessions = new Set<http2.ServerHttp2Session>()
    newer.on('session', (session) => sessions.add(session))
    newer.listen(0, '127.0.0.1')
    await once(newer, 'listening')
    t.teardown(() => {
      for (const session of sessions) session.destroy()
      newer.close()
    })
    const { port } = await listening(t, {
      tls: { certificates: [{ cert, key: cert.replace('.pem', '.key') }] },
      upstreams: {
        older: { url: await originOf(t, older) },
        newer: { url: `http://127.0.0.1:${(newer.address() as AddressInfo).port}`, http2: true }
      },
      headers: { only: ['X-Listed', 'Cookie'] },
      routes: [
        { path: '/older', proxy: { upstream: 'older' } },
        { path: '/newer', proxy: { upstream: 'newer' } }
      ]
    })
    const sent = {
      'x-listed': 'a',
      'x-other': 'b',
      'content-type': 'text/plain',
      'content-length': '2',
      te: 'trailers',
      cookie: ['a=1', 'b=2']
    }
    const ca = readFileSync(cert)
    const client = http2.connect(`https://localhost:${port}`, { ca })
    t.teardown(() => client.destroy())
    const clients: Record<string, (path: string) => Promise<[text: string, trailers: object]>> = {
      'HTTP/1.1': async (path) => {
        const headers = { ...sent, cookie: 'a=1; b=2' }
        const request = https.request({
          host: 'localhost',
          port,
          ca,
          path,
          method: 'POST',
          headers,
          agent: false
        })
        request.end('hi')
        const [response] = (await once(request, 'response')) as [http.IncomingMessage]
        const body = await text(response)
        return [body, response.trailers]
      },
      'HTTP/2': async (path) => {
        const stream = client.request({ ':path': path, ':method': 'POST', ...sent })
        stream.end('hi')
        const trailers = once(stream, 'trailers')
        const body = await text(stream)
        return [body, (await trailers)[0]]
      }
    }
    for (const [version, exchange] of Object.entries(clients))
      for (const path of ['/older', '/newer']) {
        const name = `${version} to ${path.slice(1)}`
        const [body, trailers] = await exchange(path)
        const seen = JSON.parse(body)
        t.match(
          seen,
          { 'x-listed': 'a', cookie: 'a=1; b=2', 'content-type': 'text/plain', 'content-length': '2' },
          name
        )
        t.match(seen, { 'x-forwarded-proto': 'https', 'x-request-id': /./ }, name)
        t.notOk('x-other' in seen, name)
        t.equal(seen.te, path === '/newer' ? 'trailers' : undefined, name)
        t.match(trailers, { 'x-end': 'yes' }, name)
      }
  }
)

t.test('forwards the handshake of a WebSocket beside the listed headers', async (t) => {
  const seen: http.IncomingHttpHeaders[] = []
  const server = http.createServer()
  server.on('upgrade', ({ headers }, socket) => {
    seen.push(headers)
    socket.on('error', () => {})
    socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  })
  const { port } = await listening(t, {
    routes: [{ path: '/ws', headers: { only: ['x-listed'] }, proxy: { upstream: await originOf(t, server) } }]
  })
  const handshake = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'sec-websocket-version': '13',
    'sec-websocket-protocol': 'chat'
  }
  const headers = { ...handshake, 'x-listed': 'a', origin: 'https://a.example', cookie: 'a=1' }
  const request = http.request({ port, path: '/ws', headers, agent: false })
  request.end()
  const [, socket] = await once(request, 'upgrade')
  socket.destroy()
  t.match(seen, [{ ...handshake, connection: /^upgrade$/i, 'x-listed': 'a' }])
  t.notOk('origin' in (seen[0] ?? {}))
  t.notOk('cookie' in (seen[0] ?? {}))
})

t.test('lists of headers change nothing of who the client and the caller are', async (t) => {
  const build = (trustedProxies: string[], only: string[]) =>
    gateway(t, {
      trustedProxies,
      clientIp: 'header:cf-connecting-ip',
      auth: { ...auth, identity: { 'x-user-id': 'id' } },
      routes: [{ path: '/a', headers: { only }, proxy: { upstream: target } }]
    })
  const headers = { 'cf-connecting-ip': '10.9.8.7', 'x-user-id': 'mallory', 'x-real-ip': '10.9.8.7' }
  const listed = Object.keys(headers)
  const caller = { 'x-api-key': 'key of alice' }
  const client = { 'cf-connecting-ip': '10.9.8.7', 'x-real-ip': '10.9.8.7' }
  const cases: [name: string, trusted: string[], only: string[], more: object, seen: object][] = [
    ['a client, listed', ['10.0.0.0/8'], listed, {}, {}],
    ['a trusted proxy, not listed', ['loopback'], [], {}, client],
    ['a caller, not listed', ['10.0.0.0/8'], [], caller, { 'x-user-id': 'alice' }],
    ['a caller of a trusted proxy, listed', ['loopback'], listed, caller, { ...client, 'x-user-id': 'alice' }]
  ]
  for (const [name, trusted, only, more, expected] of cases) {
    const app = await build(trusted, only)
    const seen = (await app.inject({ url: '/a', headers: { ...headers, ...more } })).json<
      Record<string, string>
    >()
    const found = listed.filter((each) => each in seen).map((each) => [each, seen[each]])
    t.same(Object.fromEntries(found), expected, name)
  }
})

t.test('headers with underscores reach an upstream only where the route says so, or in gRPC', async (t) => {
  const url = await upstream(t)
  const target = { proxy: { upstream: url } }
  const validate = { headers: { properties: { 'x-tenant': { const: 'mine' } }, required: ['x-tenant'] } }
  const { port } = await listening(t, {
    routes: [
      { path: '/validated', validate, ...target },
      { path: '/validated-kept', validate, headers: { underscores: 'keep' }, ...target },
      { path: '/drop', ...target },
      { path: '/keep', headers: { underscores: 'keep' }, ...target },
      { path: '/leg', aggregate: { legs: { a: { upstream: url, path: '/' } } } }
    ]
  })
  const send = async (method: string, path: string, ...lines: string[]): Promise<string> =>
    await raw(
      port,
      `${method} ${path} HTTP/1.1\r\nHost: a\r\n${lines.join('\r\n')}\r\nConnection: close\r\n\r\n`
    )
  const get = (path: string, ...lines: string[]): Promise<string> => send('GET', path, ...lines)
  const folded = ['Content_Type: text/html', 'accept_language: de', 'X.Tenant: other', 'x_tenant: other']
  // CGI reads these as "_tenant", which is forwarded.
  const leading = ['.tenant: other', '!tenant: other', '..x: other', '-x_tenant: other']
  for (const path of ['/drop', '/leg']) {
    const answer = await get(path, ...folded, ...leading, 'Accept-Language: fr')
    t.match(answer, /"accept-language":"fr"/)
    t.notMatch(answer, /content_type|accept_language|[.!_]tenant|\.\.x/i, path)
  }
  t.match(await get('/keep', ...folded), /"x_tenant":"other"/)
  for (const path of ['/drop', '/leg'])
    t.match(await get(path, '_x_tenant: a', 'constructor: b'), /"_x_tenant":"a","constructor":"b"/, path)
  t.match(await get('/keep', 'x_forwarded_for: 1.2.3.4'), /^HTTP\/1.1 200 (?!.*1\.2\.3\.4)/s)
  const call = 'Content-Type: application/grpc'
  t.match(await send('POST', '/drop', call, 'my_metadata: 1'), /"my_metadata":"1"/)
  t.notMatch(await get('/drop', call, 'my_metadata: 1'), /my_metadata/, 'no call is a GET')
  t.equal(statusOf(await get('/validated-kept', 'x-tenant: mine', 'x_tenant: other')), 400)
  t.equal(statusOf(await get('/validated', 'x_tenant: mine')), 400, 'what is removed is not judged')
  t.match(await get('/validated', 'x-tenant: mine', 'x_tenant: other'), /"x-tenant":"mine"/)
})

t.test('adds, defaults, replaces and removes response headers, by status, for every target', async (t) => {
  const folder = t.testdir({ 'a.txt': 'a file' })
  const response = {
    link: [{ add: '</a>; rel=a' }, { add: '</b>; rel=b', on: ['4xx', '5xx'] }],
    'x-default': { default: 'ours' },
    'x-theirs': { default: 'ours' },
    'x-set': { set: 'of {query.q}' },
    'x-missing': [{ add: '{query.none}' }, { default: '{query.none}' }],
    'x-gone': [{ set: 'a' }, { remove: true }],
    'x-text': ['first', { add: 'second' }],
    'set-cookie': { add: 'ours=1' },
    'cache-control': { set: 'max-age=60' },
    etag: { remove: true, on: ['404'] }
  }
  const app = await gateway(t, {
    headers: { response },
    routes: [
      { path: '/proxied', proxy: { upstream: target } },
      { path: '/respond', respond },
      { path: '/missing', respond: { ...respond, status: 404 } },
      { path: '/redirect', redirect: { to: '/respond' } },
      { path: '/files/*', files: { root: folder } },
      { path: '/aggregate', aggregate: { legs: { a: { upstream: target, path: '/' } } } },
      { path: '/refused', respond, fault: { status: 503 } }
    ]
  })
  const one = '</a>; rel=a'
  const both = [one, '</b>; rel=b']
  const cases: [url: string, status: number, seen: object][] = [
    ['/proxied', 200, { link: one, 'x-theirs': 'theirs', 'set-cookie': ['a=1', 'b=2', 'ours=1'] }],
    ['/respond', 200, { link: one, 'x-theirs': 'ours', 'set-cookie': 'ours=1' }],
    ['/missing', 404, { link: both }],
    ['/redirect', 308, { link: one }],
    ['/files/a.txt', 200, { link: one, etag: /./ }],
    ['/files/none', 404, { link: both, etag: undefined }],
    ['/aggregate', 200, { link: one }],
    ['/refused', 503, { link: both, 'cache-control': 'no-store' }],
    ['/nowhere', 404, { link: both, 'cache-control': 'no-store' }]
  ]
  for (const [url, status, seen] of cases)
    await t.test(url, async (t) => {
      const { headers, statusCode } = await app.inject(`${url}?q=1`)
      t.equal(statusCode, status)
      t.match(headers, {
        'x-default': 'ours',
        'x-set': 'of 1',
        'x-missing': undefined,
        'x-gone': undefined,
        'x-text': ['first', 'second'],
        ...seen
      })
    })
})

t.test('adds and defaults request headers', async (t) => {
  const app = await gateway(t, {
    headers: {
      request: {
        'x-list': [{ add: 'ours' }, { add: '{query.q}' }],
        cookie: { add: 'ours={query.q}' },
        accept: { default: 'application/json' },
        'x-gone': { remove: true },
        'x-set': { set: 'ours' }
      }
    },
    routes: [{ path: '/*', proxy: { upstream: target } }]
  })
  const cases: [url: string, headers: Record<string, string>, seen: object][] = [
    ['/', {}, { 'x-list': 'ours', cookie: undefined, accept: 'application/json', 'x-set': 'ours' }],
    [
      '/?q=1',
      { 'x-list': 'theirs', cookie: 'a=b', accept: 'text/plain', 'x-gone': 'a', 'x-set': 'theirs' },
      {
        'x-list': 'theirs, ours, 1',
        cookie: 'a=b; ours=1',
        accept: 'text/plain',
        'x-gone': undefined,
        'x-set': 'ours'
      }
    ]
  ]
  for (const [url, headers, seen] of cases)
    t.match((await app.inject({ url, headers })).json(), seen, `${url} ${JSON.stringify(headers)}`)
})

t.test('changes stored responses once', async (t) => {
  const stored = await upstream(t, (_request, response) => {
    response
      .setHeader('link', 'a')
      .setHeader('cache-control', 'max-age=60')
      .setHeader('content-type', 'application/json')
    response.end('{}')
  })
  const app = await gateway(t, {
    cache: { ttl: '1m' },
    headers: {
      response: { 'x-added': { add: 'ours' }, 'x-default': { default: '{query.q}' }, link: { add: 'b' } }
    },
    routes: [
      { path: '/proxied', proxy: { upstream: stored } },
      { path: '/aggregate', aggregate: { legs: { a: { upstream: stored, path: '/' } } } }
    ]
  })
  for (const [url, link] of [
    ['/proxied', 'a, b'],
    ['/aggregate', 'b']
  ] as const)
    for (const state of [/fwd/, /hit/, /hit/]) {
      const { headers } = await app.inject(`${url}?q=1`)
      t.match(headers['cache-status'], state, url)
      t.equal(String(headers['x-added']), 'ours', `${url} ${state}`)
      t.equal(headers['x-default'], '1')
      t.equal([headers.link].flat().join(', '), link, `${url} ${state}`)
    }
})

t.test('adds fields over HTTP/2', async (t) => {
  const { ca: cert } = certificate(t)
  const { port } = await listening(t, {
    tls: { certificates: [{ cert, key: cert.replace('.pem', '.key') }] },
    headers: {
      response: { link: [{ add: 'a' }, { add: 'b' }], 'set-cookie': { add: 'c=1' }, etag: { default: '"1"' } }
    },
    routes: [
      { path: '/proxied', proxy: { upstream: target } },
      { path: '/respond', respond }
    ]
  })
  const session = http2.connect(`https://localhost:${port}`, { ca: readFileSync(cert) })
  t.teardown(() => session.destroy())
  for (const path of ['/proxied', '/respond', '/nowhere']) {
    const [headers] = await once(session.request({ ':path': path }), 'response')
    t.match(headers, { link: 'a, b', etag: '"1"' }, path)
    t.equal(headers['set-cookie'].at(-1), 'c=1', path)
  }
})

t.test('refuses changes that say too little, too much or nothing', async (t) => {
  const cases: [name: string, headers: object, message: RegExp][] = [
    [
      'no change',
      { response: { 'x-a': {} } },
      /expected one of "set", "add", "default" and "remove", got none/
    ],
    ['two', { response: { 'x-a': { set: 'a', add: 'b' } } }, /headers\.response\.x-a.*got "set" and "add"/],
    ['only statuses', { response: { 'x-a': { on: [200] } } }, /got none/],
    ['an unknown action', { response: { 'x-a': { append: 'b' } } }, /append/],
    ['an unknown action that is off', { response: { 'x-a': { set: 'a', append: false } } }, /append/],
    ['remove false', { response: { 'x-a': { remove: false } } }, /remove/],
    ['statuses of a request', { request: { 'x-a': { set: 'a', on: [200] } } }, /"?on"?/],
    ['a bad status', { response: { 'x-a': { set: 'a', on: ['2x'] } } }, /a status such as 404/],
    ['an empty list', { response: { 'x-a': [] } }, /x-a/],
    ['a number', { response: { 'x-a': 1 } }, /expected a string .*, false to remove it, an object/],
    ['a number in a list', { response: { 'x-a': ['a', 1] } }, /x-a/],
    ['a second type', { response: { 'Content-Type': { add: 'a/b' } } }, /"Content-Type" only once/],
    [
      'an unknown value',
      { response: { 'x-a': [{ add: '{client.up}' }] } },
      /x-a\[?\.?0.*got "\{client\.up\}"/
    ],
    ['a line break', { response: { 'x-a': { add: 'a\nb' } } }, /has a line break/],
    ['framing', { response: { 'content-length': { remove: true } } }, /frames the message/],
    [
      'an identity header',
      { request: { 'X-User': { default: 'root' } } },
      /"X-User" is an identity header that "auth" sends/
    ]
  ]
  for (const [name, headers, message] of cases)
    await t.test(name, async (t) => {
      await t.rejects(
        loadConfig({ auth: { ...auth, identity: { 'x-user': 'id' } }, headers, routes: [] }, {}),
        {
          message
        }
      )
    })
  await loadConfig(
    {
      auth: { ...auth, identity: { 'x-user': 'id' } },
      headers: { request: { 'x-user': { remove: true } } },
      routes: []
    },
    {}
  )
})

t.test('takes a text of a variable or a file literally, in every form', async (t) => {
  const folder = t.testdir({ secret: '{client.ip}' })
  const braces = `\${BRACES}`
  const text = `${braces} {query.q}`
  const app = await gateway(
    t,
    {
      headers: {
        request: { 'x-a': { set: text }, 'x-b': [{ default: `\${file:${join(folder, 'secret')}}` }] },
        response: { 'x-a': { add: text }, 'x-b': [braces], 'x-c': text }
      },
      routes: [{ path: '/*', proxy: { upstream: target } }]
    },
    { env: { BRACES: '{{a}} {path}' } }
  )
  const { headers, json } = await app.inject('/?q=1')
  t.match(json(), { 'x-a': '{{a}} {path} 1', 'x-b': '{client.ip}' })
  t.match(headers, { 'x-a': '{{a}} {path} 1', 'x-b': '{{a}} {path}', 'x-c': '{{a}} {path} 1' })
})
