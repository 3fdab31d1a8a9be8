import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http, { type IncomingHttpHeaders, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import http2 from 'node:http2'
import { type AddressInfo, createServer } from 'node:net'
import type { Duplex } from 'node:stream'
import t from 'tap'
import {
  bodyOf,
  echo,
  listening,
  originOf,
  readableLog,
  type Scope,
  type Seen,
  socketPath,
  upstream
} from '../helpers.ts'

// The behaviours of @fastify/reply-from and @fastify/http-proxy, by the files of their test suites, as far as they apply
// to a gateway. Where Sallyport differs on purpose, the name of the test says how.
//
// Tested elsewhere (their file: ours):
// - full-https-get, tls-verification, unix-*, http1-aborted-request*, onRequest and preHandler before a WebSocket,
//   ws-upgrade-prefix: proxy.test.ts. Certificates are verified unless told not to.
// - full-post-stream*, text-event-stream-custom-parser, sse and timeouts, undici-timeout-body*, incomplete-request: streams.test.ts.
//   A stalled body is aborted, since its headers are sent; a connection with an unread upload stays open while the rest arrives.
// - http2-http2, http-http2, full-post-http2, full-delete-http2, http2-canceled-streams-cleanup, http2-te-header: http2.test.ts.
// - http-retry, retry-on-*, the statuses of retry-with-a-custom-handler: retry.test.ts. Retry-After is in seconds there.
// - on-error: release.test.ts ("fallback"). balanced-pool: ../plugins/upstreams/balance.test.ts.
// - existing-routes, constraints, multiple prefixes, host of a WebSocket: ../src/routing.test.ts. Only "host" tells routes apart.
// - "no upstream will throw", validateOptions: ../src/config/routes.test.ts, validate.test.ts. "captures errors on start": ../src/cli.test.ts.
// - preHandler that answers 401: ../plugins/auth.test.ts. disable-request-logging: ../plugins/access-log.test.ts.
// - "should gracefully close when clients attempt to connect after calling close": websocket.test.ts, ../src/server.test.ts.
//   The sockets that listen are closed first, so there is no 503; a WebSocket that is open has until the end of the drain.
//
// Not configurable, each for a reason:
// - Functions: getUpstream and get-upstream-*, rewriteHeaders, rewriteRequestHeaders, queryString, preRewrite, onResponse,
//   rewriteTrailers, onTrailers, addTrailers, custom retry handlers, wsHooks, preHandler, preValidation, beforeHandler, config,
//   and their errors (unexpected-error). A config is data; "split", "headers", "query", "retry" and extensions stand in for them.
// - Bodies made anew: full-rewrite-body*, transform-body, no-body-opts-*, no-stream-body-option, unsupported body types,
//   proxyPayloads, method. A body is forwarded as the bytes it came in, a request by the method it came with.
// - Clients: http-agents, https-agents, *-global-agent, custom-undici-instance, undici-agent, undici-options, undici-no-destroy,
//   undici-proxy-agent, destroyAgent, "core" and "undici" variants. There is one, with a pool for each target.
// - The API of a plugin: async-route-handler, fromParameters, modifyCoreObjects, build-url, a base as a list, export, types,
//   get-upstream-cache and GHSA-v574-6498-x57v (targets are known at boot, no URL is ever put together or remembered), utils.
// - wsReconnect: a gateway cannot know what a new connection would have to hear again; a WebSocket ends with its other side.
// - wsUpstream, "ws://" as an upstream, wsClientOptions, wsServerOptions: a WebSocket is a request like any other, so it goes
//   where its route goes, through the same gates, with the same headers. ws-coexist-fastify-websocket: no other server is inside.
// - socket.io: polling, and a WebSocket of the same path; both are cases here. maxTrailerSize: the bound is that of a head.

/** A request of Node's own client, on a new connection unless it has an agent. */
interface Asked {
  readonly path: string
  readonly method?: string
  readonly headers?: OutgoingHttpHeaders
  readonly body?: string | Buffer
  readonly agent?: http.Agent
}

interface Answered {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  readonly trailers: NodeJS.Dict<string>
  readonly reused: boolean
}

async function send(
  port: number,
  { path, method = 'GET', headers = {}, body, agent }: Asked
): Promise<Answered> {
  const request = http.request({ port, path, method, headers, agent: agent ?? false })
  request.end(body)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const text = (await bodyOf(response)).toString('latin1')
  const { statusCode: status = 0, headers: got, trailers } = response
  return { status, headers: got, text, trailers, reused: request.reusedSocket }
}

/** Starts an upstream that sends the given bytes, with "{up}" replaced by its origin, and closes the connection. */
async function rawUpstream(t: Scope, bytes: string): Promise<string> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end(Buffer.from(bytes.replaceAll('{up}', origin), 'latin1')))
    t.teardown(() => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return origin
}

type Words = Record<string, unknown>

