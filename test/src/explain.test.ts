import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { hashPassword } from '../../plugins/auth/password.ts'
import { planOf } from '../../src/config/load.ts'
import { objectSource } from '../../src/config/source.ts'
import type { Explanation } from '../../src/explain/explanation.ts'
import { explainOffline, type OfflineQuestion } from '../../src/explain/offline.ts'
import { explanationText } from '../../src/explain/text.ts'
import { catalog } from '../../src/gateway/catalog.ts'
import { readCaller, standIn } from '../../src/simulation/callers.ts'
import { movableClock, SECRET } from '../helpers.ts'

const ORDERS = { url: 'http://10.0.0.1:4000', timeouts: { headers: '5s' } }

async function explained(
  config: object,
  url: string,
  more: Partial<OfflineQuestion> = {}
): Promise<Explanation> {
  const plan = await planOf(objectSource({ upstreams: { orders: ORDERS }, ...config }), catalog, {})
  const { explanation } = await explainOffline(plan, {
    method: 'GET',
    url,
    headers: [],
    body: undefined,
    from: '192.0.2.1',
    callerFor: undefined,
    forward: undefined,
    ...more
  })
  return explanation
}

const proxy = { upstream: 'orders' }

t.test('a request that is forwarded: its upstream request, and who added and removed headers', async (t) => {
  const config = {
    headers: { request: { 'x-lang': 'en', 'x-debug': false } },
    routes: [{ name: 'order', path: '/orders/:id', proxy: { ...proxy, rewrite: '/v2/{params.id}' } }]
  }
  const headers = [
    ['X-Own', 'a'],
    ['X-Debug', '1'],
    ['TE', 'trailers']
  ] as const
  const found = await explained(config, '/orders/%31?q=1', { headers })
  t.match(found, {
    version: 1,
    verdict: 'forwarded',
    status: 200,
    code: null,
    route: { name: 'order', target: 'proxy' },
    normalized: { path: '/orders/1', client: '192.0.2.1', changes: ['/orders/%31 became /orders/1'] },
    upstreams: [
      {
        upstream: 'orders',
        askedBy: null,
        method: 'GET',
        url: 'http://10.0.0.1:4000/v2/1?q=1',
        headersTimeout: 5000
      }
    ]
  })
  const by = Object.fromEntries(found.upstreams[0]?.headers.map(({ name, by }) => [name, by]) ?? [])
  t.match(by, { 'x-own': null, 'x-lang': 'headers', 'x-request-id': 'requestId', 'x-forwarded-for': 'proxy' })
  t.strictSame(found.upstreams[0]?.removed, [
    { name: 'x-debug', by: 'headers' },
    { name: 'te', by: 'hop-by-hop (RFC 9110 section 7.6.1)' }
  ])
})

t.test('names the concern that keeps a header of the client from the upstream', async (t) => {
  const only = ['accept', 'X-Listed', 'x_listed', '_listed', 'cf-connecting-ip']
  const aggregate = { legs: { a: { upstream: 'orders', path: '/' } } }
  const headers = [
    ['Accept', 'a'],
    ['x-listed', 'a'],
    ['X-Other', 'a'],
    ['x_listed', 'a'],
    ['_listed', 'a'],
    ['Forwarded', 'for=1'],
    ['cf-connecting-ip', '1.2.3.4'],
    ['Proxy', 'a'],
    ['TE', 'trailers'],
    ['Cookie', 'a=1']
  ] as const
  const kept = { forwarded: 'proxy', 'cf-connecting-ip': 'proxy', proxy: 'proxy', te: /^hop-by-hop/ }
  const cases: [name: string, target: object, removed: object][] = [
    ['by default', { proxy }, { x_listed: 'headers', ...kept }],
    ['switched off', { headers: false, proxy }, { x_listed: 'headers', ...kept }],
    ['underscores that are kept', { headers: { underscores: 'keep' }, proxy }, kept],
    [
      'not listed',
      { headers: { only }, proxy },
      { 'x-other': 'headers', x_listed: 'headers', ...kept, cookie: 'headers' }
    ],
    [
      'not listed for a leg',
      { headers: { only }, aggregate },
      {
        'x-other': 'headers',
        x_listed: 'headers',
        forwarded: 'aggregate',
        'cf-connecting-ip': 'aggregate',
        proxy: 'aggregate',
        te: /^hop-by-hop/,
        cookie: 'headers'
      }
    ]
  ]
  for (const [name, target, removed] of cases) {
    const config = {
      trustedProxies: ['10.0.0.0/8'],
      clientIp: 'header:cf-connecting-ip',
      routes: [{ path: '/a', ...target }]
    }
    const { upstreams } = await explained(config, '/a', { headers })
    const found = Object.fromEntries(upstreams[0]?.removed.map(({ name, by }) => [name, by]) ?? [])
    t.match(found, removed, name)
    t.strictSame(Object.keys(found), Object.keys(removed), name)
  }
})

