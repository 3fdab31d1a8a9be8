import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import {
  certificate,
  listening,
  noOpenssl,
  raw,
  readableLog,
  sallyport,
  statusOf,
  upstream
} from '../helpers.ts'

type Words = Record<string, unknown>

const KEY = 'a key of the tests'
const keys = { global: false, apiKeys: { list: [{ id: 'ada', secret: KEY }] } }

/** One request without a credential: its method, its target and perhaps a host. */
const bytes = (asked: string, lines: readonly string[] = []): string => {
  const [, method = '', target = '', host = 'gateway.test'] = /^(\S+) (\S+)(?: @(\S+))?$/.exec(asked) ?? []
  return [`${method} ${target} HTTP/1.1`, `Host: ${host}`, 'Connection: close', ...lines, '', ''].join('\r\n')
}

interface Case {
  readonly name: string
  readonly config?: Words
  readonly routes: (url: string, other: string) => readonly Words[]
  /** What is refused as ambiguous. */
  readonly refused: readonly string[]
  /** What goes on, with its status. */
  readonly goesOn: readonly (readonly [asked: string, status: number])[]
}

const proxy = (path: string | readonly string[], to: string, more: Words = {}): Words => ({
  path,
  proxy: { upstream: to },
  ...more
})

const SPELLINGS = [
  'GET /admin%2fx',
  'GET /admin%2Fx',
  'GET /%61dmin%2fx',
  'GET /Admin/x',
  'GET /ADMIN',
  'GET /admin;a=b/x',
  'GET /admin;',
  'GET /;a/admin/x',
  'GET /admin%3Ba/x',
  'GET /admin./x',
  'GET /admin%20/x',
  'GET /admin%20.',
  'GET /admin%252fx',
  'GET /%2561dmin/x',
  'GET /Admin.;x%2Fy',
  'HEAD /Admin/x',
  'DELETE /Admin/x',
  'PROPFIND /admin%2fx',
  'OPTIONS /admin;x/'
]

