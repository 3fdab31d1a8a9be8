import { join } from 'node:path'
import type { FastifyInstance, InjectOptions } from 'fastify'
import t from 'tap'
import { Keep, loadConfig } from '../../src/index.ts'
import { ask, gateway, listening, readableLog, type Scope, type Setup, upstream } from '../helpers.ts'
import { cli, redis, withoutRedis } from '../redis.ts'

const once = { max: 1, window: '1h' }
const respond = { body: 'hello' }

/** An upstream that never answers a request, but breaks the connection. */
const broken = (t: Scope): Promise<string> => upstream(t, (request) => void request.socket.destroy())

/** Asks several times and tells the statuses. */
async function statuses(app: FastifyInstance, ...requests: InjectOptions[]): Promise<number[]> {
  const found: number[] = []
  for (const request of requests) found.push((await app.inject(request)).statusCode)
  return found
}

const from = (remoteAddress: string, url = '/a'): InjectOptions => ({ url, remoteAddress })
const by = (headers: Record<string, string>, url = '/a'): InjectOptions => ({ url, headers })

t.test('allows max requests per window and sends the RateLimit headers', async (t) => {
  const app = await gateway(t, {
    rateLimit: { max: 2, window: '90s' },
    routes: [{ path: '/a', respond }]
  })
  const cases = [
    { status: 200, remaining: 1 },
    { status: 200, remaining: 0 },
    { status: 429, remaining: 0 },
    { status: 429, remaining: 0 }
  ]
  for (const { status, remaining } of cases) {
    const answer = await app.inject('/a')
    t.equal(answer.statusCode, status)
    t.equal(answer.headers['ratelimit-policy'], '"default";q=2;w=90')
    const [, left, seconds] = /^"default";r=(\d+);t=(\d+)$/.exec(String(answer.headers['ratelimit'])) ?? []
    t.equal(Number(left), remaining)
    t.ok(Number(seconds) > 0 && Number(seconds) <= 90, 'the rest of the window')
    t.equal(answer.headers['retry-after'], status === 429 ? seconds : undefined)
  }
  const refused = await app.inject('/a')
  t.match(refused.json(), {
    type: 'about:blank',
    title: 'Too Many Requests',
    status: 429,
    code: 'SP_ERR_RATE_LIMIT_EXCEEDED',
    detail: /^Rate limit exceeded: retry in \d+ s$/
  })
})

t.test('starts a new count when the window ends', async (t) => {
  const app = await gateway(t, { rateLimit: { max: 1, window: '20ms' }, routes: [{ path: '/a', respond }] })
  t.equal((await app.inject('/a')).statusCode, 200)
  let refused = 0
  while ((await app.inject('/a')).statusCode === 429) refused++
  t.pass(`passed again after ${refused} refusals`)
})

t.test('counts each of several concurrent requests', async (t) => {
  let seen = 0
  const target = await upstream(t, (_request, response) => {
    seen++
    response.end()
  })
  const { url } = await listening(t, {
    rateLimit: { max: 5, window: '1h' },
    routes: [{ path: '/a/*', proxy: { upstream: target } }]
  })
  const answers = await Promise.all(Array.from({ length: 20 }, () => ask(`${url}/a/x`)))
  t.equal(answers.filter(({ status }) => status === 200).length, 5)
  t.equal(answers.filter(({ status }) => status === 429).length, 15)
  t.equal(seen, 5, 'the upstream sees none of the refused ones')
})

