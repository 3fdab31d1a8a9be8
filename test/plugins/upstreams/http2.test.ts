import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http2, { type ServerHttp2Stream } from 'node:http2'
import https from 'node:https'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { Readable, type Writable } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import t from 'tap'
import { ask, certificate, gateway, listening, noOpenssl, type Scope } from '../../helpers.ts'
import {
  CODE,
  type Fields,
  FLAG,
  frame,
  literals,
  PREFACE,
  settings,
  TYPE,
  word
} from '../../http2-frames.ts'
import { routes, target } from './fleet.ts'

/** Starts a target that speaks HTTP/2 alone. */
async function speaking(
  t: Scope,
  answer: (stream: ServerHttp2Stream, path: string) => void
): Promise<{ url: string; opened: () => number }> {
  const server = http2.createServer()
  const sessions: http2.ServerHttp2Session[] = []
  server.on('session', (session) => sessions.push(session))
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {})
    answer(stream, headers[':path'] ?? '')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, opened: () => sessions.length }
}

t.test('checks the health of a target over the protocol that it speaks', async (t) => {
  const checked = Promise.withResolvers<void>()
  const { url } = await speaking(t, (stream, path) => {
    if (path === '/healthz') checked.resolve()
    stream.respond()
    stream.end('two')
  })
  const health = { path: '/healthz', every: '10ms', unhealthyAfter: 1 }
  const app = await gateway(t, { upstreams: { up: { url, http2: true, health } }, routes })
  await app.ready()
  await checked.promise
  t.equal((await app.inject('/x')).body, 'two')
  t.equal(target(app, 0).health.isEligible, true)
})

t.test('accepts response headers up to maxHeaders, in one field or in many', async (t) => {
  let fields: Record<string, string> = {}
  const { url } = await speaking(t, (stream) => {
    stream.respond(fields)
    stream.end('ok')
  })
  const many = (count: number): Record<string, string> =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, 'a']))
  for (const [maxHeaders, made, status] of [
    [undefined, { 'x-a': 'a'.repeat(60_000) }, 200],
    [undefined, { 'x-a': 'a'.repeat(70_000) }, 502],
    [undefined, many(1400), 200],
    [undefined, many(2100), 502],
    ['1kb', { 'x-a': 'a'.repeat(800) }, 200],
    ['1kb', { 'x-a': 'a'.repeat(1100) }, 502]
  ] as const) {
    fields = made
    const app = await gateway(t, {
      upstreams: { up: { url, http2: true, ...(maxHeaders === undefined ? {} : { maxHeaders }) } },
      routes
    })
    t.equal((await app.inject('/x')).statusCode, status, `${JSON.stringify(made).length} bytes`)
  }
})

t.test('does not block requests behind a long stream', async (t) => {
  const held: ServerHttp2Stream[] = []
  const { url: up, opened } = await speaking(t, (stream, path) => {
    stream.resume()
    stream.respond()
    if (path !== '/hold') return void stream.end('ok')
    stream.write('begun')
    held.push(stream)
  })
  const { url, app } = await listening(t, { upstreams: { up: { url: up, http2: true } }, routes })
  const asking = (method: string): RequestInit => (method === 'POST' ? { method, body: 'some' } : { method })
  for (const method of ['GET', 'POST']) {
    const response = await fetch(`${url}/hold`, asking(method))
    const whole = response.text()
    for (const other of ['GET', 'POST', 'DELETE', 'POST'])
      t.equal((await ask(`${url}/x`, asking(other))).text, 'ok', `${other} beside ${method}`)
    held.pop()?.end()
    t.equal(await whole, 'begun')
  }
  t.ok(opened() <= 4, `connections are used again: ${opened()}`)
  t.equal(target(app, 0).load.requests, 0)
})

