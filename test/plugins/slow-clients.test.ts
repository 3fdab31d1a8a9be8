import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import { authority } from '../certificates.ts'
import {
  bodyOf,
  closed,
  listening,
  noOpenssl,
  readableLog,
  type Scope,
  statusOf,
  upstream
} from '../helpers.ts'

/** A client that sends as slowly as it likes, and what came back to it. */
class Client {
  readonly socket: Socket
  /** Everything that came back, once the connection is closed. */
  readonly closed: Promise<string>
  #seen = ''
  #dripping: NodeJS.Timeout | undefined

  constructor(t: Scope, port: number, begin: string) {
    this.socket = connect(port, '127.0.0.1')
    this.socket.on('error', () => {})
    this.socket.on('data', (data) => {
      this.#seen += data.toString('latin1')
    })
    this.closed = new Promise((resolve) => this.socket.on('close', () => resolve(this.#seen)))
    t.teardown(() => {
      clearInterval(this.#dripping)
      this.socket.destroy()
    })
    this.socket.write(begin)
  }

  /** Sends a little more every now and then, until the connection is closed or the rest is sent. */
  drip(part: string, every: number): this {
    this.#dripping = setInterval(() => this.socket.writable && this.socket.write(part), every)
    this.socket.once('close', () => clearInterval(this.#dripping))
    return this
  }

  /** Sends the rest. */
  finish(rest: string): this {
    clearInterval(this.#dripping)
    this.socket.write(rest)
    return this
  }
}

const BLOB = Buffer.alloc(64 * 1024 ** 2, 'x')

const post = (path: string, ...headers: string[]): string =>
  [`POST ${path} HTTP/1.1`, 'Host: a', ...headers, '', ''].join('\r\n')
const chunked = 'Transfer-Encoding: chunked'
const json = 'Content-Type: application/json'
const kilobyte = `400\r\n${'x'.repeat(1024)}\r\n`
const problemIn = (answer: string): unknown => JSON.parse(answer.slice(answer.lastIndexOf('{')))

t.test('responds with 408 to a slow body, but not to one that waits for the upstream', async (t) => {
  const { log, line, lines } = readableLog()
  const arrived = new Map<string, { request: IncomingMessage; response: ServerResponse }>()
  const looks = new Set<() => void>()
  const cut: Promise<unknown>[] = []
  let slow = 0
  const origin = await upstream(t, (request, response) => {
    const url = String(request.url)
    arrived.set(url, { request, response })
    for (const look of looks) look()
    // What it is for is said by the path: to read at once, to answer at once, or to do nothing until it is told to.
    if (url.startsWith('/slow')) {
      slow++
      request.on('error', () => {})
      cut.push(new Promise((resolve) => request.on('close', () => resolve(request.complete))))
      request.resume()
    }
    if (url.startsWith('/fine/')) void bodyOf(request).then(({ length }) => response.end(`took ${length}`))
    if (url.startsWith('/talk')) {
      response.write('yes?')
      void bodyOf(request).then(({ length }) => response.end(`took ${length}`))
    }
  })
  const here = (path: string): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (arrived.has(path)) resolve()
      }
      looks.add(look)
      look()
    })
  const proxy = { upstream: origin }
  const { port } = await listening(
    t,
    {
      limits: { time: '2m', body: '64mb' },
      session: true,
      auth: { global: false, session: true, users: { list: [{ name: 'ada', secret: 'lovelace' }] } },
      routes: [
        { path: '/slow/*', proxy: { ...proxy, retry: { attempts: 3, on: ['reset', 'connect'] } } },
        { path: '/fine/any', proxy, limits: { bodyRate: false } },
        { path: '/fine/less', proxy, limits: { bodyRate: '1b' } },
        { path: '/fine/off', proxy, limits: false },
        { path: '/fine/report', proxy, limits: { mode: 'report' } },
        { path: '/*', proxy },
        { path: '/respond', respond: { body: 'at once' } },
        { path: '/me', auth: true, respond: {} }
      ]
    },
    { log }
  )
  const open = (begin: string): Client => new Client(t, port, begin)

  // These are older than the ones that are cut: when those are over, these would be.
  const drips = ['/fine/any', '/fine/less', '/fine/off', '/fine/report', '/talk'].map((path) =>
    open(post(path, chunked, 'Connection: close')).drip('1\r\nx\r\n', 500)
  )
  const steady = open(post('/fine/steady', chunked, 'Connection: close')).drip(kilobyte, 250)
  const large = 16 * 1024 ** 2
  const waiting = open(post('/wait', `Content-Length: ${large}`, 'Connection: close') + 'x'.repeat(large))
  await Promise.all(
    ['/fine/any', '/fine/less', '/fine/off', '/fine/report', '/fine/steady', '/talk', '/wait'].map(here)
  )

  const cases: { name: string; client: Client; path: string }[] = [
    {
      name: 'a body of a known length, byte by byte',
      client: open(`${post('/slow/length', 'Content-Length: 5000000')}x`).drip('x', 200),
      path: '/slow/length'
    },
    {
      name: 'a body in chunks, byte by byte',
      client: open(post('/slow/chunks', chunked)).drip('1\r\nx\r\n', 200),
      path: '/slow/chunks'
    },
    {
      name: 'a body that begins well and then stays out',
      client: open(post('/slow/stops', chunked) + kilobyte),
      path: '/slow/stops'
    },
    {
      name: 'a body that never begins',
      client: open(post('/slow/never', 'Content-Length: 10')),
      path: '/slow/never'
    },
    {
      name: 'a body that the gateway reads itself',
      client: open(`${post('/login', json, 'Content-Length: 1000')}{`).drip(' ', 200),
      path: '/login'
    }
  ]
  const after = open(`${post('/respond', 'Content-Length: 1000')}x`).drip('x', 200)
  const refused = open(`${post('/me', 'Content-Length: 1000', 'Accept: */*')}x`).drip('x', 200)
  for (const { name, client, path } of cases)
    await t.test(name, async (t) => {
      const answer = await client.closed
      t.equal(statusOf(answer), 408)
      t.match(problemIn(answer), { status: 408, code: 'SP_ERR_LIMITS_SLOW', title: 'Request Timeout' })
      t.match(answer, /\r\nconnection: close\r\n/i)
      t.match(await line((each) => each['path'] === path), {
        status: 408,
        refusedBy: 'limits',
        code: 'SP_ERR_LIMITS_SLOW'
      })
    })
  await t.test('aborts the request to the upstream without a retry', async (t) => {
    t.same(await Promise.all(cut), [false, false, false, false])
    t.equal(slow, 4, 'none was asked twice')
    t.notOk(lines.some(({ msg }) => msg === 'upstream request failed'))
  })
  await t.test('closes the connection of a body that continues after its response', async (t) => {
    t.match(await after.closed, /^HTTP\/1\.1 200 OK\r\n.*at once$/s)
    t.equal(statusOf(await refused.closed), 401)
  })
  await t.test('a slow body where it may be, and a steady one', async (t) => {
    for (const client of [...drips, steady])
      t.match(await client.finish('0\r\n\r\n').closed, /^HTTP\/1\.1 200 OK\r\n.*took \d+/s)
    t.strictSame((await line(({ path }) => path === '/fine/report'))['wouldRefuse'], [
      'limits SP_ERR_LIMITS_SLOW'
    ])
  })
  await t.test('a body that waits for the upstream', async (t) => {
    const { request, response } = arrived.get('/wait') as {
      request: IncomingMessage
      response: ServerResponse
    }
    const { length } = await bodyOf(request)
    response.end(`took ${length}`)
    t.match(await waiting.closed, new RegExp(`^HTTP/1\\.1 200 OK\r\n.*took ${large}`, 's'))
  })
})

t.test(
  'ends a connection whose headers come too slowly, be it the first request or a later one',
  async (t) => {
    const { log, line } = readableLog()
    const { port } = await listening(
      t,
      { limits: { headerTime: '500ms' }, routes: [{ path: '/a', respond: { body: 'hello' } }] },
      { log }
    )
    const begin = 'GET /a HTTP/1.1\r\nHost: a\r\n'
    const cases: [name: string, client: Client, before: RegExp][] = [
      ['header by header', new Client(t, port, begin).drip('x-a: b\r\n', 50), /^/],
      ['byte by byte', new Client(t, port, `${begin}x-a: `).drip('b', 50), /^/],
      ['within the request line', new Client(t, port, 'GET /').drip('a', 50), /^/],
      [
        'in the second request of a connection',
        new Client(t, port, `${begin}\r\n${begin}`).drip('x-a: b\r\n', 50),
        /^HTTP\/1\.1 200 OK\r\n.*?hello/s
      ]
    ]
    for (const [name, client, before] of cases)
      t.test(name, async (t) => {
        const seen = await client.closed
        t.match(seen, before)
        const answer = seen.replace(before, '')
        t.equal(statusOf(answer), 408)
        t.match(problemIn(answer), { status: 408, code: 'SP_ERR_LIMITS_SLOW' })
      })
    t.match(await line(({ status }) => status === 408), { code: 'SP_ERR_LIMITS_SLOW', ip: '127.0.0.1' })
  }
)

t.test(
  'closes a connection whose client reads no byte of a response, for every target and over TLS',
  { skip: noOpenssl },
  async (t) => {
    const dir = t.testdir({ 'big.txt': 'x'.repeat(16 * 1024 ** 2) })
    const origin = await upstream(t, (_request, response) => response.end(Buffer.alloc(16 * 1024 ** 2)))
    const { certFile: cert, keyFile: key } = authority(t).issue('/CN=localhost', 'DNS:localhost')
    const logs = { plain: readableLog(), secure: readableLog() }
    const config = {
      limits: { idle: '2s', time: '2s' },
      routes: [
        { path: '/files/*', files: { root: dir } },
        { path: '/proxy', proxy: { upstream: origin } },
        { path: '/own', respond: { body: 'hello' } }
      ]
    }
    const plain = await listening(t, config, { log: logs.plain.log })
    const secure = await listening(
      t,
      { ...config, tls: { certificates: [{ cert, key }] } },
      { log: logs.secure.log }
    )
    const dial = {
      plain: () => connect(plain.port, '127.0.0.1'),
      secure: () => connectTls({ port: secure.port, host: '127.0.0.1', rejectUnauthorized: false })
    }
    t.jobs = 4
    for (const kind of ['plain', 'secure'] as const)
      for (const path of ['/files/big.txt', '/proxy'])
        void t.test(`${path}, ${kind}`, { buffered: true }, async (t) => {
          const socket = dial[kind]()
          t.teardown(() => socket.destroy())
          const ended = new Promise((resolve) =>
            socket.on('error', ({ code }: NodeJS.ErrnoException) => resolve(code))
          )
          socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
          socket.pause()
          t.match(await logs[kind].line((each) => each['path'] === path && each['aborted'] === true), {
            aborted: true,
            ip: '127.0.0.1'
          })
          // It was reset: what the kernel held for it is gone.
          socket.resume()
          t.equal(await ended, 'ECONNRESET')
        })
    void t.test(
      'one that takes longer than an answer may take to begin is not ended',
      { buffered: true },
      async (t) => {
        const socket = connect(plain.port, '127.0.0.1')
        socket.write('GET /files/big.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
        let length = 0
        // A megabyte every now and then: longer than it may take nothing, never nothing for as long.
        socket.on('data', (data) => {
          const before = length
          length += data.length
          if (length >> 20 === before >> 20) return
          socket.pause()
          setTimeout(() => socket.resume(), 150)
        })
        await closed(socket)
        t.ok(length > 16 * 1024 ** 2)
      }
    )
  }
)

t.test('closes a response that is read below "responseRate", and none that is read faster', async (t) => {
  const { log, lines, line } = readableLog()
  const { port } = await listening(
    t,
    {
      // Ten times what a slow client takes, of which more waits in the kernel; on a busy machine a quick one takes a second for it all.
      limits: { idle: '3s', responseRate: '5mb/s', time: false },
      routes: [
        { path: '/*', proxy: { upstream: await upstream(t, (_request, response) => response.end(BLOB)) } }
      ]
    },
    { log }
  )
  const slow = connect(port, '127.0.0.1')
  t.teardown(() => slow.destroy())
  slow.on('error', () => {})
  slow.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n')
  // A part every now and then: it takes something, and too little.
  const dripping = setInterval(() => slow.read(50_000), 100)
  t.teardown(() => clearInterval(dripping))
  slow.pause()
  const quick = connect(port, '127.0.0.1')
  quick.write('GET /quick HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  let length = 0
  quick.on('data', (data) => {
    length += data.length
  })
  t.match(await line(({ path }) => path === '/slow'), { aborted: true })
  await closed(quick)
  t.ok(length > BLOB.length)
  t.notOk(lines.some(({ path, aborted }) => path === '/quick' && aborted === true))
})

t.test('reports what is expected when a rate is invalid', async (t) => {
  await t.rejects(loadConfig({ limits: { bodyRate: '1kb/m' }, routes: [] }, {}), {
    message: /limits\.bodyRate: .*a rate such as "1kb\/s".*, or false for none/
  })
})
