import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import http2, { type ClientHttp2Session } from 'node:http2'
import https from 'node:https'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { certificate, listening, noOpenssl, raw, readableLog, type Scope, statusOf } from '../helpers.ts'
import { type Fields, FLAG, frame, literals, PREFACE, TYPE } from '../http2-frames.ts'

// What an answer or a request may hold, each over HTTP/1.1 and HTTP/2 on either side.

/** An answer as an upstream means it; null for no content and no framing of any. */
interface Meant {
  readonly status?: number
  readonly interim?: readonly { readonly status: number; readonly fields: Fields }[]
  readonly fields?: Fields
  /** Content in chunks, or with a length. */
  readonly body?: { readonly text: string; readonly length?: boolean } | null
  readonly trailers?: Fields
}

const lines = (fields: Fields): string => fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')

/** Writes an answer of HTTP/1.1. */
function one({
  status = 200,
  interim = [],
  fields = [],
  body = { text: 'ok' },
  trailers = []
}: Meant): string {
  const before = interim.map((each) => `HTTP/1.1 ${each.status} Soon\r\n${lines(each.fields)}\r\n`).join('')
  const head = `${before}HTTP/1.1 ${status} Yes\r\n${lines(fields)}`
  if (body === null) return `${head}\r\n`
  if (body.length === true) return `${head}content-length: ${body.text.length}\r\n\r\n${body.text}`
  const chunk = body.text === '' ? '' : `${body.text.length.toString(16)}\r\n${body.text}\r\n`
  return `${head}transfer-encoding: chunked\r\n\r\n${chunk}0\r\n${lines(trailers)}\r\n`
}

/** Writes an answer of HTTP/2, frame by frame. */
function two(
  stream: number,
  { status = 200, interim = [], fields = [], body = { text: 'ok' }, trailers = [] }: Meant
): Buffer {
  const length: Fields = body?.length === true ? [['content-length', String(body.text.length)]] : []
  const head = (code: number, more: Fields, flags: number): Buffer =>
    frame(TYPE.headers, FLAG.endHeaders | flags, stream, literals([[':status', String(code)], ...more]))
  const parts = interim.map((each) => head(each.status, each.fields, FLAG.none))
  parts.push(head(status, [...fields, ...length], body === null ? FLAG.endStream : FLAG.none))
  if (body !== null) {
    const end = trailers.length === 0 ? FLAG.endStream : FLAG.none
    parts.push(frame(TYPE.data, end, stream, Buffer.from(body.text)))
    if (trailers.length > 0)
      parts.push(frame(TYPE.headers, FLAG.endHeaders | FLAG.endStream, stream, literals(trailers)))
  }
  return Buffer.concat(parts)
}

async function open(t: Scope, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

/** Speaks HTTP/2 by hand: calls back for each request that has ended. */
function speakFrames(socket: Socket, answer: (stream: number) => void): void {
  let rest: Buffer = Buffer.alloc(0)
  let greeted = false
  socket.write(frame(TYPE.settings, FLAG.none, 0))
  socket.on('data', (data: Buffer) => {
    rest = Buffer.concat([rest, data])
    if (!greeted) {
      if (rest.length < PREFACE.length) return
      rest = rest.subarray(PREFACE.length)
      greeted = true
    }
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const [type, flags, stream] = [rest[3], rest[4] ?? 0, rest.readUInt32BE(5)]
      rest = rest.subarray(9 + rest.readUIntBE(0, 3))
      if (type === TYPE.settings && (flags & FLAG.ack) === 0) socket.write(frame(TYPE.settings, FLAG.ack, 0))
      if ((type === TYPE.headers || type === TYPE.data) && (flags & FLAG.endStream) !== 0) answer(stream)
    }
  })
}

/** What a client gets. */
interface Got {
  readonly status: number | string
  /** The values of a field, in the order they came. */
  values(name: string): string[]
  trailers(name: string): string[]
  readonly body: string
  readonly interim: readonly string[]
}