t.test('counts by ip, caller, header, cookie, query or route', async (t) => {
  const auth = {
    optional: true,
    apiKeys: {
      list: [
        { id: 'alice', secret: 'key of alice' },
        { id: 'alice', secret: 'new key of alice' },
        { id: 'bob', secret: 'key of bob' }
      ]
    }
  }
  const alice = { 'x-api-key': 'key of alice' }
  const cases: {
    name: string
    by?: string
    requests: InjectOptions[]
    statuses: number[]
  }[] = [
    {
      name: 'the address, by itself',
      requests: [from('192.0.2.1'), from('192.0.2.1'), from('192.0.2.2'), from('::ffff:192.0.2.2')],
      statuses: [200, 429, 200, 429]
    },
    {
      name: 'the /64 of an IPv6 address',
      by: 'ip',
      requests: [
        from('2001:db8:1:2::1'),
        from('2001:db8:1:2::2'),
        from('2001:0db8:0001:0002:ffff:ffff:ffff:ffff'),
        from('2001:db8:1:3::1'),
        from('fe80::1%lo'),
        from('::1')
      ],
      statuses: [200, 429, 429, 200, 200, 200]
    },
    {
      name: 'a header, whatever its case, and the address where there is none',
      by: 'header:X-Tenant',
      requests: [
        by({ 'x-tenant': 'red' }),
        by({ 'X-TENANT': 'red' }),
        by({ 'x-tenant': 'blue' }),
        by({}),
        by({ 'x-tenant': '' }),
        by({ 'x-tenant': '127.0.0.1' })
      ],
      statuses: [200, 429, 200, 200, 429, 200]
    },
    {
      name: 'a cookie, and the address where there is none',
      by: 'cookie:visitor',
      requests: [
        by({ cookie: 'a=b; visitor=1' }),
        by({ cookie: 'visitor=1; theme=dark' }),
        by({ cookie: 'visitor=2' }),
        by({ cookie: 'xvisitor=1' }),
        by({ cookie: 'visitor' })
      ],
      statuses: [200, 429, 200, 200, 429]
    },
    {
      name: 'a query parameter, decoded, and the address where there is none',
      by: 'query:user',
      requests: [
        { url: '/a?user=a%62&x=1' },
        { url: '/a?x=2&user=ab' },
        { url: '/a?user=abc' },
        { url: '/a?users=ab' },
        { url: '/a?user=' }
      ],
      statuses: [200, 429, 200, 200, 429]
    },
    {
      name: 'all together, on each route',
      by: 'route',
      requests: [from('192.0.2.1'), from('192.0.2.2'), from('192.0.2.1', '/b'), from('192.0.2.2', '/b')],
      statuses: [200, 429, 200, 429]
    },
    {
      name: 'each method of a path, where they are routes of their own',
      by: 'route',
      requests: [
        { url: '/split', method: 'GET' },
        { url: '/split', method: 'POST' },
        { url: '/split', method: 'HEAD' }
      ],
      statuses: [200, 200, 429]
    },
    {
      name: 'each host of a path, where they are routes of their own',
      by: 'route',
      requests: [
        { url: '/hosted', headers: { host: 'one.test' } },
        { url: '/hosted', headers: { host: 'two.test' } },
        { url: '/hosted', headers: { host: 'one.test' } }
      ],
      statuses: [200, 200, 429]
    },
    {
      name: 'the caller, whatever the key and the address; an anonymous client by its address',
      by: 'caller',
      requests: [
        by(alice),
        { url: '/a', headers: { 'x-api-key': 'new key of alice' }, remoteAddress: '192.0.2.9' },
        by({ 'x-api-key': 'key of bob' }),
        by({}),
        by({}),
        from('192.0.2.9')
      ],
      statuses: [200, 429, 200, 200, 429, 200]
    }
  ]
  for (const { name, by: counted, requests, statuses: expected } of cases)
    t.test(name, async (t) => {
      const app = await gateway(t, {
        auth,
        rateLimit: { ...once, ...(counted === undefined ? {} : { by: counted }) },
        routes: [
          { path: '/a', respond },
          { path: '/b', respond },
          { path: '/split', methods: ['GET'], respond },
          { path: '/split', methods: ['POST'], respond },
          { path: '/hosted', host: 'one.test', respond },
          { path: '/hosted', host: 'two.test', respond }
        ]
      })
      t.same(await statuses(app, ...requests), expected)
    })
})

