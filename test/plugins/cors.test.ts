import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import { gateway, readableLog, type Scope, type Seen, upstream } from '../helpers.ts'

const APP = 'https://app.example.com'
const hello = { path: '/hello', respond: { body: 'hello' } }

/** Starts an upstream that closes each connection without a response. */
const broken = (t: Scope): Promise<string> => upstream(t, (request) => void request.socket.destroy())

const preflight = (
  app: FastifyInstance,
  url: string,
  { origin = APP, method = 'GET', headers = {} }: { origin?: string; method?: string; headers?: object } = {}
): Promise<LightMyRequestResponse> =>
  app.inject({
    method: 'OPTIONS',
    url,
    headers: { origin, 'access-control-request-method': method, ...headers }
  })

const names = (answer: LightMyRequestResponse): string[] =>
  Object.keys(answer.headers).filter((name) => name.startsWith('access-control-'))

const varyOf = ({ headers }: LightMyRequestResponse): string[] =>
  String(headers['vary'] ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
    .toSorted()

t.test('allows listed origins and no similar ones', async (t) => {
  const app = await gateway(t, {
    cors: {
      origins: [
        'https://app.example.com',
        'https://*.example.org',
        'http://*.local.test:8080',
        'http://Shop.Example.net'
      ]
    },
    routes: [hello]
  })
  const cases: [origin: string, allowed: boolean][] = [
    ['https://app.example.com', true],
    ['http://app.example.com', false],
    ['https://app.example.com:8443', false],
    ['https://app.example.com:443', false],
    ['https://APP.example.com', false],
    ['https://app.example.com.evil.test', false],
    ['https://app.example.com@evil.test', false],
    ['https://evil.test/https://app.example.com', false],
    ['https://evilapp.example.com', false],
    ['https://app.example.co', false],
    ['https://app.example.com/', false],
    ['https://app.example.com, https://evil.test', false],
    ['https://a.example.org', true],
    ['https://a-1.example.org', true],
    ['https://example.org', false],
    ['https://.example.org', false],
    ['https://a.b.example.org', false],
    ['https://a.example.org:444', false],
    ['http://a.example.org', false],
    ['https://aexample.org', false],
    ['https://evil.test#.example.org', false],
    ['https://evil.test?.example.org', false],
    ['https://evil.test/.example.org', false],
    ['https://evil.test\\.example.org', false],
    ['https://a.example.org.evil.test', false],
    ['https://a@b.example.org', false],
    ['https://*.example.org', false],
    ['http://a.local.test:8080', true],
    ['http://a.local.test', false],
    ['http://a.local.test:80801', false],
    ['http://shop.example.net', true],
    ['null', false],
    ['', false],
    ['*', false]
  ]
  for (const [origin, allowed] of cases) {
    const plain = await app.inject({ url: '/hello', headers: { origin } })
    t.equal(plain.statusCode, 200, `${origin} gets the response: only the browser hides it from a page`)
    t.equal(plain.headers['access-control-allow-origin'], allowed ? origin : undefined, origin)
    t.same(varyOf(plain), ['origin'], `${origin}: caches store a response per origin`)
    const asked = await preflight(app, '/hello', { origin })
    t.equal(
      asked.headers['access-control-allow-origin'],
      allowed ? origin : undefined,
      `${origin} in a preflight`
    )
  }
  const none = await app.inject('/hello')
  t.same(names(none), [])
  t.same(varyOf(none), ['origin'], 'a response without Origin varies, too')
})

t.test('allows every origin by "*", without credentials', async (t) => {
  const app = await gateway(t, { cors: { origins: ['*'] }, routes: [hello] })
  for (const headers of [{}, { origin: APP }, { origin: 'null' }]) {
    const { headers: answered } = await app.inject({ url: '/hello', headers })
    t.equal(answered['access-control-allow-origin'], 'origin' in headers ? '*' : undefined)
    t.equal(answered['access-control-allow-credentials'], undefined)
    t.equal(answered['vary'], undefined, 'the response is the same for all origins')
  }
})

t.test('allows the origin "null" only if it is listed', async (t) => {
  const app = await gateway(t, { cors: { origins: ['null', APP] }, routes: [hello] })
  t.match((await app.inject({ url: '/hello', headers: { origin: 'null' } })).headers, {
    'access-control-allow-origin': 'null'
  })
  t.match((await app.inject({ url: '/hello', headers: { origin: APP } })).headers, {
    'access-control-allow-origin': APP
  })
})

t.test('rejects a config that would allow any page to send credentials, or that is invalid', async (t) => {
  const cases: [name: string, cors: object, message: RegExp][] = [
    ['credentials for all', { origins: ['*'], credentials: true }, /any page could act for your users/],
    ['credentials for "null"', { origins: ['null'], credentials: true }, /any page could act for your users/],
    ['a star in a label', { origins: ['https://a*.example.com'] }, /expected "\*" as the whole first label/],
    ['a star at the end', { origins: ['https://example.*'] }, /expected "\*" as the whole first label/],
    ['two stars', { origins: ['https://*.*.example.com'] }, /expected "\*" as the whole first label/],
    ['a path', { origins: ['https://example.com/'] }, /an origin such as/],
    ['a bare host', { origins: ['example.com'] }, /an origin such as/],
    ['no origins', { credentials: true }, /origins/]
  ]
  for (const [name, cors, message] of cases)
    t.test(name, async (t) => {
      await t.rejects(loadConfig({ cors, routes: [hello] }, {}), { message })
    })
  t.test('credentials on a route over a star at the root', async (t) => {
    const route = { ...hello, cors: { credentials: true } }
    await t.rejects(loadConfig({ cors: { origins: ['*'] }, routes: [route] }, {}), {
      message: /any page could act for your users/
    })
  })
})

t.test('sets the headers of a preflight response', async (t) => {
  const app = await gateway(t, {
    cors: {
      origins: [APP],
      credentials: true,
      headers: ['x-tenant', 'content-type'],
      expose: ['x-total', 'etag'],
      maxAge: '2h'
    },
    routes: [
      { ...hello, methods: ['GET', 'PUT'] },
      { path: '/any', respond: { body: 'any' } },
      { path: '/own', respond: { body: 'own' }, cors: { methods: ['GET', 'QUERY'] } },
      { path: '/asked', respond: { body: 'asked' }, cors: { headers: false, expose: [], maxAge: '1s' } }
    ]
  })
  t.test('allows the methods of the route', async (t) => {
    const answer = await preflight(app, '/hello', {
      method: 'PUT',
      headers: { 'access-control-request-headers': 'x-other' }
    })
    t.equal(answer.statusCode, 204)
    t.equal(answer.body, '')
    t.match(answer.headers, {
      'access-control-allow-origin': APP,
      'access-control-allow-credentials': 'true',
      'access-control-allow-methods': 'GET, PUT, HEAD',
      'access-control-allow-headers': 'x-tenant, content-type',
      'access-control-max-age': '7200'
    })
  })
  t.test('allows common methods on a route without methods', async (t) => {
    const { headers } = await preflight(app, '/any')
    t.equal(headers['access-control-allow-methods'], 'GET, HEAD, PUT, PATCH, POST, DELETE')
  })
  t.test('allows the methods in cors.methods', async (t) => {
    const { headers } = await preflight(app, '/own')
    t.equal(headers['access-control-allow-methods'], 'GET, QUERY')
  })
  t.test('allows the requested headers if the route unsets the list', async (t) => {
    const answer = await preflight(app, '/asked', {
      headers: { 'access-control-request-headers': 'x-a, x-b' }
    })
    t.match(answer.headers, {
      'access-control-allow-headers': 'x-a, x-b',
      'access-control-max-age': '1',
      'access-control-allow-credentials': 'true'
    })
    t.same(varyOf(answer), ['access-control-request-headers', 'origin'])
    t.equal(answer.headers['access-control-expose-headers'], undefined)
  })
  t.test('exposes headers of the actual response', async (t) => {
    const { headers } = await app.inject({ url: '/hello', headers: { origin: APP } })
    t.match(headers, {
      'access-control-expose-headers': 'x-total, etag',
      'access-control-allow-credentials': 'true'
    })
    t.notOk('access-control-allow-methods' in headers, 'preflight headers are only on preflight responses')
  })
  t.test('sets no headers for another origin', async (t) => {
    const answer = await preflight(app, '/hello', { origin: 'https://evil.test' })
    t.equal(answer.statusCode, 204)
    t.same(names(answer), [])
  })
})

t.test('applies the options of each route', async (t) => {
  const target = await upstream(t)
  const other = 'https://partner.test'
  const app = await gateway(t, {
    cors: { origins: [APP], credentials: true },
    routes: [
      { path: '/root/*', proxy: { upstream: target } },
      { path: '/own/*', proxy: { upstream: target }, cors: { origins: [other] } },
      { path: '/open', respond: { body: 'open' }, cors: { origins: ['*'], credentials: false } },
      { path: '/off/*', proxy: { upstream: target }, cors: false },
      {
        path: '/group',
        cors: { origins: [other] },
        routes: [
          { path: '/in', respond: { body: 'in' } },
          { path: '/out', respond: { body: 'out' }, cors: false }
        ]
      }
    ]
  })
  const cases: [url: string, app: string | undefined, other: string | undefined][] = [
    ['/root/x', APP, undefined],
    ['/own/x', undefined, other],
    ['/open', '*', '*'],
    ['/off/x', undefined, undefined],
    ['/group/in', undefined, other],
    ['/group/out', undefined, undefined],
    ['/nowhere', APP, undefined]
  ]
  for (const [url, app1, app2] of cases) {
    for (const [origin, allowed] of [
      [APP, app1],
      [other, app2]
    ] as const) {
      const { headers } = await app.inject({ url, headers: { origin } })
      t.equal(headers['access-control-allow-origin'], allowed, `${url} for ${origin}`)
    }
  }
  t.test('forwards a preflight as an ordinary request where cors is off', async (t) => {
    const answer = await preflight(app, '/off/x')
    t.equal(answer.statusCode, 200)
    t.match(answer.json<Seen>(), { method: 'OPTIONS', url: '/off/x' })
    t.same(names(answer), [])
  })
  t.test('answers preflights of an unknown path, and adds headers to its 404', async (t) => {
    t.match(await preflight(app, '/nowhere'), {
      statusCode: 204,
      headers: { 'access-control-allow-origin': APP }
    })
    t.match(await app.inject({ url: '/nowhere', headers: { origin: APP } }), {
      statusCode: 404,
      headers: { 'access-control-allow-origin': APP }
    })
  })
})

t.test('affects no other route if only one route has it', async (t) => {
  const app = await gateway(t, {
    routes: [
      { ...hello, methods: ['GET'], cors: { origins: [APP] } },
      { path: '/plain', methods: ['GET'], respond: { body: 'plain' } },
      { path: '/forwarded/*', proxy: { upstream: await upstream(t) } }
    ]
  })
  t.match(await preflight(app, '/hello'), {
    statusCode: 204,
    headers: { 'access-control-allow-origin': APP }
  })
  const cases: [url: string, status: number][] = [
    ['/plain', 405],
    ['/forwarded/x', 200],
    ['/nowhere', 404]
  ]
  for (const [url, status] of cases) {
    const answer = await preflight(app, url)
    t.equal(answer.statusCode, status, url)
    t.same(names(answer), [], `${url} has no CORS headers`)
    t.same(varyOf(answer), status === 200 ? [] : ['accept'])
  }
  t.equal((await preflight(app, '/plain')).headers['allow'], 'GET, HEAD')
})

t.test('answers a preflight by the route of the actual request', async (t) => {
  const forum = 'https://forum.test'
  const app = await gateway(t, {
    routes: [
      { path: '/items', methods: ['GET'], respond: { body: 'list' }, cors: { origins: ['*'] } },
      {
        path: '/items',
        methods: ['POST'],
        respond: { body: 'made' },
        cors: { origins: [forum], credentials: true }
      },
      { path: '/items', methods: ['DELETE'], respond: { body: 'gone' } },
      { path: '/open', methods: ['GET', 'OPTIONS'], respond: { body: 'mine' }, cors: { origins: [APP] } },
      { path: '/own', methods: ['OPTIONS'], respond: { body: 'mine' } }
    ]
  })
  const cases: {
    name: string
    url: string
    method: string
    origin: string
    status: number
    allow?: string
    methods?: string
  }[] = [
    { name: 'GET', url: '/items', method: 'GET', origin: APP, status: 204, allow: '*', methods: 'GET, HEAD' },
    { name: 'HEAD', url: '/items', method: 'HEAD', origin: APP, status: 204, allow: '*' },
    {
      name: 'POST',
      url: '/items',
      method: 'POST',
      origin: forum,
      status: 204,
      allow: forum,
      methods: 'POST'
    },
    { name: 'POST from another origin', url: '/items', method: 'POST', origin: APP, status: 204 },
    { name: 'a route without cors', url: '/items', method: 'DELETE', origin: forum, status: 405 },
    { name: 'a method without a route', url: '/items', method: 'PUT', origin: forum, status: 405 },
    { name: 'an unknown method', url: '/items', method: 'BREW', origin: forum, status: 405 },
    { name: 'a method in lower case', url: '/items', method: 'get', origin: forum, status: 405 },
    {
      name: 'a route with OPTIONS of its own',
      url: '/open',
      method: 'GET',
      origin: APP,
      status: 204,
      allow: APP
    },
    { name: 'a route for OPTIONS only', url: '/own', method: 'GET', origin: APP, status: 200 }
  ]
  for (const { name, url, method, origin, status, allow, methods } of cases)
    t.test(name, async (t) => {
      const answer = await preflight(app, url, { method, origin })
      t.equal(answer.statusCode, status)
      t.equal(answer.headers['access-control-allow-origin'], allow)
      if (methods !== undefined) t.equal(answer.headers['access-control-allow-methods'], methods)
      if (status === 405) t.equal(answer.headers['allow'], 'DELETE, GET, HEAD, POST')
    })
})

t.test('handles OPTIONS as an ordinary request unless it is a preflight', async (t) => {
  const app = await gateway(t, {
    cors: { origins: [APP] },
    routes: [
      { path: '/dav/*', proxy: { upstream: await upstream(t) } },
      { ...hello, methods: ['GET'] }
    ]
  })
  const cases: [name: string, headers: Record<string, string>][] = [
    ['without Origin', { 'access-control-request-method': 'GET' }],
    ['without Access-Control-Request-Method', { origin: APP }],
    ['without either', {}]
  ]
  for (const [name, headers] of cases)
    t.test(name, async (t) => {
      const forwarded = await app.inject({ method: 'OPTIONS', url: '/dav/x', headers })
      t.equal(forwarded.statusCode, 200)
      t.equal(forwarded.json<Seen>().method, 'OPTIONS')
      t.equal(forwarded.headers['access-control-allow-origin'], headers['origin'])
      const refused = await app.inject({ method: 'OPTIONS', url: '/hello', headers })
      t.equal(refused.statusCode, 405)
      t.equal(refused.headers['allow'], 'GET, HEAD')
      t.equal(refused.headers['access-control-allow-origin'], headers['origin'])
    })
})

t.test('answers preflights before any gate, since they have no credentials', async (t) => {
  const { log, lines } = readableLog()
  const app = await gateway(
    t,
    {
      cors: { origins: [APP] },
      rateLimit: { max: 1, window: '1h' },
      auth: { apiKeys: { list: [{ id: 'alice', secret: 'key of alice' }] } },
      securityHeaders: { preset: 'strict' },
      routes: [hello]
    },
    { log }
  )
  for (let i = 0; i < 5; i++) {
    const answer = await preflight(app, '/hello')
    t.equal(answer.statusCode, 204)
    t.equal(answer.headers['ratelimit'], undefined, 'not counted by rateLimit')
    t.ok(answer.headers['x-content-type-options'], 'it has security headers')
    t.ok(answer.headers['x-request-id'])
  }
  t.match(lines.at(-1), { method: 'OPTIONS', path: '/hello', route: '/hello', status: 204 }, 'logged')
  const first = await app.inject({ url: '/hello', headers: { origin: APP } })
  t.match(first, { statusCode: 401, headers: { 'access-control-allow-origin': APP } })
  const second = await app.inject({ url: '/hello', headers: { origin: APP } })
  t.match(
    second,
    { statusCode: 429, headers: { 'access-control-allow-origin': APP } },
    'pages can read the error'
  )
})

t.test('replaces the CORS headers of the upstream', async (t) => {
  const target = await upstream(t, (_request, response) => {
    response.writeHead(200, {
      'access-control-allow-origin': '*',
      'access-control-allow-credentials': 'true',
      'access-control-expose-headers': 'x-secret',
      'access-control-allow-methods': 'DELETE',
      'access-control-allow-headers': 'x-anything',
      'access-control-max-age': '86400',
      'access-control-allow-private-network': 'true',
      vary: 'Accept-Encoding'
    })
    response.end('theirs')
  })
  const app = await gateway(t, {
    routes: [
      { path: '/ours/*', proxy: { upstream: target }, cors: { origins: [APP] } },
      { path: '/open/*', proxy: { upstream: target }, cors: { origins: ['*'], expose: ['x-total'] } },
      { path: '/theirs/*', proxy: { upstream: target } }
    ]
  })
  const cases: [name: string, url: string, headers: object, seen: object, vary: string[]][] = [
    [
      'an allowed origin',
      '/ours/x',
      { origin: APP },
      { 'access-control-allow-origin': APP },
      ['accept-encoding', 'origin']
    ],
    ['another origin', '/ours/x', { origin: 'https://evil.test' }, {}, ['accept-encoding', 'origin']],
    ['no origin', '/ours/x', {}, {}, ['accept-encoding', 'origin']],
    [
      'every origin',
      '/open/x',
      { origin: APP },
      { 'access-control-allow-origin': '*', 'access-control-expose-headers': 'x-total' },
      ['accept-encoding']
    ],
    ['every origin, without Origin', '/open/x', {}, {}, ['accept-encoding']]
  ]
  for (const [name, url, headers, seen, vary] of cases)
    t.test(name, async (t) => {
      const answer = await app.inject({ url, headers: { ...headers } })
      t.equal(answer.body, 'theirs')
      t.strictSame(Object.fromEntries(names(answer).map((each) => [each, answer.headers[each]])), seen)
      t.same(varyOf(answer), vary)
    })
  t.test('passes them where cors is off', async (t) => {
    const { headers } = await app.inject({ url: '/theirs/x', headers: { origin: APP } })
    t.match(headers, { 'access-control-allow-origin': '*', 'access-control-expose-headers': 'x-secret' })
  })
})

t.test('applies to every target', async (t) => {
  const root = t.testdir({ 'a.txt': 'a file' })
  const app = await gateway(t, {
    cors: { origins: [APP], expose: ['x-total'] },
    routes: [
      { path: '/proxy/*', proxy: { upstream: await upstream(t) } },
      { path: '/down/*', proxy: { upstream: await broken(t) } },
      { path: '/respond', respond: { body: 'hello' } },
      { path: '/redirect', redirect: { to: '/respond' } },
      { path: '/files/*', files: { root } }
    ]
  })
  const cases: [url: string, status: number][] = [
    ['/proxy/x', 200],
    ['/down/x', 502],
    ['/respond', 200],
    ['/redirect', 308],
    ['/files/a.txt', 200],
    ['/files/b.txt', 404]
  ]
  for (const [url, status] of cases)
    t.test(url, async (t) => {
      const answer = await app.inject({ url, headers: { origin: APP } })
      t.equal(answer.statusCode, status)
      t.match(answer.headers, {
        'access-control-allow-origin': APP,
        'access-control-expose-headers': 'x-total'
      })
      t.ok(varyOf(answer).includes('origin'))
      t.equal((await preflight(app, url)).statusCode, 204)
    })
})