/** Starts an upstream that responds with its path, over WebSockets also, and echoes each message. */
async function sockets(t: Scope, name = ''): Promise<string> {
  const server = http.createServer((request, response) => response.end(`${name}${request.url}`))
  server.on('upgrade', (request, socket) => {
    const accept = createHash('sha1')
      .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64')
    const protocol = request.headers['sec-websocket-protocol']?.split(', ')[0]
    const said = protocol === undefined ? '' : `Sec-WebSocket-Protocol: ${protocol}\r\n`
    socket.on('error', () => {})
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n${said}\r\n`
    )
    const { cookie, 'x-mine': mine } = request.headers
    const first = [`${name}${request.url}`, cookie, mine].filter((each) => each !== undefined).join(' ')
    socket.write(frame(0x81, Buffer.from(first)))
    echoFrames(socket)
  })
  return originOf(t, server)
}

const frame = (kind: number, data: Buffer): Buffer => Buffer.concat([Buffer.from([kind, data.length]), data])

/** Echoes each short frame of a client without its mask (RFC 6455 section 5.2). */
function echoFrames(socket: Duplex): void {
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (data: Buffer) => {
    rest = Buffer.concat([rest, data])
    while (rest.length >= 6 && rest.length >= 6 + ((rest[1] ?? 0) & 127)) {
      const [kind = 0, second = 0] = rest
      const length = second & 127
      const mask = rest.subarray(2, 6)
      const said = rest.subarray(6, 6 + length).map((byte, i) => byte ^ (mask[i % 4] ?? 0))
      rest = rest.subarray(6 + length)
      socket.write(frame(kind, Buffer.from(said)))
      // The server closes the connection (RFC 6455 section 7.1.1).
      if (kind === 0x88) socket.end()
    }
  })
}

/** Opens a WebSocket with Node's own client, and waits for the first message. */
async function open(
  t: Scope,
  port: number,
  path: string,
  init: { protocols?: string[]; headers?: Record<string, string> } = {}
): Promise<{ socket: WebSocket; first: unknown }> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, init)
  socket.binaryType = 'arraybuffer'
  t.teardown(() => socket.close())
  return { socket, first: await message(socket) }
}

/** Waits for the next message; undefined when the socket is refused or lost. */
const message = (socket: WebSocket): Promise<unknown> =>
  new Promise((resolve, reject) => {
    socket.addEventListener('message', ({ data }) => resolve(data), { once: true })
    socket.addEventListener('close', ({ code }) => reject(new Error(`closed with ${code}`)), { once: true })
  })

/** Requests a WebSocket with an unchanged path, and returns what the upstream saw, or the status of a refusal. */
function joins(port: number, path: string, host = 'a'): Promise<string | number> {
  return new Promise((resolve, reject) => {
    const headers = { host, connection: 'Upgrade', upgrade: 'websocket' }
    const request = http.request({ port, path, headers, agent: false }).end()
    request.on('error', reject)
    request.on('response', (response) => {
      resolve(response.statusCode ?? 0)
      response.resume()
    })
    request.on('upgrade', (_response, socket, head) => {
      let seen = head
      const look = (): void => {
        if (seen.length < 2 || seen.length < 2 + (seen[1] ?? 0)) return
        resolve(seen.subarray(2).toString())
        socket.destroy()
      }
      socket.on('error', reject).on('data', (data: Buffer) => {
        seen = Buffer.concat([seen, data])
        look()
      })
      look()
    })
  })
}

t.test('forwards requests and WebSockets to the expected path', async (t) => {
  interface Mounted {
    /** The name of the original test. */
    readonly name: string
    /** The path of the upstream URL. */
    readonly base?: string
    readonly routes: Words[]
    readonly more?: Words
    /** The requested path and what the upstream sees, or the status of a refusal. */
    readonly asks: readonly (readonly [path: string, comes: string | number])[]
  }
  const cases: Mounted[] = [
    {
      name: 'basic proxy, base get, base querystring, no prefix to "/"',
      routes: [{ path: '/*' }],
      asks: [
        ['/', '/'],
        ['/a', '/a'],
        ['/pub/', '/pub/'],
        ['/hello?a=b', '/hello?a=b']
      ]
    },
    {
      name: 'base path, undici and core with a path in the base, whether it ends with a slash or not',
      base: '/hello',
      routes: [{ path: '/*' }],
      asks: [
        ['/world', '/hello/world'],
        ['/hi/', '/hello/hi/'],
        ['/hi/more?a=/b', '/hello/hi/more?a=/b']
      ]
    },
    {
      name: 'handles a trailing slash in base',
      base: '/hello/',
      routes: [{ path: '/*' }],
      asks: [['/world', '/hello/world']]
    },
    {
      name: 'appends instead of overriding the base, where two slashes may pass',
      routes: [{ path: '/*' }],
      more: { paths: { doubleSlash: 'keep' } },
      asks: [
        ['//10.0.0.10/hi', '//10.0.0.10/hi'],
        ['//nobody.invalid/hi', '//nobody.invalid/hi']
      ]
    },
    {
      name: 'two slashes are refused by default: servers disagree on what they name',
      routes: [{ path: '/*' }],
      asks: [['//10.0.0.10/hi', 400]]
    },
    {
      name: 'throws when trying to override the base',
      base: '/exposed',
      routes: [{ path: '/exposed/*', rewrite: '/' }],
      asks: [
        ['/exposed/hi', '/exposed/hi'],
        ['/exposed-extra', 404],
        ['/private', 404],
        ['/exposed/../private', 400],
        ['/exposed/%2e%2e/private', 400],
        ['/exposed/http://10.0.0.10/hi', 400],
        ['/exposed/urn:foo:bar', '/exposed/urn:foo:bar']
      ]
    },
    {
      name: 'fix for GHSA-2q7r-29rg-6m5h: encoded dot segments, but not dots in a name or a query',
      base: '/hi/',
      routes: [{ path: '/*' }],
      asks: [
        ['/ho/%2E%2E/hi', 400],
        ['/ho/..%2fhi', 400],
        ['/ho/.../hi', '/hi/ho/.../hi'],
        ['/hi?a=/ho/%2E%2E/hi', '/hi/hi?a=/ho/%2E%2E/hi']
      ]
    },
    {
      name: 'prefixed proxy, where "rewrite" takes the prefix off',
      routes: [{ path: '/my-prefix/*', rewrite: '/' }],
      asks: [
        ['/my-prefix/', '/'],
        ['/my-prefix', '/'],
        ['/my-prefix/a', '/a'],
        ['/my-prefix?x=1', '/?x=1'],
        ['/my-prefixes', 404]
      ]
    },
    {
      name: 'without "rewrite" the prefix stays',
      routes: [{ path: '/my-prefix/*' }],
      asks: [['/my-prefix/a', '/my-prefix/a']]
    },
    {
      name: '"/pub/" to "/public/", by the base or by rewritePrefix',
      base: '/public/',
      routes: [
        { path: '/pub/*', rewrite: '/' },
        { path: '/other/*', rewrite: '/x/' }
      ],
      asks: [
        ['/', 404],
        ['/pub/', '/public/'],
        ['/pub/test', '/public/test'],
        ['/other/test', '/public/x/test']
      ]
    },
    {
      name: 'rewritePrefix with a prefix and without',
      routes: [
        { path: '/api/*', rewrite: '/api2' },
        { path: '/*', rewrite: '/root' }
      ],
      asks: [
        ['/api/a', '/api2/a'],
        ['/a', '/root/a']
      ]
    },
    {
      name: 'prefix and rewritePrefix with variables',
      routes: [
        { path: '/api/:id/static/*', rewrite: '/api2' },
        { path: '/api/:id/*', rewrite: '/variable-api/{params.id}' },
        { path: '/exact/:id/static', rewrite: '/variable-api/{params.id}/endpoint' },
        { path: '/:id', rewrite: '/variable-api/{params.id}/endpoint' }
      ],
      asks: [
        ['/api/123/static/a', '/api2/a'],
        ['/api/123/endpoint', '/variable-api/123/endpoint'],
        ['/exact/123/static', '/variable-api/123/endpoint'],
        ['/123', '/variable-api/123/endpoint'],
        ['/api/123/endpoint?foo=bar&foo=baz&abc=qux', '/variable-api/123/endpoint?foo=bar&foo=baz&abc=qux'],
        ['/api/a%2Fb/c', '/variable-api/a%2Fb/c']
      ]
    },
    {
      name: 'prefixed proxy with query search',
      base: '/second-service',
      routes: [{ path: '/second-service/*', rewrite: '/' }],
      asks: [
        ['/second-service/foo?lang=en', '/second-service/foo?lang=en'],
        ['/second-service/?lang=en', '/second-service/?lang=en']
      ]
    },
    {
      name: 'a bare prefix that "rewrite" replaces by "/" has that slash at the upstream',
      base: '/second-service',
      routes: [{ path: '/second-service/*', rewrite: '/' }, { path: '/third' }],
      asks: [
        ['/second-service?lang=en', '/second-service/?lang=en'],
        ['/third?lang=en', '/second-service/third?lang=en']
      ]
    },
    {
      name: 'full querystring, as the bytes it is',
      routes: [{ path: '/*' }],
      asks: [
        ['/hi?a=b&a=c&a[]=%zz&&=;?', '/hi?a=b&a=c&a[]=%zz&&=;?'],
        ['/hi?', '/hi?']
      ]
    },
    {
      name: 'full querystring rewrite option, as an object, a string and a function: the option "query"',
      routes: [{ path: '/*', words: { query: { q: 'test', path: '{path}', a: false } } }],
      asks: [
        ['/hi?a=b&c=%64', '/hi?c=%64&q=test&path=%2Fhi'],
        ['/hi', '/hi?q=test&path=%2Fhi']
      ]
    },
    {
      name: 'querystring rewrite to nothing takes the question mark as well',
      routes: [{ path: '/*', words: { query: { a: false } } }],
      asks: [['/hi?a=b', '/hi']]
    },
    {
      name: 'querystring rewrite by an empty object changes nothing',
      routes: [{ path: '/*', words: { query: {} } }],
      asks: [['/hi?a=b', '/hi?a=b']]
    }
  ]
  for (const { name, base = '', routes, more = {}, asks } of cases)
    t.test(name, async (t) => {
      const up = await sockets(t)
      const { port } = await listening(t, {
        ...more,
        routes: routes.map(({ path, words = {}, ...proxy }) => ({
          path,
          ...(words as Words),
          proxy: { upstream: `${up}${base}`, ...proxy }
        }))
      })
      for (const [path, comes] of asks) {
        const { status, text } = await send(port, { path })
        t.equal(status === 200 ? text : status, comes, path)
        t.equal(await joins(port, path), comes, `a WebSocket to ${path}`)
      }
    })
})

t.test('forwards the method, headers and body of a request', async (t) => {
  interface Carried {
    readonly name: string
    readonly method?: string
    readonly headers?: OutgoingHttpHeaders
    readonly body?: string | Buffer
    readonly words?: Words
    readonly proxy?: Words
    /** Headers that the upstream sees; undefined for those that it must not see. */
    readonly sees?: Record<string, string | undefined>
  }
  const latin = (bytes: readonly number[]): Buffer => Buffer.from(bytes)
  const type = (of: string): OutgoingHttpHeaders => ({ 'content-type': of })
  const cases: Carried[] = [
    { name: 'posting stuff', method: 'POST', headers: type('application/json'), body: '{"hello":"world"}' },
    {
      name: 'padded body: forwarded byte for byte, so that signatures stay valid',
      method: 'POST',
      headers: type('application/json'),
      body: '{\n  "hello": "world"\n}'
    },
    {
      name: 'GHSA-v2v2-hph8-q5xp: a JSON body is not parsed, whatever surrounds its media type',
      method: 'POST',
      headers: type('application/json ; charset=utf-8'),
      body: '"{\\"method\\":\\"invalid_method\\"}"'
    },
    {
      name: 'post with extended content-type, and with custom encoded content-type',
      method: 'POST',
      headers: type('application/vnd.api+json;charset=latin1'),
      body: latin([0x22, 0xe9, 0x22])
    },
    {
      name: 'post-formbody',
      method: 'POST',
      headers: type('application/x-www-form-urlencoded'),
      body: 'some=info&another=detail&a=%zz'
    },
    { name: 'post plain text', method: 'POST', headers: type('text/plain'), body: 'this is plain text' },
    {
      name: 'post with octet-stream',
      method: 'POST',
      headers: type('application/octet-stream'),
      body: latin([0, 255, 13, 10, 0])
    },
    {
      name: 'post multipart, fastify-multipart incompatibility: forwarded without parsing',
      method: 'POST',
      headers: type('multipart/form-data; boundary=x'),
      body: '--x\r\nContent-Disposition: form-data; name="a"; filename="a.txt"\r\n\r\n\xff\r\n--x--\r\n'
    },
    {
      name: 'no body of application/json: an empty body is forwarded',
      method: 'POST',
      headers: { ...type('application/json'), 'content-length': 0 },
      sees: { 'content-length': '0', 'content-type': 'application/json' }
    },
    {
      name: 'no body, without a length',
      method: 'DELETE',
      headers: type('application/json'),
      sees: { 'content-type': 'application/json', 'transfer-encoding': undefined }
    },
    {
      name: 'delete with a body',
      method: 'DELETE',
      headers: { ...type('application/json'), 'content-length': 7 },
      body: '{"a":1}'
    },
    {
      name: 'an unknown method',
      method: 'QUERY',
      headers: type('application/json'),
      body: '{"a":1}'
    },
    {
      name: 'get with body: forwarded with its length',
      method: 'GET',
      headers: { 'content-length': 16 },
      body: 'this is get body',
      sees: { 'content-length': '16' }
    },
    { name: 'get with chunks', method: 'GET', headers: { 'transfer-encoding': 'chunked' }, body: 'chunks' },
    { name: 'head with body', method: 'HEAD', headers: { 'content-length': 4 }, body: 'head' },
    { name: 'a method of WebDAV', method: 'PROPFIND', headers: type('text/xml'), body: '<a/>' },
    {
      name: 'post stream, undici and core: chunks stay chunks',
      method: 'POST',
      headers: { 'transfer-encoding': 'chunked' },
      body: 'streamed',
      sees: { 'transfer-encoding': 'chunked', 'content-length': undefined }
    },
    { name: 'hostname and port', sees: { host: '{up}', 'x-forwarded-host': 'gateway.test:81' } },
    {
      name: 'hostname of the client with "preserveHost"',
      proxy: { preserveHost: true },
      sees: { host: 'gateway.test:81' }
    },
    {
      name: 'strips headers listed in Connection, one or more, and preserves all others',
      headers: {
        connection: 'keep-alive, X-Custom-One ,x-custom-two',
        'x-custom-one': '1',
        'X-Custom-Two': '2',
        'x-keep-header': 'keep-me'
      },
      sees: { 'x-custom-one': undefined, 'x-custom-two': undefined, 'x-keep-header': 'keep-me' }
    },
    {
      name: 'does not strip headers added by rewriteRequestHeaders: the option "headers"',
      headers: { connection: 'X-Forwarded-By', 'x-forwarded-by': 'me' },
      words: { headers: { request: { 'x-forwarded-by': 'sallyport' } } },
      sees: { 'x-forwarded-by': 'sallyport' }
    },
    {
      name: 'rewriteRequestHeaders: sets by values of the request, and removes',
      headers: { 'x-req': 'from-header', 'x-gone': 'yes' },
      words: { headers: { request: { 'x-test': '{headers.x-req}', 'x-gone': false } } },
      sees: { 'x-test': 'from-header', 'x-gone': undefined }
    },
    {
      name: 'hop-by-hop headers are not forwarded, "te" included',
      headers: {
        te: 'trailers',
        'keep-alive': 'timeout=5',
        'proxy-connection': 'x',
        'proxy-authorization': 'Basic eDp5'
      },
      sees: {
        te: undefined,
        'keep-alive': undefined,
        'proxy-connection': undefined,
        'proxy-authorization': undefined
      }
    },
    {
      name: 'forwards repeated headers as often as they were sent',
      headers: { 'x-list': ['a', 'b'], cookie: 'a=1; b=2' },
      sees: { 'x-list': 'a, b', cookie: 'a=1; b=2' }
    }
  ]
  for (const { name, method = 'GET', headers = {}, body = '', words = {}, proxy = {}, sees = {} } of cases)
    t.test(name, async (t) => {
      const arrived = Promise.withResolvers<Omit<Seen, 'rawHeaders'>>()
      const up = await upstream(t, (request, response) => {
        void bodyOf(request).then((bytes) => {
          arrived.resolve({
            method: request.method ?? '',
            url: request.url ?? '',
            headers: request.headers as Record<string, string>,
            body: bytes.toString('latin1')
          })
          response.end()
        })
      })
      const { port } = await listening(t, {
        routes: [{ path: '/*', ...words, proxy: { upstream: up, ...proxy } }]
      })
      const answer = await send(port, {
        path: '/x',
        method,
        headers: { host: 'gateway.test:81', ...headers },
        body
      })
      if (!t.equal(answer.status, 200, answer.text)) return
      const seen = await arrived.promise
      t.equal(seen.method, method)
      t.equal(seen.body, Buffer.concat([Buffer.from(body)]).toString('latin1'))
      t.equal(seen.headers['content-type'], (headers['content-type'] as string | undefined)?.trim())
      for (const [header, value] of Object.entries(sees))
        t.equal(seen.headers[header], value === '{up}' ? new URL(up).host : value, header)
    })
})

t.test('refuses a QUERY without Content-Type (RFC 10008 section 2)', async (t) => {
  const { port } = await listening(t, { routes: [{ path: '/*', proxy: { upstream: await upstream(t) } }] })
  const query = { path: '/x', method: 'QUERY', headers: { 'content-length': 1 }, body: 'x' }
  t.equal((await send(port, query)).status, 400)
})

t.test('forwards the status, headers and body of a response', async (t) => {
  interface Brought {
    readonly name: string
    /** The bytes of the response; "{up}" is the origin of the upstream. */
    readonly says: string
    readonly words?: Words
    readonly proxy?: Words
    readonly path?: string
    readonly status: number
    readonly text?: string
    readonly gets?: Record<string, string | string[] | undefined>
    readonly trailers?: Record<string, string>
  }
  const ok = (lines: string, body = 'hi'): string =>
    `HTTP/1.1 200 OK\r\n${lines}Content-Length: ${body.length}\r\n\r\n${body}`
  const moved = (to: string): string => `HTTP/1.1 302 Found\r\nLocation: ${to}\r\nContent-Length: 0\r\n\r\n`
  const stripped = { path: '/api/x', proxy: { rewrite: '/' } }
  const cases: Brought[] = [
    {
      name: 'full get: status, type, headers of its own and the body',
      says: 'HTTP/1.1 205 Reset\r\nContent-Type: text/plain\r\nX-My-Header: hi!\r\nContent-Length: 2\r\n\r\nhi',
      status: 205,
      text: 'hi',
      gets: { 'content-type': 'text/plain', 'x-my-header': 'hi!' }
    },
    {
      name: 'on invalid upstream response: a status beyond 599 is passed on, as clients know to read it as 5xx (RFC 9110 section 15)',
      says: 'HTTP/1.1 888 Eight\r\nContent-Length: 0\r\n\r\n',
      status: 888
    },
    {
      name: 'redirects passthrough',
      says: moved('https://fastify.dev'),
      status: 302,
      gets: { location: 'https://fastify.dev' }
    },
    {
      name: 'rewrite location headers: the prefix that was stripped is put back',
      says: moved('/something'),
      ...stripped,
      status: 302,
      gets: { location: '/api/something' }
    },
    {
      name: 'undici POST: a location without a prefix stays',
      says: moved('/something'),
      status: 302,
      gets: { location: '/something' }
    },
    {
      name: 'an absolute location of the upstream is rewritten to the gateway, so that its address stays internal',
      says: moved('{up}/something'),
      ...stripped,
      status: 302,
      gets: { location: '/api/something' }
    },
    {
      name: 'location headers are preserved when internalRewriteLocationHeader is false: the option "rewriteBack"',
      says: moved('/relative-url'),
      path: '/api/x',
      proxy: { rewrite: '/', rewriteBack: false },
      status: 302,
      gets: { location: '/relative-url' }
    },
    {
      name: 'rewriteHeaders: the option "headers", with values of the request',
      says: ok('X-Gone: yes\r\nX-Test: up\r\n'),
      words: { headers: { response: { 'x-test': 'test', 'x-path': '{path}', 'x-gone': false } } },
      status: 200,
      gets: { 'x-test': 'test', 'x-path': '/x', 'x-gone': undefined }
    },
    {
      name: 'several cookies stay several',
      says: ok('Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n'),
      status: 200,
      gets: { 'set-cookie': ['a=1', 'b=2'] }
    },
    {
      name: 'strips headers of the connection from the response, and those that it names',
      says: ok(
        'Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=99\r\nProxy-Authenticate: Basic\r\nX-Keep: 2\r\n'
      ),
      status: 200,
      gets: { 'x-hop': undefined, 'proxy-authenticate': undefined, 'x-keep': '2' }
    },
    {
      name: 'sanitizeHeaders: a header beyond ASCII is forwarded byte for byte',
      says: ok('X-Name: caf\xe9 \xf0\x9f\x98\x80\r\n'),
      status: 200,
      gets: { 'x-name': 'caf\xe9 \xf0\x9f\x98\x80' }
    },
    {
      name: 'sse content type, with its charset parameter',
      says: ok('Content-Type: text/event-stream; charset=utf-8\r\n', 'data: 1\n\n'),
      status: 200,
      text: 'data: 1\n\n',
      gets: { 'content-type': 'text/event-stream; charset=utf-8', 'content-length': '9' }
    },
    {
      name: 'a compressed body is forwarded unchanged',
      says: ok('Content-Encoding: gzip\r\n', '\x1f\x8b\xff'),
      status: 200,
      text: '\x1f\x8b\xff',
      gets: { 'content-encoding': 'gzip', 'content-length': '3' }
    },
    {
      name: 'forwards trailers from upstream server, without being asked to',
      says: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Custom-Trailer\r\n\r\n5\r\nHello\r\n0\r\nX-Custom-Trailer: up\r\n\r\n',
      status: 200,
      text: 'Hello',
      gets: { trailer: 'X-Custom-Trailer' },
      trailers: { 'x-custom-trailer': 'up' }
    },
    {
      name: 'a response with 204 has no body and no added type',
      says: 'HTTP/1.1 204 No Content\r\n\r\n',
      status: 204,
      text: '',
      gets: { 'content-type': undefined, 'content-length': undefined, 'transfer-encoding': undefined }
    }
  ]
  for (const { name, says, words = {}, proxy = {}, path = '/x', status, text, gets = {}, trailers } of cases)
    t.test(name, async (t) => {
      const up = await rawUpstream(t, says)
      const { port } = await listening(t, {
        routes: [{ path: path === '/x' ? '/*' : '/api/*', ...words, proxy: { upstream: up, ...proxy } }]
      })
      const answer = await send(port, { path })
      t.equal(answer.status, status)
      if (text !== undefined) t.equal(answer.text, text)
      for (const [header, value] of Object.entries(gets)) t.same(answer.headers[header], value, header)
      if (trailers !== undefined) t.same(answer.trailers, trailers)
    })
})

t.test(
  'respects trailer size limits: a response with larger trailers is aborted, not completed',
  async (t) => {
    const up = await rawUpstream(
      t,
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n0\r\nX-Long: ${'x'.repeat(100_000)}\r\n\r\n`
    )
    const { port } = await listening(t, { routes: [{ path: '/*', proxy: { upstream: up } }] })
    await t.rejects(send(port, { path: '/x' }), { code: 'ECONNRESET' })
  }
)