t.test('rejects unknown values of "by"', async (t) => {
  const cases: [name: string, rateLimit: object, message: RegExp][] = [
    [
      'a word that is none',
      { ...once, by: 'user' },
      /"ip", "caller", "caller\.claims\.NAME", a strategy such as "apiKeys", "route", "header:NAME", "cookie:NAME" or "query:NAME"/
    ],
    ['a header without a name', { ...once, by: 'header:' }, /"header:NAME"/],
    ['nothing at all', { window: '1s' }, /max/],
    ['none', { max: 0 }, /max/],
    ['a bare number for a window', { max: 1, window: 60 }, /a duration such as/]
  ]
  for (const [name, rateLimit, message] of cases)
    t.test(name, async (t) => {
      await t.rejects(loadConfig({ rateLimit, routes: [] }, {}), { message })
    })
})

t.test('counts per place where the limit is configured', async (t) => {
  const target = await upstream(t)
  const app = await gateway(t, {
    rateLimit: { max: 2, window: '1h' },
    routes: [
      { path: '/one', respond },
      { path: '/two', respond },
      { path: '/again', respond, rateLimit: true },
      { path: '/own', respond, rateLimit: { max: 1 } },
      { path: '/also', respond, rateLimit: { max: 1 } },
      { path: '/whole/*', proxy: { upstream: target }, rateLimit: { max: 2 } },
      { path: ['/this', '/that'], respond, rateLimit: { max: 1 } },
      { path: '/free', respond, rateLimit: false },
      {
        path: '/group',
        rateLimit: { max: 2 },
        routes: [
          { path: '/x', respond },
          { path: '/y', respond },
          { path: '/z', respond, rateLimit: { max: 1 } },
          { path: '/free', respond, rateLimit: false }
        ]
      }
    ]
  })
  const cases: [name: string, urls: string[], statuses: number[]][] = [
    ["the root's for all that inherit it", ['/one', '/two', '/again', '/one'], [200, 200, 429, 429]],
    ["a route's for the route", ['/own', '/also', '/own', '/also'], [200, 200, 429, 429]],
    ['"/a" and "/a/*" of one entry as one', ['/whole', '/whole/', '/whole/deep/er'], [200, 200, 429]],
    ['several paths of one entry as one', ['/this', '/that'], [200, 429]],
    ["a group's for the group", ['/group/x', '/group/y', '/group/x', '/group/y'], [200, 200, 429, 429]],
    ["a route's inside a group for the route", ['/group/z', '/group/z'], [200, 429]],
    [
      'nothing where it is off',
      ['/free', '/free', '/free', '/group/free', '/group/free'],
      [200, 200, 200, 200, 200]
    ]
  ]
  for (const [name, urls, expected] of cases)
    t.test(name, async (t) => t.same(await statuses(app, ...urls.map((url) => ({ url }))), expected))
  t.test('sends no headers where it is off', async (t) => {
    const { headers } = await app.inject('/free')
    t.equal(headers['ratelimit'], undefined)
    t.equal(headers['ratelimit-policy'], undefined)
  })
})

t.test('counts requests for unknown paths', async (t) => {
  const routes = [
    { path: '/a', methods: ['GET'], respond },
    { path: '/b', respond }
  ]
  for (const counted of ['ip', 'caller', 'header:x-tenant'])
    t.test(`by ${counted}`, async (t) => {
      const app = await gateway(t, { rateLimit: { max: 3, window: '1h', by: counted }, routes })
      t.same(
        await statuses(
          app,
          { url: '/nowhere' },
          {
            url: '/elsewhere',
            method: 'POST',
            payload: '{',
            headers: { 'content-type': 'application/json' }
          },
          { url: '/a', method: 'DELETE' },
          { url: '/nowhere' },
          { url: '/b' }
        ),
        [404, 404, 405, 429, 429]
      )
    })
  t.test('counts each path separately by "route"', async (t) => {
    const app = await gateway(t, { rateLimit: { ...once, by: 'route' }, routes })
    t.same(await statuses(app, { url: '/nowhere' }, { url: '/elsewhere' }, { url: '/b' }), [404, 429, 200])
  })
})

