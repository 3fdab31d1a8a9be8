import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import { gateway, listening, raw, SECRET, upstream } from '../helpers.ts'
import { apiKeys, both, who } from './callers.ts'

const OFFICE = '192.168.7.1'
const STRANGER = '203.0.113.9'
const PROXY = '10.0.0.2'
const key = { 'x-api-key': 'key of alice' }

t.test('addresses in "exempt" need no credential, and no other address is exempt', async (t) => {
  const app = await gateway(t, {
    trustedProxies: [PROXY],
    auth: { apiKeys, exempt: ['192.168.0.0/16', '2001:db8::/32', '10.0.0.0/24'] },
    routes: [who, { path: '/staff', auth: { require: { roles: ['staff'] } }, respond: { body: 'staff' } }]
  })
  const cases: [string, string, Record<string, string>, number][] = [
    ['the office', OFFICE, {}, 200],
    ['the office by IPv6', '2001:db8::7', {}, 200],
    ['the office in IPv4-mapped form', `::ffff:${OFFICE}`, {}, 200],
    ['a stranger', STRANGER, {}, 401],
    ['a stranger with a key', STRANGER, key, 200],
    ['a wrong key in the office', OFFICE, { 'x-api-key': 'guess' }, 401],
    ['an untrusted peer that claims to forward for the office', STRANGER, { 'x-forwarded-for': OFFICE }, 401],
    [
      'an untrusted peer with other spellings',
      STRANGER,
      { 'x-real-ip': OFFICE, forwarded: `for=${OFFICE}` },
      401
    ],
    ['the proxy for the office', PROXY, { 'x-forwarded-for': OFFICE }, 200],
    ['the proxy for a stranger', PROXY, { 'x-forwarded-for': STRANGER }, 401],
    [
      'the proxy for a stranger who claims to be in the office',
      PROXY,
      { 'x-forwarded-for': `${OFFICE}, ${STRANGER}` },
      401
    ],
    ['the proxy without a client, though its own address is exempt', PROXY, {}, 401],
    ['the proxy with a client that is no address', PROXY, { 'x-forwarded-for': 'unknown' }, 401],
    ['the proxy with an empty client', PROXY, { 'x-forwarded-for': '' }, 401]
  ]
  for (const [name, remoteAddress, headers, expected] of cases) {
    const answer = await app.inject({ url: '/who', remoteAddress, headers })
    t.equal(answer.statusCode, expected, name)
    if (expected === 200)
      t.equal(answer.body.startsWith('alice|'), 'x-api-key' in headers, `${name}: the caller`)
  }
  t.test('"require" still refuses them', async (t) => {
    const { statusCode, headers } = await app.inject({ url: '/staff', remoteAddress: OFFICE })
    t.equal(statusCode, 401)
    t.equal(headers['www-authenticate'], 'ApiKey')
    const known = await app.inject({ url: '/staff', remoteAddress: OFFICE, headers: key })
    t.equal(known.statusCode, 200)
  })
})

t.test('a page load of an exempt address is not sent to the log-in', async (t) => {
  const app = await gateway(t, { trustedProxies: [], auth: { ...both, exempt: ['private'] }, routes: [who] })
  const headers = { 'sec-fetch-mode': 'navigate' }
  t.equal((await app.inject({ url: '/who', remoteAddress: OFFICE, headers })).statusCode, 200)
  t.equal((await app.inject({ url: '/who', remoteAddress: STRANGER, headers })).statusCode, 303)
})

