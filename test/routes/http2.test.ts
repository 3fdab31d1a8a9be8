import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import http2, { type Http2Server, type ServerHttp2Stream } from 'node:http2'
import https from 'node:https'
import { type AddressInfo, connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import {
  ask,
  certificate,
  echo,
  listening,
  noOpenssl,
  raw,
  readableLog,
  type Scope,
  type Seen,
  statusOf,
  upstream
} from '../helpers.ts'

type OnStream = (stream: ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void

const answers: OnStream = (stream, headers) => {
  stream.on('error', () => {})
  const path = headers[':path'] ?? ''
  if (path === '/reset') return stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR)
  if (path === '/cut') {
    stream.respond({ ':status': 200, 'content-length': '100' })
    stream.write('half', () => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR))
    return
  }
  if (path === '/204') return stream.respond({ ':status': 204 }, { endStream: true })
  if (path === '/404') return stream.respond({ ':status': 404 }, { endStream: true })
  if (path === '/early') stream.additionalHeaders({ ':status': 103, link: '</a.css>; rel=preload' })
  if (path.startsWith('/grpc')) {
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', 'x-te': headers['te'] ?? 'none' },
      { waitForTrailers: true }
    )
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'grpc-message': 'fine' }))
    stream.pipe(stream)
    return
  }
  void text(stream).then((body) => {
    if (stream.destroyed) return
    stream.respond({ ':status': 200, 'set-cookie': ['a=1', 'b=2'], 'content-type': 'application/json' })
    stream.end(JSON.stringify({ headers, body }))
  })
}