const valuesIn =
  (flat: readonly string[]) =>
  (name: string): string[] =>
    flat.filter((_value, i) => i % 2 === 1 && flat[i - 1]?.toLowerCase() === name)

/** A gateway before an upstream of each version, and a client of each version. */
async function gateways(t: Scope & { testdir(): string }, more: object = {}) {
  const { ca } = certificate(t)
  let meant: Meant = {}
  const heads: string[] = []
  const sockets = new Set<Socket>()
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  const keep = (socket: Socket): void => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
  }
  const plain = await open(
    t,
    createServer((socket) => {
      keep(socket)
      socket.on('data', (data) => {
        heads.push(data.toString('latin1'))
        socket.write(one(meant), 'latin1')
      })
    })
  )
  const framed = await open(
    t,
    createServer((socket) => {
      keep(socket)
      speakFrames(socket, (stream) => socket.write(two(stream, meant)))
    })
  )
  const log = readableLog()
  const config = {
    tls: { certificates: [{ cert: ca, key: ca.replace('.pem', '.key') }] },
    upstreams: {
      one: { url: `http://127.0.0.1:${plain}` },
      two: { url: `http://127.0.0.1:${framed}`, http2: true }
    },
    routes: [
      { path: '/one/*', proxy: { upstream: 'one' } },
      { path: '/two/*', proxy: { upstream: 'two' } }
    ],
    ...more
  }
  const { port, app } = await listening(t, config, { log: log.log })
  const trusted = readFileSync(ca)
  const session = http2.connect(`https://localhost:${port}`, {
    ca: trusted,
    strictSingleValueFields: false
  } as never)
  session.on('error', () => {})
  t.teardown(() => session.destroy())
  const agent = new https.Agent({ ca: trusted, keepAlive: true })
  t.teardown(() => agent.destroy())
  const ask = (client: 'HTTP/1.1' | 'HTTP/2', path: string, method = 'GET'): Promise<Got> =>
    client === 'HTTP/2' ? byTwo(session, path, method) : byOne(agent, port, path, method)
  return {
    app,
    log,
    port,
    session,
    ask,
    answer: (next: Meant) => {
      meant = next
    }
  }
}

function byTwo(session: ClientHttp2Session, path: string, method: string): Promise<Got> {
  return new Promise((resolve) => {
    const stream = session.request({ ':path': path, ':method': method })
    const got = { status: 'none' as number | string, flat: [] as string[], after: [] as string[], body: '' }
    const interim: string[] = []
    stream.on('headers', (headers) => interim.push(`${headers[':status']} ${String(headers['link'])}`))
    stream.on('response', (headers, _flags, flat) => {
      got.status = headers[':status'] ?? 0
      got.flat = flat as unknown as string[]
    })
    stream.on('trailers', (_trailers, _flags, flat) => {
      got.after = flat as unknown as string[]
    })
    stream.on('data', (data) => {
      got.body += data
    })
    stream.on('error', (error: Error & { code?: string }) => {
      got.status = error.code ?? 'error'
    })
    stream.on('close', () =>
      resolve({ ...got, values: valuesIn(got.flat), trailers: valuesIn(got.after), interim })
    )
    stream.end()
  })
}

function byOne(agent: https.Agent, port: number, path: string, method: string): Promise<Got> {
  return new Promise((resolve) => {
    const failed = (error: NodeJS.ErrnoException): void =>
      resolve({ status: error.code ?? 'error', values: () => [], trailers: () => [], body: '', interim })
    const interim: string[] = []
    const request = https.request({ host: 'localhost', port, path, method, agent })
    request.on('information', ({ statusCode, headers }) =>
      interim.push(`${statusCode} ${String(headers['link'])}`)
    )
    request.on('response', (response: IncomingMessage) => {
      let body = ''
      response.on('data', (data) => {
        body += data
      })
      response.on('error', failed)
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          values: valuesIn(response.rawHeaders),
          trailers: valuesIn(response.rawTrailers),
          body,
          interim
        })
      )
    })
    request.on('error', failed)
    request.end()
  })
}