t.test('applies only to routes that enable it when "global" is false', async (t) => {
  const app = await gateway(t, {
    rateLimit: { max: 1, window: '1h', global: false },
    routes: [
      { path: '/silent', respond },
      { path: '/asks', respond, rateLimit: true },
      { path: '/also', respond, rateLimit: true },
      { path: '/more', respond, rateLimit: { max: 2 } }
    ]
  })
  t.same(
    await statuses(app, { url: '/silent' }, { url: '/silent' }, { url: '/nowhere' }, { url: '/nowhere' }),
    [200, 200, 404, 404]
  )
  t.same(await statuses(app, { url: '/asks' }, { url: '/also' }), [200, 429], 'they share what the root says')
  t.same(await statuses(app, { url: '/more' }, { url: '/more' }, { url: '/more' }), [200, 200, 429])
})

t.test('sends the RateLimit headers on every counted response', async (t) => {
  const root = t.testdir({ 'a.txt': 'a file' })
  const target = await upstream(t, (_request, response) => {
    response.setHeader('ratelimit', 'theirs').setHeader('retry-after', '7').end('theirs')
  })
  const config = {
    routes: [
      { path: '/respond', respond },
      { path: '/proxy/*', proxy: { upstream: target } },
      { path: '/down/*', proxy: { upstream: await broken(t) } },
      { path: '/files/*', files: { root } },
      { path: '/redirect', redirect: { to: '/' } },
      { path: '/locked', respond, auth: { apiKeys: { list: [] } } }
    ]
  }
  const cases: [url: string, status: number][] = [
    ['/respond', 200],
    ['/proxy/x', 200],
    ['/down/x', 502],
    ['/files/a.txt', 200],
    ['/files/b.txt', 404],
    ['/redirect', 308],
    ['/locked', 401],
    ['/nowhere', 404]
  ]
  const app = await gateway(t, { ...config, rateLimit: { max: 100, window: '1h' } })
  for (const [url, status] of cases) {
    const answer = await app.inject(url)
    t.equal(answer.statusCode, status, url)
    t.equal(answer.headers['ratelimit-policy'], '"default";q=100;w=3600')
    t.match(answer.headers['ratelimit'], /^"default";r=\d+;t=3[56]\d\d$/, 'ours, not the upstream’s')
  }
  t.equal((await app.inject('/proxy/x')).headers['retry-after'], '7', 'what is theirs stays')
})

t.test('keeps counts over a reload and drops them when no config uses them', async (t) => {
  const keep = new Keep()
  const config = { rateLimit: { max: 2, window: '1h' }, routes: [{ path: '/a', respond }] }
  const first = await gateway(t, config, { keep })
  t.same(await statuses(first, { url: '/a' }, { url: '/a' }), [200, 200])
  const second = await gateway(
    t,
    { ...config, routes: [...config.routes, { path: '/b', respond }] },
    { keep }
  )
  await first.close()
  t.same(await statuses(second, { url: '/a' }, { url: '/b' }), [429, 429])
  await second.close()
  t.equal(keep.size, 0)
  const third = await gateway(t, config, { keep })
  t.same(await statuses(third, { url: '/a' }), [200])
})

