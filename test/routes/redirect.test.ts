import t from 'tap'
import { ConfigError, loadConfig } from '../../src/index.ts'
import { ask, gateway, listening, raw, statusOf } from '../helpers.ts'
import { bodies, post } from './unread-bodies.ts'

const get = (path: string, ...headers: string[]): string =>
  [`GET ${path} HTTP/1.1`, 'Host: a', 'Connection: close', ...headers, '', ''].join('\r\n')
const headerOf = (answer: string, name: string): string | undefined =>
  new RegExp(`\r\n${name}: ([^\r]*)`, 'i').exec(answer)?.[1]
const bodyIn = (answer: string): string => answer.slice(answer.indexOf('\r\n\r\n') + 4)

const body = (text: string): object => ({ respond: { body: text } })
const to = (address: string): object => ({ redirect: { to: address } })

t.test('does not match the path with a slash if the redirect adds it', async (t) => {
  const cases: { name: string; routes: object[]; host?: string; from: string; at: string; asks: string }[] = [
    {
      name: 'a path',
      routes: [
        { path: '/app', ...to('/app/') },
        { path: '/app/*', ...body('in') }
      ],
      from: '/app?x=1',
      at: '/app/?x=1',
      asks: '/app/'
    },
    {
      name: 'the wildcard first, and a catch-all',
      routes: [
        { path: '/*', ...body('all') },
        { path: '/app/*', ...body('in') },
        { path: '/app', ...to('/app/#top') }
      ],
      from: '/app',
      at: '/app/#top',
      asks: '/app/'
    },
    {
      name: 'no more than a catch-all',
      routes: [
        { path: '/*', ...body('in') },
        { path: '/app', ...to('/app/') }
      ],
      from: '/app',
      at: '/app/',
      asks: '/app/'
    },
    {
      name: 'in a group',
      routes: [
        {
          path: '/g',
          routes: [
            { path: '/app', ...to('/g/app/') },
            { path: '/app/*', ...body('in') }
          ]
        }
      ],
      from: '/g/app',
      at: '/g/app/',
      asks: '/g/app/'
    },
    {
      name: 'a parameter',
      routes: [
        { path: '/u/:id', ...to('/u/{params.id}/') },
        { path: '/u/:id/*', ...body('in') }
      ],
      from: '/u/7',
      at: '/u/7/',
      asks: '/u/7/'
    },
    {
      name: 'several paths',
      routes: [
        { path: ['/app', '/old'], ...to('/app/') },
        { path: '/app/*', ...body('in') }
      ],
      from: '/old/',
      at: '/app/',
      asks: '/app/'
    },
    {
      name: 'one method alone',
      routes: [
        { path: '/app', methods: ['GET'], ...to('/app/') },
        { path: '/app/*', ...body('in') }
      ],
      from: '/app',
      at: '/app/',
      asks: '/app/'
    },
    {
      name: "the route's own host",
      routes: [
        { host: 'a.test', path: '/app', ...to('https://a.test/app/') },
        { host: 'a.test', path: '/app/*', ...body('in') }
      ],
      host: 'a.test',
      from: '/app',
      at: 'https://a.test/app/',
      asks: '/app/'
    },
    {
      name: 'the host of the request',
      routes: [
        { path: '/app', ...to('https://{host}/app/') },
        { path: '/app/*', ...body('in') }
      ],
      host: 'b.test',
      from: '/app',
      at: 'https://b.test/app/',
      asks: '/app/'
    }
  ]
  for (const { name, routes, host = 'c.test', from, at, asks } of cases)
    t.test(name, async (t) => {
      const app = await gateway(t, { routes })
      const headers = { host }
      const sent = await app.inject({ url: from, headers })
      t.equal(sent.statusCode, 308)
      t.equal(sent.headers.location, at)
      const got = await app.inject({ url: asks, headers })
      t.equal(got.statusCode, 200)
      t.equal(got.body, 'in')
    })

  t.test('is a 404 if no other route matches', async (t) => {
    const app = await gateway(t, { routes: [{ path: '/app', ...to('/app/') }] })
    t.equal((await app.inject('/app/')).statusCode, 404)
  })

  t.test('matches with a slash for any other redirect', async (t) => {
    const app = await gateway(t, {
      routes: [
        { path: '/a', ...to('/b/') },
        { path: '/c', ...to('https://elsewhere.test/c/') },
        { path: '/d/', ...to('/d') },
        { path: '/d', ...body('d') }
      ]
    })
    t.equal((await app.inject('/a/')).headers.location, '/b/')
    t.equal((await app.inject('/c/')).headers.location, 'https://elsewhere.test/c/')
    t.equal((await app.inject('/d/')).headers.location, '/d')
    t.equal((await app.inject('/d')).body, 'd')
  })
})