const CLIENTS = ['HTTP/1.1', 'HTTP/2'] as const
const UPSTREAMS = [
  ['one', 'HTTP/1.1'],
  ['two', 'HTTP/2']
] as const

/** Calls for each pair of versions. */
async function eachPair(
  run: (client: (typeof CLIENTS)[number], path: string, pair: string) => Promise<void>
): Promise<void> {
  for (const client of CLIENTS)
    for (const [path, version] of UPSTREAMS)
      await run(client, `/${path}/x`, `${client} client, ${version} upstream`)
}

// What Node.js's HTTP/2 takes for fields that stand there once.
const REPEATED = [
  'access-control-allow-credentials',
  'access-control-max-age',
  'age',
  'authorization',
  'content-encoding',
  'content-language',
  'content-location',
  'content-md5',
  'content-range',
  'content-type',
  'date',
  'dnt',
  'etag',
  'expires',
  'from',
  'last-modified',
  'location',
  'max-forwards',
  'referer',
  'retry-after',
  'tk',
  'user-agent',
  'x-content-type-options',
  'x-two'
]

t.test('passes repeated fields of responses and interim responses', { skip: noOpenssl }, async (t) => {
  const { ask, answer } = await gateways(t, { securityHeaders: false })
  for (const name of REPEATED)
    await eachPair(async (client, path, pair) => {
      answer({
        fields: [
          [name, 'a'],
          [name, 'b']
        ],
        interim: [
          {
            status: 103,
            fields: [
              ['link', '</a>'],
              [name, 'a'],
              [name, 'b']
            ]
          }
        ]
      })
      const got = await ask(client, path)
      t.same([got.status, got.body, got.values(name)], [200, 'ok', ['a', 'b']], `${name}: ${pair}`)
      t.same(got.interim, ['103 </a>'], `${name} in 103: ${pair}`)
    })
})

