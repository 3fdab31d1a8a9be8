import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type IncomingMessage, type RequestListener, request as requestPlain } from 'node:http'
import {
  connect as connectHttp2,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session
} from 'node:http2'
import { request } from 'node:https'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { setImmediate as immediate } from 'node:timers/promises'
import t from 'tap'
import { lint } from '../../src/config/lint.ts'
import { loadConfig } from '../../src/index.ts'
import {
  ask,
  bodyOf,
  certificate,
  gateway,
  listening,
  movableClock,
  noOpenssl,
  raw,
  readableLog,
  type Scope,
  type Seen,
  statusOf,
  upstream
} from '../helpers.ts'

const respond = { body: 'hello' }
const problemIn = (answer: string): unknown => JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4))
const head = (path: string, ...headers: string[]): string =>
  [
    'GET ',
    path,
    ' HTTP/1.1\r\nHost: a\r\nConnection: close\r\n',
    ...headers.map((each) => `${each}\r\n`),
    '\r\n'
  ].join('')
/** A header of so many bytes. */
const long = (bytes: number): string => `x-long: ${'a'.repeat(bytes - 10)}`

/** An extension with a target that never responds. */
const silentTarget = `
export const key = 'silent'
export const target = true
export const options = { type: 'object', properties: {}, additionalProperties: false }
export default async function silent(app, { routes }) {
  for (const { mounts } of routes)
    for (const mount of mounts)
      app.route({ ...mount, method: [...mount.method], exposeHeadRoute: false, handler: () => new Promise(() => {}) })
}
`

t.test('accepts a body up to the limit and refuses a larger one', async (t) => {
  let seen = 0
  const target = await upstream(t, (request, response) => {
    seen++
    void bodyOf(request).then((body) => response.end(String(body.length)))
  })
  const { port } = await listening(t, {
    limits: { body: '1kb' },
    routes: [
      { path: '/proxy/*', proxy: { upstream: target } },
      { path: '/respond', respond },
      { path: '/wide/*', proxy: { upstream: target }, limits: { body: '4kb' } },
      { path: '/narrow/*', proxy: { upstream: target }, limits: { body: '10b' } },
      { path: '/none/*', proxy: { upstream: target }, limits: { body: false } },
      { path: '/off/*', proxy: { upstream: target }, limits: false }
    ]
  })
  const post = (path: string, framing: string, body: string): Promise<string> =>
    raw(port, `POST ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${framing}\r\n\r\n${body}`, 5000)
  const framings = {
    'Content-Length': (path: string, bytes: number) =>
      post(path, `Content-Length: ${bytes}`, 'x'.repeat(bytes)),
    chunks: (path: string, bytes: number) =>
      post(path, 'Transfer-Encoding: chunked', `${bytes.toString(16)}\r\n${'x'.repeat(bytes)}\r\n0\r\n\r\n`)
  }
  const cases: [path: string, bytes: number, status: number][] = [
    ['/proxy/x', 1024, 200],
    ['/proxy/x', 1025, 413],
    ['/wide/x', 4096, 200],
    ['/wide/x', 4097, 413],
    ['/narrow/x', 10, 200],
    ['/narrow/x', 11, 413],
    ['/none/x', 1_500_000, 200],
    ['/off/x', 1_500_000, 200]
  ]
  for (const [framing, send] of Object.entries(framings))
    for (const [path, bytes, status] of cases)
      t.test(`${bytes} bytes to ${path} by ${framing}`, async (t) => {
        const before = seen
        const answer = await send(path, bytes)
        t.equal(statusOf(answer), status)
        if (status === 200) t.ok(answer.endsWith(`\r\n\r\n${bytes}`) || answer.includes(`\r\n${bytes}\r\n`))
        else {
          t.match(problemIn(answer), { status: 413, code: 'SP_ERR_LIMITS_BODY', title: 'Payload Too Large' })
          t.match(answer, /\r\nconnection: close\r\n/i, 'the rest is not read')
          if (framing === 'Content-Length') t.equal(seen, before, 'the upstream gets no request')
        }
      })
  t.test('refuses by Content-Length before reading the body', async (t) => {
    for (const path of ['/proxy/x', '/respond', '/nowhere']) {
      const answer = await post(path, 'Content-Length: 1025\r\nExpect: 100-continue', '')
      t.equal(statusOf(answer), 413, path)
      t.notMatch(answer, /100 Continue/)
    }
    const client = connect(port, '127.0.0.1')
    client.write('POST /proxy/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n')
    const [asked] = (await once(client, 'data')) as [Buffer]
    t.equal(
      asked.toString('latin1'),
      'HTTP/1.1 100 Continue\r\n\r\n',
      'a body of the right size is asked for'
    )
    client.write('hello')
    const [answer] = (await once(client, 'data')) as [Buffer]
    t.equal(statusOf(answer.toString('latin1')), 200)
    client.destroy()
  })
})