t.test('rejects a redirect to itself', async (t) => {
  const loops: { route: object; itself: string; root?: object }[] = [
    { route: { path: '/a', ...to('/a') }, itself: '/a' },
    { route: { path: '/a', ...to('/a?x=1') }, itself: '/a' },
    { route: { path: '/a/', ...to('/a/') }, itself: '/a/' },
    { route: { path: '/a/*', ...to('/a') }, itself: '/a/*' },
    { route: { path: '/a/*', ...to('/a/#x') }, itself: '/a/*' },
    { route: { path: '/*', ...to('/') }, itself: '/*' },
    { route: { path: '/%7Ea', ...to('/~a') }, itself: '/%7Ea' },
    { route: { path: ['/b', '/a'], ...to('/a') }, itself: '/a' },
    { route: { path: '/u/:id(\\d+)', ...to('/u/{params.id}') }, itself: '/u/:id(\\d+)' },
    { route: { path: '/*', ...to('http://{host}/') }, itself: '/*' },
    { route: { host: 'a.test', path: '/*', ...to('http://A.test') }, itself: '/*' },
    { route: { path: '/a', ...to('https://a.test/a') }, itself: '/a', root: { publicUrl: 'https://a.test' } },
    { route: { path: '/A', ...to('/a') }, itself: '/A', root: { paths: { ignoreCase: true } } }
  ]
  for (const { route, itself, root } of loops)
    try {
      await loadConfig({ ...root, routes: [route] }, {})
      t.fail(`${itself} passes`)
    } catch (error) {
      t.ok(error instanceof ConfigError)
      t.match(String(error), `routes[0].redirect.to: expected another address than the route's own, got "`)
      t.match(String(error), `"${itself}" would redirect to itself`)
    }
  const sound: object[] = [
    { path: '/*', ...to('https://{host}/') },
    { path: '/*', ...to('https://a.test/') },
    { host: 'www.a.test', path: '/*', ...to('https://a.test/') },
    { host: 'a.test', path: '/*', ...to('https://a.test/') },
    { host: 'a.test', path: '/*', ...to('http://a.test:8080/') },
    { path: '/a/*', ...to('/b/') },
    { path: '/*', redirect: { to: '/', rest: false } },
    { path: '/a', ...to('/a/') },
    { path: '/u/:id', ...to('/u/{query.id}') }
  ]
  for (const route of sound) await t.resolves(loadConfig({ routes: [route] }, {}), JSON.stringify(route))
})