t.test('passes or drops trailers that repeat a field', { skip: noOpenssl }, async (t) => {
  const { ask, answer, log } = await gateways(t)
  const LEFT_OUT = [
    'age',
    'authorization',
    'content-encoding',
    'content-range',
    'content-type',
    'date',
    'expires',
    'location',
    'retry-after'
  ]
  // HTTP/2 knows none of these, so that its parser refuses the answer of an upstream.
  const HOP = ['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'proxy-connection', 'te']
  for (const name of [...REPEATED, 'constructor', '__proto__', 'http2-settings', 'trailer', ...HOP])
    await eachPair(async (client, path, pair) => {
      if (path === '/two/x' && HOP.includes(name)) return
      answer({
        trailers: [
          [name, 'a'],
          [name, 'b'],
          ['x-last', 'c']
        ]
      })
      const got = await ask(client, path)
      const left =
        LEFT_OUT.includes(name) || HOP.includes(name) || ['http2-settings', 'trailer'].includes(name)
      t.same([got.status, got.body], [200, 'ok'], `${name}: ${pair}`)
      t.same(got.trailers(name), left ? [] : ['a', 'b'], `${name}: ${pair}`)
      t.same(got.trailers('x-last'), ['c'], `behind ${name}: ${pair}`)
    })
  t.notOk(log.lines.find(({ level }) => level === 'error'))
})

t.test('sends the Trailer header only if the response can have trailers', { skip: noOpenssl }, async (t) => {
  const { ask, answer } = await gateways(t)
  const fields: Fields = [['trailer', 'x-sum']]
  const CASES: readonly [string, Meant, string?][] = [
    ['a length', { fields, body: { text: 'ok', length: true } }],
    ['a length of nothing', { fields, body: { text: '', length: true } }],
    ['204', { fields, status: 204, body: null }],
    ['304', { fields, status: 304, body: null }],
    ['HEAD', { fields, body: null }, 'HEAD'],
    ['chunks', { fields, trailers: [['x-sum', '1']] }]
  ]
  for (const [name, meant, method] of CASES)
    await eachPair(async (client, path, pair) => {
      answer(meant)
      const got = await ask(client, path, method)
      t.equal(got.status, meant.status ?? 200, `${name}: ${pair}`)
      t.equal(got.body, meant.body === null ? '' : (meant.body?.text ?? 'ok'), `${name}: ${pair}`)
      if (client === 'HTTP/1.1')
        t.same(got.values('trailer'), name === 'chunks' ? ['x-sum'] : [], `${name}: ${pair}`)
    })
  const old = await gateways(t, { tls: undefined })
  for (const [name, meant, method = 'GET'] of CASES)
    for (const [path] of UPSTREAMS) {
      old.answer(meant)
      const got = await raw(old.port, `${method} /${path}/x HTTP/1.0\r\nHost: a\r\n\r\n`)
      t.equal(statusOf(got), meant.status ?? 200, `${name}: HTTP/1.0 client`)
      t.notMatch(got, /^trailer:/im, `${name}: HTTP/1.0 client`)
    }
})

t.test('responds 502 to a status that HTTP/2 cannot carry', { skip: noOpenssl }, async (t) => {
  const { ask, answer, log } = await gateways(t)
  const length = true
  // The status, its content, and what each client gets.
  const CASES: readonly [number, Meant['body'], number, number, string?][] = [
    [299, { text: 'ok' }, 299, 299],
    [599, { text: 'ok' }, 599, 599],
    [600, { text: 'ok' }, 600, 502],
    [666, { text: 'ok', length }, 666, 502],
    [999, { text: '', length }, 999, 502],
    [205, { text: '', length }, 205, 205],
    [205, { text: 'ok', length }, 205, 502]
  ]
  for (const [status, body, toOne, toTwo] of CASES)
    await eachPair(async (client, path, pair) => {
      // No HTTP/2 server sends such a status, and Node.js's client takes none.
      if (path === '/two/x' && status > 599) return
      answer({ status, body: body ?? null })
      const got = await ask(client, path)
      t.equal(got.status, client === 'HTTP/2' ? toTwo : toOne, `${status}: ${pair}`)
      if (got.status === 502) t.match(got.body, 'SP_ERR_UPSTREAM_FAILED')
    })
  t.equal(log.lines.filter(({ msg }) => msg === 'upstream request failed').length, 5, 'the log has the cause')
  answer({ status: 205, body: { text: 'dropped' } })
  const got = await ask('HTTP/2', '/one/x')
  t.same([got.status, got.body], [205, ''], 'a 205 whose length is unknown loses its content')
})

t.test('sends a 205 of its own without content over HTTP/1.1 and HTTP/2', { skip: noOpenssl }, async (t) => {
  const { ca } = certificate(t)
  const { port } = await listening(t, {
    tls: { certificates: [{ cert: ca, key: ca.replace('.pem', '.key') }] },
    routes: [
      { path: '/text', respond: { status: 205, body: 'dropped' } },
      { path: '/json', respond: { status: 205, body: { a: 1 }, headers: { 'x-own': '1' } } },
      { path: '/none', respond: { status: 205 } }
    ]
  })
  const session = http2.connect(`https://localhost:${port}`, { ca: readFileSync(ca) })
  t.teardown(() => session.destroy())
  for (const path of ['/text', '/json', '/none']) {
    const stream = session.request({ ':path': path })
    const [headers] = await once(stream, 'response')
    t.same([headers[':status'], await text(stream), stream.rstCode], [205, '', 0], `${path}: HTTP/2 client`)
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      https
        .get({ host: 'localhost', port, path, ca: readFileSync(ca), agent: false }, resolve)
        .on('error', reject)
    })
    t.same([response.statusCode, await text(response)], [205, ''], `${path}: HTTP/1.1 client`)
  }
})