t.test('identifies a limit by its place, over a reload and across gateways with one Redis', async (t) => {
  const limited = (more = '', limit = '"max": 1, "window": "1h"'): string =>
    `{ ${more}, "rateLimit": { ${limit} }, "respond": { "body": "a" } }`
  const a = limited('"path": "/a"')
  const b = '{ "path": "/b", "respond": { "body": "b" } }'
  const routes = (...list: string[]): string => `{ "routes": [ ${list.join(',\n')} ] }`
  const group = (said: string, ...list: string[]): string =>
    `{ ${said === '' ? '' : `${said}, `}"rateLimit": { "max": 1, "window": "1h" }, "routes": [ ${list.join(', ')} ] }`
  const plain = (path: string): string => `{ "path": "${path}", "respond": { "body": "x" } }`
  const root = (limit: string): string => `{ "rateLimit": { ${limit} }, "routes": [ ${plain('/a')} ] }`
  const cases: { name: string; before: string; after: string; keeps: boolean }[] = [
    { name: 'a comment above it', before: routes(a), after: `// one\n// two\n${routes(a)}`, keeps: true },
    { name: 'another route before it', before: routes(a), after: routes(b, a), keeps: true },
    { name: 'a route moved behind another', before: routes(a, b), after: routes(b, a), keeps: true },
    {
      name: 'a limit inside a group that moved',
      before: routes(`{ "path": "/g", "routes": [ ${limited('"path": "/x"')} ] }`, a),
      after: routes(b, a, `{ "path": "/g", "routes": [ ${plain('/y')}, ${limited('"path": "/x"')} ] }`),
      keeps: true
    },
    {
      name: "a group's own limit, by its path",
      before: routes(group('"path": "/g"', plain('/x'))),
      after: routes(b, group('"path": "/g"', plain('/a'), plain('/x'))),
      keeps: true
    },
    {
      name: "a group's own limit, by its name",
      before: routes(group('"name": "g", "path": "/g"', plain('/x'))),
      after: routes(b, group('"path": "/g", "name": "g"', plain('/x'), plain('/a'))),
      keeps: true
    },
    {
      name: 'a group without name, path and host, by its least route',
      before: routes(group('', plain('/g/x'), plain('/g/z'))),
      after: routes(b, group('', plain('/g/z'), plain('/g/y'), plain('/g/x'))),
      keeps: true
    },
    {
      name: 'a limit of a route in such a group, whatever else is in it',
      before: routes(`{ "auth": false, "routes": [ ${limited('"path": "/g/x"')} ] }`),
      after: routes(`{ "auth": false, "routes": [ ${plain('/a')}, ${limited('"path": "/g/x"')} ] }`),
      keeps: true
    },
    {
      name: 'a named route with another path',
      before: routes(limited('"name": "n", "path": "/g/x"')),
      after: routes(limited('"name": "n", "path": ["/a", "/g/x"]')),
      keeps: true
    },
    {
      name: 'hosts, paths and methods in another order',
      before: routes(limited('"path": ["/g/x", "/g/y"], "methods": ["GET", "POST"]')),
      after: routes(limited('"methods": ["POST", "GET"], "path": ["/g/y", "/g/x"]')),
      keeps: true
    },
    {
      name: 'all of a route, counted together',
      before: routes(limited('"path": "/g/x"', '"max": 1, "window": "1h", "by": "route"')),
      after: routes(b, limited('"path": "/g/x"', '"max": 1, "window": "1h", "by": "route"')),
      keeps: true
    },
    {
      name: 'another max',
      before: routes(limited('"path": "/a"', '"max": 2, "window": "1h"')),
      after: routes(limited('"path": "/a"', '"max": 1, "window": "1h"')),
      keeps: true
    },
    {
      name: 'another max of a bucket',
      before: routes(limited('"path": "/a"', '"max": 2, "window": "1h", "algorithm": "tokenBucket"')),
      after: routes(limited('"path": "/a"', '"max": 1, "window": "1h", "algorithm": "tokenBucket"')),
      keeps: true
    },
    {
      name: 'another max of a sliding window',
      before: root('"max": 2, "window": "7d", "algorithm": "slidingWindow"'),
      after: root('"max": 1, "window": "168h", "algorithm": "slidingWindow"'),
      keeps: true
    },
    {
      name: 'another window',
      before: root('"max": 1, "window": "1h"'),
      after: root('"max": 1, "window": "2h"'),
      keeps: false
    },
    {
      name: 'another algorithm',
      before: root('"max": 1, "window": "1h"'),
      after: root('"max": 1, "window": "1h", "algorithm": "tokenBucket"'),
      keeps: false
    },
    {
      name: 'another key',
      before: root('"max": 1, "window": "1h"'),
      after: root('"max": 1, "window": "1h", "by": "header:x-tenant"'),
      keeps: false
    },
    {
      name: 'the same route in another group',
      before: routes(`{ "path": "/g", "routes": [ ${limited('"path": "/x"')} ] }`),
      after: routes(`{ "name": "other", "path": "/g", "routes": [ ${limited('"path": "/x"')} ] }`),
      keeps: false
    }
  ]
  const server = withoutRedis === false ? await redis(t) : undefined
  for (const { name, before, after, keeps } of cases)
    for (const shared of server === undefined ? [undefined] : [undefined, server])
      t.test(`${name}, ${shared === undefined ? 'after a reload' : 'in another gateway'}`, async (t) => {
        if (shared !== undefined) cli(shared.port, 'flushall')
        const env = shared === undefined ? {} : { REDIS_URL: shared.url }
        const folder = t.testdir({ 'one.json': before, 'other.json': after })
        const url = before.includes('/g') ? '/g/x' : '/a'
        const keep = new Keep()
        const setup = (): Setup => ({ env, ...(shared === undefined ? { keep } : {}) })
        const first = await gateway(t, join(folder, 'one.json'), setup())
        let used = 0
        while ((await first.inject(url)).statusCode === 200) used++
        t.ok(used > 0)
        const second = await gateway(t, join(folder, 'other.json'), setup())
        t.equal((await second.inject(url)).statusCode, keeps ? 429 : 200)
      })
})

