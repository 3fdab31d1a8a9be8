import type { HTTPMethods, InjectOptions } from 'fastify'
import t from 'tap'
import { gateway, upstream } from '../helpers.ts'
import { both, cookieOf, users, who } from './callers.ts'

t.test('refuses cross-site requests that change something', async (t) => {
  const ours = 'http://gate.example'
  const sources: { name: string; headers: Record<string, string>; safe: boolean }[] = [
    { name: 'no browser', headers: {}, safe: true },
    { name: 'our own page', headers: { 'sec-fetch-site': 'same-origin', origin: ours }, safe: true },
    { name: 'our own page without an origin', headers: { 'sec-fetch-site': 'same-origin' }, safe: true },
    { name: 'the user', headers: { 'sec-fetch-site': 'none' }, safe: true },
    { name: 'a sibling site', headers: { 'sec-fetch-site': 'same-site' }, safe: false },
    {
      name: 'a page of a sibling site',
      headers: { 'sec-fetch-site': 'same-site', origin: 'http://www.gate.example' },
      safe: false
    },
    { name: 'another site', headers: { 'sec-fetch-site': 'cross-site' }, safe: false },
    {
      name: 'a page of another site',
      headers: { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
      safe: false
    },
    {
      name: 'a frame of another site',
      headers: { 'sec-fetch-site': 'cross-site', origin: 'null' },
      safe: false
    },
    {
      name: 'a partner',
      headers: { 'sec-fetch-site': 'cross-site', origin: 'https://partner.example' },
      safe: true
    },
    {
      name: 'another site under our name',
      headers: { 'sec-fetch-site': 'cross-site', origin: ours },
      safe: false
    },
    { name: 'a word that nobody knows', headers: { 'sec-fetch-site': 'galaxy' }, safe: false },
    { name: 'an old browser on our own page', headers: { origin: ours }, safe: true },
    { name: 'an old browser on another site', headers: { origin: 'https://evil.example' }, safe: false },
    { name: 'an old browser on a partner', headers: { origin: 'https://partner.example' }, safe: true },
    { name: 'an old browser in a frame', headers: { origin: 'null' }, safe: false },
    { name: 'an empty origin', headers: { origin: '' }, safe: false },
    { name: 'our host by https', headers: { origin: 'https://gate.example' }, safe: false },
    { name: 'our host on another port', headers: { origin: `${ours}:8080` }, safe: false },
    { name: 'a host that begins as ours', headers: { origin: `${ours}.evil.example` }, safe: false },
    { name: 'a host that ends as ours', headers: { origin: 'http://evilgate.example' }, safe: false },
    { name: 'a partner by http', headers: { origin: 'http://partner.example' }, safe: false },
    { name: 'a host below a partner', headers: { origin: 'https://a.partner.example' }, safe: false }
  ]
  const app = await gateway(t, {
    auth: both,
    csrf: { origins: ['https://partner.example'] },
    routes: [
      who,
      { ...who, path: '/optional', auth: { optional: true } },
      { ...who, path: '/keys', auth: { by: ['apiKeys'] } },
      { ...who, path: '/public', auth: false },
      { ...who, path: '/off', csrf: false }
    ]
  })
  const host = 'gate.example'
  const cookie = await cookieOf(app, 'ada', host)
  const key = { 'x-api-key': 'key of alice' }
  const ask = async (method: HTTPMethods, url: string, more: InjectOptions): Promise<number> => {
    const { statusCode, json } = await app.inject({
      method,
      url,
      ...more,
      headers: { host, ...more.headers }
    })
    if (statusCode === 403) t.equal(json().code, 'SP_ERR_CSRF_CROSS_SITE')
    return statusCode
  }
  for (const { name, headers, safe } of sources)
    t.test(name, async (t) => {
      const judged = safe ? 200 : 403
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND'] as HTTPMethods[]) {
        t.equal(
          await ask(method, '/who', { headers: { ...headers, cookie } }),
          judged,
          `${method} with a session`
        )
        t.equal(await ask(method, '/who', { headers }), 401, `${method} without one`)
        t.equal(
          await ask(method, '/optional', { headers }),
          judged,
          `${method} of nobody, where that is fine`
        )
        t.equal(await ask(method, '/who', { headers: { ...headers, ...key } }), 200, `${method} with a key`)
        t.equal(
          await ask(method, '/who', { headers: { ...headers, ...key, cookie } }),
          judged,
          `${method} with a key and a session`
        )
      }
      for (const method of ['GET', 'HEAD', 'OPTIONS'] as HTTPMethods[])
        t.equal(await ask(method, '/who', { headers: { ...headers, cookie } }), 200, method)
      t.equal(
        await ask('GET', '/who', {
          headers: { ...headers, cookie, connection: 'upgrade', upgrade: 'websocket' }
        }),
        judged,
        'an upgrade'
      )
      for (const url of ['/keys', '/public', '/off'])
        t.equal(await ask('POST', url, { headers: { ...headers, ...key, cookie } }), 200, url)

      const payload = { username: 'ada', password: 'lovelace' }
      t.equal(await ask('POST', '/login', { headers, payload }), judged, 'a log-in')
      const own = await cookieOf(app, 'ada', host)
      t.equal(await ask('POST', '/logout', { headers: { ...headers, cookie: own } }), judged, 'a log-out')
      t.equal(
        await ask('GET', '/session', { headers: { ...headers, cookie: own } }),
        safe ? 401 : 200,
        'and after'
      )
      t.equal(await ask('GET', '/login', { headers }), 200, 'the page')
    })
})