t.test('aborts the upstream request when a body exceeds the limit while it is sent', async (t) => {
  const arrived: { request?: IncomingMessage } = {}
  const seen = Promise.withResolvers<void>()
  const cut = Promise.withResolvers<boolean>()
  const target = await upstream(t, (request) => {
    arrived.request = request
    request.once('data', () => seen.resolve())
    request.on('data', () => {})
    request.on('error', () => {})
    request.on('close', () => cut.resolve(request.complete))
  })
  const { port } = await listening(t, {
    limits: { body: '1kb' },
    routes: [{ path: '/a/*', proxy: { upstream: target } }]
  })
  const client = connect(port, '127.0.0.1')
  t.teardown(() => client.destroy())
  let answer = ''
  client.on('data', (data) => {
    answer += data.toString('latin1')
  })
  const chunk = `200\r\n${'x'.repeat(512)}\r\n`
  client.write(`POST /a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`)
  await seen.promise
  t.equal(answer, '', 'the upstream has the first bytes, and there is no response yet')
  client.on('error', () => {})
  client.write(`${chunk}1\r\nx\r\n`)
  await once(client, 'close')
  t.equal(statusOf(answer), 413)
  t.equal(await cut.promise, false, 'the upstream sees an incomplete request')
})

t.test(
  'responds 413 to a client that is still sending, and reads on so that the response arrives',
  { skip: noOpenssl },
  async (t) => {
    const { ca } = certificate(t)
    const cert = { cert: ca, key: ca.replace('.pem', '.key') }
    const target = await upstream(t, (request, response) => {
      // It answers before it has read the body.
      if (request.url === '/early') response.writeHead(413, { 'content-length': 2 }).end('no')
      request.on('error', () => {}).resume()
    })
    const bodies = { limits: { body: '1mb', bodyRate: false } }
    const routes = [
      { path: '/x', proxy: { upstream: target } },
      { path: '/early', proxy: { upstream: target }, limits: { body: false } },
      { path: '/own', respond }
    ]
    const plain = await listening(t, { ...bodies, routes })
    const secure = await listening(t, { ...bodies, tls: { certificates: [cert] }, routes })
    const size = 16 * 1024 ** 2
    const clients: Record<
      string,
      (path: string, headers: Record<string, string>) => ReturnType<typeof sending>
    > = {
      'http/1.1': (path, headers) => sending(t, 'plain', plain.port, ca, path, headers),
      'http/1.1 over TLS': (path, headers) => sending(t, 'http/1.1', secure.port, ca, path, headers),
      h2: (path, headers) => sending(t, 'h2', secure.port, ca, path, headers)
    }
    for (const [client, send] of Object.entries(clients))
      for (const [framing, headers] of [
        ['with Content-Length', { 'content-length': String(size) }],
        ['without Content-Length', {}]
      ] as const)
        for (const path of ['/x', '/early', ...('content-length' in headers ? ['/own'] : [])])
          t.test(`${client}, a body ${framing}, to ${path}`, async (t) => {
            for (let i = 0; i < 5; i++) {
              const { body, status } = send(path, headers)
              let left = size
              const more = (): void => {
                while (left > 0 && body.writable) {
                  left -= 65_536
                  if (!body.write(Buffer.alloc(65_536))) return
                }
                body.end()
              }
              body.on('drain', more)
              more()
              t.equal(await status, 413)
            }
          })
  }
)

