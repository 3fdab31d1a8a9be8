import { once } from 'node:events'
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setImmediate as turn } from 'node:timers/promises'
import { createServer as createSecureServer } from 'node:tls'
import t from 'tap'
import { authority } from '../../certificates.ts'
import { certificate, gateway, listening, noOpenssl, raw, type Scope, statusOf } from '../../helpers.ts'
import { routes } from './fleet.ts'

interface Scripted {
  readonly url: string
  /** The requests that came so far, each with the number of its connection. */
  readonly seen: { connection: number; head: string }[]
  /** How many connections were opened. */
  opened(): number
}

type Script = (socket: Socket, asked: number) => unknown

/** Starts a target that answers each request with the bytes that a script writes. */
async function scripted(t: Scope, script: Script, secure?: { key: Buffer; cert: Buffer }): Promise<Scripted> {
  const seen: { connection: number; head: string }[] = []
  const sockets: Socket[] = []
  const accept = (socket: Socket): void => {
    const connection = sockets.push(socket) - 1
    let held = ''
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      held += chunk.toString('latin1')
      if (!held.includes('\r\n\r\n')) return
      seen.push({ connection, head: held })
      held = ''
      void script(socket, seen.length - 1)
    })
  }
  const server = secure === undefined ? createServer(accept) : createSecureServer(secure, accept)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const scheme = secure === undefined ? 'http' : 'https'
  return { url: `${scheme}://localhost:${port}`, seen, opened: () => sockets.length }
}

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nmine'

/** Writes bytes one at a time, each in a packet of its own as far as the system lets it. */
async function byteByByte(socket: Socket, bytes: string): Promise<void> {
  for (const byte of bytes) {
    socket.write(byte, 'latin1')
    await turn()
  }
}

interface Case {
  readonly name: string
  readonly bytes: string
  readonly status?: number
  readonly body?: string
  readonly headers?: Record<string, string>
  /** Whether the other side ends the connection behind it. */
  readonly ends?: true
  /** Whether another request may use the connection. */
  readonly again?: boolean
  readonly method?: 'HEAD'
}

