import { connect } from 'node:http2'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/index.ts'
import { authority } from '../certificates.ts'
import { gateway, listening, noOpenssl, raw, type Seen, statusOf, upstream } from '../helpers.ts'
import { headOf, textOf } from '../raw-http.ts'

type Options = Record<string, unknown>

/** A route that responds with its name. */
const route = (name: string, options: Options): Options => ({ name, ...options, respond: { body: name } })

interface Asked {
  readonly url?: string
  readonly method?: string
  readonly headers?: Record<string, string | string[]>
  readonly from?: string
  /** The name of the route, or a status. */
  readonly comes: string | number
}

interface Case {
  readonly name: string
  readonly config?: Options
  readonly routes: readonly Options[]
  readonly asks: readonly Asked[]
}

function chooses(t: Test, { name, config, routes, asks }: Case): void {
  t.test(name, async (t) => {
    for (const order of [routes, routes.toReversed()]) {
      const app = await gateway(t, { ...config, routes: order })
      for (const { url = '/a', method = 'GET', headers = {}, from = '192.0.2.1', comes } of asks) {
        const { statusCode, body } = await app.inject({
          method: method as 'GET',
          url,
          headers: { host: 'gateway.test', ...headers },
          remoteAddress: from
        })
        t.equal(statusCode === 200 ? body : statusCode, comes, JSON.stringify({ method, url, headers, from }))
      }
    }
  })
}

const plain = route('plain', { path: '/a' })

