import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import helmet from '@fastify/helmet'
import fastify, { type LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import {
  ask,
  BIN,
  gateway,
  listening,
  type ReadableLog,
  raw,
  readableLog,
  type Scope,
  SECRET,
  type Seen,
  statusOf,
  upstream
} from '../helpers.ts'

const respond = { body: 'hello' }

/** An upstream that never answers a request, but breaks the connection. */
const broken = (t: Scope): Promise<string> => upstream(t, (request) => void request.socket.destroy())
const overTls = { 'x-forwarded-proto': 'https' }

/** Waits for the line of an answer. */
const lineOf = (
  { line }: ReadableLog,
  { headers }: LightMyRequestResponse
): Promise<Record<string, unknown>> =>
  line(({ requestId, status }) => requestId === headers['x-request-id'] && status !== undefined)

t.test('requestId', async (t) => {
  t.test('names every request, to the client, the upstream and the log alike', async (t) => {
    const told = readableLog()
    const { log } = told
    const app = await gateway(
      t,
      {
        routes: [
          { path: '/echo/*', proxy: { upstream: await upstream(t) } },
          { path: '/down/*', proxy: { upstream: await broken(t) } }
        ]
      },
      { log }
    )
    const ids = new Set<unknown>()
    for (const url of ['/echo/a', '/echo/b', '/nowhere', '/down/x']) {
      const answer = await app.inject({ url, headers: { 'x-request-id': 'mine', X_Request_ID: 'mine' } })
      const id = answer.headers['x-request-id']
      t.match(id, /^[\w-]{11,32}$/)
      ids.add(id)
      if (url.startsWith('/echo')) {
        const { rawHeaders } = answer.json<Seen>()
        const sent = rawHeaders.filter((_, i) => /^x[-_]request[-_]id$/i.test(rawHeaders[i - 1] ?? ''))
        t.strictSame(sent, [id], 'and no other spelling of it')
      } else t.equal(answer.json().requestId, id)
      t.equal((await lineOf(told, answer))['path'], url)
    }
    t.equal(ids.size, 4)
  })

  t.test("takes a client's own id only where it is trusted and sound", async (t) => {
    const target = await upstream(t)
    const app = await gateway(t, {
      requestId: { trust: true },
      routes: [
        { path: '/a/*', proxy: { upstream: target } },
        { path: '/own/*', proxy: { upstream: target }, requestId: { trust: false } }
      ]
    })
    const cases: [name: string, url: string, id: string, taken: boolean][] = [
      ['a UUID', '/a/x', '0f2c7a3e-58c1-4d0e-9f43-7f3a3a4b5c6d', true],
      ['a trace id', '/a/x', 'Root=1-67891233-abcdef012345678912345678', true],
      ['128 characters', '/a/x', 'i'.repeat(128), true],
      ['129 characters', '/a/x', 'i'.repeat(129), false],
      ['5000 characters', '/a/x', 'i'.repeat(5000), false],
      ['nothing', '/a/x', '', false],
      ['a space', '/a/x', 'a b', false],
      ['a quote', '/a/x', 'a"b', false],
      ['markup', '/a/x', '<b>', false],
      ['a list', '/a/x', 'a,b', false],
      ['a sound one on a route that trusts nobody', '/own/x', 'mine', false],
      ['a sound one on a path that nobody serves', '/nowhere', 'mine', true]
    ]
    for (const [name, url, id, taken] of cases)
      t.test(name, async (t) => {
        const answer = await app.inject({ url, headers: { 'x-request-id': id } })
        const given = answer.headers['x-request-id']
        if (taken) t.equal(given, id)
        else t.match(given, /^[\w-]{11,32}$/)
        if (url !== '/nowhere') t.equal(answer.json<Seen>().headers['x-request-id'], given)
      })
  })

  t.test('goes by another name, or by none', async (t) => {
    const target = await upstream(t, (request, response) => {
      response.setHeader('x-request-id', 'theirs').setHeader('x-correlation-id', 'theirs')
      response.end(JSON.stringify(request.headers))
    })
    const app = await gateway(t, {
      requestId: { header: 'x-correlation-id', trust: true },
      routes: [
        { path: '/a/*', proxy: { upstream: target } },
        { path: '/off/*', proxy: { upstream: target }, requestId: false }
      ]
    })
    const sent = { 'x-correlation-id': 'mine', 'x-request-id': 'spoofed' }
    const named = await app.inject({ url: '/a/x', headers: sent })
    t.match(named.headers, { 'x-correlation-id': 'mine', 'x-request-id': 'theirs' })
    t.match(named.json(), { 'x-correlation-id': 'mine', 'x-request-id': undefined })
    const off = await app.inject({ url: '/off/x', headers: sent })
    t.match(off.headers, { 'x-correlation-id': 'theirs', 'x-request-id': 'theirs' })
    t.match(off.json(), { 'x-request-id': undefined })
  })
})

t.test('responseTime', async (t) => {
  const target = await upstream(t, (_request, response) => {
    response.setHeader('x-response-time', '1').setHeader('server-timing', 'db;dur=53').end('hello')
  })
  const routes = [
    { path: '/proxy/*', proxy: { upstream: target } },
    { path: '/respond', respond },
    { path: '/down/*', proxy: { upstream: await broken(t) } },
    { path: '/plain', respond, responseTime: { serverTiming: false } },
    { path: '/off', respond, responseTime: false }
  ]
  t.test('tells how long it took where it is asked to', async (t) => {
    const app = await gateway(t, { responseTime: true, routes })
    const cases: [url: string, timing: RegExp | undefined][] = [
      ['/proxy/x', /^gateway;dur=\d+\.\d\d, upstream;dur=\d+\.\d\d$/],
      ['/respond', /^gateway;dur=\d+\.\d\d$/],
      ['/down/x', /^gateway;dur=\d+\.\d\d$/],
      ['/nowhere', /^gateway;dur=\d+\.\d\d$/],
      ['/plain', undefined]
    ]
    for (const [url, timing] of cases) {
      const { headers } = await app.inject(url)
      t.match(headers['x-response-time'], /^\d+\.\d\dms$/, url)
      if (timing === undefined) t.equal(headers['server-timing'], undefined)
      else t.match(headers['server-timing'], timing)
    }
    t.equal((await app.inject('/off')).headers['x-response-time'], undefined)
  })
  t.test('says nothing by itself', async (t) => {
    const app = await gateway(t, { routes })
    const { headers } = await app.inject('/respond')
    t.equal(headers['x-response-time'], undefined)
    t.equal(headers['server-timing'], undefined)
    t.match((await app.inject('/proxy/x')).headers, { 'x-response-time': '1', 'server-timing': 'db;dur=53' })
  })
})

/** The headers that @fastify/helmet sets by itself, as it sets them today. */
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

t.test('securityHeaders', async (t) => {
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

  t.test('sets what its options say', async (t) => {
    const hsts = { 'strict-transport-security': 'max-age=31536000' }
    const { 'x-frame-options': _frame, ...noFrame } = compatible
    const { 'referrer-policy': _referrer, ...noReferrer } = compatible
    const cases: [name: string, said: object | boolean | undefined, plain: object, tls: object][] = [
      ['by itself', undefined, compatible, { ...compatible, ...hsts }],
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
    for (const [name, said, plain, tls] of cases)
      t.test(name, async (t) => {
        const word = said === undefined ? {} : { securityHeaders: said }
        const routes = (own: object) => [
          { path: '/respond', respond, ...own },
          { path: '/proxy/*', proxy: { upstream: target }, ...own }
        ]
        const atRoot = await gateway(t, { trustedProxies: ['loopback'], ...word, routes: routes({}) })
        const onRoute = await gateway(t, { trustedProxies: ['loopback'], routes: routes(word) })
        for (const app of [atRoot, onRoute])
          for (const url of ['/respond', '/proxy/x', ...(app === atRoot ? ['/nowhere'] : [])]) {
            t.strictSame(ours((await app.inject(url)).headers), plain, `${url} over plain http`)
            t.strictSame(
              ours((await app.inject({ url, headers: overTls })).headers),
              tls,
              `${url} over https`
            )
          }
      })
  })

  t.test('believes in https only what a trusted proxy says of it, in any case', async (t) => {
    const app = await gateway(t, { routes: [{ path: '/a', respond }] })
    const { headers } = await app.inject({ url: '/a', headers: overTls })
    t.equal(headers['strict-transport-security'], undefined)
    const behind = await gateway(t, { trustedProxies: ['loopback'], routes: [{ path: '/a', respond }] })
    for (const scheme of ['https', 'HTTPS']) {
      const answer = await behind.inject({ url: '/a', headers: { 'x-forwarded-proto': scheme } })
      t.ok(answer.headers['strict-transport-security'], scheme)
    }
  })

  t.test("lets an upstream's own headers win, unless the route says something itself", async (t) => {
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

  t.test("keeps the gateway's own pages strict, whatever the root says for others", async (t) => {
    const page = {
      auth: { session: true, users: { list: [{ name: 'ada', secret: 'the password of ada' }] } },
      routes: [{ path: '/a', respond }]
    }
    const { 'strict-transport-security': _hsts, ...rest } = strict
    for (const said of [true, { csp: "default-src 'self'", frame: false, referrer: false }, false]) {
      const app = await gateway(t, { ...page, trustedProxies: ['loopback'], securityHeaders: said })
      for (const url of ['/login', '/session', '/-/live', '/-/ready']) {
        const { headers } = await app.inject({ url, headers: overTls })
        t.match(headers, rest, `${url} beside ${JSON.stringify(said)}`)
        t.equal(
          headers['strict-transport-security'],
          'max-age=31536000',
          'it holds for the whole host: as at the root'
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
})

t.test('headers', async (t) => {
  const target = await upstream(t, (request, response) => {
    response.setHeader('x-theirs', 'theirs').setHeader('set-cookie', ['a=1', 'b=2'])
    response.end(JSON.stringify(request.headers))
  })
  const auth = {
    optional: true,
    apiKeys: { list: [{ id: 'alice', roles: ['staff', 'ops'], secret: 'key of alice' }] }
  }
  const routes = (headers: object) => [
    { path: '/plain/*', proxy: { upstream: target }, headers },
    { path: '/named/:name/*', proxy: { upstream: target }, headers },
    { path: '/respond', respond, headers }
  ]

  t.test('sets, replaces and removes, on the way in and out', async (t) => {
    const app = await gateway(t, {
      headers: { request: { 'x-root': 'root', 'x-both': 'root' }, response: { 'x-served-by': 'sallyport' } },
      routes: [
        { path: '/root/*', proxy: { upstream: target } },
        {
          path: '/own/*',
          proxy: { upstream: target },
          headers: {
            request: { 'X-Both': 'own', 'x-root': false, 'x-client': false, accept: 'text/x-ours' },
            response: { 'X-Theirs': false, 'set-cookie': 'c=3', 'x-served-by': false }
          }
        },
        { path: '/off/*', proxy: { upstream: target }, headers: false }
      ]
    })
    const headers = { 'x-client': 'mine', 'x-both': 'mine', accept: '*/*' }
    const root = await app.inject({ url: '/root/x', headers })
    t.match(root.json(), { 'x-root': 'root', 'x-both': 'root', 'x-client': 'mine', accept: '*/*' })
    t.match(root.headers, { 'x-served-by': 'sallyport', 'x-theirs': 'theirs' })
    const own = await app.inject({ url: '/own/x', headers })
    t.match(own.json(), {
      'x-root': undefined,
      'x-both': 'own',
      'x-client': undefined,
      accept: 'text/x-ours'
    })
    t.match(own.headers, { 'x-theirs': undefined, 'x-served-by': undefined })
    t.same([own.headers['set-cookie']].flat(), ['c=3'])
    const off = await app.inject({ url: '/off/x', headers })
    t.match(off.json(), { 'x-root': undefined, 'x-both': 'mine' })
    t.equal(off.headers['x-served-by'], undefined)
    const unknown = await app.inject('/nowhere')
    t.equal(unknown.headers['x-served-by'], 'sallyport')
  })

  t.test('knows the values of a request', async (t) => {
    const app = await gateway(t, {
      auth,
      routes: routes({
        request: {
          'x-ip': '{client.ip}',
          'x-host': '{host}',
          'x-path': '{path}',
          'x-name': 'is {params.name}!',
          'x-q': '{query.q}',
          'x-agent': '{headers.User-Agent}',
          'x-caller': '{caller.id}/{caller.roles}',
          'x-id': '{requestId}',
          'x-braces': '{{literal}}'
        },
        response: { 'x-name': '{params.name}', 'x-caller': '{caller.id}', 'x-q': '{query.q}' }
      })
    })
    const answer = await app.inject({
      url: '/named/b%C3%A9a/x?q=a%20b&q=c',
      headers: { 'user-agent': 'tap', host: 'api.test:81', 'x-api-key': 'key of alice' }
    })
    t.match(answer.json(), {
      'x-ip': '127.0.0.1',
      'x-host': 'api.test:81',
      'x-path': '/named/b%C3%A9a/x',
      'x-name': Buffer.from('is béa!', 'latin1').toString('latin1'),
      'x-q': 'a b',
      'x-agent': 'tap',
      'x-caller': 'alice/staff,ops',
      'x-id': answer.headers['x-request-id'],
      'x-braces': '{literal}'
    })
    t.match(answer.headers, { 'x-caller': 'alice', 'x-q': 'a b' })
    const nobody = await app.inject('/plain/x')
    t.match(nobody.json(), { 'x-name': undefined, 'x-caller': undefined, 'x-q': undefined })
    t.equal(nobody.headers['x-q'], undefined, 'what has no value is not sent')
  })

  t.test('leaves out a header whose text has a missing value, on the way in and out', async (t) => {
    const text = {
      'x-auth': 'Bearer {caller.id}',
      'x-both': '{query.a}/{query.b}',
      'x-empty': 'a={query.e}',
      'x-none': '{headers.constructor}'
    }
    const app = await gateway(t, {
      auth: { ...auth, optional: true },
      routes: routes({ request: text, response: text })
    })
    const headers = { 'x-auth': 'Bearer root', 'x-both': 'forged', 'x-empty': 'forged', 'x-none': 'forged' }
    const expected: [string, object, object][] = [
      ['/plain/x', {}, { 'x-auth': undefined, 'x-both': undefined, 'x-empty': undefined }],
      ['/plain/x?a=1&e=', {}, { 'x-both': undefined, 'x-empty': 'a=' }],
      ['/named/x/y?a=1&b=2', { 'x-api-key': 'key of alice' }, { 'x-both': '1/2' }]
    ]
    for (const [url, more, seen] of expected) {
      const answer = await app.inject({ url, headers: { ...headers, ...more } })
      t.match(answer.json(), { ...seen, 'x-none': undefined }, url)
      t.match(answer.headers, { ...seen, 'x-none': undefined }, `${url}, back`)
    }
  })

  t.test('cleans what a client could smuggle into a header', async (t) => {
    const app = await gateway(t, {
      routes: routes({
        request: { 'x-out': '{query.q}' },
        response: { 'x-back': '{query.q}' }
      })
    })
    const cases: [name: string, url: string, seen: string][] = [
      ['a line break in the query', '/plain/x?q=a%0d%0ax-evil:%201', 'ax-evil: 1'],
      ['a bare line feed', '/plain/x?q=a%0ax-evil:1', 'ax-evil:1'],
      ['a NUL', '/plain/x?q=a%00b', 'ab'],
      ['what no header can have', '/plain/x?q=a%E2%82%AC', 'a'],
      ['a line separator', '/plain/x?q=a%E2%80%A8b', 'ab']
    ]
    for (const [name, url, seen] of cases)
      t.test(name, async (t) => {
        const answer = await app.inject(url)
        t.equal(answer.statusCode, 200)
        t.match(answer.json(), { 'x-out': seen, 'x-evil': undefined })
        t.match(answer.headers, { 'x-back': seen, 'x-evil': undefined })
      })
    t.test('on an answer of our own, too', async (t) => {
      const { headers } = await app.inject('/respond?q=a%0d%0aset-cookie:%20a=1')
      t.match(headers, { 'x-back': 'aset-cookie: a=1', 'set-cookie': undefined })
    })
  })

  t.test('refuses a config that would break the message', async (t) => {
    const cases: [name: string, headers: object, message: RegExp][] = [
      ['framing', { request: { 'Content-Length': '5' } }, /"Content-Length" frames the message itself/],
      ['framing, back', { response: { 'transfer-encoding': false } }, /frames the message itself/],
      ['a host', { request: { host: 'a' } }, /frames the message itself/],
      ['a line break', { response: { 'x-a': 'a\r\nb' } }, /has a line break/],
      ['a name that is none', { request: { 'x a': 'b' } }, /x a/],
      ['a value that is none', { request: { 'x-a': '{client.up}' } }, /No value "\{client\.up\}"/],
      ['an open brace', { request: { 'x-a': '{client.ip' } }, /never closed/]
    ]
    for (const [name, headers, message] of cases)
      t.test(name, async (t) => {
        await t.rejects(loadConfig({ headers, routes: [] }, {}), { message })
      })
  })
})

t.test('query', async (t) => {
  const target = await upstream(t)
  const { port } = await listening(t, {
    auth: { optional: true, apiKeys: { list: [{ id: 'a&b=c', secret: 'key' }] } },
    query: { lang: 'en', debug: false },
    routes: [
      { path: '/root/*', proxy: { upstream: target } },
      {
        path: '/own/*',
        proxy: { upstream: target },
        query: { lang: false, 'a b': '{caller.id}', who: '{query.q}' }
      },
      { path: '/off/*', proxy: { upstream: target }, query: false },
      { path: '/local', redirect: { to: '/root/' } }
    ]
  })
  const seen = async (path: string): Promise<string> => {
    const answer = await raw(
      port,
      `GET ${path} HTTP/1.1\r\nHost: a\r\nX-Api-Key: key\r\nConnection: close\r\n\r\n`,
      5000
    )
    const { url } = JSON.parse(/\{.*\}/s.exec(answer)?.[0] ?? '{}') as Seen
    return url.slice(Math.max(0, url.indexOf('?')))
  }
  const cases: [name: string, path: string, query: string][] = [
    ['sets where there is none', '/root/x', '?lang=en'],
    ['sets where there is an empty one', '/root/x?', '?lang=en'],
    ['replaces every one', '/root/x?lang=de&q=1&lang=fr', '?q=1&lang=en'],
    ['removes every spelling', '/root/x?debug&debug=1&d%65bug=2&%64%65%62%75%67=3', '?lang=en'],
    [
      'leaves what only looks like it',
      '/root/x?Debug=1&debugger=2&xdebug',
      '?Debug=1&debugger=2&xdebug&lang=en'
    ],
    [
      'leaves the rest byte for byte',
      '/root/x?b=%7e%7E+%20&&a=1&a=%zz&=&;&c[]=\'"',
      '?b=%7e%7E+%20&&a=1&a=%zz&=&;&c[]=\'"&lang=en'
    ],
    ['leaves a name that can not be decoded', '/root/x?%zz=1&debug=1', '?%zz=1&lang=en'],
    ['removes and sets on a route', '/own/x?lang=de&debug=1&q=%26x', '?q=%26x&a%20b=a%26b%3Dc&who=%26x'],
    ['a plus is a space in a name', '/own/x?a+b=1&a%20b=2', '?a%20b=a%26b%3Dc&who='],
    ['nothing where it is off', '/off/x?lang=de&debug=1', '?lang=de&debug=1']
  ]
  for (const [name, path, query] of cases) t.test(name, async (t) => t.equal(await seen(path), query))
  t.test('refuses a value that is none', async (t) => {
    await t.rejects(loadConfig({ query: { a: '{legs.x}' }, routes: [] }, {}), {
      message: /No value "\{legs\.x\}"/
    })
  })
})

t.test('accessLog', async (t) => {
  t.test('tells of a forwarded answer all that the contract names', async (t) => {
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
    const { time, durationMs, upstreamMs, ...told } = await line(({ path }) => path === '/items/7')
    t.strictSame(told, {
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

  t.test('tells of an answer of our own what there is to tell', async (t) => {
    const told = readableLog()
    const { log } = told
    const app = await gateway(t, { routes: [{ path: ['/a', '/b/:id'], respond }] }, { log })
    const cases: [method: 'GET' | 'HEAD' | 'POST', url: string, expected: object][] = [
      ['GET', '/a', { method: 'GET', path: '/a', route: '/a, /b/:id', bytesIn: 0, bytesOut: 5 }],
      ['HEAD', '/a', { method: 'HEAD', bytesOut: 0 }],
      ['POST', '/b/1', { method: 'POST', path: '/b/1', bytesIn: 3 }]
    ]
    for (const [method, url, expected] of cases) {
      const answer = await app.inject({ method, url, ...(method === 'POST' ? { payload: 'abc' } : {}) })
      const line = await lineOf(told, answer)
      t.match(line, { level: 'info', status: 200, ip: '127.0.0.1', ...expected })
      for (const absent of ['upstream', 'target', 'upstreamMs', 'caller', 'refusedBy', 'code', 'wouldRefuse'])
        t.notOk(absent in line, `${absent} is not there`)
    }
  })

  t.test('tells who refused, and goes by the status', async (t) => {
    const folder = t.testdir({ 'boom.mjs': boom })
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
          { path: '/down/*', proxy: { upstream: await broken(t) }, auth: false },
          { path: '/boom/:how', boom: {}, auth: false }
        ]
      },
      log
    )
    await app.inject('/limited')
    const cases: [
      request: { url: string; method?: 'POST'; headers?: Record<string, string>; payload?: string },
      told: object
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
      [
        { url: '/boom/error' },
        { level: 'error', status: 500, refusedBy: undefined, code: 'SP_ERR_INTERNAL' }
      ],
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
    for (const [request, told] of cases) {
      t.match(await lineOf(log, await app.inject(request)), told, `${request.method ?? 'GET'} ${request.url}`)
    }
  })

  t.test('never tells a query, whoever refuses', async (t) => {
    const { log, lines, line } = readableLog('trace')
    const { port } = await listening(
      t,
      {
        routes: [
          { path: '/a', respond },
          { path: '/echo/*', proxy: { upstream: await upstream(t) } },
          { path: '/down/*', proxy: { upstream: await broken(t) } },
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
    t.equal(lines.length, targets.length + 1, 'each has its line, and what broke one of its own')
    t.equal(lines.filter((line) => JSON.stringify(line).includes('secret')).length, 0)
  })

  t.test('shows the headers it is asked for, and hides what is secret', async (t) => {
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
    const shown = await lineOf(log, await app.inject({ url: '/a', headers }))
    t.strictSame(shown['headers'], {
      'user-agent': 'tap',
      authorization: '[redacted]',
      cookie: '[redacted]',
      'x-api-key': '[redacted]'
    })
    const own = await lineOf(log, await app.inject({ url: '/own', headers }))
    t.strictSame(own['headers'], { 'x-token': '[redacted]', cookie: 'sid=1' })
    t.notMatch(JSON.stringify(log.lines), /secret/)
  })

  t.test('writes a share of what went well and all that did not, or nothing', async (t) => {
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

  t.test('is for people with LOG_PRETTY', async (t) => {
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
})

/** A target that fails in every way there is, as an extension might. */
const boom = `
export const key = 'boom'
export const target = true
export const options = { type: 'object', properties: {}, additionalProperties: false }
const ways = {
  error: () => new Error('the password of the database is 1234'),
  type: () => new TypeError("Cannot read properties of undefined (reading 'id')"),
  text: () => 'a text',
  status: () => Object.assign(new Error('the stack of it'), { statusCode: 503 }),
  refused: () => Object.assign(new Error('row 7 of users'), { statusCode: 409 }),
  teapot: () => Object.assign(new Error('short and stout'), { statusCode: 200 }),
  own: () => Object.assign(new Error('<script>alert("1" + \\'2\\')</script> & more'), {
    code: 'SP_ERR_BOOM_TOO_LOUD',
    statusCode: 418,
    headers: { 'x-why': 'loud' },
    members: { loudness: 11 }
  })
}
export default async function boom(app, { routes }) {
  for (const { mounts } of routes)
    for (const mount of mounts)
      app.route({
        ...mount,
        method: [...mount.method],
        exposeHeadRoute: false,
        handler: async (request) => { throw ways[request.params.how]() }
      })
}
`

t.test('errors', async (t) => {
  t.test('have the shape of RFC 9457', async (t) => {
    const app = await gateway(t, { routes: [] })
    const answer = await app.inject('/nowhere')
    t.equal(answer.headers['content-type'], 'application/problem+json')
    t.equal(answer.headers['cache-control'], 'no-store')
    t.strictSame(answer.json(), {
      type: 'about:blank',
      title: 'Not Found',
      status: 404,
      code: 'SP_ERR_ROUTE_UNKNOWN',
      detail: 'Not found: no route matches this path',
      requestId: answer.headers['x-request-id']
    })
    const head = await app.inject({ method: 'HEAD', url: '/nowhere' })
    t.equal(head.statusCode, 404)
    t.equal(head.body, '')
  })

  t.test('come in the form that the client likes best', async (t) => {
    const app = await gateway(t, {
      routes: [
        { path: '/text', methods: ['GET'], respond, errors: { format: 'text' } },
        { path: '/html', proxy: { upstream: await broken(t) }, errors: { format: 'html' } }
      ]
    })
    const json = 'application/problem+json'
    const html = 'text/html; charset=utf-8'
    const text = 'text/plain; charset=utf-8'
    const browser = 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8'
    const cases: [accept: string | undefined, type: string, url?: string][] = [
      [undefined, json],
      ['*/*', json],
      ['application/json', json],
      ['application/problem+json', json],
      ['application/vnd.api+json', json],
      ['application/json, text/plain, */*', json],
      ['application/*', json],
      ['image/png', json],
      ['', json],
      ['text/html', html],
      ['TEXT/HTML', html],
      [browser, html],
      ['text/plain', text],
      ['text/*', text],
      ['text/html;q=0.1, application/json', json],
      ['application/json;q=0.1, text/html', html],
      ['text/html;q=0.5, text/plain', text],
      ['text/plain;q=0.5, text/html', html],
      ['text/html;q=0, */*', json],
      ['text/html; level=1; q=0.3, text/plain; q=0.4', text],
      ['text/html;q=nonsense, text/plain;q=0.1', text],
      [undefined, html, '/html'],
      ['*/*', html, '/html'],
      ['image/png', html, '/html'],
      ['application/json', json, '/html'],
      ['text/plain', text, '/html']
    ]
    for (const [accept, type, url = '/nowhere'] of cases)
      t.test(`${accept ?? 'nothing said'} at ${url}`, async (t) => {
        const answer = await app.inject({ url, headers: accept === undefined ? {} : { accept } })
        t.equal(answer.headers['content-type'], type)
        t.match(answer.body, url === '/html' ? 'SP_ERR_UPSTREAM_FAILED' : 'SP_ERR_ROUTE_UNKNOWN')
        t.match(answer.body, String(answer.headers['x-request-id']))
      })
  })

  t.test('are a text or a page of a few words', async (t) => {
    const app = await gateway(t, { routes: [] })
    const text = await app.inject({ url: '/nowhere', headers: { accept: 'text/plain' } })
    t.equal(
      text.body,
      `404 Not Found\nNot found: no route matches this path\nSP_ERR_ROUTE_UNKNOWN ${String(text.headers['x-request-id'])}\n`
    )
    const page = await app.inject({ url: '/nowhere', headers: { accept: 'text/html' } })
    t.match(
      page.body,
      /^<!doctype html><html lang="en">.*<title>404 Not Found<\/title>.*<h1>Not Found<\/h1>/s
    )
  })

  t.test('of somebody’s own making are told, and never the inside of the gateway', async (t) => {
    const folder = t.testdir({ 'boom.mjs': boom })
    const { log, lines } = readableLog()
    const app = await gateway(
      t,
      { extensions: [{ module: `${folder}/boom.mjs` }], routes: [{ path: '/boom/:how', boom: {} }] },
      { log }
    )
    const inside = { status: 500, code: 'SP_ERR_INTERNAL', detail: 'Internal gateway error' }
    const cases: [how: string, problem: object, logged: boolean][] = [
      ['error', inside, true],
      ['type', inside, true],
      ['text', inside, true],
      ['status', inside, true],
      ['teapot', inside, true],
      ['refused', { status: 409, title: 'Conflict', detail: 'Conflict' }, false]
    ]
    for (const [how, problem, logged] of cases)
      t.test(how, async (t) => {
        const before = lines.length
        for (const accept of ['application/json', 'text/html', 'text/plain']) {
          const answer = await app.inject({ url: `/boom/${how}`, headers: { accept } })
          t.equal(answer.statusCode, (problem as { status: number }).status)
          t.notMatch(answer.body, /1234|reading|a text|stack|row 7|stout|\.ts|\.js|at async/)
          if (accept === 'application/json') t.match(answer.json(), problem)
        }
        const told = lines.slice(before).filter(({ msg }) => msg === 'request failed')
        t.equal(told.length, logged ? 3 : 0, 'the log alone learns what it was')
        for (const line of told) t.match(line, { level: 'error', requestId: String })
        if (how === 'error')
          t.match(told[0], {
            err: { message: 'the password of the database is 1234', stack: /boom\.mjs/ }
          })
      })
    t.test('own', async (t) => {
      const answer = await app.inject('/boom/own')
      t.equal(answer.statusCode, 418)
      t.match(answer.json(), {
        title: "I'm a Teapot",
        code: 'SP_ERR_BOOM_TOO_LOUD',
        detail: '<script>alert("1" + \'2\')</script> & more',
        loudness: 11
      })
      t.equal(answer.headers['x-why'], 'loud')
      const page = await app.inject({ url: '/boom/own', headers: { accept: 'text/html' } })
      t.match(
        page.body,
        '&lt;script&gt;alert(&quot;1&quot; + &#39;2&#39;)&lt;/script&gt; &amp; more',
        'markup stays text'
      )
      t.notMatch(page.body, /<script>/)
    })
  })

  t.test("of Node's parser have their shape and their line, too", async (t) => {
    const { log, lines, line } = readableLog()
    const { port } = await listening(t, { routes: [{ path: '/a', respond }] }, { log })
    const cases: [name: string, request: string, status: number, code: string][] = [
      ['no HTTP at all', 'hello\r\n\r\n', 400, 'SP_ERR_REQUEST_MALFORMED'],
      ['a method that is none', 'BREW / HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'SP_ERR_REQUEST_MALFORMED'],
      [
        'a space in a header name',
        'GET /a HTTP/1.1\r\nHost: a\r\nX A: 1\r\n\r\n',
        400,
        'SP_ERR_REQUEST_MALFORMED'
      ],
      [
        'two lengths',
        'POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
        400,
        'SP_ERR_REQUEST_MALFORMED'
      ],
      [
        'a length and chunks',
        'POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
        400,
        'SP_ERR_REQUEST_MALFORMED'
      ]
    ]
    for (const [name, request, status, code] of cases)
      t.test(name, async (t) => {
        const before = lines.length
        const answer = await raw(port, request, 5000)
        t.equal(statusOf(answer), status)
        t.match(answer, /\r\ncontent-type: application\/problem\+json\r\n/)
        t.match(answer, /\r\nconnection: close\r\n/)
        t.match(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n'))), {
          type: 'about:blank',
          title: 'Bad Request',
          status,
          code
        })
        t.match(lines.slice(before), [{ level: 'warn', status, code, ip: '127.0.0.1' }])
      })
    t.test('but say nothing of a client that only went away', async (t) => {
      const before = lines.length
      const client = connect(port, '127.0.0.1')
      client.write('GET /a HTTP/1.1\r\nHost: a\r\n')
      client.resetAndDestroy()
      await once(client, 'close')
      await raw(port, 'GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', 5000)
      await line(({ status }) => status === 200)
      t.match(lines.slice(before), [{ status: 200 }])
    })
  })

  t.test('tell a log-in that its body is none', async (t) => {
    const log = readableLog()
    const app = await gateway(
      t,
      {
        auth: { session: true, users: { list: [{ name: 'ada', secret: 'the password of ada' }] } },
        routes: [{ path: '/a', respond }]
      },
      log
    )
    const cases: [name: string, type: string, payload: string, status: number, code: string][] = [
      ['malformed JSON', 'application/json', '{"username": "ada", ', 400, 'SP_ERR_REQUEST_MALFORMED'],
      ['no JSON', 'application/json', 'username=ada', 400, 'SP_ERR_REQUEST_MALFORMED'],
      ['a prototype', 'application/json', '{"__proto__": {"a": 1}}', 400, 'SP_ERR_REQUEST_MALFORMED'],
      ['another kind', 'application/xml', '<a/>', 415, 'SP_ERR_REQUEST_MEDIA'],
      ['a kind that is none', 'nonsense', 'a', 415, 'SP_ERR_REQUEST_MEDIA']
    ]
    for (const [name, type, payload, status, code] of cases)
      t.test(name, async (t) => {
        const answer = await app.inject({
          method: 'POST',
          url: '/login',
          payload,
          headers: { 'content-type': type }
        })
        t.equal(answer.statusCode, status)
        t.match(answer.json(), { status, code })
        t.notMatch(answer.body, /JSON|position|FST_/, 'whose parser it was is nobody’s business')
        t.match(await lineOf(log, answer), { status, code, refusedBy: 'request' })
      })
  })
})