const WELL: readonly Case[] = [
  { name: 'a body by its length', bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', body: 'hello' },
  { name: 'no body', bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', body: '' },
  {
    name: 'chunks, in any case, with extensions and trailers',
    bytes:
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n0A;x="é \\" ;";y\r\n0123456789\r\n2;z=\r\nok\r\n00\r\nX-Sum: 1\r\n\r\n',
    body: 'hello0123456789ok'
  },
  {
    name: 'blanks before a colon, which are removed (RFC 9112 section 5.1)',
    bytes: 'HTTP/1.1 200 OK\r\nX-A : a\r\nContent-Length\t: 2\r\n\r\nok',
    body: 'ok',
    headers: { 'x-a': 'a', 'content-length': '2' }
  },
  {
    name: 'a length with leading zeros, which is written as a number',
    bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 002\r\n\r\nok',
    body: 'ok',
    headers: { 'content-length': '2' }
  },
  {
    name: 'a body that ends with its connection',
    bytes: 'HTTP/1.1 200 OK\r\nX: y\r\n\r\nto the end',
    body: 'to the end',
    ends: true,
    again: false
  },
  {
    name: 'an answer of HTTP/1.0',
    bytes: 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok',
    body: 'ok',
    again: false
  },
  {
    name: 'an answer of HTTP/1.0 that keeps its connection',
    bytes: 'HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok',
    body: 'ok'
  },
  {
    name: 'the last answer of a connection',
    bytes: 'HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 2\r\n\r\nok',
    body: 'ok',
    again: false
  },
  {
    name: 'one whose connection is kept for no longer than a request takes',
    bytes: 'HTTP/1.1 200 OK\r\nKeep-Alive: max=9, timeout=1\r\nContent-Length: 2\r\n\r\nok',
    body: 'ok',
    again: false
  },
  {
    name: 'a length with a 204',
    bytes: 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n',
    status: 204,
    body: '',
    again: false
  },
  { name: 'a 204 as it should be', bytes: 'HTTP/1.1 204 No Content\r\n\r\n', status: 204, body: '' },
  {
    name: 'a connection that is to be closed and kept, which is closed',
    bytes: 'HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n',
    body: '',
    again: false
  },
  {
    name: 'chunks with long extensions, each of them short of what is too long',
    bytes: `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${`1;${'x'.repeat(3000)}\r\na\r\n`.repeat(8)}0\r\n\r\n`,
    body: 'aaaaaaaa'
  },
  {
    name: 'a length with a 304',
    bytes: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "a"\r\n\r\n',
    status: 304,
    body: '',
    headers: { etag: '"a"' },
    again: false
  },
  {
    name: 'a length with the answer to HEAD, whose connection is not trusted',
    method: 'HEAD',
    bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n',
    body: '',
    headers: { 'content-length': '5' },
    again: false
  },
  {
    name: 'interim answers before it',
    bytes:
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
    body: 'ok'
  },
  { name: 'no reason', bytes: 'HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok', body: 'ok' },
  { name: 'an empty reason', bytes: 'HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok', body: 'ok' },
  {
    name: 'blanks around values, and none',
    bytes: 'HTTP/1.1 200 OK\r\nContent-Length:2\r\nX-A: \t a b \t\r\nX-B:\r\nX-C: : é\r\n\r\nok',
    body: 'ok',
    headers: { 'x-a': 'a b', 'x-b': '', 'x-c': ': é' }
  }
]

t.test('parses a response however it is split into reads', async (t) => {
  for (const { name, bytes, status = 200, body, headers = {}, ends, again = true, method } of WELL)
    for (const way of ['at once', 'byte by byte'])
      t.test(`${name}, ${way}`, async (t) => {
        const { url, seen } = await scripted(t, async (socket, asked) => {
          if (asked > 0) return socket.write(OK)
          if (way === 'at once') socket.write(bytes, 'latin1')
          else await byteByByte(socket, bytes)
          if (ends) socket.end()
        })
        const app = await gateway(t, { upstreams: { up: { url } }, routes })
        const answer = await app.inject({ method: method ?? 'GET', url: '/x' })
        t.match({ status: answer.statusCode, body: answer.body }, { status, body })
        t.match(answer.headers, headers)
        t.equal((await app.inject('/next')).body, 'mine')
        t.equal(seen[1]?.connection === 0, again, 'the connection is used again, or not')
      })
})

const head = (line: string, ...fields: string[]): string => [line, ...fields, '', ''].join('\r\n')
const ILL: Record<string, string> = {
  'the greeting of another protocol, and then silence': 'SSH-2.0-OpenSSH_9.2\r\n',
  'an alert of TLS, and then silence': '\x15\x03\x01\x00\x02\x02\x28',
  'settings of HTTP/2, and then silence': '\x00\x00\x00\x04\x00\x00\x00\x00\x00',
  'bare line feeds, and then silence': 'HTTP/1.1 200 OK\nContent-Length: 0\n\n',
  'half a protocol, and then silence': 'HTTX',
  'another protocol': 'SSH-2.0-OpenSSH_9.2\r\n\r\n',
  'no HTTP of ours': head('HTTP/2 200 OK', 'Content-Length: 0'),
  'a version that there is none of': head('HTTP/1.2 200 OK', 'Content-Length: 0'),
  'a name in lower case': head('http/1.1 200 OK', 'Content-Length: 0'),
  'two blanks': head('HTTP/1.1  200 OK', 'Content-Length: 0'),
  'a status of two digits': head('HTTP/1.1 20 OK', 'Content-Length: 0'),
  'a status of four': head('HTTP/1.1 2000 OK', 'Content-Length: 0'),
  'an interim answer of HTTP/1.0': `${head('HTTP/1.0 103 Early')}${head('HTTP/1.0 200 OK', 'Content-Length: 0')}`,
  'a status below all others': head('HTTP/1.1 099 Odd', 'Content-Length: 0'),
  'a switch that nobody asked for': head('HTTP/1.1 101 Switching', 'Upgrade: websocket'),
  'two lengths': head('HTTP/1.1 200 OK', 'Content-Length: 2', 'Content-Length: 2'),
  'a list of lengths': head('HTTP/1.1 200 OK', 'Content-Length: 2, 2'),
  'a length with a sign': head('HTTP/1.1 200 OK', 'Content-Length: +2'),
  'a length in hexadecimal': head('HTTP/1.1 200 OK', 'Content-Length: 0x2'),
  'a length beyond counting': head('HTTP/1.1 200 OK', 'Content-Length: 9999999999999999'),
  'an empty length': head('HTTP/1.1 200 OK', 'Content-Length:'),
  'a length and chunks': head('HTTP/1.1 200 OK', 'Content-Length: 2', 'Transfer-Encoding: chunked'),
  'chunks and a length': head('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', 'Content-Length: 2'),
  'a coding that we do not undo': head('HTTP/1.1 200 OK', 'Transfer-Encoding: gzip, chunked'),
  'chunks twice': head('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'),
  'chunks in HTTP/1.0': head('HTTP/1.0 200 OK', 'Transfer-Encoding: chunked'),
  'a folded line': head('HTTP/1.1 200 OK', 'X-A: a', ' b', 'Content-Length: 0'),
  'a blank within a name': head('HTTP/1.1 200 OK', 'Content Length: 0'),
  'a field without a colon': head('HTTP/1.1 200 OK', 'Content-Length', 'X-A: 0'),
  'a field without a name': head('HTTP/1.1 200 OK', ': 0'),
  'a name that is none': head('HTTP/1.1 200 OK', 'X(A): 0'),
  'a bare line feed': 'HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n',
  'a bare line feed in a value': head('HTTP/1.1 200 OK', 'X-A: a\nX-B: b', 'Content-Length: 0'),
  'a bare carriage return in a value': head('HTTP/1.1 200 OK', 'X-A: a\rb', 'Content-Length: 0'),
  'a NUL in a value': head('HTTP/1.1 200 OK', 'X-A: a\0b', 'Content-Length: 0'),
  'a head without end': `HTTP/1.1 200 OK\r\n${'X-A: aaaaaaaaaa\r\n'.repeat(5000)}`
}

t.test('rejects responses that could be read in two ways', async (t) => {
  let bytes = ''
  const { url, seen } = await scripted(t, (socket) => socket.write(bytes, 'latin1'))
  const app = await gateway(t, { upstreams: { up: { url } }, routes })
  for (const [name, each] of Object.entries(ILL)) {
    bytes = each
    const answer = await app.inject({ method: 'POST', url: '/x' })
    t.equal(answer.statusCode, 502, name)
    t.equal(answer.json().code, 'SP_ERR_UPSTREAM_FAILED', name)
  }
  bytes = OK
  t.equal((await app.inject('/x')).body, 'mine')
  t.equal(new Set(seen.map(({ connection }) => connection)).size, seen.length, 'no connection was used again')
})

t.test('cuts off a body with invalid framing', async (t) => {
  const cases: Record<string, string> = {
    'no size': '\r\nhello\r\n0\r\n\r\n',
    'a size that is no number': 'xyz\r\nhello\r\n0\r\n\r\n',
    'a size with a sign': '-5\r\nhello\r\n0\r\n\r\n',
    'a size that is no hexadecimal': '0x5\r\nhello\r\n0\r\n\r\n',
    'a size beyond counting': '00000000000005\r\nhello\r\n0\r\n\r\n',
    'a size that ends with a bare line feed': '5\nhello\r\n0\r\n\r\n',
    'a size in two parts': '5 0\r\nhello\r\n0\r\n\r\n',
    'an extension without a semicolon': '5 a\r\nhello\r\n0\r\n\r\n',
    'a blank behind a size': '5 \r\nhello\r\n0\r\n\r\n',
    'an empty extension': '5;\r\nhello\r\n0\r\n\r\n',
    'an empty extension behind another one': '5;a;\r\nhello\r\n0\r\n\r\n',
    'a blank before an extension': '5; a\r\nhello\r\n0\r\n\r\n',
    'an extension with an open quote': '5;a="b\r\nhello\r\n0\r\n\r\n',
    'an extension with text behind a quote': '5;a="b"c\r\nhello\r\n0\r\n\r\n',
    'an extension with a line feed': '5;a\nhello\r\n0\r\n\r\n',
    'an extension with a NUL': '5;a=\0\r\nhello\r\n0\r\n\r\n',
    'an extension with a bare carriage return': '5;a\rb\r\nhello\r\n0\r\n\r\n',
    'an extension without end': `5;${'a'.repeat(70_000)}\r\nhello\r\n0\r\n\r\n`,
    'more than its size': '5\r\nhello!\r\n0\r\n\r\n',
    'less than its size': '6\r\nhello\r\n0\r\n\r\n',
    'a trailer without a name': '5\r\nhello\r\n0\r\n: x\r\n\r\n',
    'whitespace before the colon of a trailer': '5\r\nhello\r\n0\r\nX-A : x\r\n\r\n',
    'trailers without end': `5\r\nhello\r\n0\r\n${'X-A: aaaaaaaaaa\r\n'.repeat(5000)}`
  }
  let body = ''
  const { url } = await scripted(t, (socket) =>
    socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmine\r\n${body}`)
  )
  const { port } = await listening(t, { upstreams: { up: { url } }, routes })
  for (const [name, each] of Object.entries(cases)) {
    body = each
    const answer = await raw(port, 'GET /x HTTP/1.1\r\nHost: a\r\n\r\n')
    t.notMatch(answer, /\r\n0\r\n\r\n$/, name)
    t.ok(answer === '' || statusOf(answer) === 200, name)
  }
})

t.test('discards bytes that an upstream sends unasked', async (t) => {
  const cases: Record<string, (socket: Socket) => unknown> = {
    'behind an answer': (socket) => socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok${OK}`),
    'behind the last chunk': (socket) =>
      socket.write(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n${OK}`),
    'behind a long body': (socket) =>
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n${'a'.repeat(200_000)}${OK}`),
    'behind a 204': (socket) => socket.write(`HTTP/1.1 204 No Content\r\n\r\n${OK}`),
    'behind the answer to HEAD': (socket) =>
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${OK.length}\r\n\r\n${OK}`)
  }
  for (const [name, write] of Object.entries(cases)) {
    const { url, seen } = await scripted(t, (socket, asked) =>
      asked === 0 ? write(socket) : socket.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext')
    )
    const app = await gateway(t, { upstreams: { up: { url } }, routes })
    await app.inject({ method: name.endsWith('HEAD') ? 'HEAD' : 'GET', url: '/x' })
    t.equal((await app.inject('/y')).body, 'next', name)
    t.equal(seen[1]?.connection, 1, name)
  }
})

t.test('does not pass surplus bytes after a response to a queued request', async (t) => {
  const READ = 65_536
  for (const bytes of [100, READ - 1, READ, READ + 1, 2 * READ]) {
    const head = (length: number): string =>
      `HTTP/1.1 200 OK\r\ncontent-length: ${String(length).padStart(6, '0')}\r\n\r\n`
    const length = bytes - head(0).length
    const { url } = await scripted(t, (socket) => socket.write(head(length) + 'a'.repeat(length) + OK))
    const other = await scripted(t, (socket, asked) =>
      socket.write(asked === 0 ? head(length) + 'a'.repeat(length) + OK : `${head(3)}own`)
    )
    for (const [up, answers] of [
      [url, ['a'.repeat(length)]],
      [other.url, ['a'.repeat(length), 'own']]
    ] as const) {
      const app = await gateway(t, { upstreams: { up: { url: up, connections: { max: 1 } } }, routes })
      const got = await Promise.all(answers.map((_, i) => app.inject(`/${i}`)))
      t.strictSame(
        got.map(({ body }) => body),
        answers,
        `an answer of ${bytes} bytes`
      )
    }
    t.equal(other.opened(), 2, 'the connection with the surplus was closed')
  }
})

t.test('queues the next request for a connection that is about to be free', async (t) => {
  const { url, opened } = await scripted(t, (socket) => socket.write(OK))
  const app = await gateway(t, { upstreams: { up: { url } }, routes })
  for (let i = 0; i < 5; i++) t.equal((await app.inject('/x')).body, 'mine')
  t.equal(opened(), 1)
})

t.test('does not reuse a connection whose 204 or 304 announces a body that comes late', async (t) => {
  for (const method of ['GET', 'POST'])
    for (const line of ['204 No Content', '304 Not Modified']) {
      const late: Socket[] = []
      const { url } = await scripted(t, (socket, asked) => {
        if (asked > 0) return socket.write(OK)
        late.push(socket)
        return socket.write(`HTTP/1.1 ${line}\r\ntransfer-encoding: chunked\r\n\r\n`)
      })
      const app = await gateway(t, { upstreams: { up: { url } }, routes })
      await app.inject({ method: method === 'GET' ? 'GET' : 'POST', url: '/x' })
      late[0]?.write('0\r\n\r\n')
      t.equal((await app.inject({ method: 'POST', url: '/y' })).body, 'mine', `${method} ${line}`)
    }
})

t.test('accepts response headers up to maxHeaders', async (t) => {
  let fields = 0
  const { url } = await scripted(t, (socket) =>
    socket.write(`HTTP/1.1 200 OK\r\n${'X-A: aaaaaaaaaaa\r\n'.repeat(fields)}content-length: 0\r\n\r\n`)
  )
  for (const [maxHeaders, good, bad] of [
    [undefined, 3500, 3700],
    ['1kb', 50, 60],
    ['128kb', 7000, 7400]
  ] as const) {
    const app = await gateway(t, {
      upstreams: { up: { url, ...(maxHeaders === undefined ? {} : { maxHeaders }) } },
      routes
    })
    for (const [many, status] of [
      [good, 200],
      [bad, 502]
    ] as const) {
      fields = many
      t.equal((await app.inject('/x')).statusCode, status, `${many} fields, ${maxHeaders ?? 'by default'}`)
    }
  }
})

t.test('closes an idle connection on which data arrives', async (t) => {
  const { url, seen } = await scripted(t, (socket) => socket.write(OK))
  const app = await gateway(t, { upstreams: { up: { url } }, routes })
  await app.inject('/x')
  const { promise, resolve } = Promise.withResolvers<void>()
  const other = await scripted(t, (socket, asked) => {
    socket.write(OK)
    if (asked > 0) return
    socket.on('close', () => resolve())
    setImmediate(() => socket.write(OK))
  })
  const second = await gateway(t, { upstreams: { up: { url: other.url } }, routes })
  await second.inject('/x')
  await promise
  t.equal((await second.inject('/y')).body, 'mine')
  t.same(
    [seen.length, other.seen.map(({ connection }) => connection)],
    [1, [0, 1]],
    'another connection was opened for the next request'
  )
})

t.test('queues requests for a connection and serves them in order', async (t) => {
  const answers: (() => void)[] = []
  const { url, seen, opened } = await scripted(t, (socket) => {
    answers.push(() => socket.write(OK))
    if (answers.length === 1) setImmediate(() => answers[0]?.())
    else answers.at(-1)?.()
  })
  const { port, app } = await listening(t, {
    upstreams: { up: { url, connections: { max: 1, pending: 10 } } },
    routes
  })
  const asked = ['/1', '/2', '/3'].map((path) => app.inject(path))
  t.match(await raw(port, 'GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'), /mine$/)
  for (const { body } of await Promise.all(asked)) t.equal(body, 'mine')
  t.equal(opened(), 1)
  t.same(
    seen.map(({ head }) => head.slice(4, 6)),
    ['/1', '/2', '/3', '/4']
  )
})

t.test('closes an idle connection to make room for a WebSocket', async (t) => {
  const { url, opened } = await scripted(t, (socket, asked) =>
    socket.write(
      asked === 0
        ? OK
        : 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello'
    )
  )
  const { port, app } = await listening(t, { upstreams: { up: { url, connections: { max: 1 } } }, routes })
  t.equal((await app.inject('/x')).body, 'mine')
  const shake = 'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
  t.match(await raw(port, shake), /^HTTP\/1\.1 101 [\s\S]*hello$/)
  t.equal(opened(), 2)
})

t.test('closes a connection that has been idle for timeouts.keepAlive', async (t) => {
  const closed = Promise.withResolvers<void>()
  const { url, opened } = await scripted(t, (socket) => {
    socket.write(OK)
    socket.on('close', () => closed.resolve())
  })
  const app = await gateway(t, { upstreams: { up: { url, timeouts: { keepAlive: '50ms' } } }, routes })
  await app.inject('/x')
  await closed.promise
  await app.inject('/x')
  t.equal(opened(), 2)
})

t.test('continues reading after a response whose last part was paused', async (t) => {
  // All of it is one read, and as much as a connection to a client holds.
  const start = 'HTTP/1.1 200 OK\r\ncontent-length: 65494\r\n\r\n'
  const { url, opened } = await scripted(t, (socket, asked) =>
    socket.write(asked === 0 ? start.padEnd(65_536, 'a') : OK)
  )
  const { url: at } = await listening(t, { upstreams: { up: { url, timeouts: { headers: '1s' } } }, routes })
  t.equal((await (await fetch(`${at}/x`)).text()).length, 65_494)
  t.equal(await (await fetch(`${at}/y`)).text(), 'mine')
  t.equal(opened(), 1)
})

t.test(
  'reads on after an answer over TLS whose reader has taken none of it when it ends',
  { skip: noOpenssl },
  async (t) => {
    const { ca, ...pair } = certificate(t)
    // With its last part there is as much as a stream of HTTP/2 holds.
    const whole = `HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n\r\n${'a'.repeat(65_536)}`
    const target = await scripted(t, (socket, asked) => socket.write(asked === 0 ? whole : OK), pair)
    const up = { url: target.url, tls: { ca }, connections: { max: 1 }, timeouts: { headers: '1s' } }
    const { certFile, keyFile } = authority(t).issue('/CN=localhost', 'DNS:localhost')
    const tls = { certificates: [{ cert: certFile, key: keyFile }] }
    const { port } = await listening(t, { tls, upstreams: { up }, routes })
    const session = (initialWindowSize: number): ClientHttp2Session => {
      const client = connectHttp2(`https://localhost:${port}`, {
        rejectUnauthorized: false,
        settings: { initialWindowSize }
      })
      t.teardown(() => client.destroy())
      return client
    }
    const patient = session(0)
    const slow = patient.request({ ':path': '/x' })
    await once(slow, 'response')
    t.equal(await text(session(65_535).request({ ':path': '/y' })), 'mine')
    patient.settings({ initialWindowSize: 65_536 })
    t.equal((await text(slow)).length, 65_536)
    t.equal(target.opened(), 1)
  }
)