t.test('chooses among routes of one place by their conditions', async (t) => {
  const cases: Case[] = [
    {
      name: 'the value of a header, whatever its case in the config',
      routes: [plain, route('canary', { path: '/a', when: { 'header:X-Canary': 'true' } })],
      asks: [
        { comes: 'plain' },
        { headers: { 'x-canary': 'true' }, comes: 'canary' },
        { headers: { 'x-canary': 'TRUE' }, comes: 'plain' },
        { headers: { 'x-canary': '' }, comes: 'plain' },
        { headers: { 'x-canary': 'no, true' }, comes: 'canary' }
      ]
    },
    {
      name: 'headers, cookies and parameters named like properties of Object.prototype',
      routes: [
        plain,
        route('header', { path: '/a', when: { 'header:constructor': true } }),
        route('cookie', { path: '/a', when: { 'cookie:__proto__': true } }),
        route('query', { path: '/a', when: { 'query:tostring': 'a' } })
      ],
      asks: [
        { comes: 'plain' },
        { headers: { constructor: '1' }, comes: 'header' },
        { headers: { cookie: '__proto__=1' }, comes: 'cookie' },
        { url: '/a?tostring=a', comes: 'query' }
      ]
    },
    {
      name: 'whether a header is present or absent',
      routes: [
        route('with', { path: '/a', when: { 'header:x-beta': true } }),
        route('without', { path: '/a', when: { 'header:x-beta': false } })
      ],
      asks: [{ comes: 'without' }, { headers: { 'x-beta': '' }, comes: 'with' }]
    },
    {
      name: 'a list of values, and wildcards',
      routes: [plain, route('curl', { path: '/a', when: { 'header:user-agent': ['curl/*', '*bot*'] } })],
      asks: [
        { headers: { 'user-agent': 'curl/8.1' }, comes: 'curl' },
        { headers: { 'user-agent': 'a bot, really' }, comes: 'curl' },
        { headers: { 'user-agent': 'Mozilla' }, comes: 'plain' }
      ]
    },
    {
      name: 'decoded parameters of the query, any of several',
      routes: [plain, route('b', { path: '/a', when: { 'query:va riant': ['B', 'Ü'] } })],
      asks: [
        { url: '/a?va%20riant=B', comes: 'b' },
        { url: '/a?va+riant=A&va+riant=%C3%9C', comes: 'b' },
        { url: '/a?va%20riant=C', comes: 'plain' },
        { url: '/a?variant=B', comes: 'plain' }
      ]
    },
    {
      name: 'decoded cookies',
      routes: [plain, route('beta', { path: '/a', when: { 'cookie:release': 'be ta' } })],
      asks: [
        { headers: { cookie: 'a=1; release=be%20ta' }, comes: 'beta' },
        { headers: { cookie: 'xrelease=be%20ta' }, comes: 'plain' }
      ]
    },
    {
      name: 'the address of the client, by what a trusted proxy says',
      config: { trustedProxies: ['10.0.0.1'] },
      routes: [plain, route('office', { path: '/a', when: { 'client.ip': ['198.51.100.0/24'] } })],
      asks: [
        { from: '198.51.100.7', comes: 'office' },
        { from: '::ffff:198.51.100.7', comes: 'office' },
        { from: '192.0.2.1', headers: { 'x-forwarded-for': '198.51.100.7' }, comes: 'plain' },
        { from: '10.0.0.1', headers: { 'x-forwarded-for': '198.51.100.7' }, comes: 'office' },
        { from: '10.0.0.1', headers: { 'x-forwarded-for': '198.51.100.7, 192.0.2.9' }, comes: 'plain' },
        { from: '10.0.0.1', headers: { 'x-forwarded-for': 'unknown' }, comes: 'plain' }
      ]
    },
    {
      name: 'the address that a trusted proxy names in the header of clientIp',
      config: { trustedProxies: ['10.0.0.1'], clientIp: 'header:CF-Connecting-IP' },
      routes: [plain, route('office', { path: '/a', when: { 'client.ip': ['198.51.100.0/24'] } })],
      asks: [
        { from: '10.0.0.1', headers: { 'cf-connecting-ip': '198.51.100.7' }, comes: 'office' },
        { from: '192.0.2.1', headers: { 'cf-connecting-ip': '198.51.100.7' }, comes: 'plain' },
        {
          from: '10.0.0.1',
          headers: { 'cf-connecting-ip': '192.0.2.1', 'x-forwarded-for': '198.51.100.7' },
          comes: 'plain'
        },
        {
          from: '10.0.0.1',
          headers: { 'cf-connecting-ip': ['198.51.100.7', '198.51.100.8'] },
          comes: 'plain'
        },
        { from: '10.0.0.1', headers: { 'x-forwarded-for': '198.51.100.7' }, comes: 'office' }
      ]
    },
    {
      name: 'the scheme, by what a trusted proxy says',
      config: { trustedProxies: ['10.0.0.1'] },
      routes: [
        route('plain', { path: '/a', when: { scheme: 'http' } }),
        route('secure', { path: '/a', when: { scheme: 'https' } })
      ],
      asks: [
        { comes: 'plain' },
        { headers: { 'x-forwarded-proto': 'https' }, comes: 'plain' },
        { from: '10.0.0.1', headers: { 'x-forwarded-proto': 'HTTPS' }, comes: 'secure' }
      ]
    },
    {
      name: 'X-Forwarded-* of an untrusted peer counts as absent, in every spelling',
      config: { trustedProxies: ['10.0.0.1'] },
      routes: [
        plain,
        route('internal', { path: '/a', when: { 'header:x-forwarded-zone': 'in' } }),
        route('folded', { path: '/a', when: { 'header:x_real_ip': true, 'header:x-more': true } })
      ],
      asks: [
        { headers: { 'x-forwarded-zone': 'in' }, comes: 'plain' },
        { headers: { x_real_ip: '1', 'x-more': '1' }, comes: 'plain' },
        { from: '10.0.0.1', headers: { 'x-forwarded-zone': 'in' }, comes: 'internal' }
      ]
    },
    {
      name: 'the canonical path',
      routes: [route('code', { path: '/a/*', when: { path: '*.js' } }), route('rest', { path: '/a/*' })],
      asks: [
        { url: '/a/x/y.js', comes: 'code' },
        { url: '/a/y%2Ejs?b', comes: 'code' },
        { url: '/a/y.jsx', comes: 'rest' },
        { url: '/a', comes: 'rest' }
      ]
    },
    {
      name: 'the most conditions that hold win, then the earlier kind',
      routes: [
        route('path', { path: '/a/*', when: { path: '/a/b*' } }),
        route('query', { path: '/a/*', when: { 'query:q': true } }),
        route('cookie', { path: '/a/*', when: { 'cookie:c': true } }),
        route('header', { path: '/a/*', when: { 'header:h': true } }),
        route('two', { path: '/a/*', when: { path: '/a/b*', 'query:q': true } }),
        route('none', { path: '/a/*' })
      ],
      asks: [
        { url: '/a/b', comes: 'path' },
        { url: '/a/x?q', comes: 'query' },
        { url: '/a/b?q', comes: 'two' },
        { url: '/a/x?q', headers: { cookie: 'c=1' }, comes: 'cookie' },
        { url: '/a/x?q', headers: { cookie: 'c=1', h: '1' }, comes: 'header' },
        { url: '/a/b?q', headers: { h: '1' }, comes: 'two' },
        { url: '/a/x', comes: 'none' }
      ]
    },
    {
      name: 'any object of a list',
      routes: [
        plain,
        route('beta', {
          path: '/a',
          when: [{ 'header:x-beta': '1' }, { 'cookie:beta': '1', 'query:on': true }]
        })
      ],
      asks: [
        { headers: { 'x-beta': '1' }, comes: 'beta' },
        { headers: { cookie: 'beta=1' }, comes: 'plain' },
        { url: '/a?on', headers: { cookie: 'beta=1' }, comes: 'beta' }
      ]
    },
    {
      name: "a group's conditions and the route's",
      routes: [
        {
          when: [{ 'header:x-a': '1' }, { 'header:x-b': '1' }],
          routes: [route('inner', { path: '/a', when: { 'query:q': true } })]
        },
        plain
      ],
      asks: [
        { headers: { 'x-a': '1' }, comes: 'plain' },
        { url: '/a?q', headers: { 'x-a': '1' }, comes: 'inner' },
        { url: '/a?q', headers: { 'x-b': '1' }, comes: 'inner' },
        { url: '/a?q', comes: 'plain' }
      ]
    },
    {
      name: 'none holds: 404, never a wider path; another method: 405',
      routes: [
        route('canary', { path: '/a', methods: ['GET'], when: { 'header:x-canary': '1' } }),
        route('wider', { path: '/*' })
      ],
      asks: [
        { comes: 404 },
        { headers: { 'x-canary': '1' }, comes: 'canary' },
        { method: 'POST', comes: 405 },
        { url: '/b', comes: 'wider' }
      ]
    },
    {
      name: 'a route that names the method comes before one that takes all',
      routes: [
        route('get', { path: '/a', methods: ['GET'] }),
        route('canary', { path: '/a', when: { 'header:x-canary': '1' } }),
        route('others', { path: '/a' })
      ],
      asks: [
        { comes: 'get' },
        { headers: { 'x-canary': '1' }, comes: 'get' },
        { method: 'PUT', headers: { 'x-canary': '1' }, comes: 'canary' },
        { method: 'PUT', comes: 'others' }
      ]
    },
    {
      name: 'parameters, expressions and hosts',
      routes: [
        route('number', { path: '/o/:id(\\d+)' }),
        route('number beta', { path: '/o/:id(\\d+)', when: { 'cookie:beta': true } }),
        route('word', { path: '/o/:id([a-z]+)' }),
        route('hosted', { path: '/o/:id', host: 'api.test', when: { 'header:h': '1' } }),
        route('any', { path: '/o/*' })
      ],
      asks: [
        { url: '/o/1', comes: 'number' },
        { url: '/o/1', headers: { cookie: 'beta=1' }, comes: 'number beta' },
        { url: '/o/x', headers: { cookie: 'beta=1' }, comes: 'word' },
        { url: '/o/1', headers: { host: 'api.test', h: '1' }, comes: 'hosted' },
        { url: '/o/1', headers: { host: 'api.test' }, comes: 404 },
        { url: '/o/1/2', headers: { cookie: 'beta=1' }, comes: 'any' }
      ]
    }
  ]
  for (const each of cases) chooses(t, each)
})