t.test('headers that the client is taken to add are none of the gateway', async (t) => {
  const config = { headers: { only: [] }, routes: [{ path: '/a', proxy }] }
  const bySent = async (more: Partial<OfflineQuestion>): Promise<[object, string]> => {
    const { upstreams, assumes } = await explained(config, '/a', more)
    const sent = upstreams[0]?.headers ?? []
    return [Object.fromEntries(sent.map(({ name, by }) => [name, by])), assumes.join('\n')]
  }
  const upgrade = ['Upgrade', 'websocket'] as const
  const own = { 'sec-websocket-version': null, 'sec-websocket-key': null, connection: 'proxy' }
  const [filledIn, assumed] = await bySent({ headers: [upgrade] })
  t.match(filledIn, own)
  t.match(assumed, /The client sends sec-websocket-version and sec-websocket-key with its handshake/)
  const written = [
    upgrade,
    ['Sec-WebSocket-Version', '13'],
    ['Sec-WebSocket-Key', 'dGVzdCBvZiBhIGtleSEhIQ==']
  ] as const
  const [whole, nothing] = await bySent({ headers: written })
  t.match(whole, own)
  t.notMatch(nothing, /handshake/)
  const [withBody] = await bySent({ method: 'POST', body: Buffer.from('hello') })
  t.match(withBody, { 'content-length': null })
})

t.test('what each candidate lost by', async (t) => {
  const config = {
    routes: [
      { name: 'all', path: '/*', proxy },
      { name: 'other host', path: '/a/:id', host: 'b.example', proxy },
      { name: 'canary', path: '/a/:id', when: { 'header:x-canary': 'true' }, proxy },
      { name: 'post', path: '/a/:id', methods: ['POST'], proxy },
      { name: 'chosen', path: '/a/:id', methods: ['GET'], proxy },
      { name: 'elsewhere', path: '/b', proxy }
    ]
  }
  const { candidates, route } = await explained(config, '/a/1')
  t.equal(route?.name, 'chosen')
  const lost = Object.fromEntries(candidates.map(({ route: name, lostBy }) => [name, lostBy]))
  t.match(lost, {
    chosen: null,
    all: /^path: that of "chosen" is more specific/,
    'other host': /^host: it is for b\.example, not localhost/,
    canary: /^when: \{"header:x-canary":\["true"\]\} does not hold/,
    post: /^method: it takes POST, not GET/
  })
  t.notOk('elsewhere' in lost)
  const nothing = await explained(config, 'http://other.example/a/..%2f')
  t.match(nothing, { verdict: 'refused', status: 400, code: 'SP_ERR_PATHS_UNSAFE', route: null })
})