const cases: Case[] = [
  {
    name: 'auth on a narrower path of the same upstream',
    config: { auth: keys },
    routes: (url) => [proxy('/*', url), proxy('/admin/*', url, { auth: true })],
    refused: SPELLINGS,
    goesOn: [
      ['GET /admin/x', 401],
      ['GET /%61dmin/x', 401],
      ['GET /public', 200],
      ['GET /Public/Thing', 200],
      ['GET /public%2fthing', 200],
      ['GET /a;b=c/d', 200],
      ['GET /administration', 200],
      ['GET /files/admin%2fx', 200],
      ['GET /x?p=/Admin%2fx;', 200]
    ]
  },
  {
    name: 'an empty segment, where these are kept',
    config: { auth: keys, paths: { doubleSlash: 'keep' } },
    routes: (url) => [proxy('/*', url), proxy('/admin/x/*', url, { auth: true })],
    refused: ['GET //admin/x', 'GET /admin//x/y', 'GET /;x/admin/x'],
    goesOn: [['GET /a//b', 200]]
  },
  {
    name: 'every gate that decides who may pass',
    routes: (url) => [
      proxy('/*', url),
      proxy('/a/*', url, { ipAccess: { allow: ['10.0.0.0/8'] } }),
      proxy('/b/*', url, { rateLimit: { max: 100, window: '1m' } }),
      proxy('/c/*', url, { csrf: { origins: ['https://a.test'] } }),
      proxy('/d/*', url, { limits: { body: '2mb' } }),
      proxy('/e/*', url, { overload: { priority: 'critical' } }),
      proxy('/f/*', url, { headers: { request: { 'x-a': 'b' } } })
    ],
    refused: ['GET /A/x', 'GET /B/x', 'GET /C/x'],
    goesOn: [
      ['GET /D/x', 200],
      ['GET /E/x', 200],
      ['GET /F/x', 200]
    ]
  },
  {
    name: 'the same gates, whoever says them, and a reading that only loses some',
    config: { auth: { ...keys, global: true } },
    routes: (url) => [
      proxy('/*', url),
      proxy('/same/*', url, { auth: true }),
      proxy('/public/*', url, { auth: false }),
      proxy('/roles/*', url, { auth: { require: { roles: ['a'] } } }),
      proxy('/other/*', url, { auth: { require: { roles: ['a'] } } })
    ],
    refused: ['GET /Roles/x'],
    goesOn: [
      ['GET /Same/x', 401],
      ['GET /PUBLIC/x', 401],
      ['GET /public%2fx', 401],
      ['GET /public/X', 200]
    ]
  },
  {
    name: 'an upstream of several targets, by name, by split, by mirror and by another name of this machine',
    config: { auth: keys },
    routes: (url, other) => [
      proxy('/one/*', url, { auth: true }),
      proxy('/two/*', other, { auth: true }),
      proxy('/several/*', 'several'),
      { path: '/:any/split', proxy: { split: [{ upstream: 'several', share: '100%' }] } },
      { path: '/m/:any', proxy: { upstream: 'http://127.0.0.1:9', mirror: { upstream: url } } },
      proxy('/l/:any', url.replace('127.0.0.1', 'localhost')),
      proxy('/l/x/*', url, { auth: true }),
      proxy('/m/x/*', url, { auth: true }),
      proxy('/several/x/*', url, { auth: true }),
      proxy('/several/y/*', other, { auth: true })
    ],
    refused: ['GET /several/X', 'GET /several/y;', 'GET /l/x%2fa', 'GET /m/x%2fa', 'GET /two%2fa/split'],
    goesOn: [['GET /several/Z', 200]]
  },
  {
    name: 'an upstream of its own',
    config: { auth: keys },
    routes: (url, other) => [proxy('/*', url), proxy('/admin/*', other, { auth: true })],
    refused: [],
    goesOn: SPELLINGS.slice(0, 6).map((asked) => [asked, 200] as const)
  },
  {
    name: 'an upstream that compares bytes',
    config: { auth: keys },
    routes: () => [proxy('/*', 'exact'), proxy('/admin/*', 'exact', { auth: true })],
    refused: [],
    goesOn: SPELLINGS.slice(0, 6).map((asked) => [asked, 200] as const)
  },
  {
    name: 'targets that forward nothing',
    config: { auth: keys },
    routes: (url) => [
      { path: '/*', respond: { status: 200 } },
      proxy('/admin/*', url, { auth: true }),
      proxy('/p/*', url),
      { path: '/p/x/*', respond: { status: 204 }, auth: true }
    ],
    refused: [],
    goesOn: [
      ['GET /Admin/x', 200],
      ['GET /p/X', 200]
    ]
  },
  {
    name: 'ambiguous: keep',
    config: { auth: keys, paths: { ambiguous: 'keep' } },
    routes: (url) => [proxy('/*', url), proxy('/admin/*', url, { auth: true })],
    refused: [],
    goesOn: SPELLINGS.slice(0, 4).map((asked) => [asked, 200] as const)
  },
  {
    name: 'a gate that only reports',
    config: { auth: keys },
    routes: (url) => [proxy('/*', url), proxy('/admin/*', url, { auth: { mode: 'report' } })],
    refused: [],
    goesOn: [['GET /Admin/x', 200]]
  },
  {
    name: 'by method: where the other path has a route for the method, and where it would be 405',
    config: { auth: keys },
    routes: (url) => [
      proxy('/*', url),
      proxy('/a/*', url, { methods: ['GET'], auth: true }),
      proxy('/b/*', url, { methods: ['GET'], auth: true }),
      proxy('/b/*', url, { methods: ['POST'] })
    ],
    refused: ['GET /A/x', 'POST /A/x', 'GET /B/x'],
    goesOn: [
      ['POST /a/x', 405],
      ['POST /B/x', 200]
    ]
  },
  {
    name: 'by host: of its own, without one, by wildcard, and of others',
    config: { auth: keys },
    routes: (url) => [
      proxy('/*', url),
      proxy('/a/*', url, { host: 'a.test', auth: true }),
      proxy('/w/*', url, { host: '*.w.test', auth: true }),
      proxy('/*', url, { host: 'open.test' }),
      proxy('/h/*', url, { auth: true })
    ],
    refused: [
      'GET /A/x @a.test',
      'GET /A/x @A.test:80',
      'GET /W/x @x.w.test',
      'GET /H/x @open.test',
      'GET /H/x @a.test',
      'GET http://a.test/A/x'
    ],
    goesOn: [
      ['GET /A/x @b.test', 200],
      ['GET /A/x', 200],
      ['GET /W/x', 200],
      // What the path comes to as it is written is no other reading.
      ['GET /h/a%20b @open.test', 200]
    ]
  },
  {
    name: 'parameters: one segment to us is several to others',
    config: { auth: keys },
    routes: (url) => [
      proxy('/u/:id', url),
      proxy('/u/:id/keys', url, { auth: true }),
      proxy('/v/:id(\\d+)', url),
      proxy('/v/:name([a-z]+)', url, { auth: true }),
      proxy('/v/:rest', url)
    ],
    refused: ['GET /u/5%2Fkeys', 'GET /u/5%2FKEYS', 'GET /v/ABC', 'GET /v/abc;'],
    goesOn: [
      ['GET /u/5%2Fother', 200],
      ['GET /u/A', 200],
      ['GET /v/5', 200],
      ['GET /v/A5', 200]
    ]
  },
  {
    name: 'literals in upper case, of either route',
    config: { auth: keys },
    routes: (url) => [
      proxy('/*', url),
      proxy('/Admin/*', url, { auth: true }),
      proxy('/Public/*', url),
      proxy('/Public/Inner/*', url, { auth: true })
    ],
    refused: ['GET /admin/x', 'GET /ADMIN/x', 'GET /Public/inner'],
    goesOn: [
      ['GET /Public/x', 200],
      ['GET /public/x', 200]
    ]
  }
]