t.test('keeps the used tokens when "burst" changes', async (t) => {
  const keep = new Keep()
  const config = (burst: number): object => ({
    rateLimit: { max: 10, window: '7d', algorithm: 'tokenBucket', burst },
    routes: [{ path: '/a', respond }]
  })
  t.same(await statuses(await gateway(t, config(2), { keep }), { url: '/a' }, { url: '/a' }), [200, 200])
  const wider = await gateway(t, config(3), { keep })
  t.same(await statuses(wider, { url: '/a' }, { url: '/a' }), [200, 429])
})

t.test('requires distinct names for distinct places', async (t) => {
  const limit = { rateLimit: { max: 1, window: '1h' } }
  const route = (path: string, name?: string): object => ({
    path,
    respond,
    ...(name === undefined ? {} : { name })
  })
  await t.rejects(loadConfig({ routes: [route('/a', 'one'), route('/b', 'one')] }, {}), {
    message:
      /routes\[1\]\.name: expected a name that no sibling has, got "one", which is also the name at .*; rename one of them/
  })
  await t.rejects(
    loadConfig(
      {
        routes: [
          { name: 'one', path: '/a', routes: [] },
          { path: '/g', routes: [route('/x', 'two'), route('/y', 'two')] }
        ]
      },
      {}
    ),
    { message: /routes\[1\]\.routes\[1\]\.name: expected a name that no sibling has, got "two"/ }
  )
  t.test('counts separately for the same name in two groups', async (t) => {
    const groups = ['/g', '/h'].map((path) => ({ path, routes: [{ ...route('/x', 'same'), ...limit }] }))
    const app = await gateway(t, { routes: groups })
    t.same(await statuses(app, { url: '/g/x' }, { url: '/h/x' }, { url: '/g/x' }), [200, 200, 429])
  })
  t.test('counts separately for two groups without a name or of the same path', async (t) => {
    const cases: [name: string, group: object, warnings: number][] = [
      ['nothing of their own', {}, 0],
      ['the same path', { path: '/g' }, 1]
    ]
    for (const [name, group, warnings] of cases)
      t.test(name, async (t) => {
        const prefix = 'path' in group ? '' : '/g'
        const config = {
          routes: ['/x', '/y'].map((path) => ({ ...group, ...limit, routes: [route(`${prefix}${path}`)] }))
        }
        const app = await gateway(t, config)
        t.same(await statuses(app, { url: '/g/x' }, { url: '/g/y' }, { url: '/g/x' }), [200, 200, 429])
        const found = (await loadConfig(config, {})).warnings
        t.equal(found.length, warnings)
        for (const { message } of found) t.match(message, /give it a "name"/)
      })
  })
})

