import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http, { type RequestListener } from 'node:http'
import https from 'node:https'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import t from 'tap'
import {
  ask,
  bodyOf,
  certificate,
  closed,
  echo,
  listening,
  noOpenssl,
  raw,
  readableLog,
  type Scope,
  type Seen,
  socketPath,
  statusOf,
  upstream
} from '../helpers.ts'

/** A gateway whose every path goes to an upstream. */
const before = async (t: Scope, listener: RequestListener, more: object = {}) =>
  listening(t, { routes: [{ path: '/*', proxy: { upstream: await upstream(t, listener) } }], ...more })

/** An upstream that answers each connection with the same bytes. */
async function rawUpstream(t: Scope, bytes: string, end: 'end' | 'reset' | 'open' = 'end'): Promise<string> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.write(Buffer.from(bytes, 'latin1'), () => {
        if (end === 'end') socket.end()
        else if (end === 'reset') setImmediate(() => socket.resetAndDestroy())
      })
    })
    t.teardown(() => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('forwards a request and its response', async (t) => {
  const { url } = await listening(t, {
    routes: [{ path: '/search/*', proxy: { upstream: await upstream(t), rewrite: '/' } }]
  })
  const { status, text } = await ask(`${url}/search/a%2Fb?q=1`)
  t.equal(status, 200)
  t.match(JSON.parse(text) as Seen, { method: 'GET', url: '/a%2Fb?q=1' })
})

t.test('passes body bytes unchanged, whatever their content type', async (t) => {
  const { port } = await before(t, echo)
  const cases = [
    {
      name: 'JSON with a big number and a key twice',
      type: 'application/json',
      body: '{"a":12345678901234567890,"a":1}'
    },
    { name: 'invalid JSON', type: 'application/json', body: '{bad' },
    { name: 'a form', type: 'application/x-www-form-urlencoded', body: 'a=1&a=2&b=%zz' },
    { name: 'an unknown type', type: 'x/y; z="q"', body: '\x00\x01\xff' },
    { name: 'no type', type: undefined, body: 'plain' },
    { name: 'an invalid type (was a 415)', type: 'nonsense', body: '\x00' },
    { name: 'an empty type', type: '', body: 'plain' },
    { name: 'half a type', type: 'text/; charset=', body: 'plain' },
    { name: 'a list of types', type: 'text/plain, text/html', body: 'plain' }
  ]
  for (const { name, type, body } of cases) {
    const head = `POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${type === undefined ? '' : `Content-Type: ${type}\r\n`}`
    const sized = await raw(port, `${head}Content-Length: ${body.length}\r\n\r\n${body}`)
    const chunked = await raw(
      port,
      `${head}Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
    )
    for (const answer of [sized, chunked]) {
      const text = Buffer.from(answer, 'latin1').toString()
      const seen = JSON.parse(text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1)) as Seen
      t.equal(seen.body, body, name)
      t.equal(seen.headers['content-type'], type)
    }
  }
})

t.test('streams both ways: a response can start before the request has ended', async (t) => {
  const { port } = await before(t, (request, response) => {
    response.writeHead(200)
    request.pipe(response)
  })
  const request = http.request({ port, method: 'POST', path: '/x' })
  request.write('one')
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  const [first] = (await once(response, 'data')) as [Buffer]
  t.equal(first.toString(), 'one')
  request.end('two')
  t.equal((await bodyOf(response)).toString(), 'two')
})

t.test('passes 20 MB up and down unchanged', async (t) => {
  const big = randomBytes(20 * 1024 ** 2)
  const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
  const { url } = await before(t, (request, response) => request.pipe(response), { limits: { body: '32mb' } })
  const answer = await fetch(`${url}/x`, { method: 'POST', body: big })
  t.equal(digest(Buffer.from(await answer.arrayBuffer())), digest(big))
})

t.test('applies back-pressure of the client to the upstream', async (t) => {
  let sent = 0
  const chunk = Buffer.alloc(65_536)
  const stalled = Promise.withResolvers<void>()
  const { port } = await before(t, (_request, response) => {
    const go = (): void => {
      while (sent < 512 * 1024 ** 2) {
        sent += chunk.length
        if (response.write(chunk)) continue
        const timer = setTimeout(stalled.resolve, 300)
        response.once('drain', () => {
          clearTimeout(timer)
          go()
        })
        return
      }
    }
    go()
  })
  const socket = connect(port, '127.0.0.1', () => socket.write('GET /x HTTP/1.1\r\nHost: a\r\n\r\n'))
  socket.pause()
  t.teardown(() => socket.destroy())
  await stalled.promise
  t.ok(sent < 64 * 1024 ** 2, `the upstream was let send ${sent} bytes of 512 MB`)
})

t.test('cancels the upstream request when the client disconnects', async (t) => {
  const phases = [
    { name: 'before the headers', listener: (): void => {}, head: 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n' },
    {
      name: 'in the middle of the answer',
      listener: ((_request, response) => void response.write('begun')) as RequestListener,
      head: 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n'
    },
    {
      name: 'in the middle of its body',
      listener: ((request) => void request.resume()) as RequestListener,
      head: 'POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbegun'
    }
  ]
  // The FIN of a client that has left and of one that ends its side alone are the same; nginx and Node.js cancel for both.
  const ways = [
    ['closes', (socket: Socket): void => void socket.destroy()],
    ['ends its side', (socket: Socket): void => void socket.end()]
  ] as const
  const cases = phases.flatMap((phase) => ways.map(([way, leave]) => ({ ...phase, way, leave })))
  for (const { name, listener, head, way, leave } of cases) {
    const arrived = Promise.withResolvers<void>()
    const cancelled = Promise.withResolvers<void>()
    const { port } = await before(t, (request, response) => {
      response.on('close', () => (response.writableFinished ? undefined : cancelled.resolve()))
      request.on('error', () => {})
      listener(request, response)
      arrived.resolve()
    })
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () => socket.write(head))
    await arrived.promise
    leave(socket)
    await cancelled.promise
    await closed(socket.resume())
    t.pass(`${way} ${name}`)
  }
})

t.test('maps upstream failures to 502, 503 and 504 without addresses', async (t) => {
  const closed = await upstream(t)
  const { port } = new URL(closed)
  const gone = createServer().listen(0, '127.0.0.1')
  await once(gone, 'listening')
  const refused = `http://127.0.0.1:${(gone.address() as AddressInfo).port}`
  gone.close()
  const cases = [
    { name: 'refuses connections', upstream: refused, status: 502, code: 'SP_ERR_UPSTREAM_FAILED' },
    {
      name: 'has an unknown name',
      upstream: 'http://nobody.invalid',
      status: 502,
      code: 'SP_ERR_UPSTREAM_FAILED'
    },
    {
      name: 'closes without a response',
      upstream: await rawUpstream(t, ''),
      status: 502,
      code: 'SP_ERR_UPSTREAM_FAILED'
    },
    {
      name: 'resets',
      upstream: await rawUpstream(t, '', 'reset'),
      status: 502,
      code: 'SP_ERR_UPSTREAM_FAILED'
    },
    {
      name: 'sends no HTTP',
      upstream: await rawUpstream(t, '<html>hi</html>'),
      status: 502,
      code: 'SP_ERR_UPSTREAM_FAILED'
    },
    {
      name: 'switches protocols without an Upgrade',
      upstream: await rawUpstream(
        t,
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n'
      ),
      status: 502,
      code: 'SP_ERR_UPSTREAM_FAILED'
    },
    {
      name: 'sends two lengths',
      upstream: await rawUpstream(t, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 30\r\n\r\nok'),
      status: 502,
      code: 'SP_ERR_UPSTREAM_FAILED'
    },
    {
      name: 'is too slow',
      upstream: await rawUpstream(t, '', 'open'),
      status: 504,
      code: 'SP_ERR_UPSTREAM_TIMEOUT',
      more: { timeouts: { headers: '100ms' } }
    }
  ]
  const { log, lines } = readableLog()
  const routes = cases.map(({ upstream: to, more }, i) => ({
    path: `/${i}`,
    proxy: { upstream: to, ...more }
  }))
  const { url } = await listening(t, { routes }, { log })
  for (const [i, { name, status, code }] of cases.entries())
    await t.test(`an upstream that ${name}`, async (t) => {
      const answer = await ask(`${url}/${i}?secret=1`)
      t.equal(answer.status, status)
      t.match(JSON.parse(answer.text), { code, status })
      t.notMatch(
        answer.text + JSON.stringify([...answer.headers]),
        /127\.0\.0\.1|nobody|ECONN|ENOTFOUND|secret|node_modules/
      )
      t.ok(
        lines.some(
          (line) =>
            line['msg'] === 'upstream request failed' &&
            line['requestId'] === answer.headers.get('x-request-id')
        ),
        'the log knows what happened'
      )
    })
  t.ok(port)
})

t.test('cuts the connection when an upstream fails after the headers', async (t) => {
  for (const { name, bytes } of [
    { name: 'of a sized body', bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello' },
    { name: 'of chunks', bytes: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n' }
  ]) {
    const { port } = await listening(t, {
      routes: [{ path: '/*', proxy: { upstream: await rawUpstream(t, bytes) } }]
    })
    const answer = await raw(port, 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n', 2000)
    t.match(answer, /hello/, name)
    t.notMatch(answer, /\r\n0\r\n\r\n$/)
  }
})

t.test('ends responses without a body after their headers', async (t) => {
  const cases = [
    {
      name: '204',
      bytes: 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n',
      expected: /^HTTP\/1\.1 204 No Content\r\n(?![\s\S]*content-length)/i
    },
    {
      name: '304 with a length',
      bytes: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\nETag: "x"\r\n\r\n',
      expected: /^HTTP\/1\.1 304 Not Modified\r\n[\s\S]*etag: "x"/
    },
    {
      name: 'HTTP/1.0 without a length',
      bytes: 'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello',
      expected: /^HTTP\/1\.1 200 OK\r\n[\s\S]*hello/
    }
  ]
  for (const { name, bytes, expected } of cases) {
    const { port } = await listening(t, {
      routes: [{ path: '/*', proxy: { upstream: await rawUpstream(t, bytes) } }]
    })
    t.match(await raw(port, 'GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'), expected, name)
  }
})

t.test('responds to HEAD with the length and no body', async (t) => {
  const connections = new Set<number | undefined>()
  const { port } = await before(t, (request, response) => {
    connections.add(request.socket.remotePort)
    response.setHeader('content-length', '5').end('hello')
  })
  const head = await raw(port, 'HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  t.match(head, /^HTTP\/1\.1 200 OK\r\n[\s\S]*content-length: 5\r\n[\s\S]*\r\n\r\n$/)
  t.match(await raw(port, 'GET /y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'), /hello$/)
  t.equal(
    connections.size,
    2,
    'a body that came with a HEAD all the same would be the next answer: the connection is not used again'
  )
})

t.test('passes response trailers', async (t) => {
  const { port } = await before(t, (_request, response) => {
    response.writeHead(200, { trailer: 'x-sum' })
    response.write('body')
    response.addTrailers({ 'x-sum': '42' })
    response.end()
  })
  t.match(await raw(port, 'GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'), /x-sum: 42\r\n\r\n$/)
})

t.test('retries only idempotent requests that were lost with a reused connection', async (t) => {
  let requests = 0
  const server = createServer((socket) => {
    let answered = false
    socket.on('error', () => {})
    socket.on('data', (data) => {
      requests++
      // Each connection answers once, then dies at the next request: what an upstream's idle timeout looks like.
      if (answered || data.includes('POST')) return socket.destroy()
      answered = true
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { url } = await listening(t, {
    routes: [
      { path: '/*', proxy: { upstream: `http://127.0.0.1:${(server.address() as AddressInfo).port}` } }
    ]
  })
  t.equal((await ask(`${url}/x`)).status, 200)
  t.equal((await ask(`${url}/x`)).status, 200, 'the second GET came over a new connection')
  t.equal(requests, 3)
  t.equal((await ask(`${url}/x`, { method: 'POST', body: 'once' })).status, 502, 'a POST is not repeated')
  t.equal(requests, 4)
})

t.test('balances targets round robin by weight', async (t) => {
  const named = (name: string): Promise<string> => upstream(t, (_request, response) => response.end(name))
  const { url } = await listening(t, {
    upstreams: { many: { targets: [await named('a'), { url: await named('b'), weight: 2 }] } },
    routes: [{ path: '/*', proxy: { upstream: 'many' } }]
  })
  const answers: string[] = []
  for (let i = 0; i < 9; i++) answers.push((await ask(`${url}/x`)).text)
  t.equal(answers.filter((text) => text === 'a').length, 3)
  t.equal(answers.filter((text) => text === 'b').length, 6)
})

t.test('prepends the base path of the upstream', async (t) => {
  const origin = await upstream(t)
  const { url } = await listening(t, {
    upstreams: { api: { url: `${origin}/v1/` } },
    routes: [
      { path: '/a/*', proxy: { upstream: 'api', rewrite: '/' } },
      { path: '/b/*', proxy: { upstream: 'api' } }
    ]
  })
  t.equal((JSON.parse((await ask(`${url}/a/x?y`)).text) as Seen).url, '/v1/x?y')
  t.equal((JSON.parse((await ask(`${url}/b/x`)).text) as Seen).url, '/v1/b/x')
})

t.test('reaches an upstream behind a Unix socket', async (t) => {
  const path = socketPath(t)
  const server = http.createServer(echo).listen(path)
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { url } = await listening(t, { routes: [{ path: '/*', proxy: { upstream: `unix:${path}` } }] })
  t.match(JSON.parse((await ask(`${url}/x`)).text) as Seen, { url: '/x', headers: { host: 'localhost' } })
})

t.test("verifies an upstream's certificate unless verify is false", { skip: noOpenssl }, async (t) => {
  const { key, cert, ca } = certificate(t)
  const server = https.createServer({ key, cert }, echo).listen(0)
  await once(server, 'listening')
  t.teardown(() => server.close())
  const at = `https://localhost:${(server.address() as AddressInfo).port}`
  const { url } = await listening(t, {
    upstreams: {
      unknown: { url: at },
      known: { url: at, tls: { ca: ca } },
      other: { url: at.replace('localhost', '127.0.0.1'), tls: { ca: ca } },
      named: {
        url: at.replace('localhost', '127.0.0.1'),
        tls: { ca: ca, serverName: 'localhost' }
      },
      blind: { url: at, tls: { verify: false } }
    },
    routes: ['unknown', 'known', 'other', 'named', 'blind'].map((name) => ({
      path: `/${name}`,
      proxy: { upstream: name }
    }))
  })
  for (const [name, status] of Object.entries({
    unknown: 502,
    known: 200,
    other: 502,
    named: 200,
    blind: 200
  }))
    t.equal((await ask(`${url}/${name}`)).status, status, name)
})

t.test('stops a large upload after an early response', async (t) => {
  const { port } = await before(t, (_request, response) => {
    response.writeHead(403, { connection: 'close' }).end('no')
  })
  const socket = connect(port, '127.0.0.1', () =>
    socket.write(`POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n${'x'.repeat(1000)}`)
  )
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  const [answer] = (await once(socket, 'data')) as [Buffer]
  t.equal(statusOf(answer.toString()), 403)
})

t.test('serves HTTP/1.0 clients without chunks', async (t) => {
  const { port } = await before(t, (_request, response) => {
    response.write('one ')
    response.end('two')
  })
  const answer = await raw(port, 'GET /x HTTP/1.0\r\nHost: a\r\n\r\n')
  t.match(answer, /\r\n\r\none two$/)
  t.notMatch(answer, /transfer-encoding/i)
})

t.test('logs responses that were aborted by the client or cut', async (t) => {
  const { log, line } = readableLog()
  const arrived = Promise.withResolvers<void>()
  const { port } = await listening(
    t,
    {
      routes: [
        { path: '/left', proxy: { upstream: await upstream(t, () => arrived.resolve()) } },
        {
          path: '/cut',
          proxy: { upstream: await rawUpstream(t, 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut') }
        }
      ]
    },
    { log }
  )
  const socket = connect(port, '127.0.0.1', () => socket.write('GET /left HTTP/1.1\r\nHost: a\r\n\r\n'))
  await arrived.promise
  socket.destroy()
  t.match(await raw(port, 'GET /cut HTTP/1.1\r\nHost: a\r\n\r\n'), /cut$/)
  const about = (path: string): Promise<Record<string, unknown>> => line((each) => each['path'] === path)
  t.match(await about('/left'), { status: 499, aborted: true, upstream: 'url', ip: '127.0.0.1' })
  t.match(await about('/cut'), { status: 200, aborted: true, bytesOut: 3 })
})

t.test('opens a WebSocket after every gate and the 101 of the upstream', async (t) => {
  const seen: string[] = []
  const origin = await upstream(t)
  const server = http.createServer(echo)
  server.on('upgrade', (request, socket) => {
    seen.push(JSON.stringify(request.headers))
    socket.on('error', () => {})
    if (request.url === '/refused')
      return socket.end('HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Up\r\nContent-Length: 2\r\n\r\nno')
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: b\r\nX-Up: yes\r\n\r\nhello '
    )
    socket.pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { log, line } = readableLog()
  const { port } = await listening(
    t,
    {
      auth: { global: false, apiKeys: { list: [{ id: 'alice', secret: 'key' }] } },
      routes: [
        { path: '/ws', proxy: { upstream: at } },
        { path: '/refused', proxy: { upstream: at } },
        { path: '/closed', proxy: { upstream: at }, auth: true },
        { path: '/none', proxy: { upstream: at, websocket: false } },
        { path: '/own', proxy: { upstream: at, websocket: { origins: ['https://app.example.com'] } } },
        { path: '/dead', proxy: { upstream: 'http://nobody.invalid' } },
        { path: '/said', respond: { body: 'said' } },
        { path: '/plain', proxy: { upstream: origin } }
      ]
    },
    { log }
  )
  const shake = (path: string, more = ''): string =>
    `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: a, b\r\n${more}\r\n`
  const joined = await raw(port, [`${shake('/ws')}early`])
  t.match(joined, /^HTTP\/1\.1 101 Switching Protocols\r\n/)
  t.match(
    joined,
    /sec-websocket-protocol: b\r\n[\s\S]*x-up: yes\r\n[\s\S]*hello early$/,
    'what came early on either side arrives'
  )
  t.match(seen[0], /"sec-websocket-protocol":"a, b"/, 'all subprotocols reach the upstream')
  t.match(await line((each) => each['path'] === '/ws'), { status: 101, bytesIn: 5, bytesOut: 11 })
  const cases: [path: string, status: number, more?: string][] = [
    ['/refused', 401],
    ['/closed', 401],
    ['/closed', 101, 'X-Api-Key: key\r\n'],
    ['/own', 101, 'Origin: https://app.example.com\r\n'],
    ['/own', 403, 'Origin: https://evil.example\r\n'],
    ['/own', 101],
    ['/none', 200],
    ['/dead', 502],
    ['/said', 200],
    ['/nowhere', 404]
  ]
  for (const [path, status, more] of cases)
    t.equal(statusOf(await raw(port, shake(path, more))), status, `${path} ${more ?? ''}`)
  const h2c =
    'GET /plain HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n'
  t.equal(statusOf(await raw(port, h2c)), 200, 'an offer of h2c is an ordinary request')
})

t.test('closes a WebSocket after idle or lifetime with 1001, and with its other side', async (t) => {
  const closed = Promise.withResolvers<void>()
  const server = http.createServer(echo)
  server.on('upgrade', (_request, socket) => {
    socket
      .on('error', () => {})
      .on('end', () => closed.resolve())
      .resume()
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  for (const websocket of [{ idle: '50ms' }, { lifetime: '50ms' }]) {
    const { port } = await listening(t, { routes: [{ path: '/*', proxy: { upstream: at, websocket } }] })
    const answer = await raw(
      port,
      'GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
      3000
    )
    t.match(answer, /^HTTP\/1\.1 101/)
    t.ok(answer.endsWith('\r\n\r\n\x88\x02\x03\xe9'), JSON.stringify(websocket))
    await closed.promise
  }
})

t.test('rewrites locations, links and cookies of the upstream once', async (t) => {
  let said = ''
  const up = await upstream(t, (_request, response) => {
    const colon = said.indexOf(': ')
    const name = said.slice(0, colon)
    response.writeHead(302, [name, said.slice(colon + 2), 'content-length', '0'] as never).end()
  })
  const { host, port: at } = new URL(up)
  const { port } = await listening(t, {
    upstreams: { u: { url: up }, deep: { url: `${up}/base` } },
    routes: [
      { path: '/app/*', proxy: { upstream: 'u', rewrite: '/' } },
      { path: '/v1/*', proxy: { upstream: 'u', rewrite: '/v2' } },
      { path: '/d/*', proxy: { upstream: 'deep', rewrite: '/' } },
      { path: '/*', proxy: { upstream: 'deep' } }
    ]
  })
  const same = (text: string): [string, string] => [text, text]
  const cases: [path: string, header: string, gets: string][] = [
    ...([
      ['/login', '/app/login'],
      ['/', '/app/'],
      ['/?a=1', '/app/?a=1'],
      same('/app'),
      same('/app/'),
      same('/app/login'),
      same('/app?e=1'),
      same('/app#x'),
      same('/app\\x'),
      [`${up}/app?e=1#x`, '/app?e=1#x'],
      [up, '/app/'],
      [`${up}?a=1`, '/app/?a=1'],
      [`${up}#x`, '/app/#x'],
      ['/application', '/app/application'],
      ['/app;a=1', '/app/app;a=1'],
      ['/app%2Fx', '/app/app%2Fx'],
      ['/x?to=/app', '/app/x?to=/app'],
      [`//${host}/y`, '/app/y'],
      [`/\\${host}/y`, '/app/y'],
      [`HTTP://${host}/Y`, '/app/Y'],
      [`http:/${host}/y`, '/app/y'],
      [`http://ada:secret@${host}/y`, '/app/y'],
      [`${up}//evil.test/x`, '/app//evil.test/x'],
      [`${up}/caf\xc3\xa9?\xe9`, '/app/caf\xc3\xa9?\xe9'],
      same('?a=1'),
      same('#x'),
      same('other'),
      same('./other'),
      same('//other.test/x'),
      same('http://other.test/app'),
      same(`https://${host}/y`),
      same(`http://127.0.0.1:${Number(at) === 80 ? 81 : 80}/y`),
      same(`http://127.0.0.1.other.test:${at}/y`),
      same(`http://${host}@other.test/y`),
      same('mailto:a@b.test')
    ].flatMap(([from, to]) => [
      ['/app/x', `Location: ${from}`, to],
      ['/app/x', `Content-Location: ${from}`, to]
    ]) as [string, string, string][]),
    ['/v1/x', 'Location: /v2', '/v1'],
    ['/v1/x', 'Location: /v2/y', '/v1/y'],
    ['/v1/x', 'Location: /v2?x', '/v1?x'],
    ['/v1/x', 'Location: /v2#x', '/v1#x'],
    ['/v1/x', 'Location: /v22', '/v22'],
    ['/v1/x', 'Location: /v1#x', '/v1#x'],
    ['/d/x', 'Location: /base', '/d'],
    ['/d/x', 'Location: /base#z', '/d#z'],
    ['/d/x', `Location: ${up}/base?z`, '/d?z'],
    ['/x', 'Location: /base', '/'],
    ['/x', 'Location: /base?x', '/?x'],
    ['/x', 'Location: /base#x', '/#x'],
    ['/x', `Location: ${up}/base//evil.test`, '/evil.test'],
    ['/x', `Location: ${up}/base/\t/evil.test`, '/evil.test'],
    ['/app/x', `Refresh: 0; url=${up}/y`, '0; url=/app/y'],
    ['/app/x', 'Refresh: 0;url=/y', '0;url=/app/y'],
    ['/app/x', `Refresh: 0; URL="${up}/y"`, '0; URL="/app/y"'],
    ['/app/x', 'Refresh: 0; url="/y"; more', '0; url="/app/y"; more'],
    ['/app/x', "Refresh: 0; url = '/y'", "0; url = '/app/y'"],
    ['/app/x', 'Refresh: 0; "/y', '0; "/app/y'],
    ['/app/x', `Refresh: 0; ${up}/y`, '0; /app/y'],
    ['/app/x', 'Refresh: 0.5 /y', '0.5 /app/y'],
    ['/app/x', 'Refresh: 5, url=/y', '5, url=/app/y'],
    ['/app/x', 'Refresh: 5; url=/app?x', '5; url=/app?x'],
    ['/app/x', 'Refresh: 5', '5'],
    ['/app/x', 'Refresh: 5;', '5;'],
    ['/app/x', 'Refresh: 5; url=http://other.test/', '5; url=http://other.test/'],
    ['/app/x', `Link: <${up}/a>; rel=next, </b?c>; rel=prev`, '</app/a>; rel=next, </app/b?c>; rel=prev'],
    ['/app/x', 'Link: <https://other.test/a>; rel=next, <c>', '<https://other.test/a>; rel=next, <c>'],
    ['/app/x', 'Set-Cookie: a=b; Path=/', 'a=b; Path=/app'],
    ['/app/x', 'Set-Cookie: a=b; Path=/app', 'a=b; Path=/app'],
    ['/app/x', 'Set-Cookie: a=b; path = /x=y; Secure', 'a=b; Path=/app/x=y; Secure'],
    ['/app/x', 'Set-Cookie: a=x=y; Path; Path=', 'a=x=y; Path; Path='],
    ['/app/x', 'Set-Cookie: a=b; DOMAIN=127.0.0.1; HttpOnly', 'a=b; HttpOnly'],
    ['/app/x', 'Set-Cookie: a=b; Domain=other.test', 'a=b; Domain=other.test'],
    ['/v1/x', 'Set-Cookie: a=b; Path=/v2/', 'a=b; Path=/v1/']
  ]
  for (const [path, header, gets] of cases) {
    said = header
    const answer = await raw(port, `GET ${path} HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n`)
    const [name = ''] = header.split(':')
    t.equal(new RegExp(`^${name}: (.*)\r$`, 'im').exec(answer)?.[1], gets, `${path} ${header}`)
  }
})

t.test('sends the port of the request in X-Forwarded-Port', async (t) => {
  const up = await upstream(t)
  const routes = [{ path: '/*', proxy: { upstream: up } }]
  const direct = await listening(t, { routes })
  const behind = await listening(t, { trustedProxies: ['loopback'], routes })
  const cases: [host: string, claims: readonly string[], port: string, untrusted: string][] = [
    ['gw.test', [], '80', '80'],
    ['gw.test:3000', [], '3000', '3000'],
    ['gw.test:', [], '80', '80'],
    ['[::1]', [], '80', '80'],
    ['[::1]:81', [], '81', '81'],
    ['gw.test', ['X-Forwarded-Proto: https'], '443', '80'],
    ['gw.test', ['X-Forwarded-Proto: HTTPS, http'], '443', '80'],
    ['gw.test:3000', ['X-Forwarded-Proto: https'], '3000', '3000'],
    ['gw.test:3000', ['X-Forwarded-Proto: https', 'X-Forwarded-Host: web.test'], '443', '3000'],
    ['gw.test', ['X-Forwarded-Host: web.test:8443, inner:1'], '8443', '80'],
    ['gw.test', ['X-Forwarded-Proto: https', 'X-Forwarded-Port: 444'], '444', '80']
  ]
  for (const [host, claims, trusted, untrusted] of cases)
    for (const [at, port] of [
      [behind.port, trusted],
      [direct.port, untrusted]
    ] as const) {
      const lines = [`Host: ${host}`, 'Connection: close', ...claims].join('\r\n')
      const answer = await raw(at, `GET /x HTTP/1.1\r\n${lines}\r\n\r\n`)
      const seen = JSON.parse(answer.slice(answer.indexOf('{'), answer.lastIndexOf('}') + 1)) as Seen
      t.equal(seen.headers['x-forwarded-port'], port, `${lines} ${at === behind.port ? 'trusted' : ''}`)
    }
})

t.test("rewrites WebDAV's Destination if it names the gateway", async (t) => {
  const up = await upstream(t)
  const { host } = new URL(up)
  const { port } = await listening(t, {
    publicUrl: 'https://dav.test',
    upstreams: { u: { url: up }, deep: { url: `${up}/base` } },
    routes: [
      { path: '/dav/*', proxy: { upstream: 'u', rewrite: '/' } },
      { path: ['/files', '/files/*'], proxy: { upstream: 'u', rewrite: '/' } },
      { path: '/v1/*', proxy: { upstream: 'deep', rewrite: '/v2' } },
      { path: '/users/:id/*', proxy: { upstream: 'u', rewrite: '/u/{params.id}' } },
      { path: '/host/*', proxy: { upstream: 'deep', rewrite: '/', preserveHost: true } },
      { path: '/set/*', proxy: { upstream: 'u' }, headers: { request: { destination: '/fixed' } } },
      { path: '/*', proxy: { upstream: 'u' } }
    ]
  })
  const kept = (path: string, to: string): [string, string, string] => [path, to, to]
  const cases: [path: string, destination: string, gets: string][] = [
    ['/dav/a', 'http://gw.test/dav/b', `http://${host}/b`],
    ['/dav/a', 'http://GW.test:80/dav/b/', `http://${host}/b/`],
    ['/dav/a', 'https://gw.test/dav/b%20c?d', `http://${host}/b%20c?d`],
    ['/dav/a', 'https://dav.test/dav/b', `http://${host}/b`],
    ['/dav/a', 'http://ada:x@gw.test/dav/b', `http://${host}/b`],
    ['/dav/a', 'http://gw.test/dav', `http://${host}/`],
    ['/dav/a', '/dav/b', '/b'],
    ['/files/a', 'http://gw.test/files/b', `http://${host}/b`],
    kept('/dav/a', 'http://other.test/dav/b'),
    kept('/dav/a', 'http://gw.test:81/dav/b'),
    kept('/dav/a', 'http://gw.test/other/b'),
    kept('/dav/a', 'http://gw.test/david'),
    kept('/dav/a', 'http://gw.test/dav/../secret'),
    kept('/dav/a', 'http://gw.test/dav/%2e%2e/secret'),
    kept('/dav/a', 'http://gw.test/dav//b'),
    kept('/dav/a', '//gw.test/dav/b'),
    kept('/dav/a', 'Berlin'),
    ['/v1/a', 'http://gw.test/v1/b', `http://${host}/base/v2/b`],
    ['/users/1/a', 'http://gw.test/users/1/b', `http://${host}/u/1/b`],
    kept('/users/1/a', 'http://gw.test/users/2/b'),
    ['/host/a', 'https://gw.test/host/b', 'https://gw.test/base/b'],
    ['/set/a', 'http://gw.test/set/b', '/fixed'],
    ['/a', 'http://gw.test/b', `http://${host}/b`]
  ]
  const sent = async (method: string, path: string, destination: string): Promise<string | undefined> => {
    const lines = `Host: gw.test\r\nDestination: ${destination}\r\nConnection: close`
    const answer = await raw(port, `${method} ${path} HTTP/1.1\r\n${lines}\r\n\r\n`)
    const seen = JSON.parse(answer.slice(answer.indexOf('{'), answer.lastIndexOf('}') + 1)) as Seen
    return seen.headers['destination']
  }
  for (const [path, destination, gets] of cases)
    for (const method of ['COPY', 'MOVE'])
      t.equal(await sent(method, path, destination), gets, `${method} ${path} to ${destination}`)
  t.equal(
    await sent('GET', '/dav/a', 'http://gw.test/dav/b'),
    'http://gw.test/dav/b',
    'for COPY and MOVE alone'
  )
})