t.test('the options of a gate come with their level, and secrets are masked', async (t) => {
  const config = {
    auth: { apiKeys: { list: [{ id: 'x', secret: 'a-secret-of-the-test-alone-123456' }] } },
    routes: [
      {
        path: '/a',
        auth: { require: { roles: ['staff'] } },
        routes: [{ path: '/b', rateLimit: { max: 3, window: '1m' }, proxy }]
      }
    ]
  }
  const headers = [['x-api-key', 'a-secret-of-the-test-alone-123456']] as const
  const found = await explained(config, '/a/b', { headers })
  t.match(found, { verdict: 'refused', status: 403, code: 'SP_ERR_AUTH_LACKING', refusedBy: 'auth' })
  t.match(found.caller, { id: 'x', by: 'apiKeys' })
  const levels = Object.fromEntries(
    found.gates.flatMap(({ options }) => options.map(({ option, level }) => [option, level]))
  )
  t.match(levels, {
    'auth.apiKeys.list': 'root',
    'auth.require.roles': 'group',
    'rateLimit.max': 'route',
    'rateLimit.algorithm': 'default'
  })
  t.notMatch(JSON.stringify(found), 'a-secret-of-the-test-alone')
  t.match(
    found.assumes.join('\n'),
    /"default" of "rateLimit" counts by ip \(192\.0\.2\.1\); nothing is counted yet/
  )
})

t.test('a limit names the network that it counts, or the address that is exempt', async (t) => {
  const rateLimit = { max: 3, exempt: ['2001:db8::/48'] }
  const cases: [from: string, said: RegExp][] = [
    ['2001:db8::1', /"rateLimit" exempts 2001:db8::1, and counts nothing/],
    ['2001:db8:1::1', /counts by ip \(2001:db8:1:[^1)]*\)/]
  ]
  for (const [from, said] of cases) {
    const found = await explained({ routes: [{ path: '/a', rateLimit, proxy }] }, '/a', { from })
    t.match(found.assumes.join('\n'), said)
  }
})

t.test('a caller that stands in is judged by what the route requires', async (t) => {
  const config = {
    auth: {
      jwt: { issuer: 'https://issuer.invalid', audience: 'x', jwks: 'https://issuer.invalid/jwks' },
      require: { roles: ['staff'], scopes: ['read'], claims: { tenant: 't1' } }
    },
    routes: [{ path: '/a', proxy }]
  }
  const cases: [caller: object, status: number][] = [
    [{ id: 'ada', roles: ['staff'], scopes: ['read'], claims: { tenant: 't1' } }, 200],
    [{ sub: 'ada', roles: ['staff'], scope: 'read write', tenant: 't1' }, 200],
    [{ id: 'ada', roles: ['staff'], scopes: ['read'], claims: { tenant: 't2' } }, 403],
    [{ id: 'ada', roles: [] }, 403]
  ]
  for (const [entry, status] of cases) {
    const caller = readCaller(entry)
    const found = await explained(config, '/a', { callerFor: caller && standIn(caller) })
    t.equal(found.status, status, JSON.stringify(entry))
  }
})

t.test('what is not known here is said to be unknown, with what would tell it', async (t) => {
  const jwt = { issuer: 'https://issuer.invalid', audience: 'x', jwks: 'https://issuer.invalid/jwks' }
  const token = `${Buffer.from('{"alg":"RS256"}').toString('base64url')}.${Buffer.from('{}').toString('base64url')}.AA`
  await t.test('a token whose keys are remote', async (t) => {
    const headers = [['authorization', `Bearer ${token}`]] as const
    const found = await explained({ auth: { jwt }, routes: [{ path: '/a', proxy }] }, '/a', { headers })
    t.equal(found.gates.find(({ gate }) => gate === 'auth')?.verdict, 'unknown')
    t.equal(found.verdict, 'unknown')
    t.match(found.assumes.join('\n'), /--as/)
  })
  await t.test('forward auth, unless its status is given', async (t) => {
    const config = {
      auth: { forward: { upstream: 'orders', path: '/check' } },
      routes: [{ path: '/a', proxy }]
    }
    const unknown = await explained(config, '/a')
    t.match(unknown, { verdict: 'unknown', status: 200, upstreams: [{ askedBy: 'auth' }, { askedBy: null }] })
    t.match(unknown.assumes.join('\n'), /--forward/)
    t.match(await explained(config, '/a', { forward: 200 }), { verdict: 'forwarded' })
    t.match(await explained(config, '/a', { forward: 401 }), {
      status: 401,
      upstreams: [{ askedBy: 'auth' }]
    })
  })
})

