import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { LINES, type WriteLine } from '../../src/lib/log-lines.ts'
import {
  accessLogLine,
  ask,
  BIN,
  brokenUpstream,
  gateway,
  listening,
  raw,
  readableLog,
  SECRET,
  statusOf,
  upstream
} from '../helpers.ts'
import { throwingTarget } from './throwing-target.ts'

const respond = { body: 'hello' }

// This test comes first: an error body has the request id, whose length grows with the number of requests.
t.test('writes the same line field by field as from an object', async (t) => {
  const written: Record<string, unknown>[] = []
  const plain = readableLog()
  const quick = readableLog()
  const write: WriteLine = (level, fields) =>
    void written.push(JSON.parse(`{"level":"${level}",${fields}}`) as Record<string, unknown>)
  Object.assign(quick.log, { [LINES]: write })
  const strange = 'a "quoted"\\ \n\u0001 ünï\u{1f600} caller'
  const config = {
    accessLog: { headers: ['user-agent', 'authorization'] },
    auth: { apiKeys: { list: [{ id: strange, secret: 'key' }] }, mode: 'report' },
    rateLimit: { max: 5 },
    routes: [
      { path: '/up/*', name: 'a "name" of a route', proxy: { upstream: await upstream(t) } },
      { path: '/gone/*', proxy: { upstream: 'http://127.0.0.1:1' } },
      {
        path: '/replaced',
        rateLimit: false,
        proxy: {
          upstream: await upstream(t, (_request, response) => void response.writeHead(404).end('own')),
          fallback: { on: ['404'], status: 200, body: 'ours' }
        }
      },
      { path: '/own', auth: { mode: 'enforce' }, respond: { body: 'mine' } }
    ]
  }
  const cases = [
    { url: '/up/x?secret=1', headers: { 'x-api-key': 'key', 'user-agent': 'a "browser"\t' } },
    { url: '/up/%22%C3%BC', headers: { authorization: 'Bearer hush' } },
    { url: '/own' },
    { url: '/own', headers: { 'x-api-key': 'key' }, method: 'POST' as const, payload: 'a body' },
    { url: '/gone/x' },
    { url: '/replaced' },
    { url: '/nowhere' },
    { url: '/nowhere' }
  ]
  const [one, other] = [
    await gateway(t, config, { log: plain.log }),
    await gateway(t, config, { log: quick.log })
  ]
  for (const each of cases) {
    await one.inject(each)
    await other.inject(each)
  }
  // What differs between two runs.
  const steady = ({
    requestId,
    durationMs,
    upstreamMs,
    time: _time,
    target,
    ...rest
  }: Record<string, unknown>): object => ({
    ...rest,
    kinds: [typeof requestId, typeof durationMs, typeof upstreamMs, typeof target]
  })
  const lines = plain.lines.filter(({ status }) => status !== undefined)
  t.equal(written.length, cases.length)
  t.strictSame(written.map(steady), lines.map(steady))
  t.match(written[0], { caller: strange, route: 'a "name" of a route', path: '/up/x' })
  t.match(written[1], { wouldRefuse: ['auth SP_ERR_AUTH_MISSING'], headers: { authorization: '[redacted]' } })
  t.match(written[5], { path: '/replaced', status: 200, upstreamStatus: 404, bytesOut: 4 })
  t.notOk('upstreamStatus' in (written[0] ?? {}), 'only where a response was replaced')
  t.match(written.at(-1), { status: 429, refusedBy: 'rateLimit', code: 'SP_ERR_RATE_LIMIT_EXCEEDED' })
})

t.test('logs every documented field of a forwarded request', async (t) => {
  const { log, line } = readableLog()
  const target = await upstream(t)
  const { url } = await listening(
    t,
    {
      upstreams: { shop: { url: target } },
      auth: { apiKeys: { list: [{ id: 'alice', secret: 'key of alice' }] } },
      routes: [{ name: 'items', path: '/items/*', proxy: { upstream: 'shop' } }]
    },
    { log }
  )
  const answer = await ask(`${url}/items/7?token=secret`, {
    method: 'POST',
    body: 'twelve bytes',
    headers: { 'x-api-key': 'key of alice' }
  })
  const { time, durationMs, upstreamMs, ...fields } = await line(({ path }) => path === '/items/7')
  t.strictSame(fields, {
    level: 'info',
    requestId: answer.headers.get('x-request-id'),
    method: 'POST',
    path: '/items/7',
    route: 'items',
    status: 200,
    upstream: 'shop',
    target: new URL(target).host,
    bytesIn: 12,
    bytesOut: answer.text.length,
    caller: 'alice',
    ip: '127.0.0.1'
  })
  for (const ms of [durationMs, upstreamMs])
    t.ok(typeof ms === 'number' && ms >= 0, `${String(ms)} is a time`)
  t.ok(Number(upstreamMs) <= Number(durationMs))
  t.ok(Number(time) > 0)
})