t.test('tells caches what a place varies by, also its routes without conditions and its 404', async (t) => {
  const url = await upstream(t, (_request, response) => {
    response.setHeader('vary', 'Accept')
    response.setHeader('cache-control', 'public, max-age=60, s-maxage=90')
    response.end('up')
  })
  const app = await gateway(t, {
    routes: [
      { path: '/a', when: { 'header:x-canary': '1' }, proxy: { upstream: url } },
      { path: '/a', when: { 'cookie:beta': '1', 'query:q': true }, proxy: { upstream: url } },
      { path: '/a', proxy: { upstream: url } },
      { path: '/b', when: { 'header:x-canary': '1' }, respond: { body: 'b' } },
      { path: '/c', when: { 'client.ip': 'private' }, respond: { body: 'c' } },
      { path: '/c', proxy: { upstream: url } },
      { path: '/d', proxy: { upstream: url } }
    ]
  })
  const cases: [url: string, status: number, vary: string | undefined, cacheControl: string | undefined][] = [
    ['/a', 200, 'accept, x-canary, cookie', 'public, max-age=60, s-maxage=90'],
    ['/b', 404, 'x-canary', 'no-store'],
    ['/c', 200, 'accept', 'private, max-age=60'],
    ['/d', 200, 'accept', 'public, max-age=60, s-maxage=90']
  ]
  for (const [url, status, vary, cacheControl] of cases) {
    const { statusCode, headers } = await app.inject({ url, remoteAddress: '192.0.2.1' })
    t.equal(statusCode, status, url)
    const names = String(headers['vary']).toLowerCase().split(/, */)
    for (const name of vary?.split(', ') ?? []) t.ok(names.includes(name), `${url} varies by ${name}`)
    t.equal(headers['cache-control'], cacheControl, url)
  }
})