t.test('responds with an error when the upstream fails', async (t) => {
  t.test('http request timeout, and a specific one that is longer: 504', async (t) => {
    const waiting = Promise.withResolvers<() => void>()
    const up = await upstream(t, (request, response) => {
      if (request.url === '/success') waiting.resolve(() => response.end('hello world'))
    })
    const { port } = await listening(t, {
      upstreams: { up: { url: up, timeouts: { headers: '50ms' } } },
      routes: [
        { path: '/fail', proxy: { upstream: 'up' } },
        { path: '/success', proxy: { upstream: 'up', timeouts: { headers: '30s' } } }
      ]
    })
    const success = send(port, { path: '/success' })
    const answer = await waiting.promise
    const late = await send(port, { path: '/fail' })
    t.equal(late.status, 504)
    t.match(JSON.parse(late.text), { code: 'SP_ERR_UPSTREAM_TIMEOUT' })
    answer()
    t.match(await success, { status: 200, text: 'hello world' })
  })

  t.test('connect timeout: 504, for TLS that never begins as well', async (t) => {
    const silent = createServer((socket) => t.teardown(() => socket.on('error', () => {}).destroy()))
    silent.listen(0, '127.0.0.1')
    await once(silent, 'listening')
    t.teardown(() => silent.close())
    const url = `https://127.0.0.1:${(silent.address() as AddressInfo).port}`
    const { port } = await listening(t, {
      upstreams: { up: { url, timeouts: { connect: '50ms' } } },
      routes: [{ path: '/*', proxy: { upstream: 'up' } }]
    })
    const late = await send(port, { path: '/x' })
    t.equal(late.status, 504)
    t.match(JSON.parse(late.text), { code: 'SP_ERR_UPSTREAM_TIMEOUT' })
  })

  t.test('fix-338: a complete response does not time out later, nor in the log', async (t) => {
    const up = await upstream(t, (request, response) => {
      if (request.method === 'PUT') response.writeHead(204).end()
    })
    const { log, lines, line } = readableLog('debug')
    const { port } = await listening(
      t,
      { routes: [{ path: '/*', proxy: { upstream: up, timeouts: { headers: '1s' } } }] },
      { log }
    )
    t.equal((await send(port, { path: '/api', method: 'PUT' })).status, 204)
    t.equal((await send(port, { path: '/slow' })).status, 504, 'the time is over now')
    await line(({ path }) => path === '/slow')
    t.same(
      lines.filter(({ path }) => path === '/api').map(({ status, level }) => ({ status, level })),
      [{ status: 204, level: 'info' }]
    )
  })

  t.test('an unreachable upstream is 502: 503 is for a request that is not sent', async (t) => {
    const gone = createServer().listen(0, '127.0.0.1')
    await once(gone, 'listening')
    const { port: at } = gone.address() as AddressInfo
    gone.close()
    await once(gone, 'close')
    const { port } = await listening(t, {
      upstreams: {
        http1: { url: `http://127.0.0.1:${at}` },
        http2: { url: `http://127.0.0.1:${at}`, http2: true },
        named: { url: 'http://nobody.invalid' }
      },
      routes: ['http1', 'http2', 'named'].map((name) => ({ path: `/${name}`, proxy: { upstream: name } }))
    })
    for (const path of ['/http1', '/http2', '/named']) {
      const answer = await send(port, { path })
      t.equal(answer.status, 502, path)
      t.notMatch(answer.text, /127\.0\.0\.1|nobody|ECONN/)
    }
  })

  t.test('a GET is not retried on 500 or 503 without "retry", to spare an overloaded upstream', async (t) => {
    for (const status of [500, 503]) {
      let asked = 0
      const up = await upstream(t, (_request, response) => {
        asked++
        response.writeHead(status, { 'retry-after': '1' }).end()
      })
      const { port } = await listening(t, { routes: [{ path: '/*', proxy: { upstream: up } }] })
      const answer = await send(port, { path: '/x' })
      t.match(answer, { status, headers: { 'retry-after': '1' } })
      t.equal(asked, 1)
    }
  })
})