t.test('each kind of target, and what comes of it in one line', async (t) => {
  const root = t.testdir({ 'index.html': 'here' })
  const legs = {
    order: { upstream: 'orders', path: '/o' },
    page: { upstream: 'http://10.0.0.2', path: '/p', format: 'xml' }
  }
  const config = {
    session: { secrets: [SECRET] },
    cors: { origins: ['https://app.example'] },
    rateLimit: { max: 5, window: '1m' },
    auth: {
      session: true,
      users: { list: [{ name: 'ada', password: await hashPassword('a password of the test') }] },
      global: false
    },
    routes: [
      { path: '/all', aggregate: { legs } },
      {
        path: '/first',
        aggregate: { legs: { order: legs.order, next: { ...legs.order, path: '/{legs.order.id}' } } }
      },
      { path: '/socket', proxy },
      { path: '/files/*', files: { root } },
      { path: '/old/*', redirect: { to: 'https://new.example/' } },
      { path: '/hello', respond: { body: 'hello' } },
      { path: '/mine', auth: true, proxy },
      {
        path: '/asked',
        auth: { forward: { upstream: 'orders', path: '/check' }, session: false },
        respond: { body: '' }
      }
    ]
  }
  const preflight = [
    ['Origin', 'https://app.example'],
    ['Access-Control-Request-Method', 'GET']
  ] as const
  const websocket = [
    ['Connection', 'Upgrade'],
    ['Upgrade', 'websocket']
  ] as const
  const cases: [url: string, more: Partial<OfflineQuestion>, line: string, expected: object][] = [
    ['/all', {}, 'forwarded to orders, http://10.0.0.2', { status: 200, upstreams: { length: 2 } }],
    [
      '/first',
      {},
      'forwarded to orders',
      {
        status: null,
        code: null,
        assumes: [
          /^What "orders" would respond is not known; an empty response would become 502/,
          /counts by ip/,
          /healthy/
        ]
      }
    ],
    [
      '/socket',
      { headers: websocket },
      'forwarded to orders',
      {
        status: 101,
        upstreams: [
          {
            removed: [],
            // The handshake of a client is filled in.
            headers: [
              {},
              { name: 'sec-websocket-version' },
              { name: 'sec-websocket-key', value: '***' },
              ...[{}, {}, {}, {}, {}],
              { name: 'connection', value: 'upgrade' },
              { name: 'upgrade' }
            ]
          }
        ]
      }
    ],
    ['/files/index.html', {}, 'answered with 200 by files', { status: 200 }],
    [
      '/files/no.html',
      {},
      'refused with 404 SP_ERR_ROUTE_UNKNOWN: the target "files" answered: Not found: no route matches this path',
      { refusedBy: null }
    ],
    [
      '/old/a',
      {},
      'answered with 308 by redirect',
      { headers: [{ name: 'location', value: 'https://new.example/a' }] }
    ],
    ['/hello', {}, 'answered with 200 by respond', { status: 200 }],
    [
      '/hello',
      { method: 'OPTIONS', headers: preflight },
      'answered with 204 by cors',
      { gates: [{ gate: 'cors', verdict: 'answered' }, {}, {}] }
    ],
    [
      '/mine',
      {},
      'refused with 401 SP_ERR_AUTH_MISSING by auth: Authentication required',
      { verdict: 'refused' }
    ],
    [
      '/mine',
      { headers: [['Cookie', 'sid=s1.x']] },
      "not known, since auth can't decide here",
      { verdict: 'unknown', status: null, assumes: [/needs the session of the cookie "sid"/, /counts by ip/] }
    ],
    [
      '/asked',
      {},
      "not known, since auth can't decide here; if it passes: answered with 200 by respond",
      { verdict: 'unknown' }
    ]
  ]
  for (const [url, more, line, expected] of cases)
    await t.test(`${more.method ?? 'GET'} ${url}`, async (t) => {
      const found = await explained(config, url, more)
      t.equal(explanationText(found).split('\n')[1], line)
      t.match(found, expected)
    })
})

t.test('bytes that are no request are refused by the parser', async (t) => {
  const found = await explained({ routes: [{ path: '/a', proxy }] }, '/a b')
  t.match(found, {
    verdict: 'refused',
    status: 400,
    code: 'SP_ERR_REQUEST_MALFORMED',
    normalized: null,
    route: null
  })
})