t.test(
  'closes a connection that keeps sending for too long after the response',
  { skip: noOpenssl },
  async (t) => {
    const { ca } = certificate(t)
    const cert = { cert: ca, key: ca.replace('.pem', '.key') }
    for (const client of ['plain', 'http/1.1', 'h2'])
      t.test(client, async (t) => {
        const clock = movableClock(t)
        const { port } = await listening(t, {
          limits: { bodyRate: false },
          ...(client === 'plain' ? {} : { tls: { certificates: [cert] } }),
          routes: [{ path: '/x', respond }]
        })
        const { body, status } = sending(t, client, port, ca, '/x', { 'content-length': '2000' })
        body.write('x')
        t.equal(await status, 200)
        // The end of the response takes some turns of the event loop.
        while (!body.destroyed) {
          clock.advance(5000)
          await immediate()
        }
      })
  }
)

t.test('accepts a URL up to the limit', async (t) => {
  const { port } = await listening(t, {
    routes: [
      { path: '/a/*', respond },
      { path: '/short/*', respond, limits: { url: '20b' } },
      { path: '/long/*', respond, limits: { url: '12kb' } },
      { path: '/none/*', respond, limits: { url: false } }
    ]
  })
  const url = (start: string, bytes: number): string => start + 'x'.repeat(bytes - start.length)
  const cases: [url: string, status: number][] = [
    [url('/a/', 8192), 200],
    [url('/a/', 8193), 414],
    [url('/a/?', 8193), 414],
    [url('/nowhere/', 8193), 414],
    [url('/short/', 20), 200],
    [url('/short/', 21), 414],
    [url('/short/?', 21), 414],
    [url('/long/', 12_288), 200],
    [url('/long/', 12_289), 414],
    [url('/none/', 15_000), 200]
  ]
  for (const [path, status] of cases)
    t.test(`${path.slice(0, 10)} with ${path.length} bytes`, async (t) => {
      const answer = await raw(port, head(path), 5000)
      t.equal(statusOf(answer), status)
      if (status === 414)
        t.match(problemIn(answer), { status, code: 'SP_ERR_LIMITS_URL', title: 'URI Too Long' })
    })
})

t.test('accepts headers up to the limits of count and size', async (t) => {
  const { log, lines } = readableLog()
  const { port } = await listening(
    t,
    {
      routes: [
        { path: '/a/*', respond },
        { path: '/few', respond, limits: { headerCount: 4 } },
        { path: '/many', respond, limits: { headerCount: 150 } },
        { path: '/any', respond, limits: { headerCount: false } },
        { path: '/small', respond, limits: { headers: '1kb' } },
        { path: '/large', respond, limits: { headers: '32kb' } }
      ]
    },
    { log }
  )
  const many = (count: number): string[] => Array.from({ length: count - 2 }, (_, i) => `x-${i}: a`)
  const cases: [name: string, request: string, status: number][] = [
    ['100 headers', head('/a/x', ...many(100)), 200],
    ['101 headers', head('/a/x', ...many(101)), 431],
    ['101 headers to an unknown path', head('/nowhere', ...many(101)), 431],
    ['101 times the same header', head('/a/x', ...Array.from({ length: 99 }, () => 'x-a: b')), 431],
    ['4 headers on a route for few', head('/few', ...many(4)), 200],
    ['5 headers on a route for few', head('/few', ...many(5)), 431],
    ['150 headers on a route for many', head('/many', ...many(150)), 200],
    ['151 headers on a route for many', head('/many', ...many(151)), 431],
    ['500 headers without a limit of their number', head('/any', ...many(500)), 200],
    ['15,000 bytes', head('/a/x', long(15_000)), 200],
    ['20,000 bytes', head('/a/x', long(20_000)), 431],
    ['900 bytes on a route for small ones', head('/small', long(900)), 200],
    ['1,100 bytes on a route for small ones', head('/small', long(1100)), 431],
    ['20,000 bytes on a route for large ones', head('/large', long(20_000)), 200],
    ['33,000 bytes on a route for large ones', head('/large', long(33_000)), 431]
  ]
  for (const [name, request, status] of cases)
    t.test(name, async (t) => {
      const answer = await raw(port, request, 5000)
      t.equal(statusOf(answer), status)
      if (status !== 431) return
      t.match(answer, /\r\ncontent-type: application\/problem\+json\r\n/)
      t.match(problemIn(answer), {
        type: 'about:blank',
        status,
        code: 'SP_ERR_LIMITS_HEADERS',
        title: 'Request Header Fields Too Large'
      })
    })
  t.test('logs requests that the parser refuses', async (t) => {
    const before = lines.length
    await raw(port, head('/a/x', long(70_000)), 5000)
    t.match(lines.slice(before), [
      { level: 'warn', status: 431, code: 'SP_ERR_LIMITS_HEADERS', ip: '127.0.0.1' }
    ])
  })
})