t.test('omits upstream fields where the gateway responds itself', async (t) => {
  const readable = readableLog()
  const { log } = readable
  const app = await gateway(t, { routes: [{ path: ['/a', '/b/:id'], respond }] }, { log })
  const cases: [method: 'GET' | 'HEAD' | 'POST', url: string, expected: object][] = [
    ['GET', '/a', { method: 'GET', path: '/a', route: '/a, /b/:id', bytesIn: 0, bytesOut: 5 }],
    ['HEAD', '/a', { method: 'HEAD', bytesOut: 0 }],
    ['POST', '/b/1', { method: 'POST', path: '/b/1', bytesIn: 3 }]
  ]
  for (const [method, url, expected] of cases) {
    const answer = await app.inject({ method, url, ...(method === 'POST' ? { payload: 'abc' } : {}) })
    const line = await accessLogLine(readable, answer)
    t.match(line, { level: 'info', status: 200, ip: '127.0.0.1', ...expected })
    for (const absent of ['upstream', 'target', 'upstreamMs', 'caller', 'refusedBy', 'code', 'wouldRefuse'])
      t.notOk(absent in line, `${absent} is absent`)
  }
})

t.test('logs the concern that refused, with a level by status', async (t) => {
  const folder = t.testdir({ 'boom.mjs': throwingTarget })
  const log = readableLog()
  const app = await gateway(
    t,
    {
      extensions: [{ module: `${folder}/boom.mjs` }],
      auth: {
        session: true,
        users: { list: [{ name: 'ada', secret: 'the password of ada' }] },
        apiKeys: { list: [] }
      },
      routes: [
        { path: '/locked', respond },
        { path: '/open', methods: ['GET'], respond, auth: false },
        { path: '/limited', respond, auth: false, rateLimit: { max: 1, window: '1h' } },
        { path: '/down/*', proxy: { upstream: await brokenUpstream(t) }, auth: false },
        { path: '/boom/:how', boom: {}, auth: false }
      ]
    },
    log
  )
  await app.inject('/limited')
  const cases: [
    request: { url: string; method?: 'POST'; headers?: Record<string, string>; payload?: string },
    expected: object
  ][] = [
    [{ url: '/locked' }, { level: 'warn', status: 401, refusedBy: 'auth', code: 'SP_ERR_AUTH_MISSING' }],
    [
      { url: '/nowhere' },
      { level: 'warn', status: 404, refusedBy: 'route', code: 'SP_ERR_ROUTE_UNKNOWN', route: 'not found' }
    ],
    [
      { url: '/open', method: 'POST' },
      { level: 'warn', status: 405, refusedBy: 'route', code: 'SP_ERR_ROUTE_METHOD' }
    ],
    [
      { url: '/limited' },
      { level: 'warn', status: 429, refusedBy: 'rateLimit', code: 'SP_ERR_RATE_LIMIT_EXCEEDED' }
    ],
    [
      { url: '/down/x' },
      { level: 'error', status: 502, refusedBy: 'upstream', code: 'SP_ERR_UPSTREAM_FAILED' }
    ],
    [{ url: '/boom/error' }, { level: 'error', status: 500, refusedBy: undefined, code: 'SP_ERR_INTERNAL' }],
    [{ url: '/boom/own' }, { level: 'warn', status: 418, refusedBy: 'boom', code: 'SP_ERR_BOOM_TOO_LOUD' }],
    [
      { url: '/login', method: 'POST', headers: { 'sec-fetch-site': 'cross-site' } },
      { level: 'warn', status: 403, refusedBy: 'csrf', code: 'SP_ERR_CSRF_CROSS_SITE' }
    ],
    [
      { url: '/login', method: 'POST', payload: '{}', headers: { 'content-type': 'application/json' } },
      { level: 'warn', status: 401, refusedBy: 'auth', code: 'SP_ERR_AUTH_LOGIN_WRONG' }
    ]
  ]
  for (const [request, expected] of cases) {
    t.match(
      await accessLogLine(log, await app.inject(request)),
      expected,
      `${request.method ?? 'GET'} ${request.url}`
    )
  }
})

