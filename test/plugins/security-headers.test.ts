import helmet from '@fastify/helmet'
import fastify from 'fastify'
import t from 'tap'
import { gateway, upstream } from '../helpers.ts'

const overTls = { 'x-forwarded-proto': 'https' }
const respond = { body: 'hello' }

/** The headers that @fastify/helmet sets by itself, in the installed version. */
async function helmetHeaders(): Promise<Record<string, string>> {
  const app = fastify()
  await app.register(helmet)
  app.get('/', async () => '')
  const { headers } = await app.inject('/')
  await app.close()
  const set = Object.entries(headers).filter(
    ([name]) => !['content-length', 'date', 'connection', 'content-type'].includes(name)
  )
  return Object.fromEntries(set) as Record<string, string>
}

const compatible = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'SAMEORIGIN',
  'referrer-policy': 'strict-origin-when-cross-origin'
}
const security = [
  'content-security-policy',
  'cross-origin-embedder-policy',
  'cross-origin-opener-policy',
  'cross-origin-resource-policy',
  'origin-agent-cluster',
  'permissions-policy',
  'referrer-policy',
  'strict-transport-security',
  'x-content-type-options',
  'x-dns-prefetch-control',
  'x-download-options',
  'x-frame-options',
  'x-permitted-cross-domain-policies',
  'x-xss-protection'
]
const ours = (headers: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => security.includes(name)))
const strict = await helmetHeaders()
const {
  'strict-transport-security': strictTls = '',
  'content-security-policy': csp = '',
  ...plainStrict
} = strict
// A gateway without TLS has no port that a page's forms could be upgraded to.
const strictPlain = {
  ...plainStrict,
  'content-security-policy': csp.replace(';upgrade-insecure-requests', '')
}
t.notSame(strictPlain['content-security-policy'], csp)

t.test('sets the headers of its options', async (t) => {
  const hsts = { 'strict-transport-security': 'max-age=31536000' }
  const { 'x-frame-options': _frame, ...noFrame } = compatible
  const { 'referrer-policy': _referrer, ...noReferrer } = compatible
  const cases: [name: string, option: object | boolean | undefined, plain: object, tls: object][] = [
    ['the default', undefined, compatible, { ...compatible, ...hsts }],
    ['true', true, compatible, { ...compatible, ...hsts }],
    ['compatible', { preset: 'compatible' }, compatible, { ...compatible, ...hsts }],
    ['strict', { preset: 'strict' }, strictPlain, strict],
    ['no HSTS', { hsts: false }, compatible, compatible],
    [
      'strict without HSTS',
      { preset: 'strict', hsts: false },
      strictPlain,
      { ...plainStrict, 'content-security-policy': csp }
    ],
    [
      'HSTS',
      { hsts: { maxAge: '1d', subdomains: true, preload: true } },
      compatible,
      { ...compatible, 'strict-transport-security': 'max-age=86400; includeSubDomains; preload' }
    ],
    [
      'strict with an HSTS of its own',
      { preset: 'strict', hsts: { maxAge: '1d' } },
      strictPlain,
      { ...strict, 'strict-transport-security': 'max-age=86400' }
    ],
    [
      'a policy',
      { csp: "default-src 'self'", permissions: 'camera=()' },
      { ...compatible, 'content-security-policy': "default-src 'self'", 'permissions-policy': 'camera=()' },
      {
        ...compatible,
        ...hsts,
        'content-security-policy': "default-src 'self'",
        'permissions-policy': 'camera=()'
      }
    ],
    [
      'strict without its policy',
      { preset: 'strict', csp: false },
      plainStrict,
      { ...plainStrict, 'strict-transport-security': strictTls }
    ],
    [
      'strict with a policy of its own',
      { preset: 'strict', csp: 'upgrade-insecure-requests' },
      { ...plainStrict, 'content-security-policy': 'upgrade-insecure-requests' },
      { ...strict, 'content-security-policy': 'upgrade-insecure-requests' }
    ],
    [
      'no frame',
      { frame: 'deny' },
      { ...compatible, 'x-frame-options': 'DENY' },
      { ...compatible, ...hsts, 'x-frame-options': 'DENY' }
    ],
    ['any frame', { frame: false }, noFrame, { ...noFrame, ...hsts }],
    [
      'a referrer',
      { referrer: 'no-referrer' },
      { ...compatible, 'referrer-policy': 'no-referrer' },
      { ...compatible, ...hsts, 'referrer-policy': 'no-referrer' }
    ],
    ['any referrer', { referrer: false }, noReferrer, { ...noReferrer, ...hsts }],
    ['off', false, {}, {}]
  ]
  const target = await upstream(t)
  for (const [name, option, plain, tls] of cases)
    t.test(name, async (t) => {
      const options = option === undefined ? {} : { securityHeaders: option }
      const routes = (own: object) => [
        { path: '/respond', respond, ...own },
        { path: '/proxy/*', proxy: { upstream: target }, ...own }
      ]
      const atRoot = await gateway(t, { trustedProxies: ['loopback'], ...options, routes: routes({}) })
      const onRoute = await gateway(t, { trustedProxies: ['loopback'], routes: routes(options) })
      for (const app of [atRoot, onRoute])
        for (const url of ['/respond', '/proxy/x', ...(app === atRoot ? ['/nowhere'] : [])]) {
          t.strictSame(ours((await app.inject(url)).headers), plain, `${url} over plain http`)
          t.strictSame(ours((await app.inject({ url, headers: overTls })).headers), tls, `${url} over https`)
        }
    })
})