/** Sends requests in their order, each on a connection of its own that was there before. */
async function askAtOnce(t: Scope, port: number, ...requests: string[]): Promise<Socket[]> {
  const sockets = requests.map(() => connect(port, '127.0.0.1').on('error', () => {}))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  for (const [at, request] of requests.entries()) sockets[at]?.write(request)
  return sockets
}

const SHAKE = 'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
const firstOf = async (socket: Socket | undefined): Promise<string> =>
  String((await once(socket as Socket, 'data'))[0])

t.test('does not block requests behind a WebSocket that its target does not answer', async (t) => {
  const { url, seen } = await scripted(t, (socket) =>
    seen.at(-1)?.head.includes('/ws') === true ? undefined : socket.write(OK)
  )
  // A name has to be looked up: both are there before the first connection is.
  const named = url.replace('127.0.0.1', 'localhost')
  const { port } = await listening(t, {
    upstreams: { up: { url: named, timeouts: { headers: '1s' } } },
    routes
  })
  const sockets = await askAtOnce(t, port, SHAKE, get('/x'))
  t.match(await Promise.race(sockets.map(firstOf)), /mine$/, 'it is the first to be answered')
})

t.test('does not let later requests overtake a queued WebSocket', async (t) => {
  const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n'
  const { url, seen } = await scripted(t, (socket) =>
    socket.write(seen.at(-1)?.head.includes('/ws') === true ? SWITCH : OK)
  )
  const { port } = await listening(t, {
    upstreams: { up: { url, connections: { max: 1, pending: 10 } } },
    routes
  })
  const sockets = await askAtOnce(t, port, get('/1'), SHAKE, get('/2'), get('/3'))
  await Promise.all(sockets.map(firstOf))
  t.same(
    seen.map(({ head }) => head.split(' ')[1]),
    ['/1', '/ws', '/2', '/3']
  )
})