t.test('uses X-Forwarded-For of trusted proxies only', async (t) => {
  const routes = [{ path: '/a', respond }]
  const forwarded = (address: string, remoteAddress?: string): InjectOptions => ({
    url: '/a',
    headers: { 'x-forwarded-for': address },
    ...(remoteAddress === undefined ? {} : { remoteAddress })
  })
  t.test('counts a client with forged addresses as one', async (t) => {
    const app = await gateway(t, { rateLimit: once, routes })
    t.same(
      await statuses(app, forwarded('192.0.2.1'), forwarded('192.0.2.2'), forwarded('192.0.2.3')),
      [200, 429, 429]
    )
  })
  t.test('counts clients of a trusted proxy separately', async (t) => {
    const app = await gateway(t, { trustedProxies: ['loopback'], rateLimit: once, routes })
    t.same(
      await statuses(
        app,
        forwarded('192.0.2.1'),
        forwarded('192.0.2.2'),
        forwarded('192.0.2.1'),
        forwarded('198.51.100.7, 192.0.2.2'),
        forwarded('198.51.100.8, 192.0.2.1, 127.0.0.2'),
        forwarded('2001:db8::1'),
        forwarded('2001:db8::2')
      ),
      [200, 200, 429, 429, 429, 200, 429]
    )
  })
  t.test('exempts addresses from all limits, and says nothing of limits to them', async (t) => {
    const app = await gateway(t, {
      trustedProxies: ['10.0.0.0/8'],
      rateLimit: { ...once, exempt: ['192.0.2.0/28', '10.0.0.0/8'], also: { two: { max: 2, window: '1h' } } },
      routes
    })
    const office = forwarded('192.0.2.1', '10.0.0.1')
    const proxy = { url: '/a', remoteAddress: '10.0.0.1' }
    t.same(await statuses(app, office, office, office), [200, 200, 200])
    t.notMatch((await app.inject(office)).headers, { ratelimit: /./ })
    t.same(
      await statuses(app, forwarded('192.0.2.1', '203.0.113.1'), forwarded('192.0.2.1', '203.0.113.1')),
      [200, 429],
      'an untrusted peer can not claim an exempt address'
    )
    t.same(await statuses(app, proxy, proxy), [200, 429], 'a trusted proxy that names no client is counted')
    for (const [exempt, message] of [
      [['10.0.0.0/8'], /rateLimit\.exempt\[0\]: expected "trustedProxies" at the root/],
      [['office'], /rateLimit\.exempt\[0\]: expected an address, got "office"/]
    ] as const)
      await t.rejects(loadConfig({ rateLimit: { ...once, exempt }, routes } as never, {}), { message })
  })
  t.test('counts an untrusted peer by its own address', async (t) => {
    const app = await gateway(t, { trustedProxies: ['10.0.0.0/8'], rateLimit: once, routes })
    t.same(
      await statuses(
        app,
        forwarded('192.0.2.1', '203.0.113.1'),
        forwarded('192.0.2.2', '203.0.113.1'),
        forwarded('192.0.2.1', '10.0.0.1')
      ),
      [200, 429, 200]
    )
  })
})