for (const { name, config, routes, refused, goesOn } of cases)
  t.test(`a path that the upstream may read otherwise: ${name}`, async (t) => {
    const seen: string[] = []
    const answer: RequestListener = (request, response) => {
      seen.push(request.url ?? '')
      response.end()
    }
    const [url, other] = [await upstream(t, answer), await upstream(t, answer)]
    const { port } = await listening(t, {
      ...config,
      upstreams: { several: { targets: [url, { url: other }] }, exact: { url, exactPaths: true } },
      routes: routes(url, other)
    })
    for (const asked of refused) {
      const answered = await raw(port, bytes(asked))
      t.equal(statusOf(answered), 400, asked)
      if (!asked.startsWith('HEAD')) t.match(answered, '"code":"SP_ERR_PATHS_AMBIGUOUS"', asked)
    }
    t.same(seen, [], 'nothing of what was refused reached an upstream')
    for (const [asked, status] of goesOn) t.equal(statusOf(await raw(port, bytes(asked))), status, asked)
  })

t.test('checks only routes with such a neighbour', async (t) => {
  const url = await upstream(t)
  const { app } = await listening(t, {
    auth: keys,
    routes: [
      proxy('/*', url, { name: 'wide' }),
      proxy('/assets/*', url, { name: 'assets' }),
      proxy('/exact', url, { name: 'exact' }),
      proxy('/admin/*', url, { name: 'admin', auth: true }),
      proxy('/elsewhere/*', 'http://127.0.0.1:9', { name: 'elsewhere' })
    ]
  })
  t.same(
    app.routeInfos.filter(({ gates }) => gates.includes('paths')).map(({ name }) => name),
    ['wide']
  )
})

t.test('counts gates of extensions', async (t) => {
  const module = join(import.meta.dirname, '../../examples/extensions/tenant.ts')
  const url = await upstream(t)
  const { port } = await listening(t, {
    extensions: [{ module }],
    tenant: { global: false, known: ['a'] },
    routes: [proxy('/*', url), proxy('/tenant/*', url, { tenant: true })]
  })
  t.equal(statusOf(await raw(port, bytes('GET /Tenant/x'))), 400)
  t.equal(statusOf(await raw(port, bytes('GET /other/X'))), 200)
})