t.test('what the config inserts into a query, and credentials, are not shown', async (t) => {
  const config = {
    auth: {
      apiKeys: {
        from: ['header:x-app', 'query:app'],
        list: [{ id: 'x', secret: 'a-secret-of-the-test-alone-123456' }]
      },
      global: false
    },
    query: { key: 'literal-of-the-config' },
    routes: [
      { path: '/a', proxy: { upstream: 'http://user:pass@10.0.0.1' } },
      { path: '/b', auth: true, proxy }
    ]
  }
  const url = 'http://user:pass@localhost/a?own=1&token=of-the-client&app=of-the-client&b'
  const found = await explained(config, url, { headers: [['x-app', 'of-the-client']] })
  t.equal(found.request.url, 'http://***@localhost/a?own=1&token=***&app=***&b')
  const sent = await explained(config, '/a?own=1&token=of-the-client&b', {
    headers: [['x-app', 'of-the-client']]
  })
  t.equal(sent.upstreams[0]?.url, 'http://10.0.0.1/a?own=1&token=***&b&key=***')
  for (const each of [found, sent])
    t.notMatch(JSON.stringify(each) + explanationText(each), /literal-of-the-config|pass@|of-the-client/)
})

t.test('URLs of the config are shown as the config is', async (t) => {
  const env = { HOOKS: 'http://hooks.example/services/of-the-variable' }
  const jwks = 'https://issuer.invalid/jwks?of=of-the-config'
  const config = {
    auth: { jwt: { issuer: 'https://issuer.invalid', audience: 'x', jwks }, global: false },
    routes: [
      { path: '/a', proxy: { upstream: '$' + '{HOOKS}' } },
      { path: '/b', auth: true, respond: { body: '' } }
    ]
  }
  const plan = await planOf(objectSource(config), catalog, env)
  const token = `${Buffer.from('{"alg":"RS256"}').toString('base64url')}.e30.AA`
  const cases: [url: string, upstream: string, expected: RegExp][] = [
    ['/a?b', 'http://hooks.example/***', /http:\/\/hooks\.example\/\*\*\*\/a\?b/],
    ['/b', 'https://issuer.invalid', /needs https:\/\/issuer\.invalid\/jwks\?of=\*\*\*/]
  ]
  for (const [url, upstream, expected] of cases) {
    const { explanation } = await explainOffline(plan, {
      method: 'GET',
      url,
      headers: [['authorization', `Bearer ${token}`]],
      body: undefined,
      from: '192.0.2.1',
      callerFor: undefined,
      forward: undefined
    })
    t.equal(explanation.upstreams[0]?.upstream, upstream)
    const shown = JSON.stringify(explanation) + explanationText(explanation)
    t.match(shown, expected)
    t.notMatch(shown, /of-the-variable|of-the-config/)
  }
})

t.test('gates behind one that answers itself are not reached', async (t) => {
  const config = {
    cors: { origins: ['https://app.example'] },
    rateLimit: { max: 5, window: '1m' },
    routes: [{ path: '/a', proxy }]
  }
  const headers = [
    ['origin', 'https://app.example'],
    ['access-control-request-method', 'GET']
  ] as const
  const found = await explained(config, '/a', { method: 'OPTIONS', headers })
  t.match(found, { verdict: 'answered', upstreams: [] })
  t.equal(found.gates.find(({ gate }) => gate === 'rateLimit')?.verdict, 'not reached')
  t.notMatch(found.assumes.join('\n'), /rateLimit/)
})

t.test('a request that promises a body and has none is not waited for without end', async (t) => {
  const config = { limits: { bodyRate: false, time: false }, routes: [{ path: '/a', proxy }] }
  const { advance } = movableClock(t)
  let isOver = false
  const refused = t.rejects(
    explained(config, '/a', { method: 'POST', headers: [['content-length', '10']] }),
    {
      message: /no response within 10 s/
    }
  )
  const over = refused.finally(() => {
    isOver = true
  })
  while (!isOver) {
    advance(10_000)
    await setImmediate()
  }
  await over
})