t.test('responds with 504 when the response does not begin before the deadline', async (t) => {
  const folder = t.testdir({ 'silent.mjs': silentTarget })
  const cuts: Promise<unknown>[] = []
  const target = await upstream(t, (_request, response) => {
    cuts.push(once(response, 'close'))
  })
  const { log, line } = readableLog()
  const { url } = await listening(
    t,
    {
      extensions: [{ module: `${folder}/silent.mjs` }],
      limits: { time: '30ms' },
      routes: [
        { path: '/proxy/*', proxy: { upstream: target } },
        { path: '/own/*', proxy: { upstream: target }, limits: { time: '20ms' } },
        { path: '/silent', silent: {} }
      ]
    },
    { log }
  )
  for (const path of ['/proxy/x', '/own/x', '/silent'])
    await t.test(path, async (t) => {
      const answer = await ask(`${url}${path}?secret=1`)
      t.equal(answer.status, 504)
      t.match(JSON.parse(answer.text), {
        status: 504,
        code: 'SP_ERR_LIMITS_TIME',
        title: 'Gateway Timeout',
        detail: 'Gateway timeout: the request exceeded the time limit of this route'
      })
      t.notMatch(answer.text, /127\.0\.0\.1|secret/, 'contains neither an address nor the query')
      t.match(await line((each) => each['path'] === path), {
        level: 'error',
        status: 504,
        refusedBy: 'limits',
        code: 'SP_ERR_LIMITS_TIME'
      })
    })
  await Promise.all(cuts)
  t.equal(cuts.length, 2, 'the requests to the upstream are cancelled')
})

t.test('measures the time until the response headers, unless it is false', async (t) => {
  const folder = t.testdir({ 'silent.mjs': silentTarget })
  const waiting = new Map<string, () => void>()
  const asked = new Map<string, () => void>()
  const target = await upstream(t, (request, response) => {
    const path = String(request.url)
    if (path.startsWith('/begun')) response.write('be')
    waiting.set(path, () => response.end('gun'))
    asked.get(path)?.()
  })
  const { url } = await listening(t, {
    extensions: [{ module: `${folder}/silent.mjs` }],
    limits: { time: '2s' },
    routes: [
      { path: '/begun', proxy: { upstream: target } },
      { path: '/unset', proxy: { upstream: target }, limits: { time: false } },
      { path: '/off', proxy: { upstream: target }, limits: false },
      { path: '/report', proxy: { upstream: target }, limits: { mode: 'report' } },
      { path: '/late', proxy: { upstream: target } },
      { path: '/silent', silent: {} }
    ]
  })
  const paths = ['/begun', '/unset', '/off', '/report']
  const arrived = paths.map((path) => new Promise<void>((resolve) => asked.set(path, resolve)))
  const answers = paths.map((path) => ask(`${url}${path}`))
  await Promise.all(arrived)
  // When a later request times out, the earlier ones would have timed out as well.
  const later = await Promise.all([ask(`${url}/late`), ask(`${url}/silent`)])
  for (const { status } of later) t.equal(status, 504)
  for (const path of paths) waiting.get(path)?.()
  const texts = (await Promise.all(answers)).map(({ status, text }) => `${status} ${text}`)
  t.same(texts, ['200 begun', '200 gun', '200 gun', '200 gun'])
})