t.test('leaves out the rest of the path and the query if asked to', async (t) => {
  const { app, url } = await listening(t, {
    routes: [
      { path: '/rest/*', redirect: { to: '/new/', rest: false } },
      { path: '/query/*', redirect: { to: '/new/', query: false } },
      { path: '/both/*', redirect: { to: 'https://example.com/moved?from=both', rest: false, query: false } },
      { path: ['/one/:id/*', '/two/deep/:id/*'], redirect: { to: '/items/{params.id}', rest: false } },
      { path: '/exact', redirect: { to: '/there?x=1', query: false } },
      { path: '/*', redirect: { to: '/', rest: false } },
      { path: '/', ...body('home') },
      { path: '/loop/*', redirect: { to: '/loop/end?x=1', rest: false } },
      { path: '/slashes/*', redirect: { to: '//evil.test', rest: false } }
    ]
  })
  const cases: [path: string, location: string][] = [
    ['/rest/a/b?x=1', '/new/?x=1'],
    ['/rest?x=1', '/new/?x=1'],
    ['/query/a/b?x=1', '/new/a/b'],
    ['/both/a?x=1', 'https://example.com/moved?from=both'],
    ['/one/7/a/b?x=1', '/items/7?x=1'],
    ['/two/deep/7/a', '/items/7'],
    ['/exact?y=2', '/there?x=1'],
    ['/any/thing', '/'],
    ['/loop/start', '/loop/end?x=1'],
    ['/slashes/a', '/evil.test']
  ]
  for (const [path, location] of cases) {
    const answer = await app.inject(path)
    t.match(answer, { statusCode: 308, headers: { location } }, path)
  }
  t.equal((await app.inject('/')).body, 'home')
  t.equal((await app.inject('/loop/end?x=1')).statusCode, 404, 'has no route of its own')
  const answer = await ask(`${url}/both/a`, { redirect: 'manual' })
  t.equal(answer.headers.get('location'), 'https://example.com/moved?from=both')
})

t.test('redirects to the configured location', async (t) => {
  const { app, port } = await listening(t, {
    paths: { doubleSlash: 'keep' },
    routes: [
      { path: '/old/*', redirect: { to: '/new/' } },
      { path: '/bare/*', redirect: { to: '/' } },
      { path: '/away/*', redirect: { to: 'https://example.com/v2' } },
      { path: '/host/*', redirect: { to: 'https://example.com' } },
      { path: '/exact', redirect: { to: '/there' } },
      { path: '/asks', redirect: { to: '/there?from=exact' } },
      { path: '/asked/*', redirect: { to: 'https://example.com/v2/?from=asked' } },
      { path: '/item/:id', redirect: { to: '/items?id={params.id}' } },
      { path: '/user/:id/*', redirect: { to: '/users/{params.id}' } },
      { path: '/search', redirect: { to: '/find/{query.q}' } },
      { path: '/same/*', redirect: { to: 'https://{host}/same' } },
      { path: '/größe', redirect: { to: '/Maße und €' } },
      { path: ['/two/*', '/by/two/*'], redirect: { to: '/one' } },
      { path: '/', redirect: { to: '/home' } },
      ...[301, 302, 303, 307, 308].map((status) => ({ path: `/${status}`, redirect: { to: '/', status } }))
    ]
  })
  const cases: [path: string, location: string][] = [
    ['/old', '/new'],
    ['/old/', '/new/'],
    ['/old/a/b', '/new/a/b'],
    ['/old/a%2Fb%20c?x=%2F&y=a+b', '/new/a%2Fb%20c?x=%2F&y=a+b'],
    ['/old?x=1', '/new?x=1'],
    ['/bare', '/'],
    ['/bare/a', '/a'],
    ['/bare//evil.test', '/evil.test'],
    ['/bare///evil.test/x', '/evil.test/x'],
    ['/bare/%2Fevil.test', '/%2Fevil.test'],
    ['/away/a?x=1', 'https://example.com/v2/a?x=1'],
    ['/away//a', 'https://example.com/v2//a'],
    ['/away', 'https://example.com/v2'],
    ['/host/a', 'https://example.com/a'],
    ['/host', 'https://example.com/'],
    ['/host/@evil.test', 'https://example.com/@evil.test'],
    ['/host/.evil.test', 'https://example.com/.evil.test'],
    ['/exact', '/there'],
    ['/exact?x=1', '/there?x=1'],
    ['/asks', '/there?from=exact'],
    ['/asks?x=1', '/there?from=exact&x=1'],
    ['/asked/a', 'https://example.com/v2/a?from=asked'],
    ['/asked/a?x=1', 'https://example.com/v2/a?from=asked&x=1'],
    ['/item/a%20b', '/items?id=a%20b'],
    ['/item/a%26b%3Dc?x=1', '/items?id=a%26b%3Dc&x=1'],
    ['/user/a%2Fb/c', '/users/a%2Fb/c'],
    ['/user/%5Cevil.test/x', ''],
    ['/search?q=//evil.test', '/find/%2F%2Fevil.test?q=//evil.test'],
    ['/search?q=a%20b', '/find/a%20b?q=a%20b'],
    ['/same/x', 'https://gateway.test/same/x'],
    ['/gr%C3%B6%C3%9Fe', '/Ma%C3%9Fe%20und%20%E2%82%AC'],
    ['/two/a', '/one/a'],
    ['/by/two/a', '/one/a'],
    ['/', '/home']
  ]
  for (const [path, location] of cases)
    t.test(`${path} goes to ${location || 'nowhere'}`, async (t) => {
      const answer = await raw(port, get(path).replace('Host: a', 'Host: gateway.test'), 5000)
      t.equal(statusOf(answer), location === '' ? 400 : 308)
      if (location === '') return
      t.equal(headerOf(answer, 'location'), location)
      t.notMatch(headerOf(answer, 'location'), /^[/\\]{2}/, 'two slashes would name another host')
      t.equal(bodyIn(answer), '')
    })
  for (const status of [301, 302, 303, 307, 308])
    t.test(`by ${status}`, async (t) => {
      for (const method of ['GET', 'HEAD', 'POST'] as const) {
        const answer = await app.inject({ method, url: `/${status}` })
        t.match(answer, { statusCode: status, headers: { location: '/' } })
        t.match(answer.headers, { 'x-content-type-options': 'nosniff' })
      }
    })
  t.test('ignores the body', async (t) => {
    for (const body of bodies) t.equal((await post(app, '/exact', body)).statusCode, 308, String(body))
  })
  t.test('rejects hosts that a client could set', async (t) => {
    const wrong: [name: string, path: string, to: string, message: RegExp][] = [
      ['another scheme', '/a', 'javascript:alert(1)', /a path or an http\(s\) URL/],
      ['no path', '/a', 'there', /a path or an http\(s\) URL/],
      ['an unknown parameter', '/a/:id', '/{params.name}', /got "\{params\.name\}"; the path has :id/],
      ['a host out of the path', '/a/:id', 'https://{params.id}.example.com/', /got "\{params\.id\}"/],
      ['a host out of the query', '/a', 'https://{query.h}', /got "\{query\.h\}"/],
      ['an invalid status', '/a', '/b', /status/]
    ]
    for (const [name, path, to, message] of wrong)
      t.test(name, async (t) => {
        const redirect = name === 'an invalid status' ? { to, status: 200 } : { to }
        await t.rejects(loadConfig({ routes: [{ path, redirect }] }, {}), { message })
      })
  })
})