t.test('http2: reconnects to an upstream that closed its connection or was down for a while', async (t) => {
  const sessions = new Set<http2.ServerHttp2Session>()
  const server = http2.createServer()
  let opened = 0
  server.on('session', (session) => {
    opened++
    sessions.add(session.on('close', () => sessions.delete(session)))
  })
  server.on('stream', (stream, { ':path': path }) => {
    stream.on('error', () => {})
    if (path === '/slow') return
    stream.respond({ ':status': 200 })
    stream.end('served')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port: at } = server.address() as AddressInfo
  t.teardown(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  const { port } = await listening(t, {
    upstreams: { up: { url: `http://127.0.0.1:${at}`, http2: true } },
    routes: [
      { path: '/*', proxy: { upstream: 'up' } },
      { path: '/slow', proxy: { upstream: 'up', timeouts: { headers: '50ms' } } }
    ]
  })
  const ends = async (how: (session: http2.ServerHttp2Session) => void): Promise<void> => {
    for (const session of [...sessions]) {
      const closed = once(session, 'close')
      how(session)
      await closed
    }
  }
  const served = { status: 200, text: 'served' }
  t.match(await send(port, { path: '/1' }), served)
  await ends((session) => session.close())
  t.match(await send(port, { path: '/2' }), served, 'after GOAWAY')
  t.equal(opened, 2)
  await ends((session) => session.destroy())
  t.match(await send(port, { path: '/3' }), served, 'after its connection was lost')
  server.close()
  await ends((session) => session.destroy())
  t.equal((await send(port, { path: '/4' })).status, 502, 'while it is gone')
  server.listen(at, '127.0.0.1')
  await once(server, 'listening')
  t.match(await send(port, { path: '/5' }), served, 'once it is back')
  t.equal((await send(port, { path: '/slow' })).status, 504, 'http2 request timeout')
  t.match(await send(port, { path: '/6' }), served, 'which ends one stream, not the connection')
  t.equal(opened, 4)
})

t.test('http2 over a Unix socket, which @fastify/reply-from refuses', async (t) => {
  const path = socketPath(t)
  const server = http2.createServer()
  server.on('stream', (stream, { ':path': asked }) => {
    stream.respond({ ':status': 200 })
    stream.end(asked)
  })
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = await listening(t, {
    upstreams: { up: { url: `unix:${path}`, http2: true } },
    routes: [{ path: '/*', proxy: { upstream: 'up' } }]
  })
  t.match(await send(port, { path: '/hello?a=b' }), { status: 200, text: '/hello?a=b' })
})

t.test(
  'keeps the downstream connection reusable after an upload was read, and after an unread one',
  async (t) => {
    const up = await upstream(t, (request, response) => {
      if (request.url === '/early') response.end('early')
      else void bodyOf(request).then(() => response.end('complete'))
    })
    const { port } = await listening(t, { routes: [{ path: '/*', proxy: { upstream: up } }] })
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    t.teardown(() => agent.destroy())
    const post = (path: string): Promise<Answered> =>
      send(port, { path, method: 'POST', headers: { 'content-length': 5 }, body: 'hello', agent })
    t.match(await post('/first'), { text: 'complete', reused: false })
    t.match(await post('/early'), { text: 'early', reused: true })
    t.match(await post('/last'), { text: 'complete', reused: true })
  }
)

t.test('settings of method types: another method is 405 with Allow', async (t) => {
  const { port } = await listening(t, {
    routes: [{ path: '/a', methods: ['POST'], proxy: { upstream: await upstream(t, echo) } }]
  })
  t.equal((await send(port, { path: '/a', method: 'POST', headers: { 'content-length': 0 } })).status, 200)
  t.match(await send(port, { path: '/a' }), { status: 405, headers: { allow: 'POST' } })
})

t.test('WebSockets', async (t) => {
  t.test('basic websocket proxy: forwards text and binary frames, subprotocol and cookie', async (t) => {
    const up = await sockets(t)
    const { port } = await listening(t, {
      routes: [{ path: '/*', headers: { request: { 'x-mine': '{path}' } }, proxy: { upstream: up } }]
    })
    const { socket, first } = await open(t, port, '/chat?q=test', {
      protocols: ['foo-subprotocol', 'other'],
      headers: { cookie: 'foo=bar' }
    })
    t.equal(first, '/chat?q=test foo=bar /chat', 'also what rewriteRequestHeaders is for')
    t.equal(socket.protocol, 'foo-subprotocol')
    socket.send('hello')
    t.equal(await message(socket), 'hello')
    socket.send(Buffer.from('fastify'))
    t.same(Buffer.from((await message(socket)) as ArrayBuffer), Buffer.from('fastify'))
    const closed = once(socket, 'close')
    socket.close(4001, 'done')
    const [{ code, reason, wasClean }] = (await closed) as [CloseEvent]
    t.same({ code, reason, wasClean }, { code: 4001, reason: 'done', wasClean: true })
  })

  t.test('multiple websocket upstreams, whatever the order and by host', async (t) => {
    const names = ['/A', '/A/B', '/C/D', '/C']
    const hosts = ['foo.test', 'bar.test']
    const routes = await Promise.all([
      ...names.map(async (name) => ({
        path: `${name}/*`,
        proxy: { upstream: await sockets(t, `${name} `) }
      })),
      ...hosts.map(async (host) => ({ path: '/*', host, proxy: { upstream: await sockets(t, `${host} `) } }))
    ])
    const { port } = await listening(t, { routes })
    for (const name of names) t.equal((await open(t, port, name)).first, `${name} ${name}`)
    for (const host of hosts) t.equal(await joins(port, '/?q=1', host), `${host} /?q=1`)
    t.equal(await joins(port, '/elsewhere'), 404, 'what no route takes is no upstream’s')
  })
})