t.test('lets the request pass and reports it in report mode', async (t) => {
  const url = await upstream(t)
  const { log, line } = readableLog()
  const { port } = await listening(
    t,
    {
      paths: { mode: 'report' },
      auth: keys,
      routes: [proxy('/*', url), proxy('/admin/*', url, { auth: true })]
    },
    { log }
  )
  t.equal(statusOf(await raw(port, bytes('GET /Admin/x'))), 200)
  t.match(await line(({ path }) => path === '/Admin/x'), {
    status: 200,
    wouldRefuse: ['paths SP_ERR_PATHS_AMBIGUOUS']
  })
})

t.test('refuses an upgrade before the upstream sees it', async (t) => {
  const url = await upgrading(t)
  const { port } = await listening(t, {
    auth: keys,
    routes: [proxy('/*', url), proxy('/admin/*', url, { auth: true })]
  })
  const upgrade = (target: string): Promise<string> =>
    raw(
      port,
      [
        `GET ${target} HTTP/1.1`,
        'Host: gateway.test',
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        '',
        ''
      ].join('\r\n')
    )
  t.equal(statusOf(await upgrade('/public/X')), 101)
  t.equal(statusOf(await upgrade('/admin%2Fx')), 400)
  t.equal(statusOf(await upgrade('/Admin/x')), 400)
})

/** An upstream that takes every WebSocket and closes it. */
async function upgrading(t: Test): Promise<string> {
  const server = createServer().on('upgrade', (_request, socket) => {
    socket.end(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n'
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('over HTTP/2 likewise', { skip: noOpenssl }, async (t) => {
  const { ca } = certificate(t)
  const url = await upstream(t)
  const { port } = await listening(t, {
    tls: { certificates: [{ cert: ca, key: join(ca, '../up.key') }] },
    auth: keys,
    routes: [
      proxy('/*', url),
      proxy('/admin/*', url, { auth: true }),
      proxy('/hosted/*', url, { host: 'a.test', auth: true })
    ]
  })
  const session = connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false })
  t.teardown(() => session.destroy())
  const asked = async (path: string, authority = 'gateway.test'): Promise<number> => {
    const stream = session.request({ ':path': path, ':authority': authority })
    stream.resume()
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>]
    return Number(headers[':status'])
  }
  t.equal(await asked('/public/X'), 200)
  for (const path of ['/Admin/x', '/admin%2fx', '/admin;a/x']) t.equal(await asked(path), 400, path)
  t.equal(await asked('/Hosted/x', 'a.test'), 400)
  t.equal(await asked('/Hosted/x'), 200)
})

t.test('check names each pair, with a URL that would bypass the gate', async (t) => {
  const config = (paths: Words): string =>
    JSON.stringify({
      paths,
      auth: { global: false, apiKeys: { list: [{ id: 'ada', key: `sha256:${'0'.repeat(64)}` }] } },
      upstreams: { app: { url: 'http://127.0.0.1:9' } },
      routes: [
        proxy('/*', 'app', { name: 'site', auth: false }),
        proxy('/admin/*', 'app', { name: 'admin', auth: true }),
        proxy('/keys/:id(\\d+)', 'app', { name: 'keys', auth: true, host: 'a.test' })
      ]
    })
  const cwd = t.testdir({
    'gateway.json': config({}),
    'keep.json': config({ ambiguous: 'keep' }),
    'report.json': config({ mode: 'report' })
  })
  const refused = await sallyport(['check', '--strict'], { cwd })
  t.equal(refused.code, 0, 'what is refused is no warning')
  t.match(
    refused.stdout,
    /^note: gateway\.json:1:\d+ GET \/admin%2Fx matches the route site, .*the route admin, which bypasses its auth; it is refused/m
  )
  t.match(
    refused.stdout,
    /^note: .* GET a\.test\/keys%2F1 matches the route site, .*the route keys, which bypasses its auth/m
  )
  for (const file of ['keep.json', 'report.json']) {
    const kept = await sallyport(['check', '--strict', '-c', file], { cwd })
    t.equal(kept.code, 1)
    t.match(kept.stdout, /^warning: (keep|report)\.json:1:\d+ GET \/admin%2Fx matches the route site/m)
  }
})