t.test('warns once about an untrusted proxy', async (t) => {
  const cases: [name: string, trustedProxies: string[] | undefined, warnings: number][] = [
    ['without a trusted proxy', undefined, 1],
    ['where others are trusted', ['10.0.0.0/8'], 1],
    ['but not of one that is', ['loopback'], 0]
  ]
  for (const [name, trustedProxies, warnings] of cases)
    t.test(name, async (t) => {
      const keep = new Keep()
      const { log, lines } = readableLog()
      const config = {
        ...(trustedProxies === undefined ? {} : { trustedProxies }),
        rateLimit: { max: 100, window: '1h' },
        routes: [{ path: '/a', respond }]
      }
      const first = await gateway(t, config, { keep, log })
      const again = await gateway(t, config, { keep, log })
      for (const app of [first, first, again])
        t.equal((await app.inject(by({ 'x-forwarded-for': '192.0.2.1' }))).statusCode, 200)
      const found = lines.filter(({ msg }) => /X-Forwarded-For from a peer/.test(String(msg)))
      t.equal(found.length, warnings)
      for (const line of found) t.match(line, { level: 'warn', msg: /"trustedProxies"/ })
    })
})

t.test('reports but does not refuse in report mode', async (t) => {
  const { log, lines } = readableLog()
  const app = await gateway(
    t,
    { rateLimit: { ...once, mode: 'report' }, routes: [{ path: '/a', respond }] },
    { log }
  )
  for (const [i, remaining] of [0, 0].entries()) {
    const answer = await app.inject('/a')
    t.equal(answer.statusCode, 200)
    t.match(answer.headers['ratelimit'], `"default";r=${remaining};`)
    t.equal(answer.headers['retry-after'], undefined)
    t.match(lines.at(-1), { status: 200, refusedBy: undefined })
    t.strictSame(
      lines.at(-1)?.['wouldRefuse'],
      i === 0 ? undefined : ['rateLimit SP_ERR_RATE_LIMIT_EXCEEDED']
    )
  }
  t.test('only on the route in report mode', async (t) => {
    const app = await gateway(t, {
      rateLimit: once,
      routes: [
        { path: '/a', respond },
        { path: '/b', respond, rateLimit: { mode: 'report' } }
      ]
    })
    t.same(
      await statuses(app, { url: '/b' }, { url: '/b' }, { url: '/a' }, { url: '/a' }),
      [200, 200, 200, 429]
    )
  })
})

t.test('logs the refused client and the code', async (t) => {
  const { log, lines } = readableLog()
  const app = await gateway(t, { rateLimit: once, routes: [{ path: '/a', respond }] }, { log })
  await statuses(app, { url: '/a' }, { url: '/a' })
  t.match(lines.at(-1), {
    level: 'warn',
    status: 429,
    refusedBy: 'rateLimit',
    code: 'SP_ERR_RATE_LIMIT_EXCEEDED',
    ip: '127.0.0.1'
  })
})

t.test('never limits health checks', async (t) => {
  const app = await gateway(t, { rateLimit: once, routes: [{ path: '/a', respond }] })
  t.same(await statuses(app, { url: '/a' }, { url: '/a' }), [200, 429])
  for (const url of ['/-/live', '/-/ready', '/-/live', '/-/ready']) {
    const answer = await app.inject(url)
    t.equal(answer.statusCode, 200)
    t.equal(answer.headers['ratelimit'], undefined)
  }
})

t.test('drops the oldest key beyond 65,536', async (t) => {
  const app = await gateway(t, {
    accessLog: false,
    rateLimit: { ...once, by: 'header:x-tenant' },
    routes: [{ path: '/a', respond }]
  })
  t.same(await statuses(app, by({ 'x-tenant': 'first' }), by({ 'x-tenant': 'first' })), [200, 429])
  const others = Array.from({ length: 65_536 }, (_, i) => by({ 'x-tenant': `t${i}` }))
  while (others.length > 0) await Promise.all(others.splice(-512).map((request) => app.inject(request)))
  t.same(await statuses(app, by({ 'x-tenant': 'first' })), [200], 'the one longest not seen was forgotten')
  t.same(await statuses(app, by({ 'x-tenant': 't0' })), [429], 'the ones seen last were not')
})