t.test('detects https by X-Forwarded-Proto of a trusted proxy only, in any case', async (t) => {
  const app = await gateway(t, { routes: [{ path: '/a', respond }] })
  const { headers } = await app.inject({ url: '/a', headers: overTls })
  t.equal(headers['strict-transport-security'], undefined)
  const behind = await gateway(t, { trustedProxies: ['loopback'], routes: [{ path: '/a', respond }] })
  for (const scheme of ['https', 'HTTPS']) {
    const answer = await behind.inject({ url: '/a', headers: { 'x-forwarded-proto': scheme } })
    t.ok(answer.headers['strict-transport-security'], scheme)
  }
})

t.test('keeps the headers of the upstream, unless the route sets its own', async (t) => {
  const theirs = {
    'x-frame-options': 'DENY',
    'content-security-policy': "default-src 'none'",
    'strict-transport-security': 'max-age=1',
    'referrer-policy': 'origin',
    'x-content-type-options': 'nosniff'
  }
  const target = await upstream(t, (_request, response) => {
    response.writeHead(200, { ...theirs, server: 'nginx/1.0', 'x-powered-by': 'PHP', 'x-version': '7' })
    response.end()
  })
  for (const preset of ['compatible', 'strict']) {
    const app = await gateway(t, {
      trustedProxies: ['loopback'],
      securityHeaders: { preset },
      routes: [
        { path: '/root/*', proxy: { upstream: target } },
        {
          path: '/own/*',
          proxy: { upstream: target },
          securityHeaders: { frame: 'sameorigin', csp: "default-src 'self'", remove: ['x-version'] }
        },
        { path: '/off/*', proxy: { upstream: target }, securityHeaders: false }
      ]
    })
    for (const headers of [{}, overTls]) {
      const inherited = await app.inject({ url: '/root/x', headers })
      t.match(inherited.headers, { ...theirs, 'x-version': '7' }, `${preset} at the root`)
      t.equal(inherited.headers['server'], undefined)
      t.equal(inherited.headers['x-powered-by'], undefined)
      const own = await app.inject({ url: '/own/x', headers })
      t.match(own.headers, {
        'x-frame-options': 'SAMEORIGIN',
        'content-security-policy': "default-src 'self'",
        'x-version': undefined,
        server: 'nginx/1.0'
      })
      const off = await app.inject({ url: '/off/x', headers })
      t.match(off.headers, { ...theirs, server: 'nginx/1.0', 'x-powered-by': 'PHP' })
    }
  }
})

t.test('sets the strict headers on built-in routes, whatever the root sets', async (t) => {
  const page = {
    auth: { session: true, users: { list: [{ name: 'ada', secret: 'the password of ada' }] } },
    routes: [{ path: '/a', respond }]
  }
  const { 'strict-transport-security': _hsts, ...rest } = strict
  // A page has a stricter policy of its own.
  const ofPage = { ...rest, 'content-security-policy': /^default-src 'none'; style-src 'sha256-/ }
  for (const option of [true, { csp: "default-src 'self'", frame: false, referrer: false }, false]) {
    const app = await gateway(t, { ...page, trustedProxies: ['loopback'], securityHeaders: option })
    for (const url of ['/login', '/session', '/-/live', '/-/ready']) {
      const { headers } = await app.inject({ url, headers: overTls })
      t.match(headers, url === '/login' ? ofPage : rest, `${url} beside ${JSON.stringify(option)}`)
      t.equal(
        headers['strict-transport-security'],
        'max-age=31536000',
        'as at the root, since it applies to the whole host'
      )
    }
  }
  const app = await gateway(t, {
    ...page,
    trustedProxies: ['loopback'],
    securityHeaders: { hsts: false, remove: ['x-request-id'] }
  })
  const { headers } = await app.inject({ url: '/login', headers: overTls })
  t.equal(headers['strict-transport-security'], undefined)
})