t.test('accepts the origin that a chain of trusted proxies names, at any place of their lists', async (t) => {
  const shop = 'https://shop.example'
  const cases: [string, object, Record<string, string>, string, number][] = [
    ['one value each', {}, { proto: 'https', host: 'shop.example' }, shop, 200],
    ['a list of hosts', {}, { proto: 'https', host: 'shop.example, inner:8080' }, shop, 200],
    ['a list of schemes', {}, { proto: 'https, http', host: 'Shop.example' }, shop, 200],
    ['lists of both', {}, { proto: 'https,http', host: 'shop.example,inner:8080' }, shop, 200],
    ['no host but the own one', {}, { proto: 'https, http' }, 'https://gate.example', 200],
    ['another host', {}, { proto: 'https', host: 'shop.example, inner' }, 'https://evil.example', 403],
    ['a part of a host', {}, { proto: 'https', host: 'a.shop.example, b' }, shop, 403],
    ['another port', {}, { proto: 'https', host: 'shop.example, b' }, `${shop}:8443`, 403],
    ['another scheme', {}, { proto: 'http', host: 'shop.example, b' }, shop, 403],
    ['no origin at all', {}, { proto: 'https, ', host: 'shop.example, ' }, 'null', 403],
    ['an empty origin', {}, { proto: 'https, ', host: 'shop.example, ' }, '', 403],
    [
      'a publicUrl that says otherwise',
      { publicUrl: 'https://gate.example' },
      { proto: 'https', host: 'shop.example, b' },
      shop,
      403
    ],
    [
      'a peer that is not trusted',
      { trustedProxies: ['10.0.0.0/8'] },
      { proto: 'https', host: 'shop.example, b' },
      shop,
      403
    ]
  ]
  for (const [name, more, { proto, host }, origin, expected] of cases) {
    const app = await gateway(t, {
      trustedProxies: ['loopback'],
      auth: { session: true, users },
      routes: [who],
      ...more
    })
    const headers = {
      host: 'gate.example',
      origin,
      'x-forwarded-proto': proto,
      ...(host === undefined ? {} : { 'x-forwarded-host': host })
    }
    const payload = { username: 'ada', password: 'lovelace' }
    const { statusCode } = await app.inject({ method: 'POST', url: '/login', headers, payload })
    t.equal(statusCode, expected, name)
  }
})

t.test('covers credentials that browsers send by themselves, beside a session or with csrf', async (t) => {
  const service = await upstream(t, (request, response) => {
    const known = /sso=1|token=1/.test(`${request.headers.cookie} ${request.headers.authorization}`)
    response.writeHead(known ? 200 : 401, { 'x-user': 'ada' }).end()
  })
  const users = { list: [{ name: 'ada', secret: 'lovelace' }] }
  const basic = { authorization: `Basic ${Buffer.from('ada:lovelace').toString('base64')}` }
  const sso = { cookie: 'sso=1' }
  const token = { authorization: 'Bearer token=1' }
  const key = { 'x-api-key': 'key of alice' }
  const forward = { upstream: service, caller: { id: 'x-user' } }
  const apiKeys = { list: [{ id: 'alice', secret: 'key of alice' }] }
  const withSession = { session: true, users, basic: true, apiKeys, forward }
  const cases: [string, object, object, Record<string, string>, number][] = [
    ['Basic beside a session', { auth: withSession }, {}, basic, 403],
    ['Basic alone on the route', { auth: withSession }, { auth: { by: ['basic'] } }, basic, 403],
    ['the cookie of a service', { auth: withSession }, {}, sso, 403],
    [
      'the cookie of a service alone on the route',
      { auth: withSession },
      { auth: { by: ['forward'] } },
      sso,
      403
    ],
    ['a token for a service', { auth: withSession }, { auth: { by: ['forward'] } }, token, 200],
    ['a token and a cookie for a service', { auth: withSession }, {}, { ...token, ...sso }, 403],
    ['a key beside a session', { auth: withSession }, {}, key, 200],
    ['Basic without a session', { auth: { users, basic: true } }, {}, basic, 200],
    ['Basic where the root says csrf', { auth: { users, basic: true }, csrf: {} }, {}, basic, 403],
    ['Basic where the route says csrf', { auth: { users, basic: true } }, { csrf: true }, basic, 403],
    ['a key where the root says csrf', { auth: { apiKeys, users, basic: true }, csrf: true }, {}, key, 200],
    ['a service where the root says csrf', { auth: { forward }, csrf: {} }, {}, sso, 403],
    ['no auth at all, but csrf', { csrf: {} }, {}, {}, 403],
    ['no auth at all, nor csrf', {}, {}, {}, 200],
    ['no auth, and csrf off here', { csrf: {} }, { csrf: false }, {}, 200],
    ['a public route that says csrf', { auth: withSession }, { auth: false, csrf: true }, {}, 403],
    ['a public route', { auth: withSession, csrf: {} }, { auth: false }, {}, 200],
    ['a root that asks nobody by itself', { csrf: { global: false } }, {}, {}, 200],
    ['and a route that takes it up', { csrf: { global: false } }, { csrf: true }, {}, 403]
  ]
  for (const [name, root, route, headers, status] of cases)
    t.test(name, async (t) => {
      const app = await gateway(t, { ...root, routes: [{ path: '/a', respond: { body: 'in' }, ...route }] })
      const ask = async (more: Record<string, string>): Promise<number> =>
        (await app.inject({ method: 'POST', url: '/a', headers: { ...headers, ...more } })).statusCode
      t.equal(await ask({ origin: 'http://evil.example', 'sec-fetch-site': 'cross-site' }), status)
      t.equal(await ask({ origin: 'http://evil.example' }), status, 'an old browser')
      t.equal(await ask({ 'sec-fetch-site': 'same-origin' }), 200, 'a page of ours')
      t.equal(await ask({}), 200, 'no browser')
    })
})

