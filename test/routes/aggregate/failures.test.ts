import type { ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { connect, type Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import {
  certificate,
  closed,
  gateway,
  listening,
  noOpenssl,
  originOf,
  readableLog,
  upstream
} from '../../helpers.ts'
import { type Answer, answering, refusingPort, seenOf, service } from './services.ts'

/** Ways in which a leg fails, and how it is told. */
const FAILURES: readonly [
  name: string,
  leg: object,
  status: number,
  reason: string,
  upstreamStatus?: number
][] = [
  ['refused', { upstream: 'refused' }, 502, 'refused'],
  ['no such host', { upstream: 'unknown' }, 502, 'refused'],
  ['no TLS', { upstream: 'plain' }, 502, 'tls'],
  ['slow', { path: '/slow', timeout: '50ms' }, 504, 'timeout'],
  ['a slow body', { path: '/drip', timeout: '50ms' }, 504, 'timeout'],
  ['an idle body', { upstream: 'impatient', path: '/drip' }, 504, 'timeout'],
  ['500', { path: '/500' }, 502, 'status', 500],
  ['an endless error', { path: '/endless-500' }, 502, 'status', 500],
  ['404', { path: '/404' }, 502, 'status', 404],
  ['a redirect', { path: '/302' }, 502, 'status', 302],
  ['304', { path: '/304' }, 502, 'status', 304],
  ['not JSON', { path: '/html' }, 502, 'format'],
  ['two values', { path: '/two' }, 502, 'format'],
  ['204', { path: '/204' }, 502, 'format'],
  ['a part', { path: '/206' }, 502, 'status', 206],
  ['205', { path: '/205' }, 502, 'format'],
  ['not UTF-8', { path: '/latin1' }, 502, 'format'],
  ['too deep', { path: '/deep' }, 502, 'format'],
  ['too deep, and picked from', { path: '/deep', pick: ['a'] }, 502, 'format'],
  ['not XML', { path: '/html', format: 'xml' }, 502, 'format'],
  ['a DOCTYPE', { path: '/doctype', format: 'xml' }, 502, 'format'],
  ['too big', { path: '/big', maxBody: '1kb' }, 502, 'size'],
  ['too big without a length', { path: '/chunked', maxBody: '1kb' }, 502, 'size'],
  ['endless', { path: '/endless' }, 502, 'size'],
  ['a gzip bomb', { path: '/bomb' }, 502, 'size'],
  ['not gzip', { path: '/not-gzip' }, 502, 'format'],
  ['an unknown coding', { path: '/coding' }, 502, 'format'],
  ['cut', { path: '/cut' }, 502, 'reset'],
  ['cut at once', { path: '/reset' }, 502, 'reset'],
  ['invalid length', { path: '/length' }, 502, 'reset'],
  ['two lengths', { path: '/lengths' }, 502, 'reset'],
  ['not HTTP', { path: '/garbage' }, 502, 'reset'],
  ['too many 1xx', { path: '/102' }, 502, 'reset'],
  ['skipped', { path: '/{query.none}' }, 502, 'skipped'],
  ['no list for each', { path: '/ok', each: '{legs.ok}' }, 502, 'format'],
  ['no target', { upstream: 'open' }, 503, 'open']
]

const raw =
  (bytes: string): Answer =>
  (_request: unknown, { socket }: ServerResponse) =>
    void socket?.end(bytes, 'latin1')

const failing: Readonly<Record<string, Answer>> = {
  '/ok': { ok: true },
  '/slow': () => {},
  '/drip': (_request, response) => void response.write('{'),
  '/206': 206,
  '/500': 500,
  '/endless-500': (_request, response) => {
    response.writeHead(500)
    endless(response)
  },
  '/302': answering('', { location: '/ok' }, 302),
  '/304': 304,
  '/204': 204,
  '/205': 205,
  '/html': '<html>',
  '/two': '{} {}',
  '/doctype': '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
  '/latin1': (_request, response) => void response.end(Buffer.from('"\xe9"', 'latin1')),
  '/deep': '['.repeat(65) + ']'.repeat(65),
  '/big': JSON.stringify('x'.repeat(2000)),
  '/chunked': (_request, response) => {
    response.write('"')
    response.end(`${'x'.repeat(2000)}"`)
  },
  '/endless': (_request, response) => endless(response),
  '/bomb': (_request, response) =>
    void response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(3_000_000, 0x20))),
  '/not-gzip': answering('{}', { 'content-encoding': 'gzip' }),
  '/coding': answering('{}', { 'content-encoding': 'rot13' }),
  '/cut': (_request, response) => {
    response.writeHead(200, { 'content-length': 100 })
    response.write('{', () => response.destroy())
  },
  '/reset': (request) => void request.socket.destroy(),
  '/length': raw('HTTP/1.1 200 OK\r\ncontent-length: 1e3\r\n\r\n{}'),
  '/lengths': raw('HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}'),
  '/garbage': raw('nonsense\r\n\r\n'),
  '/102': raw(
    `${'HTTP/1.1 102 Processing\r\n\r\n'.repeat(100)}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}`
  )
}