t.test('passes interim responses to all clients but those of HTTP/1.0', { skip: noOpenssl }, async (t) => {
  const { ask, answer } = await gateways(t)
  const interim = [
    { status: 102, fields: [] },
    { status: 103, fields: [['link', '</a>'] as const] },
    { status: 103, fields: [['link', '</b>'] as const] }
  ]
  const FINAL: readonly Meant[] = [
    {},
    { status: 304, body: null },
    { status: 404, body: { text: 'no', length: true } }
  ]
  for (const final of FINAL)
    await eachPair(async (client, path, pair) => {
      answer({ ...final, interim })
      const got = await ask(client, path)
      t.same(got.interim, ['102 undefined', '103 </a>', '103 </b>'], pair)
      t.equal(got.status, final.status ?? 200, pair)
    })
})

t.test(
  'passes repeated fields of requests, and does not count errors against the upstream',
  { skip: noOpenssl },
  async (t) => {
    const { ca } = certificate(t)
    const seen: string[][] = []
    const server = http2.createServer({ strictSingleValueFields: false } as never)
    server.on('stream', (stream, _headers, _flags, flat) => {
      seen.push(flat as unknown as string[])
      stream.respond()
      stream.end('ok')
    })
    const sessions = new Set<http2.ServerHttp2Session>()
    server.on('session', (session) => sessions.add(session))
    t.teardown(() => {
      for (const session of sessions) session.destroy()
    })
    const up = await open(t, server)
    const breaker = { failures: '10%', of: 4 }
    const config = {
      upstreams: { up: { url: `http://127.0.0.1:${up}`, http2: true, breaker } },
      routes: [{ path: '/*', proxy: { upstream: 'up' } }]
    }
    const { port } = await listening(t, config)
    const tls = { certificates: [{ cert: ca, key: ca.replace('.pem', '.key') }] }
    const edge = await listening(t, { ...config, tls })
    const session = http2.connect(`https://localhost:${edge.port}`, {
      ca: readFileSync(ca),
      strictSingleValueFields: false
    } as never)
    session.on('error', () => {})
    t.teardown(() => session.destroy())
    const NAMES = [
      'if-none-match',
      'if-match',
      'user-agent',
      'referer',
      'range',
      'if-modified-since',
      'dnt',
      'x-two'
    ]
    const byTwo = async (path: string, fields: readonly string[]): Promise<number> => {
      const stream = session.request([
        ':method',
        'GET',
        ':path',
        path,
        ':authority',
        'a',
        ':scheme',
        'https',
        ...fields
      ] as never)
      const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
      stream.resume()
      return headers[':status'] as unknown as number
    }
    for (const name of [...NAMES, 'content-language', 'content-encoding', 'date', 'from', 'max-forwards']) {
      const fields = [name, 'a', name, 'b']
      const head = `GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${name}: a\r\n${name}: b\r\n\r\n`
      t.equal(statusOf(await raw(port, head)), 200, `${name}: HTTP/1.1 client`)
      t.same(valuesIn(seen.pop() ?? [])(name), ['a', 'b'], `${name}: HTTP/1.1 client`)
      t.equal(await byTwo('/x', fields), 200, `${name}: HTTP/2 client`)
      t.same(valuesIn(seen.pop() ?? [])(name), ['a', 'b'], `${name}: HTTP/2 client`)
    }
    const broken = 'POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n'
    for (let i = 0; i < 10; i++) {
      await raw(port, broken)
      const stream = session.request({ ':method': 'POST', ':path': '/x' })
      stream.on('error', () => {})
      stream.write('hello')
      stream.close(http2.constants.NGHTTP2_CANCEL)
      await once(stream, 'close')
    }
    t.equal(
      statusOf(await raw(port, 'GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')),
      200,
      'the breaker is closed'
    )
    t.equal(await byTwo('/x', []), 200, 'the breaker is closed')
  }
)