t.test('accepts its own origin and those of cors with credentials', async (t) => {
  const app = 'https://app.example.com'
  const cases: {
    name: string
    config: object
    origin: string
    site?: string
    status: number
    login?: number
  }[] = [
    { name: 'our publicUrl', config: {}, origin: 'https://api.example.com', status: 200 },
    {
      name: 'our publicUrl, with the port that goes without saying',
      config: { publicUrl: 'https://api.example.com:443' },
      origin: 'https://api.example.com',
      status: 200
    },
    {
      name: 'our publicUrl, in capitals',
      config: { publicUrl: 'https://API.Example.com' },
      origin: 'https://api.example.com',
      status: 200
    },
    {
      name: 'the Host, where a publicUrl says otherwise',
      config: {},
      origin: 'http://localhost',
      status: 403
    },
    { name: 'an origin of nobody', config: {}, origin: app, status: 403 },
    {
      name: 'an origin of cors without cookies',
      config: { cors: { origins: [app] } },
      origin: app,
      status: 403
    },
    { name: 'any origin of cors', config: { cors: { origins: ['*'] } }, origin: app, status: 403 },
    {
      name: 'an origin of cors with cookies',
      config: { cors: { origins: [app], credentials: true } },
      origin: app,
      site: 'same-site',
      status: 200
    },
    {
      name: 'a pattern of cors with cookies',
      config: { cors: { origins: ['https://*.example.com'], credentials: true } },
      origin: app,
      status: 200
    },
    {
      name: 'two labels for the one of a pattern',
      config: { cors: { origins: ['https://*.example.com'], credentials: true } },
      origin: 'https://evil.app.example.com',
      status: 403
    },
    {
      name: 'an origin that ends like a pattern',
      config: { cors: { origins: ['https://*.example.com'], credentials: true } },
      origin: 'https://evilexample.com',
      status: 403
    },
    {
      name: 'an origin that only another route trusts',
      config: {
        routes: [who, { ...who, path: '/other', cors: { origins: [app], credentials: true } }]
      },
      origin: app,
      status: 403
    },
    {
      name: 'an origin that only this route trusts',
      config: { routes: [{ ...who, cors: { origins: [app], credentials: true } }] },
      origin: app,
      status: 200,
      login: 403
    },
    {
      name: 'a route that trusts one origin more',
      config: {
        csrf: { origins: ['https://partner.example'] },
        routes: [{ ...who, csrf: { origins: [app] } }]
      },
      origin: app,
      status: 200,
      login: 403
    },
    {
      name: 'csrf turned off for routes',
      config: { csrf: false },
      origin: 'https://evil.example',
      status: 200,
      login: 403
    }
  ]
  for (const { name, config, origin, site, status, login = status } of cases)
    t.test(name, async (t) => {
      const app = await gateway(t, {
        publicUrl: 'https://api.example.com/',
        auth: both,
        routes: [who],
        ...config
      })
      const cookie = await cookieOf(app)
      const headers = { origin, ...(site === undefined ? {} : { 'sec-fetch-site': site }) }
      const posted = await app.inject({ method: 'POST', url: '/who', headers: { ...headers, cookie } })
      t.equal(posted.statusCode, status)
      const entered = await app.inject({
        method: 'POST',
        url: '/login',
        payload: { username: 'ada', password: 'lovelace' },
        headers
      })
      t.equal(entered.statusCode, login, 'the log-in')
      const left = await app.inject({ method: 'POST', url: '/logout', headers: { ...headers, cookie } })
      t.equal(left.statusCode, login, 'the log-out')
    })
})