function endless(response: ServerResponse): void {
  const chunk = Buffer.alloc(65_536, 0x20)
  const write = (): void => {
    while (!response.destroyed && response.write(chunk));
  }
  response.on('drain', write)
  write()
}

t.test('each way to fail, on a required leg, an optional one and one with a fallback', async (t) => {
  const { log, lines } = readableLog()
  const a = await service(t, failing)
  const refused = `http://127.0.0.1:${await refusingPort()}`
  const app = await gateway(
    t,
    {
      upstreams: {
        a: { url: a },
        impatient: { url: a, timeouts: { body: '1s' } },
        refused: { url: refused },
        plain: { url: a.replace('http:', 'https:') },
        unknown: { url: 'http://no-such-host.invalid' },
        open: { url: refused, breaker: { failures: '1%', of: 1, openFor: '1h' } }
      },
      routes: FAILURES.flatMap(([name, leg], i) =>
        [{}, { required: false }, { fallback: ['none'] }, { fallback: null }].map((kind, k) => ({
          name: `${name} ${k}`,
          path: `/${i}/${k}`,
          aggregate: {
            legs: {
              ok: { upstream: 'a', path: '/ok' },
              bad: { upstream: 'a', path: '/ok', ...leg, ...kind },
              after: { upstream: 'a', path: '/ok?{legs.bad.x}', required: false }
            }
          }
        }))
      )
    },
    { log }
  )
  // The circuit breaker opens at the first failure.
  await app.inject(`/${FAILURES.length - 1}/0`)
  for (const [i, [name, , status, reason, upstreamStatus]] of FAILURES.entries()) {
    const [required, ...others] = await Promise.all(
      [0, 1, 2, 3].map(async (k) => await app.inject(`/${i}/${k}`))
    )
    if (required === undefined) continue
    t.match(
      [required.statusCode, required.json(), required.headers['cache-control']],
      [status, { code: 'SP_ERR_AGGREGATE_LEG', leg: 'bad', reason }, 'no-store'],
      `${name}: required`
    )
    t.equal(required.headers['sallyport-partial'], undefined)
    t.equal(required.headers['retry-after'] !== undefined, reason === 'open', `${name}: Retry-After`)
    t.notMatch(required.body, /127\.0\.0\.1|ECONN|invalid/, `${name}: no address`)
    const partial = `bad;reason=${reason}${upstreamStatus === undefined ? '' : `;status=${upstreamStatus}`}, after;reason=skipped`
    const bodies = [
      '{"ok":{"ok":true}}',
      '{"ok":{"ok":true},"bad":["none"]}',
      '{"ok":{"ok":true},"bad":null}'
    ]
    for (const [k, body] of bodies.entries())
      t.strictSame(seenOf(others[k]), { status: 200, partial, caching: 'no-store', body }, `${name}: ${body}`)
  }
  t.match(
    lines.find(({ route }) => route === '500 1')?.['legs'],
    [
      { name: 'ok', status: 200 },
      { name: 'bad', status: 500, reason: 'status' },
      { name: 'after', status: 0, reason: 'skipped' }
    ],
    'the access log names the legs'
  )
  const failed = lines.find(({ route, legs }) => route === '500 0' && legs !== undefined)?.['legs']
  t.match(
    (failed as { name: string }[]).find(({ name }) => name === 'bad'),
    { status: 500, reason: 'status' },
    'also where the response is an error'
  )
  t.match(
    lines.find(({ msg, upstream }) => msg === 'upstream request failed' && upstream === 'refused'),
    { target: String, cause: 'ECONNREFUSED' },
    'the log has the address'
  )
  t.notOk(
    lines.some(({ msg }) => msg === 'request failed'),
    'no internal error'
  )
})

t.test('a status that "pass" names is that of the response, with a problem of the gateway', async (t) => {
  const url = await service(t, {
    '/404': answering('<secret>', { 'x-secret': '1', 'set-cookie': 'a=b' }, 404),
    '/409': 409
  })
  const leg = (path: string, pass: unknown = [404]): object => ({
    legs: { a: { upstream: url, path, pass } }
  })
  const app = await gateway(t, {
    routes: [
      { path: '/passed', aggregate: leg('/404') },
      { path: '/other', aggregate: leg('/409') },
      { path: '/class', aggregate: leg('/409', ['4xx']) },
      { path: '/range', aggregate: leg('/409', [404, '409-410']) }
    ]
  })
  const response = await app.inject('/passed')
  t.match(response.json(), { status: 404, code: 'SP_ERR_AGGREGATE_LEG', leg: 'a', reason: 'status' })
  t.notMatch(response.raw.res, /secret/)
  t.match([response.headers['set-cookie'], response.headers['x-secret']], [undefined, undefined])
  t.equal((await app.inject('/other')).statusCode, 502)
  for (const path of ['/class', '/range']) t.equal((await app.inject(path)).statusCode, 409, path)
})