async function over(t: Scope, server: Http2Server): Promise<number> {
  const sessions = new Set<http2.ServerHttp2Session>()
  server.on('session', (session) => sessions.add(session))
  server.on('stream', answers)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

t.test('forwards over HTTP/2 without TLS (prior knowledge)', async (t) => {
  let opened = 0
  const server = http2.createServer()
  server.on('session', () => opened++)
  const up = await over(t, server)
  const { url, port } = await listening(t, {
    upstreams: { up: { url: `http://127.0.0.1:${up}`, http2: true, timeouts: { headers: '5s' } } },
    routes: [{ path: '/*', proxy: { upstream: 'up' }, limits: { body: '10mb' } }]
  })
  const seen = await ask(`${url}/x?y=1`, { headers: { 'x-mine': 'yes', cookie: 'a=1; b=2' } })
  t.equal(seen.status, 200)
  const { headers } = JSON.parse(seen.text) as { headers: Record<string, string> }
  t.match(headers, { ':path': '/x?y=1', ':method': 'GET', 'x-mine': 'yes', cookie: 'a=1; b=2' })
  for (const name of ['connection', 'transfer-encoding', 'keep-alive', 'host']) t.notOk(headers[name], name)
  t.same(seen.headers.getSetCookie(), ['a=1', 'b=2'])
  const body = 'x'.repeat(2_000_000)
  const posted = await ask(`${url}/x`, { method: 'POST', body })
  t.equal((JSON.parse(posted.text) as { body: string }).body.length, body.length)
  t.equal((await ask(`${url}/204`)).status, 204)
  t.equal((await ask(`${url}/404`)).status, 404)
  t.equal((await ask(`${url}/x`, { method: 'HEAD' })).status, 200)
  t.equal((await ask(`${url}/reset`)).status, 502, 'a stream that is reset is no answer')
  await t.rejects(ask(`${url}/cut`), 'an answer that is cut is seen to be cut')
  const many = await Promise.all(Array.from({ length: 80 }, (_, i) => ask(`${url}/${i}`)))
  t.ok(many.every(({ status }) => status === 200))
  t.ok(opened < 10, `80 at a time over few connections: ${opened}`)
  const closed = `GET /grpc HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTE: trailers\r\n\r\n`
  t.match(await raw(port, closed), /grpc-status: 0\r\ngrpc-message: fine\r\n\r\n$/, 'trailers come back')
})

t.test('passes header bytes unchanged in both directions', { skip: noOpenssl }, async (t) => {
  const { ca } = certificate(t)
  const bytes = 'caf\xc3\xa9 \xff'
  const seen: unknown[] = []
  const server = http2.createServer()
  const up = await over(t, server)
  server.removeAllListeners('stream')
  server.on('stream', (stream, headers) => {
    seen.push(headers['x-in'])
    stream.respond({ ':status': 200, 'x-out': bytes }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-end': bytes }))
    stream.end('x')
  })
  const routes = [{ path: '/*', proxy: { upstream: 'up' } }]
  const upstreams = { up: { url: `http://127.0.0.1:${up}`, http2: true } }
  const { port } = await listening(t, { upstreams, routes })
  const said = `GET / HTTP/1.1\r\nHost: a\r\nX-In: ${bytes}\r\nConnection: close\r\nTE: trailers\r\n\r\n`
  const answer = await raw(port, said)
  t.match(answer, `x-out: ${bytes}\r\n`)
  t.match(answer, `x-end: ${bytes}\r\n`)
  const tls = { certificates: [{ cert: ca, key: ca.replace('.pem', '.key') }] }
  const edge = await listening(t, { upstreams, routes, tls })
  const client = http2.connect(`https://localhost:${edge.port}`, { ca: readFileSync(ca) })
  t.teardown(() => client.destroy())
  const stream = client.request({ ':path': '/', 'x-in': bytes })
  const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  t.equal(headers['x-out'], bytes)
  stream.resume()
  const [trailers] = (await once(stream, 'trailers')) as [http2.IncomingHttpHeaders]
  t.equal(trailers['x-end'], bytes)
  t.same(seen, [bytes, bytes])
})

t.test('streams a gRPC call of an HTTP/1.1 client in both directions', async (t) => {
  const up = await over(t, http2.createServer())
  const { port } = await listening(t, {
    upstreams: { up: { url: `http://127.0.0.1:${up}`, http2: true } },
    routes: [{ path: '/*', proxy: { upstream: 'up' } }]
  })
  const request = http.request({
    port,
    method: 'POST',
    path: '/grpc.Service/Method',
    headers: { 'content-type': 'application/grpc', te: 'trailers' }
  })
  request.write('one')
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  t.match(response.headers, { 'content-type': 'application/grpc', 'x-te': 'trailers' })
  const [first] = (await once(response, 'data')) as [Buffer]
  t.equal(first.toString(), 'one', 'both directions stream at a time')
  request.end('two')
  t.equal(await text(response), 'two')
  t.match(response.trailers, { 'grpc-status': '0', 'grpc-message': 'fine' })
})

t.test('sends health checks over HTTP/2', async (t) => {
  const server = http2.createServer()
  const up = await over(t, server)
  let asked = 0
  server.removeAllListeners('stream')
  server.on('stream', (stream, headers) => {
    t.match(headers, { ':path': '/healthz', 'user-agent': 'sallyport-health' })
    stream.respond({ ':status': asked++ === 0 ? 500 : 204 }, { endStream: true })
  })
  const { log, line } = readableLog()
  const health = { path: '/healthz', every: '20ms', unhealthyAfter: 1, healthyAfter: 1 }
  await listening(
    t,
    {
      upstreams: { up: { url: `http://127.0.0.1:${up}`, http2: true, health } },
      routes: [{ path: '/*', proxy: { upstream: 'up' } }]
    },
    { log }
  )
  await line(({ state }) => state === 'unhealthy')
  await line(({ state }) => state === 'healthy')
})

t.test('never ends an upload that its client has aborted', async (t) => {
  const reached = Promise.withResolvers<ServerHttp2Stream>()
  const server = http2.createServer()
  const up = await over(t, server)
  server.removeAllListeners('stream')
  server.on('stream', (stream) => reached.resolve(stream.on('error', () => {})))
  const { port } = await listening(t, {
    upstreams: { up: { url: `http://127.0.0.1:${up}`, http2: true } },
    routes: [{ path: '/*', proxy: { upstream: 'up' } }]
  })
  const client = connect(port, '127.0.0.1', () =>
    client.write('POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n')
  )
  client.on('error', () => {})
  const stream = await reached.promise
  // Node ends a stream that was cancelled as well, but not before it says so.
  let whole = false
  stream.on('end', () => {
    whole = !stream.aborted
  })
  await once(stream, 'data')
  const closed = once(stream, 'close').catch((error: unknown) => error)
  client.destroy()
  await closed
  t.equal(whole, false)
  t.equal(stream.rstCode, http2.constants.NGHTTP2_CANCEL)
})

t.test('never ends an upload that an HTTP/2 client has cancelled', { skip: noOpenssl }, async (t) => {
  const { ca } = certificate(t)
  const came: { ended: boolean }[] = []
  let met = Promise.withResolvers<void>()
  const watch = (request: http.IncomingMessage): void => {
    const seen = { ended: false }
    came.push(seen)
    request.on('data', () => met.resolve())
    request.on('end', () => {
      seen.ended = !request.aborted
    })
    request.on('error', () => {})
    request.on('close', () => over.resolve())
  }
  let over = Promise.withResolvers<void>()
  const one = http.createServer(watch).listen(0, '127.0.0.1')
  const two = http2.createServer(watch as never).listen(0, '127.0.0.1')
  await Promise.all([once(one, 'listening'), once(two, 'listening')])
  t.teardown(() => {
    one.closeAllConnections()
    for (const server of [one, two]) server.close()
  })
  const at = (server: { address(): unknown }): string =>
    `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { port } = await listening(t, {
    tls: { certificates: [{ cert: ca, key: ca.replace('.pem', '.key') }] },
    upstreams: { one: { url: at(one) }, two: { url: at(two), http2: true } },
    routes: [
      { path: '/one', proxy: { upstream: 'one' } },
      { path: '/two', proxy: { upstream: 'two' } }
    ]
  })
  const client = http2.connect(`https://localhost:${port}`, { ca: readFileSync(ca) })
  t.teardown(() => client.destroy())
  for (const path of ['/one', '/two']) {
    met = Promise.withResolvers()
    over = Promise.withResolvers()
    const leave = new AbortController()
    const stream = client.request({ ':method': 'POST', ':path': path }, { signal: leave.signal })
    stream.on('error', () => {})
    stream.write('half')
    await met.promise
    leave.abort()
    await over.promise
    t.equal(came.at(-1)?.ended, false, path)
  }
})

t.test('cancels the upstream stream when the client disconnects', async (t) => {
  const reached = Promise.withResolvers<ServerHttp2Stream>()
  const server = http2.createServer()
  const up = await over(t, server)
  server.removeAllListeners('stream')
  server.on('stream', (stream) => reached.resolve(stream.on('error', () => {})))
  const { port } = await listening(t, {
    upstreams: { up: { url: `http://127.0.0.1:${up}`, http2: true } },
    routes: [{ path: '/*', proxy: { upstream: 'up' } }]
  })
  const client = connect(port, '127.0.0.1', () => client.write('GET /x HTTP/1.1\r\nHost: a\r\n\r\n'))
  client.on('error', () => {})
  const stream = await reached.promise
  const closed = once(stream, 'close')
  client.destroy()
  await closed
  t.equal(stream.aborted, true, 'it was not ended, but given up')
})

t.test('negotiates HTTP/2 or HTTP/1.1 with a TLS target', { skip: noOpenssl }, async (t) => {
  const { key, cert, ca } = certificate(t)
  const two = await over(t, http2.createSecureServer({ key, cert, allowHTTP1: true }) as never)
  const { url } = await listening(t, {
    upstreams: {
      up: { url: `https://localhost:${two}`, http2: true, tls: { ca }, timeouts: { headers: '5s' } },
      unknown: { url: `https://localhost:${two}`, http2: true }
    },
    routes: [
      { path: '/x/*', proxy: { upstream: 'up' } },
      { path: '/unknown', proxy: { upstream: 'unknown' } }
    ]
  })
  const { status, text: body } = await ask(`${url}/x/y`)
  t.equal(status, 200)
  t.match(JSON.parse(body), { headers: { ':scheme': 'https', ':authority': `localhost:${two}` } })
  t.equal((await ask(`${url}/unknown`)).status, 502, 'the certificate is verified as ever')
  const one = await over(t, https.createServer({ key, cert }, echo) as never)
  const plain = await listening(t, {
    upstreams: { up: { url: `https://localhost:${one}`, http2: true, tls: { ca } } },
    routes: [{ path: '/*', proxy: { upstream: 'up' } }]
  })
  const all = await Promise.all(
    Array.from({ length: 9 }, () => ask(plain.url, { method: 'POST', body: 'x' }))
  )
  t.ok(all.every(({ status, text }) => status === 200 && (JSON.parse(text) as { body: string }).body === 'x'))
})

t.test('opens WebSockets over HTTP/1.1 to an upstream that speaks HTTP/2', { skip: noOpenssl }, async (t) => {
  const { key, cert, ca } = certificate(t)
  const server = http2.createSecureServer({ key, cert, allowHTTP1: true })
  server.on('upgrade', (_request, socket) => {
    socket.on('error', () => {})
    socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  })
  const up = await over(t, server as never)
  const { port } = await listening(t, {
    upstreams: { up: { url: `https://localhost:${up}`, http2: true, tls: { ca } } },
    routes: [{ path: '/*', proxy: { upstream: 'up' } }]
  })
  const shake = 'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
  t.equal(statusOf(await raw(port, shake)), 101)
})

t.test('keeps a body that Node.js emits before the headers', async (t) => {
  const { connect: open } = http2
  t.intercept(http2, 'connect', {
    value: (...args: Parameters<typeof open>) => {
      const session = open(...args)
      const { request } = session
      session.request = (...said) => {
        const stream = request.apply(session, said)
        const { emit } = stream
        // As it comes where a read happens within another call: the head is told once that is over.
        stream.emit = (name: string, ...rest: unknown[]) =>
          name === 'response'
            ? setTimeout(() => emit.call(stream, name, ...rest), 20) !== undefined
            : emit.call(stream, name, ...rest)
        return stream
      }
      return session
    }
  })
  const server = http2.createServer()
  const up = await over(t, server)
  server.removeAllListeners('stream')
  server.on('stream', (stream) => {
    stream.respond({ ':status': 200 })
    stream.end('all of it')
  })
  const { url } = await listening(t, {
    upstreams: { up: { url: `http://127.0.0.1:${up}`, http2: true } },
    routes: [{ path: '/*', proxy: { upstream: 'up' } }]
  })
  t.equal((await ask(`${url}/x`)).text, 'all of it')
})

t.test(
  'sends no body for an HTTP/2 request that ends in an empty DATA frame',
  { skip: noOpenssl },
  async (t) => {
    const url = await upstream(t)
    const { ca } = certificate(t)
    const { port } = await listening(t, {
      tls: { certificates: [{ cert: ca, key: ca.replace('.pem', '.key') }] },
      routes: [{ path: '/*', proxy: { upstream: url } }]
    })
    const client = http2.connect(`https://localhost:${port}`, { ca: readFileSync(ca) })
    t.teardown(() => client.destroy())
    const cases: [method: string, body: string, framing: object][] = [
      ['GET', '', {}],
      ['DELETE', '', {}],
      ['OPTIONS', '', {}],
      ['PROPFIND', '', {}],
      ['GET', 'with content', { 'transfer-encoding': 'chunked' }],
      ['DELETE', 'with content', { 'transfer-encoding': 'chunked' }],
      ['POST', '', { 'transfer-encoding': 'chunked' }]
    ]
    for (const [method, body, framing] of cases)
      for (const later of [false, true]) {
        const stream = client.request({ ':method': method, ':path': '/x' }, { endStream: false })
        // The gateway has read the headers before it answers a ping.
        if (later) await new Promise((resolve) => client.ping(resolve))
        stream.end(body)
        const [{ ':status': status }] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
        t.equal(status, 200)
        const seen = JSON.parse(await text(stream)) as Seen
        const { 'transfer-encoding': coding, 'content-length': length } = seen.headers
        t.match(
          { 'transfer-encoding': coding, 'content-length': length },
          { 'content-length': undefined, 'transfer-encoding': undefined, ...framing },
          `${method} ${body}, ${later ? 'later' : 'at once'}`
        )
        t.equal(seen.body, body)
      }
    const given = client.request({ ':path': '/x' }, { endStream: false })
    await new Promise((resolve) => client.ping(resolve))
    given.close(http2.constants.NGHTTP2_CANCEL)
    await once(given, 'close')
    const next = client.request({ ':path': '/x' })
    const [{ ':status': status }] = (await once(next, 'response')) as [http2.IncomingHttpHeaders]
    t.equal(status, 200, 'a cancelled request affects no other one')
  }
)

t.test(
  'passes headers and trailers named like properties of Object.prototype',
  { skip: noOpenssl },
  async (t) => {
    const names = ['constructor', '__proto__', 'hasownproperty', 'tostring', 'valueof']
    const flat = names.flatMap((name) => [name, `${name} 1`])
    const seen: unknown[] = []
    const inTurn = (raw: readonly string[]): [string, string][] =>
      raw.flatMap((name, i): [string, string][] => (i % 2 === 0 ? [[name, raw[i + 1] ?? '']] : []))
    const ofThem = (raw: readonly string[]): string[] =>
      inTurn(raw).flatMap(([name, value]) =>
        names.includes(name.toLowerCase()) ? [name.toLowerCase(), value] : []
      )
    const one = http.createServer((request, response) => {
      seen.push(ofThem(request.rawHeaders))
      response.writeHead(200, [...flat, 'trailer', names.join()])
      response.write('x')
      response.addTrailers(inTurn(flat))
      response.end()
    })
    one.listen(0, '127.0.0.1')
    await once(one, 'listening')
    t.teardown(() => one.close())
    const two = http2.createServer()
    const upTwo = await over(t, two)
    two.removeAllListeners('stream')
    two.on('stream', (stream, _headers, _flags, raw) => {
      seen.push(ofThem(raw as never))
      const headers: http2.OutgoingHttpHeaders = Object.assign(
        Object.create(null),
        Object.fromEntries(inTurn(flat))
      )
      stream.respond({ ...headers, ':status': 200 }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers(headers))
      stream.end('x')
    })
    const { ca } = certificate(t)
    const { port } = await listening(t, {
      tls: { certificates: [{ cert: ca, key: ca.replace('.pem', '.key') }] },
      upstreams: {
        one: { url: `http://127.0.0.1:${(one.address() as AddressInfo).port}` },
        two: { url: `http://127.0.0.1:${upTwo}`, http2: true }
      },
      headers: { request: { 'x-none': '{headers.constructor}' } },
      routes: [
        { path: '/one', proxy: { upstream: 'one' } },
        { path: '/two', proxy: { upstream: 'two' } },
        { path: '/echo', proxy: { upstream: await upstream(t, echo) } }
      ]
    })
    const client = http2.connect(`https://localhost:${port}`, { ca: readFileSync(ca) })
    t.teardown(() => client.destroy())
    for (const path of ['/one', '/two']) {
      t.test(`${path} to HTTP/2`, async (t) => {
        seen.length = 0
        const stream = client.request([
          ':method',
          'GET',
          ':scheme',
          'https',
          ':authority',
          'localhost',
          ':path',
          path,
          ...flat
        ] as never)
        const [, , head] = (await once(stream, 'response')) as [unknown, unknown, string[]]
        stream.resume()
        const [, , trailers] = (await once(stream, 'trailers')) as [unknown, unknown, string[]]
        t.same(seen, [flat])
        t.same(ofThem(head), flat)
        t.same(ofThem(trailers), flat)
      })
      t.test(`${path} to HTTP/1.1`, async (t) => {
        seen.length = 0
        const request = https.get({
          port,
          path,
          host: 'localhost',
          ca: readFileSync(ca),
          headers: [...flat, 'te', 'trailers', 'host', 'localhost'] as never
        })
        const [response] = (await once(request, 'response')) as [http.IncomingMessage]
        response.resume()
        await once(response, 'end')
        t.same(seen, [flat])
        t.same(ofThem(response.rawHeaders), flat)
        t.same(ofThem(response.rawTrailers), flat)
      })
    }
    t.test('a header that a request does not have is no value', async (t) => {
      const answer = await new Promise<string>((resolve, reject) => {
        https
          .get({ port, path: '/echo', host: 'localhost', ca: readFileSync(ca) }, (response) =>
            resolve(text(response))
          )
          .on('error', reject)
      })
      t.notMatch(answer, /native code|x-none/)
    })
  }
)