t.test('never logs a query, also of refused requests', async (t) => {
  const { log, lines, line } = readableLog('trace')
  const { port } = await listening(
    t,
    {
      routes: [
        { path: '/a', respond },
        { path: '/echo/*', proxy: { upstream: await upstream(t) } },
        { path: '/down/*', proxy: { upstream: await brokenUpstream(t) } },
        { path: '/to', redirect: { to: '/a' } }
      ]
    },
    { log }
  )
  const targets: [target: string, path: string, status: number][] = [
    ['/a?token=secret', '/a', 200],
    ['/echo/x?token=secret', '/echo/x', 200],
    ['/down/x?token=secret', '/down/x', 502],
    ['/to?token=secret', '/to', 308],
    ['/nowhere?token=secret', '/nowhere', 404],
    ['/a/../b?token=secret', '/a/../b', 400],
    ['/a//b?token=secret', '/a//b', 400],
    [`/a?token=secret${'x'.repeat(9000)}`, '/a', 414],
    ['*?token=secret', '*', 400],
    ['/%E0%A4%A?token=secret', '/%E0%A4%A', 400]
  ]
  for (const [target, path, status] of targets) {
    const answer = await raw(port, `GET ${target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`, 5000)
    t.equal(statusOf(answer), status, path)
    await line((each) => each['path'] === path && each['status'] === status)
  }
  t.equal(lines.length, targets.length + 1, 'one line for each request, and one for the failed connection')
  t.equal(lines.filter((line) => JSON.stringify(line).includes('secret')).length, 0)
})

t.test('logs the configured headers, and redacts secrets', async (t) => {
  const log = readableLog()
  const app = await gateway(
    t,
    {
      accessLog: { headers: ['user-agent', 'authorization', 'cookie', 'x-api-key', 'x-absent'] },
      routes: [
        { path: '/a', respond },
        { path: '/own', respond, accessLog: { headers: ['x-token', 'cookie'], redact: ['x-token'] } }
      ]
    },
    log
  )
  const headers = {
    'user-agent': 'tap',
    authorization: 'Bearer secret',
    cookie: 'sid=1',
    'x-api-key': 'secret',
    'x-token': 'secret'
  }
  const shown = await accessLogLine(log, await app.inject({ url: '/a', headers }))
  t.strictSame(shown['headers'], {
    'user-agent': 'tap',
    authorization: '[redacted]',
    cookie: '[redacted]',
    'x-api-key': '[redacted]'
  })
  const own = await accessLogLine(log, await app.inject({ url: '/own', headers }))
  t.strictSame(own['headers'], { 'x-token': '[redacted]', cookie: 'sid=1' })
  t.notMatch(JSON.stringify(log.lines), /secret/)
})

t.test('samples successful requests, and logs all failed ones unless it is off', async (t) => {
  const { log, lines, line } = readableLog()
  const app = await gateway(
    t,
    {
      accessLog: { sample: '0%' },
      routes: [
        { path: '/none', respond },
        { path: '/wrong', respond: { status: 400 } },
        { path: '/all', respond, accessLog: { sample: '100%' } },
        { path: '/off', respond: { status: 400 }, accessLog: false }
      ]
    },
    { log }
  )
  for (const url of ['/none', '/wrong', '/all', '/off', '/nowhere']) await app.inject(url)
  await line(({ path }) => path === '/nowhere')
  t.same(
    lines.map(({ path }) => path),
    ['/wrong', '/all', '/nowhere']
  )
})

t.test('prints readable lines with LOG_PRETTY', async (t) => {
  const cwd = t.testdir({})
  writeFileSync(join(cwd, 'gateway.json'), JSON.stringify({ routes: [{ path: '/a', respond }] }))
  const child = spawn(process.execPath, [BIN], {
    cwd,
    env: {
      ...process.env,
      PORT: '0',
      LOG_PRETTY: 'true',
      GATEWAY_CONFIG: 'gateway.json',
      SESSION_SECRET: SECRET
    }
  })
  t.teardown(() => child.kill('SIGKILL'))
  let seen = ''
  const until = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      const found = pattern.exec(seen)
      if (found !== null) return found
      const [data] = (await once(child.stdout, 'data')) as [Buffer]
      seen += data.toString()
    }
  }
  const [, url = ''] = await until(/listening on (http:\/\/[\d.:]+)/)
  await ask(`${url}/a?secret`)
  const [line] = await until(/200 GET \/a .*\n/)
  t.match(line, /^200 GET \/a \d+(\.\d+)? ms for 127\.0\.0\.1/)
  t.notMatch(seen, /secret/)
})