t.test(
  'pauses the deadline while a request waits for bytes of the client, and only then',
  { skip: noOpenssl },
  async (t) => {
    const { ca } = certificate(t)
    const cert = { cert: ca, key: ca.replace('.pem', '.key') }
    const steady = Array.from({ length: 5 }, () => 20)
    const cases = [
      { name: 'a steady upload that takes longer', waits: steady, silence: 20, status: 200 },
      { name: 'an upload whose first part is late', waits: [0, 500], silence: 29, status: 200 },
      { name: 'a silent upstream', waits: [40, 40], silence: 31, status: 504 }
    ]
    for (const client of ['http/1.1', 'h2'])
      for (const http2 of [false, true])
        for (const { name, waits, silence, status } of cases)
          t.test(`${name}, from ${client} to ${http2 ? 'h2' : 'http/1.1'}`, async (t) => {
            const clock = movableClock(t)
            let came = Promise.withResolvers<void>()
            const ended = Promise.withResolvers<void>()
            const held = Promise.withResolvers<void>()
            const serve: RequestListener = (request, response) => {
              request.on('error', () => {})
              request.on('data', () => came.resolve())
              request.on('end', () => {
                ended.resolve()
                void held.promise.then(() => response.end('whole'))
              })
            }
            const target = await upstreamOf(t, http2, serve)
            const { port } = await listening(t, {
              tls: { certificates: [cert] },
              limits: { time: '30s', bodyRate: false },
              upstreams: { up: { url: target, http2 } },
              routes: [{ path: '/x', proxy: { upstream: 'up' } }]
            })
            const { body, status: answered } = sending(t, client, port, ca)
            for (const seconds of waits) {
              came = Promise.withResolvers()
              body.write('part')
              await came.promise
              clock.advance(seconds * 1000)
            }
            body.end()
            await ended.promise
            clock.advance(silence * 1000)
            held.resolve()
            t.equal(await answered, status)
          })
  }
)

t.test(
  'uses "timeout" of a route or an upstream as the deadline, unless a closer "limits.time" exists',
  async (t) => {
    const cases: {
      name: string
      limits?: object
      upstream?: object
      group?: object
      route?: object
      proxy?: object
      time: number | false
    }[] = [
      { name: 'no timeout', time: 30 },
      { name: 'a timeout of the route', proxy: { timeout: '2m' }, time: 120 },
      { name: 'a timeout of the upstream', upstream: { timeout: '2m' }, time: 120 },
      {
        name: 'both timeouts, where that of the route wins',
        upstream: { timeout: '5m' },
        proxy: { timeout: '2m' },
        time: 120
      },
      { name: 'over limits.time of the root', limits: { time: '10s' }, proxy: { timeout: '2m' }, time: 120 },
      {
        name: 'not over limits.time of the route',
        route: { limits: { time: '10s' } },
        proxy: { timeout: '2m' },
        time: 10
      },
      {
        name: 'not over limits.time of a group',
        group: { limits: { time: '10s' } },
        upstream: { timeout: '2m' },
        time: 10
      },
      {
        name: 'over a group with other limits',
        group: { limits: { body: '2mb' } },
        upstream: { timeout: '2m' },
        time: 120
      },
      { name: 'false', proxy: { timeout: false }, time: false }
    ]
    for (const { name, limits, upstream: more, group, route, proxy, time } of cases)
      t.test(name, async (t) => {
        const clock = movableClock(t)
        let came = Promise.withResolvers<() => void>()
        const target = await upstream(t, (_request, response) => came.resolve(() => response.end('whole')))
        const { url } = await listening(t, {
          ...(limits === undefined ? {} : { limits }),
          upstreams: { up: { url: target, ...more } },
          routes: [{ ...group, routes: [{ path: '/x', proxy: { upstream: 'up', ...proxy }, ...route }] }]
        })
        for (const [seconds, status] of [
          [(time || 10_000) - 1, 200],
          ...(time === false ? [] : [[time + 1, 504] as const])
        ] as const) {
          came = Promise.withResolvers()
          const answer = ask(`${url}/x`)
          const end = await came.promise
          clock.advance(seconds * 1000)
          end()
          t.equal((await answer).status, status, `after ${seconds} s`)
        }
      })
  }
)