t.test('what an address may read is not kept for others by a shared cache', async (t) => {
  const target = await upstream(t, (_request, response) =>
    response.setHeader('cache-control', 'public, max-age=60, s-maxage=600').end('inside')
  )
  const app = await gateway(t, {
    trustedProxies: [],
    auth: { apiKeys, exempt: ['private'] },
    routes: [
      who,
      { path: '/page', files: { file: import.meta.filename, maxAge: '1m' } },
      { path: '/upstream', proxy: { upstream: target } },
      { path: '/cached', cache: {}, proxy: { upstream: target } },
      { path: '/own', headers: { response: { 'cache-control': 'no-cache' } }, respond: { body: 'x' } },
      { path: '/optional', auth: { optional: true }, proxy: { upstream: target } },
      { path: '/open', auth: false, proxy: { upstream: target } }
    ]
  })
  const cases: [url: string, headers: Record<string, string>, expected: string | undefined][] = [
    ['/who', {}, 'private'],
    ['/page', {}, 'private, max-age=60'],
    ['/upstream', {}, 'private, max-age=60'],
    ['/cached', {}, 'private, max-age=60'],
    ['/cached', {}, 'private, max-age=60'],
    ['/own', {}, 'no-cache'],
    ['/who', key, undefined],
    ['/optional', {}, 'public, max-age=60, s-maxage=600'],
    ['/open', {}, 'public, max-age=60, s-maxage=600']
  ]
  for (const [url, headers, expected] of cases) {
    const answer = await app.inject({ url, remoteAddress: OFFICE, headers })
    t.equal(answer.statusCode, 200, url)
    t.equal(answer.headers['cache-control'], expected, url)
  }
  const refused = await app.inject({ url: '/upstream', remoteAddress: STRANGER })
  t.equal(refused.headers['cache-control'], 'no-store')
})

t.test('a page of another site can not use the address of a visitor', async (t) => {
  const app = await gateway(t, {
    trustedProxies: [],
    auth: { apiKeys, exempt: ['private'] },
    routes: [who, { ...who, path: '/none', auth: { exempt: [] } }]
  })
  const post = (url: string, headers: Record<string, string>) =>
    app.inject({ method: 'POST', url, remoteAddress: OFFICE, headers })
  t.equal((await post('/who', { origin: 'https://evil.test' })).json().code, 'SP_ERR_CSRF_CROSS_SITE')
  t.equal((await post('/who', { 'sec-fetch-site': 'cross-site' })).json().code, 'SP_ERR_CSRF_CROSS_SITE')
  t.equal((await post('/who', { 'sec-fetch-site': 'same-origin' })).statusCode, 200)
  t.equal(
    (await post('/who', { ...key, origin: 'https://evil.test' })).statusCode,
    200,
    'a key is no ambient credential'
  )
  t.equal((await post('/none', {})).statusCode, 401, 'a route may have no exempt addresses')
})

t.test('the service of forward auth is not asked about them', async (t) => {
  const asked: string[] = []
  const service = await upstream(t, (request, response) => {
    asked.push(String(request.headers['x-forwarded-for']))
    response.writeHead(401).end()
  })
  const { port } = await listening(t, {
    trustedProxies: [],
    auth: { forward: { upstream: service }, exempt: ['127.0.0.1'] },
    routes: [who, { ...who, path: '/strict', auth: { require: { roles: ['staff'] } } }]
  })
  const get = (path: string): Promise<string> =>
    raw(port, `GET ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`)
  t.match(await get('/who'), /^HTTP\/1\.1 200/)
  t.same(asked, [])
  t.match(await get('/strict'), /^HTTP\/1\.1 401/)
  t.equal(asked.length, 1)
})

t.test('wrong ranges, and private ones without trusted proxies, are errors', async (t) => {
  const cases: [string, string[], string[] | undefined, RegExp | undefined][] = [
    [
      'a private range',
      ['192.168.0.0/16'],
      undefined,
      /auth\.exempt\[0\]: expected "trustedProxies" at the root .* got "192\.168\.0\.0\/16"/
    ],
    ['one private address', ['10.1.2.3'], undefined, /behind a proxy that is not trusted/],
    ['a preset', ['loopback'], undefined, /got "loopback"/],
    ['everything', ['0.0.0.0/0'], undefined, /got "0\.0\.0\.0\/0"/],
    ['everything of IPv6', ['::/0'], undefined, /got "::\/0"/],
    ['an IPv4-mapped one', ['::ffff:10.0.0.0/104'], undefined, /got "::ffff/],
    ['no address', ['office'], [], /auth\.exempt\[0\]: expected an address, got "office"/],
    ['public ones', ['203.0.113.0/24', '2001:db8::/32'], undefined, undefined],
    ['private ones where clients connect directly', ['private'], [], undefined],
    ['private ones behind a proxy', ['private'], ['10.0.0.2'], undefined]
  ]
  for (const [name, exempt, trustedProxies, expected] of cases) {
    const load = loadConfig(
      { ...(trustedProxies && { trustedProxies }), auth: { apiKeys, exempt }, routes: [who] } as never,
      { SESSION_SECRET: SECRET }
    )
    if (expected === undefined) await t.resolves(load, name)
    else await t.rejects(load, { message: expected }, name)
  }
})