t.test('sends any number of requests with a body at a time', async (t) => {
  const all = Promise.withResolvers<void>()
  const held: ServerHttp2Stream[] = []
  const { url: up } = await speaking(t, (stream) => {
    if (held.push(stream) === 20) all.resolve()
  })
  const { url } = await listening(t, { upstreams: { up: { url: up, http2: true } }, routes })
  const answers = Array.from({ length: 20 }, (_, i) => ask(`${url}/x`, { method: 'POST', body: `body ${i}` }))
  await all.promise
  for (const stream of held)
    void text(stream).then((body) => {
      stream.respond()
      stream.end(body)
    })
  t.same(
    (await Promise.all(answers)).map((each) => each.text),
    answers.map((_, i) => `body ${i}`)
  )
})

/** Starts a target that speaks HTTP/2 by hand: it is told each HEADERS that has come. */
async function byFrames(
  t: Scope,
  answer: (socket: Socket, stream: number, flags: number) => void,
  first: Buffer = settings()
): Promise<{ url: string; opened: () => number }> {
  let opened = 0
  const server = createServer((socket) => {
    opened++
    t.teardown(() => socket.destroy())
    socket.on('error', () => {})
    socket.write(frame(TYPE.settings, FLAG.none, 0, first))
    let rest: Buffer = Buffer.alloc(0)
    let greeted = false
    socket.on('data', (data: Buffer) => {
      rest = Buffer.concat([rest, data])
      if (!greeted && rest.length < PREFACE.length) return
      if (!greeted) rest = rest.subarray(PREFACE.length)
      greeted = true
      while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
        const [type, flags, stream] = [rest[3], rest[4] ?? 0, rest.readUInt32BE(5)]
        rest = rest.subarray(9 + rest.readUIntBE(0, 3))
        if (type === TYPE.settings && (flags & FLAG.ack) === 0)
          socket.write(frame(TYPE.settings, FLAG.ack, 0))
        if (type === TYPE.headers) answer(socket, stream, flags)
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, opened: () => opened }
}

/** Makes DATA of so many bytes, in frames of 16 kB. */
function content(stream: number, size: number, last: number): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < size; at += 16_384)
    parts.push(
      frame(
        TYPE.data,
        at + 16_384 >= size ? last : FLAG.none,
        stream,
        Buffer.alloc(Math.min(16_384, size - at), 'x')
      )
    )
  return Buffer.concat(parts)
}

const head = (stream: number, flags: number, ...more: Fields): Buffer =>
  frame(TYPE.headers, FLAG.endHeaders | flags, stream, literals([[':status', '200'], ...more]))

const EMPTY: Fields[number] = ['content-length', '0']

/** Reads an answer over a client of each version, once `held` is over: what came, and whether it looked whole. An upload of `true` never ends. */
async function read(t: Scope & { testdir(): string }, url: string) {
  const { ca } = certificate(t)
  const { port } = await listening(t, {
    tls: { certificates: [{ cert: ca, key: ca.replace('.pem', '.key') }] },
    upstreams: { up: { url, http2: true, timeouts: { headers: '5s' } } },
    routes: [{ path: '/*', proxy: { upstream: 'up' }, limits: { body: '100mb' } }]
  })
  const trusted = readFileSync(ca)
  const session = http2.connect(`https://localhost:${port}`, { ca: trusted })
  session.on('error', () => {})
  t.teardown(() => session.destroy())
  const byTwo = (path: string, upload: boolean | Buffer, held?: Promise<unknown>): Promise<string> =>
    new Promise((resolve) => {
      const stream = session.request({ ':path': path, ':method': upload ? 'POST' : 'GET' })
      let size = 0
      let status = 'no head'
      stream.on('response', (headers) => {
        status = String(headers[':status'])
        void Promise.resolve(held).then(() =>
          stream.on('data', (data) => {
            size += data.length
          })
        )
      })
      stream.on('error', () => resolve(`${status} cut`))
      stream.on('end', () =>
        setImmediate(() => resolve(stream.rstCode > 0 ? `${status} cut` : `${status} ${size}`))
      )
      if (upload === true) sendOn(stream)
      else stream.end(upload || undefined)
    })
  const byOne = (path: string, upload: boolean | Buffer, held?: Promise<unknown>): Promise<string> =>
    new Promise((resolve) => {
      const request = https.request({
        host: 'localhost',
        port,
        path,
        ca: trusted,
        agent: false,
        method: upload ? 'POST' : 'GET'
      })
      request.on('error', () => resolve('no head cut'))
      request.on('response', (response) => {
        let size = 0
        void Promise.resolve(held).then(() =>
          response.on('data', (data) => {
            size += data.length
          })
        )
        response.on('error', () => resolve(`${response.statusCode} cut`))
        response.on('end', () => resolve(`${response.statusCode} ${size}`))
      })
      if (upload === true) sendOn(request)
      else request.end(upload || undefined)
    })
  // An upload that goes on for as long as it is taken.
  const sendOn = (to: Writable): void => {
    const timer = setInterval(() => {
      if (to.destroyed || to.writableEnded) clearInterval(timer)
      else if (!to.writableNeedDrain) to.write(Buffer.alloc(16_384))
    }, 1)
    t.teardown(() => clearInterval(timer))
  }
  return { byOne, byTwo }
}

t.test('serves the next request after a response that ends its connection', async (t) => {
  let isInvalid = false
  const { url, opened } = await byFrames(t, (socket, stream) => {
    // Content beyond its length is an error of the connection for Node.js.
    const body = frame(TYPE.data, FLAG.endStream, stream, Buffer.from('x'))
    socket.write(Buffer.concat([head(stream, 0, ...(isInvalid ? [EMPTY] : [])), body]))
  })
  const app = await gateway(t, {
    upstreams: { up: { url, http2: true } },
    routes: [{ path: '/*', proxy: { upstream: 'up' } }]
  })
  for (let i = 0; i < 12; i++) {
    isInvalid = true
    await app.inject({ method: 'HEAD', url: '/' }).catch(() => {})
    isInvalid = false
    const { statusCode, body } = await app.inject('/')
    t.equal(`${statusCode} ${body}`, '200 x')
  }
  t.ok(opened() > 1, 'the connections did end')
})

t.test(
  'treats a response as complete only with END_STREAM or at its Content-Length',
  { skip: noOpenssl },
  async (t) => {
    const reset = (stream: number, code: number): Buffer => frame(TYPE.reset, 0, stream, word(code))
    const length: Fields = [['content-length', '40000']]
    // What the upstream sends, and what a client may make of it.
    const CASES: Readonly<Record<string, [(stream: number) => Buffer[], string]>> = {
      '/whole': [(id) => [head(id, 0), content(id, 40_000, FLAG.endStream)], '200 40000'],
      '/whole-length': [(id) => [head(id, 0, ...length), content(id, 40_000, FLAG.endStream)], '200 40000'],
      '/whole-reset': [
        (id) => [head(id, 0), content(id, 40_000, FLAG.endStream), reset(id, CODE.none)],
        '200 40000'
      ],
      '/whole-trailers': [
        (id) => [
          head(id, 0),
          content(id, 40_000, FLAG.none),
          frame(TYPE.headers, FLAG.endHeaders | FLAG.endStream, id, literals([['x-sum', '1']])),
          reset(id, CODE.none)
        ],
        '200 40000'
      ],
      '/bare': [(id) => [head(id, FLAG.endStream)], '200 0'],
      '/empty-data': [(id) => [head(id, 0), frame(TYPE.data, FLAG.endStream, id)], '200 0'],
      '/cut': [(id) => [head(id, 0), content(id, 40_000, FLAG.none), reset(id, CODE.none)], 'cut'],
      '/cut-length': [
        (id) => [head(id, 0, ...length), content(id, 30_000, FLAG.none), reset(id, CODE.none)],
        'cut'
      ],
      '/cut-at-length': [
        (id) => [head(id, 0, ...length), content(id, 40_000, FLAG.none), reset(id, CODE.none)],
        'cut'
      ],
      '/cut-head': [(id) => [head(id, 0), reset(id, CODE.none)], 'cut'],
      '/cut-head-length': [(id) => [head(id, 0, ...length), reset(id, CODE.none)], 'cut'],
      '/cut-cancel': [(id) => [head(id, 0), content(id, 40_000, FLAG.none), reset(id, CODE.cancel)], 'cut'],
      '/short': [(id) => [head(id, 0, ...length), content(id, 30_000, FLAG.endStream)], 'cut'],
      '/long': [(id) => [head(id, 0, ...length), content(id, 50_000, FLAG.endStream)], 'cut'],
      '/nothing': [(id) => [reset(id, CODE.none)], '502']
    }
    let now: (stream: number) => Buffer[] = () => []
    const { url } = await byFrames(t, (socket, stream) => socket.write(Buffer.concat(now(stream))))
    const { byOne, byTwo } = await read(t, url)
    for (const [path, [answer, want]] of Object.entries(CASES))
      for (const [version, send] of [['HTTP/1.1', byOne] as const, ['HTTP/2', byTwo] as const]) {
        now = answer
        t.match(await send(path, false), want, `${path}: ${version} client`)
      }
  }
)

t.test(
  'delivers many bodies in both directions at once, also to slow clients',
  { skip: noOpenssl },
  async (t) => {
    const { url } = await speaking(t, (stream, path) => {
      stream.respond()
      // Node.js resets a stream with NO_ERROR after an answer where nothing reads the request.
      if (path.startsWith('/at-once/')) {
        for (const part of parts(Number(path.slice(9)))) stream.write(part)
        stream.end()
      } else if (path !== '/up') Readable.from(parts(Number(path.slice(1)))).pipe(stream)
      else void buffer(stream).then((body) => stream.end(Buffer.alloc(body.length)))
    })
    const { byOne, byTwo } = await read(t, url)
    const sizes = [10, 16_384, 65_536, 65_537, 262_144, 300_000, 1_048_576, 1_500_000]
    for (const [version, send] of [['HTTP/1.1', byOne] as const, ['HTTP/2', byTwo] as const]) {
      const quick = [0, 1].flatMap(() =>
        sizes.flatMap((size) => [send(`/${size}`, false), send('/up', Buffer.alloc(size))])
      )
      // These read nothing until all others have had their answers.
      const slow = sizes.map((size) => send(`/${size}`, false, Promise.all(quick)))
      t.same(
        await Promise.all(quick),
        [0, 1].flatMap(() => sizes.flatMap((size) => [`200 ${size}`, `200 ${size}`])),
        `${version} clients`
      )
      t.same(
        await Promise.all(slow),
        sizes.map((size) => `200 ${size}`),
        `slow ${version} clients`
      )
    }
  }
)

/** Makes a body of so many bytes, in parts of uneven size. */
function* parts(size: number): Generator<Buffer> {
  for (let at = 0; at < size; ) {
    const length = Math.min(size - at, 1 + ((at * 7919) % 40_000))
    yield Buffer.alloc(length)
    at += length
  }
}

t.test(
  'delivers an early response completely while the client still sends',
  { skip: noOpenssl },
  async (t) => {
    // So much that it is under way for longer than the first window.
    const size = 200_000
    const reset = (stream: number): Buffer => frame(TYPE.reset, 0, stream, word(CODE.none))
    const { url } = await byFrames(t, (socket, stream) =>
      socket.write(
        Buffer.concat([
          frame(TYPE.headers, FLAG.endHeaders, stream, literals([[':status', '413']])),
          content(stream, size, FLAG.endStream),
          reset(stream)
        ])
      )
    )
    const { byOne, byTwo } = await read(t, url)
    for (let i = 0; i < 3; i++) {
      t.equal(await byOne('/x', true), `413 ${size}`, 'HTTP/1.1 client')
      t.equal(await byTwo('/x', true), `413 ${size}`, 'HTTP/2 client')
    }
  }
)

t.test('opens few connections to a target with MAX_CONCURRENT_STREAMS 0', async (t) => {
  const { url, opened } = await byFrames(t, () => {}, settings([3, 0]))
  const app = await gateway(t, { upstreams: { up: { url, http2: true } }, routes })
  const answers = await Promise.all(Array.from({ length: 20 }, () => app.inject('/x')))
  t.ok(answers.every(({ statusCode }) => statusCode === 504))
  t.equal(opened(), 1)
})