t.test('warns when a timeout of the upstream is longer than the deadline', async (t) => {
  const cases: [name: string, config: object, warns: RegExp | undefined][] = [
    ['by default', {}, undefined],
    ['a shorter request alone', { limits: { time: '10s' } }, undefined],
    [
      'a longer headers timeout',
      { proxy: { timeouts: { headers: '31s' } } },
      /\(31s\) is longer than "limits.time" \(30s\)/
    ],
    [
      'a longer headers timeout of the upstream',
      { upstream: { timeouts: { headers: '1m' } } },
      /\(1m\) is longer/
    ],
    [
      'retries after a timeout',
      { proxy: { timeouts: { headers: '20s' }, retry: { on: ['timeout'] } } },
      /\(20s, 2 times\)/
    ],
    [
      'retries after a timeout by default',
      { proxy: { retry: { attempts: 3, on: ['timeout'] } } },
      /\(30s, 3 times\)/
    ],
    ['retries without timeouts', { proxy: { timeouts: { headers: '20s' }, retry: {} } }, undefined],
    ['a timeout, which sets both', { proxy: { timeout: '2m' } }, undefined],
    [
      'a timeout beside a time',
      { proxy: { timeout: '2m' }, route: { limits: { time: '1m' } } },
      /\(2m\) is longer than "limits.time" \(1m\)/
    ],
    ['no time', { proxy: { timeouts: { headers: '1h' } }, limits: { time: false } }, undefined]
  ]
  for (const [name, { proxy, upstream: more, route, ...root }, warns] of cases as [
    string,
    { proxy?: object; upstream?: object; route?: object },
    RegExp | undefined
  ][])
    t.test(name, async (t) => {
      const plan = await loadConfig(
        {
          ...root,
          upstreams: { up: { url: 'http://a', ...more } },
          routes: [{ path: '/x', proxy: { upstream: 'up', ...proxy }, ...route }]
        },
        {}
      )
      const found = lint(plan, [], { workers: 1, pairs: [] }).warnings
      t.equal(found.length, warns === undefined ? 0 : 1)
      if (warns !== undefined) t.match(found[0]?.message, warns)
    })
})

t.test('keeps the deadline running while the upstream accepts no bytes', { skip: noOpenssl }, async (t) => {
  const { ca } = certificate(t)
  const cert = { cert: ca, key: ca.replace('.pem', '.key') }
  for (const client of ['http/1.1', 'h2'])
    for (const http2 of [false, true])
      t.test(`from ${client} to ${http2 ? 'h2' : 'http/1.1'}`, async (t) => {
        const target = await upstreamOf(t, http2, (request) => void request.on('error', () => {}))
        const { port } = await listening(t, {
          tls: { certificates: [cert] },
          limits: { time: '300ms', body: false },
          upstreams: { up: { url: target, http2, timeouts: { headers: false } } },
          routes: [{ path: '/x', proxy: { upstream: 'up' } }]
        })
        const { body, status } = sending(t, client, port, ca)
        const more = (): void => {
          while (body.writable && body.write(Buffer.alloc(65_536)));
        }
        body.on('drain', more)
        more()
        t.equal(await status, 504)
      })
})

t.test('pauses the deadline while the gateway reads a body', async (t) => {
  const clock = movableClock(t)
  const { port, url } = await listening(t, {
    limits: { time: '30s', bodyRate: false },
    auth: { session: true, users: { list: [] }, optional: true },
    routes: [{ path: '/x', respond, auth: true }]
  })
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const type = 'Content-Type: application/json'
  socket.write(
    `POST /login HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${type}\r\nContent-Length: 32\r\n\r\n`
  )
  for (const part of ['{"username"', ':"a","pass', 'word":"b"}']) {
    // Bytes written before another request are read before its response.
    await ask(`${url}/-/live`)
    clock.advance(20_000)
    socket.write(part)
  }
  socket.write(' ')
  let seen = ''
  for await (const chunk of socket) seen += String(chunk)
  t.equal(statusOf(seen), 401)
})