t.test('reloads and rate limits count for each of two routes of a place', async (t) => {
  const limited = { rateLimit: { max: 1, window: '1m' } }
  const app = await gateway(t, {
    routes: [
      { ...route('canary', { path: '/a', when: { 'header:x-canary': '1' } }), ...limited },
      { ...route('plain', { path: '/a' }), ...limited }
    ]
  })
  const statuses = async (headers: Record<string, string>): Promise<number[]> => [
    (await app.inject({ url: '/a', headers })).statusCode,
    (await app.inject({ url: '/a', headers })).statusCode
  ]
  t.strictSame(await statuses({}), [200, 429])
  t.strictSame(await statuses({ 'x-canary': '1' }), [200, 429])
})

t.test('chooses over a socket, also by repeated fields', async (t) => {
  const { port } = await listening(t, {
    routes: [plain, route('canary', { path: '/a', when: { 'header:x-canary': 'a', 'cookie:c': '2' } })]
  })
  const answer = await raw(
    port,
    'GET /a HTTP/1.1\r\nHost: x\r\nX-Canary: b\r\nX-Canary: a\r\nCookie: b=1; c=2\r\nConnection: close\r\n\r\n'
  )
  t.equal(statusOf(answer), 200)
  t.equal(textOf(answer), 'canary')
  t.match(headOf(answer, 'vary'), /x-canary/)
})

t.test('chooses over HTTP/2, also by several cookie fields', { skip: noOpenssl }, async (t) => {
  const { certFile: cert, keyFile: key } = authority(t).issue('/CN=localhost', 'DNS:localhost')
  const { port } = await listening(t, {
    tls: { certificates: [{ cert, key }] },
    routes: [
      plain,
      route('canary', { path: '/a', when: { 'header:x-canary': 'a', 'cookie:c': '2', scheme: 'https' } })
    ]
  })
  const session = connect(`https://localhost:${port}`, { rejectUnauthorized: false })
  t.teardown(() => session.close())
  const stream = session.request({ ':path': '/a', 'x-canary': 'a', cookie: ['b=1', 'c=2'] } as never)
  let body = ''
  for await (const chunk of stream.setEncoding('utf8')) body += chunk
  t.equal(body, 'canary')
})

t.test('answers preflights of a place once, whatever the conditions', async (t) => {
  const app = await gateway(t, {
    cors: { origins: ['https://app.test'] },
    routes: [
      route('canary', { path: '/a', when: { 'header:x-canary': '1' } }),
      route('plain', { path: '/a' })
    ]
  })
  const { statusCode, headers } = await app.inject({
    method: 'OPTIONS',
    url: '/a',
    headers: { origin: 'https://app.test', 'access-control-request-method': 'PUT' }
  })
  t.equal(statusCode, 204)
  t.equal(headers['access-control-allow-origin'], 'https://app.test')
})