t.test('puts a fragment after the rest of the path and the query', async (t) => {
  const app = await gateway(t, {
    routes: [
      { path: '/a', ...to('/b/#top') },
      { path: '/c/*', ...to('https://www.example.com/d/?x=1#top') },
      { path: '/e/*', redirect: { to: '/f/#top', rest: false, query: false } },
      { path: '/h', ...to('https://new.example#top') },
      { path: '/orders/:id', ...to('/#/orders/{params.id}') },
      { path: '/i/:id/*', ...to('/j/{params.id}?x={query.x}#{{{query.y}/{params.id}') }
    ]
  })
  const cases: [url: string, location: string][] = [
    ['/a?q=1', '/b/?q=1#top'],
    ['/a', '/b/#top'],
    ['/c/g?q=1', 'https://www.example.com/d/g?x=1&q=1#top'],
    ['/e/g?q=1', '/f/#top'],
    ['/h', 'https://new.example/#top'],
    ['/h?q=1', 'https://new.example/?q=1#top'],
    ['/orders/7?q=1', '/?q=1#/orders/7'],
    ['/i/1/g', '/j/1/g?x=#{/1'],
    ['/i/1/g?x=a%23b&y=%0D%0Ac%23', '/j/1/g?x=a%23b&x=a%23b&y=%0D%0Ac%23#{%0D%0Ac%23/1']
  ]
  for (const [url, location] of cases) t.equal((await app.inject(url)).headers['location'], location, url)
})