t.test('a required leg that fails ends the others, those that wait included', async (t) => {
  const hanging = Promise.withResolvers<Socket>()
  const seen: string[] = []
  const url = await upstream(t, (request, response) => {
    seen.push(request.url ?? '')
    if (request.url === '/hangs') hanging.resolve(request.socket)
    else void hanging.promise.then(() => response.writeHead(500).end())
  })
  const { app, url: own } = await listening(t, {
    routes: [
      {
        path: '/',
        aggregate: {
          legs: {
            hangs: { upstream: url, path: '/hangs' },
            bad: { upstream: url, path: '/bad' },
            waits: { upstream: url, path: '/waits?{legs.hangs.x}' },
            waitsToo: { upstream: url, path: '/waits?{legs.waits.x}', required: false }
          }
        }
      }
    ]
  })
  const response = await fetch(own)
  t.match([response.status, await response.json()], [502, { leg: 'bad' }])
  await closed(await hanging.promise)
  t.strictSame(seen.toSorted(), ['/bad', '/hangs'])
  t.equal(app.buffers.held, 0)
})

t.test('"limits.time" is one budget for all legs', async (t) => {
  const url = await service(t, {
    '/slow': (_request, response) => void setTimeout(() => response.end('{"id":1}'), 120),
    '/hangs': () => {},
    '/ok': {}
  })
  const legs = (required: boolean): object => ({
    legs: {
      ok: { upstream: url, path: '/ok' },
      first: { upstream: url, path: '/slow' },
      second: { upstream: url, path: '/hangs?{legs.first.id}', required, timeout: '1h' },
      third: { upstream: url, path: '/hangs', required: false, retry: { attempts: 9, on: ['timeout'] } }
    }
  })
  const app = await gateway(t, {
    limits: { time: '2s' },
    routes: [
      { path: '/partial', aggregate: legs(false) },
      { path: '/required', aggregate: legs(true) },
      {
        path: '/reported',
        limits: { mode: 'report', time: '1ms' },
        aggregate: { legs: { ok: { upstream: url, path: '/slow' } } }
      }
    ]
  })
  const [partial, required] = await Promise.all([app.inject('/partial'), app.inject('/required')])
  t.equal(partial.body, '{"ok":{},"first":{"id":1}}')
  t.equal(partial.headers['sallyport-partial'], 'second;reason=timeout, third;reason=timeout')
  t.match(required.json(), { status: 504, code: 'SP_ERR_AGGREGATE_LEG', leg: 'second', reason: 'timeout' })
  t.equal((await app.inject('/reported')).statusCode, 200, 'in report mode nothing ends')
})

t.test('a client that leaves ends all legs, and nothing stays in memory', async (t) => {
  const { log, lines, line } = readableLog()
  const url = await upstream(t, (request, response) => {
    if (request.url === '/drip') response.write('{"a":')
    if (request.url === '/gate') setTimeout(() => response.writeHead(200).end(), 100)
  })
  const moments = ['/head', '/drip', '/waits', '/gated', '/body'] as const
  const leg = (path: string): object => ({ upstream: url, path, timeout: '1h', required: false })
  const { app, port, served } = await listening(
    t,
    {
      limits: { bodyRate: false },
      routes: moments.map((path) => ({
        path,
        methods: ['GET', 'POST'],
        ...(path === '/gated' ? { auth: { forward: { upstream: url, path: '/gate', timeout: '5s' } } } : {}),
        aggregate: {
          legs: {
            a: { ...leg(path), ...(path === '/body' ? { method: 'POST', body: '{body}' } : {}) },
            b: leg('/drip?{legs.a.x}'),
            ...(path === '/waits' ? { c: leg('/drip') } : {})
          }
        }
      }))
    },
    { log }
  )
  for (const path of moments) {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    const method = path === '/body' ? 'POST' : 'GET'
    const body = path === '/body' ? 'content-length: 100\r\n\r\nhalf' : '\r\n'
    socket.write(`${method} ${path} HTTP/1.1\r\nhost: x\r\n${body}`)
    while (served.load().inFlight === 0) await new Promise(setImmediate)
    await new Promise((resolve) => setTimeout(resolve, 50))
    socket.destroy()
    await line(({ path: logged, status }) => logged === path && status === 499)
  }
  // The gate responds after its client has left.
  await new Promise((resolve) => setTimeout(resolve, 150))
  t.equal(app.buffers.held, 0)
  t.notOk(
    lines.some(({ msg }) => msg === 'request failed'),
    'it is no error of the gateway'
  )
})

t.test('a certificate that is not trusted is told as such', { skip: noOpenssl }, async (t) => {
  const { key, cert } = certificate(t)
  const url = await originOf(
    t,
    createServer({ key, cert }, (_request, response) => void response.end('1'))
  )
  const app = await gateway(t, {
    upstreams: { secure: { url: url.replace('http:', 'https:') } },
    routes: [{ path: '/', aggregate: { legs: { a: { upstream: 'secure', path: '/' } } } }]
  })
  t.match((await app.inject('/')).json(), { leg: 'a', reason: 'tls' })
})