t.test('refuses conditions that can not be told apart or believed', async (t) => {
  const a = { path: '/a', respond: { body: 'a' } }
  const cases: [name: string, config: Options, message: RegExp][] = [
    [
      'a header that auth sets',
      {
        auth: { basic: { users: { list: [] } }, identity: { 'X-User-Id': '{caller.id}' }, global: false },
        routes: [{ ...a, when: { 'header:x_user_id': 'root' } }]
      },
      /"header:x_user_id" can't be a condition: "auth" sets this header itself/
    ],
    [
      'unlike cors',
      {
        routes: [
          { ...a, cors: { origins: ['https://a.test'] } },
          { ...a, when: { 'header:a': '1' }, cors: { origins: ['https://b.test'] } }
        ]
      },
      /expected the same "cors" as the route at/
    ],
    [
      'not an address',
      { routes: [{ ...a, when: { 'client.ip': '10.0.0' } }] },
      /"client\.ip": expected an address, got "10\.0\.0"; an IP/
    ],
    ['an unknown key', { routes: [{ ...a, when: { headers: { a: '1' } } }] }, /when/],
    ['no condition at all', { routes: [{ ...a, when: {} }] }, /when/]
  ]
  for (const [name, config, message] of cases)
    await t.rejects(loadConfig(config as never, {}), { message }, name)
})

t.test('accepts routes of which one certainly wins', async (t) => {
  const cases: [one: Options, other: Options][] = [
    [{ 'header:a': '1' }, { 'header:a': '2' }],
    [{ 'header:a': true }, { 'header:a': false }],
    [{ 'header:a': '1' }, { 'cookie:a': '1' }],
    [{ 'header:a': '1' }, { 'header:a': '1', 'header:b': '1' }],
    [{ 'client.ip': '10.0.0.0/8' }, { 'client.ip': ['192.168.0.0/16', 'loopback'] }],
    [{ path: '*.js' }, { path: '*.css' }],
    [{ scheme: 'http' }, { scheme: 'https' }]
  ]
  for (const [one, other] of cases) {
    const plan = await loadConfig(
      { routes: [one, other].map((when) => ({ path: '/a/*', when, respond: { body: 'a' } })) } as never,
      {}
    )
    t.equal(plan.routes.length, 2, JSON.stringify([one, other]))
  }
})

t.test('warns of a place that has only routes with conditions', async (t) => {
  const canary = route('canary', { path: '/a', when: { 'header:a': '1' } })
  const warned = async (routes: Options[]): Promise<string[]> =>
    (await loadConfig({ routes } as never, {})).warnings.map(({ message }) => message)
  t.match(await warned([canary]), [/^The route canary answers 404 where none of the conditions/])
  t.strictSame(await warned([canary, plain]), [])
})

t.test('clientIp names the client for gates, request values and services', async (t) => {
  const url = await upstream(t)
  const app = await gateway(t, {
    trustedProxies: ['10.0.0.1'],
    clientIp: 'header:cf-connecting-ip',
    ipAccess: { deny: ['203.0.113.9'] },
    routes: [{ path: '/a', headers: { request: { 'x-client': '{client.ip}' } }, proxy: { upstream: url } }]
  })
  const ask = async (from: string, named: string): Promise<{ statusCode: number; headers: Options }> => {
    const headers = { 'cf-connecting-ip': named, CF_Connecting_IP: named }
    const response = await app.inject({ url: '/a', headers, remoteAddress: from })
    return {
      statusCode: response.statusCode,
      headers: response.statusCode === 200 ? (JSON.parse(response.body) as Seen).headers : {}
    }
  }
  t.equal((await ask('10.0.0.1', '203.0.113.9')).statusCode, 403)
  t.match((await ask('10.0.0.1', '198.51.100.7')).headers, {
    'x-client': '198.51.100.7',
    'cf-connecting-ip': '198.51.100.7'
  })
  const untrusted = await ask('192.0.2.1', '203.0.113.9')
  t.match(untrusted, { statusCode: 200, headers: { 'x-client': '192.0.2.1' } })
  t.notMatch(Object.keys(untrusted.headers).join(), /connecting/)
  await t.rejects(loadConfig({ clientIp: 'header:x-real-ip', routes: [] }, {}), {
    message: /clientIp.*expected "trustedProxies" beside it/
  })
})