t.test('does not count the time of the previous request against the next one', async (t) => {
  const { url } = await scripted(t, (socket, asked) => {
    socket.write(OK)
    // The answer is there before the process finds out that its time is over.
    if (asked === 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500)
  })
  const { port } = await listening(t, {
    upstreams: { up: { url, connections: { max: 1 }, timeouts: { headers: '1s' } } },
    routes
  })
  const sockets = await askAtOnce(t, port, get('/1'), get('/2'))
  for (const answer of await Promise.all(sockets.map(firstOf))) t.match(answer, /^HTTP\/1\.1 200 /)
})

t.test('gives up on an upstream that sends 1xx responses without end', async (t) => {
  const closed = Promise.withResolvers<void>()
  const { url } = await scripted(t, (socket) => {
    socket.on('close', () => closed.resolve())
    const tell = (): void => {
      if (socket.writable) socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n', tell)
    }
    tell()
  })
  const { port } = await listening(t, { upstreams: { up: { url } }, routes })
  const answer = await raw(port, 'GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  t.match(answer, /\r\n\r\nHTTP\/1\.1 502 /)
  await closed.promise
})

t.test('fails a queued request whose body was destroyed', async (t) => {
  const { url } = await scripted(t, (socket) => socket.write(OK))
  const app = await gateway(t, { upstreams: { up: { url } }, routes })
  const body = new Readable({ read() {} })
  body.destroy()
  await once(body, 'close')
  const failed = Promise.withResolvers<Error>()
  app.upstream('up').targets[0]?.pool.send(
    { method: 'POST', path: '/x', headers: ['host', 'a'], body },
    {
      onConnect() {},
      onHeaders: () => true,
      onData: () => true,
      onComplete() {},
      onError: failed.resolve
    }
  )
  t.match(await failed.promise, { code: 'UND_ERR_ABORTED' })
})