/** Starts an upstream over HTTP/1.1 or HTTP/2. */
async function upstreamOf(t: Scope, two: boolean, serve: RequestListener): Promise<string> {
  if (!two) return upstream(t, serve)
  const sessions = new Set<ServerHttp2Session>()
  const server = createServer(serve as never).on('session', (session) => sessions.add(session))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Begins to send a body over TLS, and waits for the status of the response. */
function sending(
  t: Scope,
  version: string,
  port: number,
  ca: string,
  path = '/x',
  headers: Record<string, string> = {}
): { body: Writable; status: Promise<number> } {
  if (version === 'h2') {
    const session = connectHttp2(`https://localhost:${port}`, { ca: readFileSync(ca) })
    t.teardown(() => session.destroy())
    const stream = session.request({ ':method': 'POST', ':path': path, ...headers })
    stream.on('error', () => {}).resume()
    const status = once(stream, 'response').then(([headers]) =>
      Number((headers as IncomingHttpHeaders)[':status'])
    )
    return { body: stream, status }
  }
  const sent =
    version === 'plain'
      ? requestPlain({ port, host: '127.0.0.1', method: 'POST', path, headers })
      : request({ port, host: 'localhost', method: 'POST', path, headers, ca: readFileSync(ca) })
  t.teardown(() => sent.destroy())
  sent.on('error', () => {})
  return { body: sent, status: once(sent, 'response').then(([{ statusCode }]) => Number(statusCode)) }
}

/** Opens a connection and returns what it received when the gateway closes it. */
async function answerOf(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let seen = ''
  socket.on('data', (data) => {
    seen += data.toString('latin1')
  })
  if (bytes !== '') socket.write(bytes)
  await once(socket, 'close')
  return seen
}

t.test('applies headerTime to request headers and idle between requests', async (t) => {
  const { log, line } = readableLog()
  const routes = [{ path: '/a', respond }]
  const hasty = await listening(t, { limits: { headerTime: '2s', idle: '1s' }, routes }, { log })
  const patient = await listening(t, { limits: { headerTime: false, idle: false }, routes })
  const open = async (request: string): Promise<Socket> => {
    const socket = connect(patient.port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    await once(socket, 'connect')
    socket.write(request)
    return socket
  }
  const half = 'GET /a HTTP/1.1\r\nHost: a\r\n'
  const slow = await open(half)
  const idle = await open(`${half}\r\n`)
  await once(idle, 'data')
  const [cut, silent, served] = await Promise.all([
    answerOf(hasty.port, half),
    answerOf(hasty.port, ''),
    answerOf(hasty.port, `${half}\r\n`)
  ])
  t.equal(statusOf(cut), 408)
  t.match(problemIn(cut), { status: 408, code: 'SP_ERR_LIMITS_SLOW', title: 'Request Timeout' })
  t.match(cut, /\r\nconnection: close\r\n/)
  t.ok(silent === '' || statusOf(silent) === 408, 'a connection without a request is closed, too')
  t.match(served, /^HTTP\/1\.1 200 OK\r\n.*hello$/s, 'an idle connection is closed without a response')
  t.match(await line(({ status }) => status === 408), {
    level: 'warn',
    code: 'SP_ERR_LIMITS_SLOW',
    ip: '127.0.0.1'
  })
  // Connections to the gateway without these limits are older, and still open.
  for (const [socket, rest] of [
    [slow, '\r\n'],
    [idle, `${half}\r\n`]
  ] as const) {
    socket.write(rest)
    const [data] = (await once(socket, 'data')) as [Buffer]
    t.equal(statusOf(data.toString('latin1')), 200)
  }
})

t.test('reports but does not refuse in report mode', async (t) => {
  const { log, line } = readableLog()
  const { port } = await listening(
    t,
    {
      limits: { body: '10b', url: '20b', headerCount: 5, mode: 'report' },
      routes: [
        { path: '/proxy/*', proxy: { upstream: await upstream(t) } },
        { path: '/respond', respond, methods: ['POST'] }
      ]
    },
    { log }
  )
  const body = 'x'.repeat(5000)
  const chunks = `${`64\r\n${'x'.repeat(100)}\r\n`.repeat(50)}0\r\n\r\n`
  const cases: [name: string, request: string, reported: string[]][] = [
    [
      'a body by Content-Length',
      `POST /proxy/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5000\r\n\r\n${body}`,
      ['limits SP_ERR_LIMITS_BODY']
    ],
    [
      'a body in chunks',
      `POST /proxy/y HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`,
      ['limits SP_ERR_LIMITS_BODY']
    ],
    [
      'a body to a route without a proxy',
      `POST /respond HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 5000\r\n\r\n${body}`,
      ['limits SP_ERR_LIMITS_BODY']
    ],
    ['a URL', head(`/proxy/${'x'.repeat(20)}`), ['limits SP_ERR_LIMITS_URL']],
    ['headers', head('/proxy/z', 'a: 1', 'b: 2', 'c: 3', 'd: 4'), ['limits SP_ERR_LIMITS_HEADERS']]
  ]
  for (const [name, request, reported] of cases)
    t.test(name, async (t) => {
      const answer = await raw(port, request, 5000)
      t.equal(statusOf(answer), 200)
      if (request.includes('/proxy/') && request.startsWith('POST'))
        t.equal(
          (problemIn(answer.replace(/\r\n[0-9a-f]+\r\n\{/, '\r\n{').replace(/\}\r\n0\r\n\r\n$/, '}')) as Seen)
            .body,
          body,
          'the upstream has all of it'
        )
      const [, path = ''] = request.split(' ')
      const entry = await line((each) => each['path'] === path)
      t.match(entry, { level: 'info', status: 200, refusedBy: undefined })
      t.strictSame(entry['wouldRefuse'], reported, 'once')
    })
  t.test('a late response', async (t) => {
    const waiting = new Map<string, () => void>()
    const arrived = Promise.withResolvers<void>()
    const target = await upstream(t, (request, response) => {
      waiting.set(String(request.url), () => response.end('late'))
      if (request.url === '/report') arrived.resolve()
    })
    const { log, line } = readableLog()
    const { url } = await listening(
      t,
      {
        limits: { time: '20ms' },
        routes: [
          { path: '/report', proxy: { upstream: target }, limits: { mode: 'report' } },
          { path: '/enforce', proxy: { upstream: target } }
        ]
      },
      { log }
    )
    const answer = ask(`${url}/report`)
    await arrived.promise
    t.equal((await ask(`${url}/enforce`)).status, 504)
    waiting.get('/report')?.()
    t.match(await answer, { status: 200, text: 'late' })
    const entry = await line(({ path }) => path === '/report')
    t.strictSame(entry['wouldRefuse'], ['limits SP_ERR_LIMITS_TIME'])
  })
})

t.test('reports what is expected when a limit is invalid', async (t) => {
  const cases: [name: string, config: object, message: RegExp][] = [
    ['a bare number', { limits: { body: 1024 } }, /a size such as "64kb" or "1mb", or false for none/],
    ['a count of zero', { limits: { headerCount: 0 } }, /headerCount/],
    [
      'an option of the root, on a route',
      { routes: [{ path: '/a', respond, limits: { headerTime: '1s' } }] },
      /headerTime/
    ]
  ]
  for (const [name, config, message] of cases)
    t.test(name, async (t) => {
      await t.rejects(loadConfig({ routes: [], ...config }, {}), { message })
    })
})

t.test('applies without configuration', async (t) => {
  const app = await gateway(t, { routes: [{ path: '/a', respond }] })
  const large = await app.inject({ method: 'POST', url: '/a', payload: 'x'.repeat(1024 ** 2 + 1) })
  t.match(large, { statusCode: 413 })
  t.match(await app.inject(`/a?${'x'.repeat(8192)}`), { statusCode: 414 })
})
