import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import {
  ask,
  gateway,
  type Listening,
  listening,
  raw,
  readableLog,
  type Seen,
  statusOf,
  upstream
} from '../helpers.ts'

// "Settled" in the config contract, line by line: which route takes a request, and what is forwarded.

type Words = Record<string, unknown>

/** A route that answers with its name. */
const route = (name: string, words: Words): Words => ({ name, ...words, respond: { body: name } })

/** One request as "METHOD /path @host", and what it comes to: the name of a route, or a status with what Allow says. */
type Asked = readonly [request: string, comes: string | number]

interface Routing {
  readonly name: string
  readonly config?: Words
  readonly routes: readonly Words[]
  readonly asks: readonly Asked[]
}

function routed(t: Test, { name, config, routes, asks }: Routing): void {
  t.test(name, async (t) => {
    for (const order of [routes, routes.toReversed()]) {
      const app = await gateway(t, { ...config, routes: order })
      for (const [request, comes] of asks) {
        const [, method = '', url = '', host = 'gateway.test'] =
          /^(\S+) (\S+)(?: @(.*))?$/.exec(request) ?? []
        const { statusCode, body, headers } = await app.inject({
          method: method as 'GET',
          url,
          headers: { host }
        })
        const { allow } = headers
        t.equal(
          statusCode === 200 ? body : allow === undefined ? statusCode : `${statusCode} ${allow}`,
          comes,
          request
        )
      }
    }
  })
}

t.test('which route takes a request', async (t) => {
  const cases: Routing[] = [
    {
      name: 'a matching host beats every entry without one',
      routes: [
        route('anybody', { path: '/a/b/c' }),
        route('api', { path: '/*', host: 'api.test' }),
        route('rest', { path: '/*' })
      ],
      asks: [
        ['GET /a/b/c @api.test', 'api'],
        ['GET /a/b/c @web.test', 'anybody'],
        ['GET / @web.test', 'rest'],
        ['GET /', 'rest']
      ]
    },
    {
      name: 'a host that does not know a path leaves it to the entries without one',
      routes: [route('api', { path: '/x', host: 'api.test' }), route('rest', { path: '/*' })],
      asks: [
        ['GET /x @api.test', 'api'],
        ['GET /x/ @api.test', 'api'],
        ['GET /y @api.test', 'rest'],
        ['GET /x/y @api.test', 'rest']
      ]
    },
    {
      name: 'a wildcard host is one label, and a host by its name comes first',
      routes: [
        route('any', { path: '/*', host: '*.b.test' }),
        route('one', { path: '/one/*', host: 'x.b.test' }),
        route('rest', { path: '/*' })
      ],
      asks: [
        ['GET /a @x.b.test', 'any'],
        ['GET /one @x.b.test', 'one'],
        ['GET /one @y.b.test', 'any'],
        ['GET /a @b.test', 'rest'],
        ['GET /a @x.y.b.test', 'rest'],
        ['GET /a @xb.test', 'rest']
      ]
    },
    {
      name: 'a host is compared in lower case, without its port and final dot',
      routes: [route('api', { path: '/*', host: 'api.test' }), route('six', { path: '/*', host: '[::1]' })],
      asks: [
        ['GET / @api.test', 'api'],
        ['GET / @API.Test', 'api'],
        ['GET / @api.test:8443', 'api'],
        ['GET / @api.test.', 'api'],
        ['GET / @aPi.test.:80', 'api'],
        ['GET / @[::1]:3000', 'six'],
        ['GET / @api.test.evil', 404],
        ['GET / @api', 404]
      ]
    },
    {
      name: 'a list of hosts holds for each of them',
      routes: [route('two', { path: '/*', host: ['a.test', '*.b.test'] })],
      asks: [
        ['GET / @a.test', 'two'],
        ['GET / @x.b.test', 'two'],
        ['GET / @c.test', 404]
      ]
    },
    {
      name: 'the most specific path wins, whatever the order',
      routes: [
        route('all', { path: '/*' }),
        route('orders', { path: '/orders/*' }),
        route('one', { path: '/orders/:id' }),
        route('number', { path: '/orders/:id(\\d+)' }),
        route('new', { path: '/orders/new' }),
        route('items', { path: '/orders/:id/items' })
      ],
      asks: [
        ['GET /orders/new', 'new'],
        ['GET /orders/7', 'number'],
        ['GET /orders/x7', 'one'],
        ['GET /orders/7/items', 'items'],
        ['GET /orders/new/items', 'items'],
        ['GET /orders/7/rows', 'orders'],
        ['GET /orders', 'orders'],
        ['GET /order', 'all']
      ]
    },
    {
      name: 'a known path with another method is 405 and never falls to a wider path',
      routes: [
        route('get', { path: '/a', methods: ['GET'] }),
        route('below', { path: '/b/*', methods: ['PUT', 'DELETE'] }),
        route('number', { path: '/c/:id(\\d+)', methods: ['POST'] }),
        route('hosted', { path: '/d', host: 'api.test', methods: ['GET'] }),
        route('d', { path: '/d' }),
        route('all', { path: '/*' })
      ],
      asks: [
        ['GET /a', 'get'],
        ['POST /a', '405 GET, HEAD'],
        ['POST /a/', '405 GET, HEAD'],
        ['POST /a/b', 'all'],
        ['GET /b', '405 DELETE, PUT'],
        ['GET /b/c/d', '405 DELETE, PUT'],
        ['PUT /b/c/d', 'below'],
        ['GET /c/1', '405 POST'],
        ['GET /c/x', 'all'],
        ['POST /d @api.test', '405 GET, HEAD'],
        ['POST /d', 'd']
      ]
    },
    {
      name: 'entries of one path share it by method, and Allow names them all',
      routes: [
        route('read', { path: '/a', methods: ['GET'] }),
        route('write', { path: '/a', methods: ['PUT', 'POST'] }),
        route('wide', { path: '/a/*', methods: ['PATCH'] })
      ],
      asks: [
        ['GET /a', 'read'],
        ['POST /a', 'write'],
        ['DELETE /a', '405 GET, HEAD, POST, PUT'],
        ['PATCH /a', '405 GET, HEAD, POST, PUT'],
        ['PATCH /a/b', 'wide']
      ]
    },
    {
      name: '/a/* takes /a, /a/ and all below',
      routes: [route('a', { path: '/a/*' })],
      asks: [
        ['GET /a', 'a'],
        ['GET /a/', 'a'],
        ['GET /a/b', 'a'],
        ['GET /a/b/', 'a'],
        ['GET /a/b/c/d', 'a'],
        ['GET /a?b', 'a'],
        ['GET /ab', 404],
        ['GET /', 404]
      ]
    },
    {
      name: 'an exact /a takes /a/, too, and wins over /a/* for itself',
      routes: [route('exact', { path: '/a' }), route('below', { path: '/a/*' })],
      asks: [
        ['GET /a', 'exact'],
        ['GET /a/', 'exact'],
        ['GET /a/b', 'below']
      ]
    },
    {
      name: 'an entry of its own for /a/ takes it from /a',
      routes: [
        route('exact', { path: '/a' }),
        route('slash', { path: '/a/' }),
        route('below', { path: '/a/*' })
      ],
      asks: [
        ['GET /a', 'exact'],
        ['GET /a/', 'slash'],
        ['GET /a/b', 'below']
      ]
    },
    {
      name: '/a/ alone is that and nothing else',
      routes: [route('slash', { path: '/a/' })],
      asks: [
        ['GET /a/', 'slash'],
        ['GET /a', 404],
        ['GET /a/b', 404]
      ]
    },
    {
      name: '/ is the root, and /* is everything',
      routes: [route('root', { path: '/' }), route('all', { path: '/*' })],
      asks: [
        ['GET /', 'root'],
        ['GET /?a=b', 'root'],
        ['GET /a', 'all']
      ]
    },
    {
      name: 'a list of paths is one entry',
      routes: [route('two', { path: ['/a/*', '/b/:id', '/c'] })],
      asks: [
        ['GET /a/x', 'two'],
        ['GET /b/x', 'two'],
        ['GET /c/', 'two'],
        ['GET /b', 404],
        ['GET /d', 404]
      ]
    },
    {
      name: 'a parameter is one segment that is not empty',
      routes: [route('one', { path: '/a/:id' }), route('two', { path: '/b/:x/:y/c' })],
      asks: [
        ['GET /a/1', 'one'],
        ['GET /a/1/', 'one'],
        ['GET /a/1%2F2', 'one'],
        ['GET /a/', 404],
        ['GET /a', 404],
        ['GET /a/1/2', 404],
        ['GET /b/1/2/c', 'two'],
        ['GET /b/1/c', 404]
      ]
    },
    {
      name: 'an empty segment is left to what takes it otherwise',
      routes: [
        route('one', { path: '/a/:id' }),
        route('digits', { path: '/b/:id(\\d*)' }),
        route('below', { path: '/c/*' }),
        route('deep', { path: '/c/d/:id' }),
        route('hosted', { path: '/e/:id', host: 'api.test' }),
        route('first', { path: '/:first' })
      ],
      asks: [
        ['GET /a/1', 'one'],
        ['GET /a/', 'first'],
        ['GET /b/1', 'digits'],
        ['GET /b/', 'first'],
        ['GET /c/d/', 'below'],
        ['GET /e/1 @api.test', 'hosted'],
        ['GET /e/ @api.test', 'first'],
        ['GET /', 404]
      ]
    },
    {
      name: 'a pattern narrows a parameter as a whole',
      routes: [
        route('number', { path: '/a/:id(\\d+)' }),
        route('choice', { path: '/b/:kind(cat|dog)/*' }),
        route('greedy', { path: '/c/:rest(.+)' }),
        route('date', { path: '/d/:day(\\d{4}-\\d\\d)' })
      ],
      asks: [
        ['GET /a/12', 'number'],
        ['GET /a/%31', 'number'],
        ['GET /a/12x', 404],
        ['GET /a/x12', 404],
        ['GET /a/', 404],
        ['GET /b/cat/1', 'choice'],
        ['GET /b/dog', 'choice'],
        ['GET /b/cow', 404],
        ['GET /b/catdog', 404],
        ['GET /c/x', 'greedy'],
        ['GET /c/x/y', 404],
        ['GET /d/2026-11', 'date'],
        ['GET /d/2026-1', 404]
      ]
    },
    {
      name: 'colons, dots and letters beyond ASCII are themselves in a path',
      routes: [
        route('colon', { path: '/v1/things:batch' }),
        route('dot', { path: '/v1/x.json' }),
        route('café', { path: '/caf%C3%A9' })
      ],
      asks: [
        ['GET /v1/things:batch', 'colon'],
        ['GET /v1/thingsXbatch', 404],
        ['GET /v1/x.json', 'dot'],
        ['GET /v1/xxjson', 404],
        ['GET /caf%C3%A9', 'café'],
        ['GET /caf%c3%a9', 'café'],
        ['GET /cafe', 404]
      ]
    },
    {
      name: 'case counts',
      routes: [route('a', { path: '/Shop/:id' })],
      asks: [
        ['GET /Shop/X', 'a'],
        ['GET /shop/X', 404]
      ]
    },
    {
      name: 'case does not count with ignoreCase',
      config: { paths: { ignoreCase: true } },
      routes: [route('shop', { path: '/Shop/*' }), route('hosted', { path: '/Shop/X', host: 'api.test' })],
      asks: [
        ['GET /Shop', 'shop'],
        ['GET /sHOP/x', 'shop'],
        ['GET /SHOP/x @api.test', 'hosted'],
        ['GET /shop/y @api.test', 'shop']
      ]
    },
    {
      name: 'an unknown path is 404 before any 401, and so is 405',
      config: { auth: { apiKeys: { list: [{ id: 'ada', secret: 'ada-s-key' }] } } },
      routes: [
        route('closed', { path: '/closed', methods: ['POST'] }),
        route('open', { path: '/open', auth: false })
      ],
      asks: [
        ['POST /closed', 401],
        ['GET /closed', '405 POST'],
        ['GET /nowhere', 404],
        ['GET /open', 'open']
      ]
    }
  ]
  cases.push(
    {
      name: 'parameters at one place that are narrowed in several ways',
      routes: [
        route('number', { path: '/posts/:id(\\d+)' }),
        route('word', { path: '/posts/:slug([a-z-]+)' }),
        route('any', { path: '/posts/:any' }),
        route('new', { path: '/posts/new' }),
        route('below', { path: '/posts/:id(\\d+)/*' }),
        route('comments', { path: '/posts/:slug([a-z-]+)/comments' })
      ],
      asks: [
        ['GET /posts/5', 'number'],
        ['GET /posts/5/', 'number'],
        ['GET /posts/%35', 'number'],
        ['GET /posts/five', 'word'],
        ['GET /posts/Five', 'any'],
        ['GET /posts/five%2Fsix', 'any'],
        ['GET /posts/new', 'new'],
        ['GET /posts/5/comments', 'below'],
        ['GET /posts/five/comments', 'comments'],
        ['GET /posts/five/x', 404],
        ['GET /posts/', 404]
      ]
    },
    {
      name: 'narrowed parameters at one place, on a host, by method and deeper in the path',
      routes: [
        route('number', { path: '/a/:id(\\d+)/x', host: 'api.test', methods: ['GET'] }),
        route('other', { path: '/a/:id(\\D+)/x', host: 'api.test', methods: ['POST'] }),
        route('rest', { path: '/a/*' }),
        route('first', { path: '/b/:x(\\d+)/:y([a-z]+)' }),
        route('second', { path: '/b/:x([a-z]+)/:y(\\d+)' })
      ],
      asks: [
        ['GET /a/5/x @api.test', 'number'],
        ['POST /a/b/x @api.test', 'other'],
        ['POST /a/5/x @api.test', '405 GET, HEAD'],
        ['GET /a/b/x @api.test', '405 POST'],
        ['GET /a/5/x', 'rest'],
        ['GET /b/5/a', 'first'],
        ['GET /b/a/5', 'second'],
        ['GET /b/5/5', 404]
      ]
    },
    {
      name: 'an exact path wins over "/*" at a place of narrowed parameters',
      routes: [
        route('exact', { path: '/g/:y(\\d+)', methods: ['POST'] }),
        route('wide', { path: '/g/:x([^/:]+)/*' })
      ],
      asks: [
        ['POST /g/5', 'exact'],
        ['GET /g/5', '405 POST'],
        ['GET /g/five', 'wide'],
        ['GET /g/5/6', 'wide'],
        ['GET /g/', 404]
      ]
    },
    {
      name: 'expressions keep their case where case does not count',
      config: { paths: { ignoreCase: true } },
      routes: [route('digits', { path: '/A/:id(\\d+)' }), route('others', { path: '/a/:id(\\D+)' })],
      asks: [
        ['GET /a/5', 'digits'],
        ['GET /A/5', 'digits'],
        ['GET /a/b', 'others'],
        ['GET /A/B', 'others']
      ]
    }
  )
  for (const each of cases) routed(t, each)

  t.test('groups inside an expression are no parameters', async (t) => {
    const app = await gateway(t, {
      routes: [{ path: '/:x(([a-z])(?<n>\\d)[-])/:y', respond: { body: '{params.x} {params.y}' } }]
    })
    t.equal((await app.inject('/a1-/b')).body, 'a1- b')
  })

  t.test('the first in the file wins where several expressions at one place match', async (t) => {
    const digits = { path: '/p/:id(\\d+)', respond: { body: 'digits {params.id}' } }
    const word = { path: '/p/:slug(\\w+)', respond: { body: 'word {params.slug}' } }
    // What is elsewhere with the same expression changes nothing.
    const before = { path: '/p/:slug(\\w+)/more', respond: { body: 'more' } }
    for (const [routes, comes] of [
      [[before, digits, word], 'digits 5'],
      [[before, word, digits], 'word 5']
    ] as const) {
      const app = await gateway(t, { routes })
      t.equal((await app.inject('/p/5')).body, comes)
      t.equal((await app.inject('/p/x')).body, 'word x')
    }
  })

  t.test('a parameter keeps its case where case does not count', async (t) => {
    const app = await gateway(t, {
      paths: { ignoreCase: true },
      routes: [{ path: '/Shop/:Name', respond: { body: '{params.Name}' } }]
    })
    t.equal((await app.inject('/sHoP/AdA')).body, 'AdA')
  })
})

/** One raw request; the connection closes after it. */
function bytes(
  target: string,
  {
    method = 'GET',
    version = '1.1',
    host = 'gateway.test',
    lines = []
  }: Partial<Record<'method' | 'version' | 'host', string>> & { lines?: readonly string[] } = {}
): string {
  return [`${method} ${target} HTTP/${version}`, `Host: ${host}`, 'Connection: close', ...lines, '', ''].join(
    '\r\n'
  )
}

const codeOf = (answer: string): string => /"code":"(\w+)"/.exec(answer)?.[1] ?? ''
const headOf = (answer: string, name: string): string | undefined =>
  new RegExp(`^${name}: (.*)\r$`, 'im').exec(answer)?.[1]
const textOf = (answer: string): string => answer.slice(answer.indexOf('\r\n\r\n') + 4)

t.test('which method a route takes', async (t) => {
  const { port } = await listening(t, {
    routes: [
      { path: '/all', proxy: { upstream: await upstream(t) } },
      { path: '/get', methods: ['GET'], respond: { body: 'twelve bytes' } },
      { path: '/post', methods: ['POST'], respond: { body: 'posted' } },
      { path: '/dav', methods: ['PROPFIND', 'REPORT'], respond: { body: '{path}' } },
      {
        path: '/cors',
        methods: ['GET', 'PUT'],
        cors: { origins: ['https://a.test'] },
        respond: { body: 'shared' }
      },
      { path: '/any-cors', cors: { origins: ['https://a.test'] }, proxy: { upstream: await upstream(t) } }
    ]
  })
  const send = (target: string, method: string, lines: readonly string[] = []): Promise<string> =>
    raw(port, bytes(target, { method, lines }))

  t.test('GET brings HEAD, with the head of GET and no body', async (t) => {
    const answer = await send('/get', 'HEAD')
    t.equal(statusOf(answer), 200)
    t.equal(headOf(answer, 'content-length'), '12')
    t.equal(textOf(answer), '')
    t.equal(statusOf(await send('/post', 'HEAD')), 405, 'POST does not')
  })

  t.test('without methods, all but CONNECT and TRACE', async (t) => {
    for (const method of [
      'GET',
      'POST',
      'PUT',
      'PATCH',
      'DELETE',
      'OPTIONS',
      'PROPFIND',
      'PROPPATCH',
      'MKCOL',
      'COPY',
      'MOVE',
      'LOCK',
      'UNLOCK',
      'REPORT',
      'SEARCH',
      'PURGE'
    ]) {
      const answer = await send('/all', method)
      t.equal(statusOf(answer), 200, method)
      t.equal((JSON.parse(textOf(answer)) as Seen).method, method, `${method} reaches the upstream as such`)
    }
    t.equal(statusOf(await send('/all', 'HEAD')), 200)
  })

  t.test('WebDAV by name', async (t) => {
    t.equal(statusOf(await send('/dav', 'REPORT')), 200)
    const refused = await send('/dav', 'MKCOL')
    t.equal(statusOf(refused), 405)
    t.equal(headOf(refused, 'allow'), 'PROPFIND, REPORT')
  })

  t.test('TRACE and CONNECT are refused wherever they go', async (t) => {
    for (const target of ['/all', '/get', '/nowhere']) {
      const answer = await send(target, 'TRACE')
      t.equal(statusOf(answer), 405, target)
      t.equal(codeOf(answer), 'SP_ERR_ROUTE_METHOD')
      t.match(headOf(answer, 'allow'), /GET, HEAD/)
      t.notMatch(headOf(answer, 'allow'), /TRACE|CONNECT/)
    }
    t.equal(statusOf(await send('upstream.test:443', 'CONNECT')), 405)
  })

  t.test('OPTIONS is a preflight only with Origin and Access-Control-Request-Method', async (t) => {
    const origin = 'Origin: https://a.test'
    const about = (method: string): string => `Access-Control-Request-Method: ${method}`
    const cases: [
      name: string,
      target: string,
      lines: string[],
      status: number,
      allowed: string | undefined
    ][] = [
      ['a preflight is answered', '/cors', [origin, about('PUT')], 204, 'GET, PUT, HEAD'],
      [
        'one about a method that the route has not is none of its own',
        '/cors',
        [origin, about('DELETE')],
        405,
        undefined
      ],
      ['without a method it is ordinary', '/cors', [origin], 405, undefined],
      ['without an origin it is ordinary', '/cors', [about('PUT')], 405, undefined],
      ['an ordinary one reaches the upstream', '/any-cors', [], 200, undefined],
      ['one with an origin alone does, too', '/any-cors', [origin], 200, undefined],
      [
        'a preflight does not',
        '/any-cors',
        [origin, about('PUT')],
        204,
        'GET, HEAD, PUT, PATCH, POST, DELETE'
      ],
      ['where there is no cors, a preflight is ordinary', '/all', [origin, about('PUT')], 200, undefined],
      ['and refused where OPTIONS is', '/get', [origin, about('GET')], 405, undefined]
    ]
    for (const [name, target, lines, status, allowed] of cases) {
      const answer = await send(target, 'OPTIONS', lines)
      t.equal(statusOf(answer), status, name)
      t.equal(headOf(answer, 'access-control-allow-methods'), allowed, name)
    }
  })
})

t.test('a request target that is no path', async (t) => {
  const { port } = await listening(t, {
    routes: [
      { path: '/*', proxy: { upstream: await upstream(t), preserveHost: true } },
      { path: '/*', host: 'api.test', respond: { body: 'api {host} {path}' } }
    ]
  })

  t.test('is taken in its absolute form, whose authority replaces Host', async (t) => {
    const cases: [target: string, host: string, url: string, seenHost: string][] = [
      ['http://web.test/a?b=c', 'api.test', '/a?b=c', 'web.test'],
      ['https://web.test:8443/a', 'api.test', '/a', 'web.test:8443'],
      ['HTTP://web.test/a%2Fb', 'api.test', '/a%2Fb', 'web.test'],
      ['http://web.test', 'api.test', '/', 'web.test'],
      ['http://web.test?b=c', 'api.test', '/?b=c', 'web.test']
    ]
    for (const [target, host, url, seenHost] of cases) {
      const answer = await raw(port, bytes(target, { host }))
      t.equal(statusOf(answer), 200, target)
      const seen = JSON.parse(textOf(answer)) as Seen
      t.equal(seen.url, url, target)
      t.equal(seen.headers['host'], seenHost, target)
      t.equal(seen.headers['x-forwarded-host'], seenHost, target)
    }
    t.equal(textOf(await raw(port, bytes('http://API.test/x', { host: 'web.test' }))), 'api API.test /x')
  })

  t.test('is refused in every other form', async (t) => {
    for (const target of [
      '*',
      'web.test:80',
      'ftp://web.test/',
      'ws://web.test/',
      'file:///etc/passwd',
      'http:/a',
      'a'
    ])
      for (const method of ['GET', 'OPTIONS'])
        t.equal(statusOf(await raw(port, bytes(target, { method }))), 400, `${method} ${target}`)
  })

  t.test('is refused where its authority is malformed', async (t) => {
    for (const target of [
      'http:///a',
      'http://user@web.test/',
      'http://user:pass@web.test/',
      'http://web.test:99999999/',
      'http://we%62.test/',
      'http://a b/'
    ])
      t.equal(statusOf(await raw(port, bytes(target))), 400, target)
  })
})

t.test('Host', async (t) => {
  const { port } = await listening(t, { routes: [{ path: '/*', respond: { body: 'taken' } }] })
  const cases: [name: string, lines: string[], status: number][] = [
    ['one is what it takes', ['Host: web.test'], 200],
    ['with a port', ['Host: web.test:8080'], 200],
    ['an address', ['Host: 127.0.0.1'], 200],
    ['an IPv6 address', ['Host: [::1]:80'], 200],
    ['missing', [], 400],
    ['twice', ['Host: web.test', 'Host: web.test'], 400],
    ['twice, in other spellings', ['hOST: web.test', 'Host: api.test'], 400],
    ['empty', ['Host: '], 400],
    ['with a path', ['Host: web.test/x'], 400],
    ['with a user', ['Host: me@web.test'], 400],
    ['with a space', ['Host: web test'], 400],
    ['with a list', ['Host: web.test, api.test'], 400],
    ['with a port that is none', ['Host: web.test:http'], 400],
    ['with an empty label', ['Host: .'], 400],
    ['of two final dots', ['Host: web.test..'], 400]
  ]
  for (const [name, lines, status] of cases)
    t.test(name, async (t) => {
      const answer = await raw(port, ['GET / HTTP/1.1', ...lines, 'Connection: close', '', ''].join('\r\n'))
      t.equal(statusOf(answer), status)
      t.equal(textOf(answer) === 'taken', status === 200)
    })

  t.test('an answer to a double one has the shape of every refusal', async (t) => {
    const answer = await raw(
      port,
      'GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\nConnection: close\r\n\r\n'
    )
    t.equal(codeOf(answer), 'SP_ERR_PATHS_HOST')
    t.equal(headOf(answer, 'content-type'), 'application/problem+json')
    t.match(headOf(answer, 'x-request-id'), /\S/)
  })
})

t.test('the version of HTTP', async (t) => {
  const { port } = await listening(t, { routes: [{ path: '/*', respond: { body: 'taken' } }] })
  for (const [version, status] of [
    ['1.1', 200],
    ['1.0', 200],
    ['0.9', 505],
    ['2.0', 505],
    ['1.2', 400],
    ['3.0', 400]
  ] as const)
    t.equal(statusOf(await raw(port, bytes('/', { version }))), status, version)
  const smuggled = await raw(
    port,
    bytes('/', { method: 'POST', version: '1.0', lines: ['Transfer-Encoding: chunked'] })
  )
  t.equal(statusOf(smuggled), 400, 'HTTP/1.0 with a transfer coding')
  t.equal(
    statusOf(await raw(port, 'GET / HTTP/2.0\r\nHost: a.test\r\nHost: b.test\r\nConnection: close\r\n\r\n')),
    505,
    'whatever claims to be HTTP/2 has one Host as well'
  )
})

const UNSAFE = 'SP_ERR_PATHS_UNSAFE'
const SLASH = 'SP_ERR_PATHS_SLASH'

/** What an upstream behind `/*` sees of a target, or the code of the refusal. */
async function arrives({ port }: Listening, target: string): Promise<string> {
  const answer = await raw(port, bytes(target))
  if (statusOf(answer) === 200) return (JSON.parse(textOf(answer)) as Seen).url
  return statusOf(answer) === 400 ? codeOf(answer) : `status ${statusOf(answer)}`
}

t.test('the canonical path', async (t) => {
  const own = await listening(t, {
    routes: [
      { path: '/*', proxy: { upstream: await upstream(t) } },
      { path: '/admin/*', respond: { status: 403, body: 'closed' } }
    ]
  })
  const cases: [target: string, arrives: string][] = [
    // As sent.
    ['/a/b', '/a/b'],
    ['/a/', '/a/'],
    ['/a%2Fb', '/a%2Fb'],
    ['/a%2fb', '/a%2fb'],
    ['/a%20b', '/a%20b'],
    ['/caf%C3%A9', '/caf%C3%A9'],
    ['/a+b&c=d;e,f:g@h!$(x)*', '/a+b&c=d;e,f:g@h!$(x)*'],
    ["/it's", "/it's"],
    ['/a;v=1/b', '/a;v=1/b'],
    ['/...', '/...'],
    ['/..a/.b/c..', '/..a/.b/c..'],
    ['/a%3Fb', '/a%3Fb'],
    ['/a%23b', '/a%23b'],
    ['/100%25', '/100%25'],
    // Unreserved characters are decoded.
    ['/%61%2D%2E%5F%7E%5a', '/a-._~Z'],
    ['/%7Euser', '/~user'],
    // Three decodings deep nobody looks.
    ['/%25252e%25252e/a', '/%25252e%25252e/a'],
    // Dot segments.
    ['/..', UNSAFE],
    ['/.', UNSAFE],
    ['/a/..', UNSAFE],
    ['/a/../admin', UNSAFE],
    ['/./admin', UNSAFE],
    ['/a/./', UNSAFE],
    ['/%2e%2e/admin', UNSAFE],
    ['/%2E/admin', UNSAFE],
    ['/.%2e/admin', UNSAFE],
    ['/%252e%252e/admin', UNSAFE],
    ['/a/%252e', UNSAFE],
    ['/a%2F..%2Fadmin', UNSAFE],
    ['/a%2f%2e%2e%2fadmin', UNSAFE],
    ['/a%252F..%252Fadmin', UNSAFE],
    ['/..;/admin', UNSAFE],
    ['/a/..;x=1/admin', UNSAFE],
    ['/%2e%2e;/admin', UNSAFE],
    ['/a/..%3Bx/admin', UNSAFE],
    // NUL, backslashes, controls.
    ['/a%00', UNSAFE],
    ['/a%2500', UNSAFE],
    ['/a\\b', UNSAFE],
    ['/..\\admin', UNSAFE],
    ['/a%5Cb', UNSAFE],
    ['/a%255cb', UNSAFE],
    ['/a%0d%0aX:%20y', UNSAFE],
    ['/a%09', UNSAFE],
    ['/a%1F', UNSAFE],
    ['/a%7f', UNSAFE],
    ['/a%250a', UNSAFE],
    ['/a#b', UNSAFE],
    // Encodings that are none.
    ['/a%', UNSAFE],
    ['/a%4', UNSAFE],
    ['/a%zz', UNSAFE],
    ['/%u002e', UNSAFE],
    ['/%ff', UNSAFE],
    ['/caf%E9', UNSAFE],
    ['/%C0%AE%C0%AE/admin', UNSAFE],
    ['/%c0%af', UNSAFE],
    ['/%ED%A0%80', UNSAFE],
    ['/caf\xe9', 'SP_ERR_REQUEST_MALFORMED'],
    ['/caf\xc3\xa9', 'SP_ERR_REQUEST_MALFORMED'],
    // Empty segments.
    ['//', SLASH],
    ['//admin', SLASH],
    ['/a//b', SLASH],
    ['/a//', SLASH]
  ]
  for (const [target, comes] of cases)
    t.test(JSON.stringify(target), async (t) => t.equal(await arrives(own, target), comes))

  t.test('is what router and gates see as well', async (t) => {
    for (const target of ['/admin/x', '/%61dmin/x', '/%61%64%6d%69%6E', '/admin%2Fx', '/ADMIN', '/admin;x'])
      t.equal(
        statusOf(await raw(own.port, bytes(target))),
        ['/admin%2Fx', '/ADMIN', '/admin;x'].includes(target) ? 200 : 403,
        target
      )
  })

  t.test('leaves the query alone, byte for byte', async (t) => {
    for (const query of [
      '?',
      '?a',
      '?a=b&a=c',
      '?p=/../%2e%2e/%00',
      '?%zz=%',
      '?a=%20+b',
      '?u=http://x/?y#z',
      '?a=\\',
      '?a=\'<>"{}|^`',
      '??',
      '?a=1?b'
    ])
      t.equal(await arrives(own, `/%61${query}`), `/a${query}`, query)
  })
})

t.test('slashes by policy', async (t) => {
  const url = await upstream(t)
  const policy = async (paths: Words): Promise<Listening> =>
    listening(t, {
      paths,
      routes: [
        { path: '/*', proxy: { upstream: url } },
        { path: '/a/b', respond: { status: 204 } }
      ]
    })
  const cases: { name: string; paths: Words; asks: [target: string, arrives: string][] }[] = [
    {
      name: 'encodedSlash: reject',
      paths: { encodedSlash: 'reject' },
      asks: [
        ['/x%2Fb', SLASH],
        ['/x%2fb', SLASH],
        ['/x/b', '/x/b'],
        ['/x%252Fb', '/x%252Fb']
      ]
    },
    {
      name: 'encodedSlash: decode',
      paths: { encodedSlash: 'decode' },
      asks: [
        ['/x%2Fb', '/x/b'],
        ['/a%2fb', 'status 204'],
        ['/x%2F%2Fb', SLASH],
        ['/x/%2Fb', SLASH],
        ['/x%2F..%2Fb', UNSAFE],
        ['/x%252Fb', '/x%252Fb']
      ]
    },
    {
      name: 'doubleSlash: merge',
      paths: { doubleSlash: 'merge' },
      asks: [
        ['//x///b//', '/x/b/'],
        ['/a//b', 'status 204'],
        ['//', '/'],
        ['/x//../b', UNSAFE],
        ['/x/%2Fb', '/x/%2Fb']
      ]
    },
    {
      name: 'doubleSlash: merge with encodedSlash: decode',
      paths: { doubleSlash: 'merge', encodedSlash: 'decode' },
      asks: [['/a/%2F%2fb', 'status 204']]
    },
    {
      name: 'doubleSlash: keep',
      paths: { doubleSlash: 'keep' },
      asks: [
        ['/x//b', '/x//b'],
        ['//x', '//x'],
        ['/a//b', '/a//b'],
        ['/x//..', UNSAFE]
      ]
    },
    {
      name: 'mode: report lets pass what only the policy refuses',
      paths: { mode: 'report', encodedSlash: 'reject' },
      asks: [
        ['/x//b', '/x//b'],
        ['/x%2Fb', '/x%2Fb'],
        ['/x/../b', UNSAFE],
        ['/x%00', UNSAFE],
        ['/x%5c', UNSAFE]
      ]
    }
  ]
  for (const { name, paths, asks } of cases)
    t.test(name, async (t) => {
      const own = await policy(paths)
      for (const [target, comes] of asks) t.equal(await arrives(own, target), comes, target)
    })

  t.test('mode: report tells of it in the log', async (t) => {
    const { log, lines } = readableLog()
    const own = await listening(
      t,
      { paths: { mode: 'report' }, routes: [{ path: '/*', respond: { body: 'taken' } }] },
      { log }
    )
    t.equal(textOf(await raw(own.port, bytes('/a//b'))), 'taken')
    t.match(
      lines.find((line) => line['path'] === '/a//b'),
      { status: 200, wouldRefuse: [`paths ${SLASH}`] }
    )
  })
})

t.test('the path that an upstream gets', async (t) => {
  const url = await upstream(t)
  const cases: {
    name: string
    path: string | string[]
    proxy?: Words
    group?: Words
    asks: [target: string, arrives: string][]
  }[] = [
    {
      name: 'without rewrite it goes on unchanged',
      path: '/a/*',
      asks: [
        ['/a', '/a'],
        ['/a/', '/a/'],
        ['/a/b%2Fc/', '/a/b%2Fc/']
      ]
    },
    {
      name: 'and so does the prefix of a group',
      group: { path: '/g' },
      path: '/a/*',
      asks: [['/g/a/b', '/g/a/b']]
    },
    {
      name: '"/" strips what stands before /*',
      path: '/a/*',
      proxy: { rewrite: '/' },
      asks: [
        ['/a', '/'],
        ['/a/', '/'],
        ['/a/b', '/b'],
        ['/a/b/', '/b/'],
        ['/a/b%2Fc', '/b%2Fc'],
        ['/a/a/b', '/a/b'],
        ['/a?b=/a', '/?b=/a']
      ]
    },
    {
      name: 'with the prefix of its group',
      group: { path: '/g' },
      path: '/a/*',
      proxy: { rewrite: '/' },
      asks: [
        ['/g/a/b', '/b'],
        ['/g/a', '/']
      ]
    },
    {
      name: 'another path replaces it',
      path: '/a/*',
      proxy: { rewrite: '/v2' },
      asks: [
        ['/a', '/v2'],
        ['/a/', '/v2/'],
        ['/a/b', '/v2/b']
      ]
    },
    {
      name: 'with or without its final slash',
      path: '/a/*',
      proxy: { rewrite: '/v2/' },
      asks: [
        ['/a/', '/v2/'],
        ['/a/b', '/v2/b']
      ]
    },
    {
      name: 'on /* it comes before the whole',
      path: '/*',
      proxy: { rewrite: '/v2' },
      asks: [
        ['/', '/v2/'],
        ['/a/b', '/v2/a/b']
      ]
    },
    {
      name: 'on an exact path it is the whole',
      path: '/a/b',
      proxy: { rewrite: '/c' },
      asks: [
        ['/a/b', '/c'],
        ['/a/b/', '/c'],
        ['/a/b?d=e', '/c?d=e']
      ]
    },
    { name: 'even the root', path: '/a', proxy: { rewrite: '/' }, asks: [['/a', '/']] },
    {
      name: 'a parameter is the segment as it came, still encoded',
      path: '/o/:id/:what',
      proxy: { rewrite: '/v2/{params.what}/{params.id}' },
      asks: [
        ['/o/1/x', '/v2/x/1'],
        ['/o/a%2Fb/%3F', '/v2/%3F/a%2Fb'],
        ['/o/$&/$1', '/v2/$1/$&'],
        ['/o/%7Ea/caf%c3%a9', '/v2/caf%c3%a9/~a'],
        ['/o/1/x?id=2', '/v2/x/1?id=2']
      ]
    },
    {
      name: 'a parameter before /*',
      path: '/o/:id/*',
      proxy: { rewrite: '/u/{params.id}' },
      asks: [
        ['/o/7/a/b', '/u/7/a/b'],
        ['/o/7', '/u/7'],
        ['/o/7/', '/u/7/']
      ]
    },
    {
      name: 'a parameter of a group',
      group: { path: '/t/:team' },
      path: '/o/*',
      proxy: { rewrite: '/{params.team}/o' },
      asks: [['/t/red/o/1', '/red/o/1']]
    },
    {
      name: 'a narrowed parameter',
      path: '/o/:id(\\d+)',
      proxy: { rewrite: '/{params.id}.json' },
      asks: [['/o/12', '/12.json']]
    },
    {
      name: 'each of several paths by its own',
      path: ['/a/*', '/b/c/*', '/d'],
      proxy: { rewrite: '/x' },
      asks: [
        ['/a/1', '/x/1'],
        ['/b/c/1', '/x/1'],
        ['/d', '/x'],
        ['/a', '/x']
      ]
    },
    {
      name: 'a parameter of whichever path it was',
      path: ['/o/:id/*', '/:id/o/*', '/v1/o/:id(\\d+)'],
      proxy: { rewrite: '/{params.id}' },
      asks: [
        ['/o/7/x', '/7/x'],
        ['/7/o/x', '/7/x'],
        ['/v1/o/8', '/8'],
        ['/o/o/x', '/o/x']
      ]
    },
    {
      name: 'the more specific of several paths',
      path: ['/a/*', '/a/b/*', '/a/b/c'],
      proxy: { rewrite: '/' },
      asks: [
        ['/a/x', '/x'],
        ['/a/b/x', '/x'],
        ['/a/b', '/'],
        ['/a/b/c', '/'],
        ['/a/b/c/', '/']
      ]
    },
    {
      name: 'other values are encoded',
      path: '/a/*',
      proxy: { rewrite: '/{query.t}/{headers.x-t}/{client.ip}' },
      asks: [['/a/b?t=x%2Fy', '/x%2Fy/h%20%2F/127.0.0.1/b?t=x%2Fy']]
    },
    {
      name: 'a brace that is meant as such',
      path: '/a',
      proxy: { rewrite: '/{{x}}' },
      asks: [['/a', '/{x}']]
    }
  ]
  for (const { name, path, proxy, group, asks } of cases)
    t.test(name, async (t) => {
      const one = { path, proxy: { upstream: url, ...proxy } }
      const { port } = await listening(t, {
        routes: [group === undefined ? one : { ...group, routes: [one] }]
      })
      for (const [target, comes] of asks) {
        const answer = await raw(port, bytes(target, { lines: ['X-T: h /'] }))
        t.equal(statusOf(answer), 200, target)
        t.equal((JSON.parse(textOf(answer)) as Seen).url, comes, target)
      }
    })

  t.test("the path of the upstream's URL comes first", async (t) => {
    const { port } = await listening(t, {
      upstreams: { based: { url: `${url}/base` }, slashed: { url: `${url}/base/` } },
      routes: [
        { path: '/a/*', proxy: { upstream: 'based' } },
        { path: '/b/*', proxy: { upstream: 'slashed', rewrite: '/' } },
        { path: '/c/*', proxy: { upstream: `${url}/one/off`, rewrite: '/v2' } }
      ]
    })
    for (const [target, comes] of [
      ['/a/x?y', '/base/a/x?y'],
      ['/b/x', '/base/x'],
      ['/b', '/base/'],
      ['/c/x', '/one/off/v2/x']
    ] as const)
      t.equal((JSON.parse(textOf(await raw(port, bytes(target)))) as Seen).url, comes, target)
  })
})

/** The headers that an upstream sees of a request with these lines. */
async function seenOf(
  own: Listening,
  target: string,
  lines: readonly string[],
  host = 'gateway.test'
): Promise<Record<string, string>> {
  const answer = await raw(own.port, bytes(target, { host, lines }))
  return (JSON.parse(textOf(answer)) as Seen).headers
}

t.test('the head that an upstream gets', async (t) => {
  const url = await upstream(t)
  const { host } = new URL(url)
  const routes = [
    { path: '/plain/*', proxy: { upstream: url } },
    { path: '/stripped/:x/*', proxy: { upstream: url, rewrite: '/' } },
    { path: '/replaced/*', proxy: { upstream: url, rewrite: '/v2' } },
    { path: '/preserved/*', proxy: { upstream: url, preserveHost: true } }
  ]
  const own = await listening(t, { routes })
  const behind = await listening(t, { trustedProxies: ['loopback'], requestId: { trust: true }, routes })

  t.test("Host is the upstream's own, unless it is preserved", async (t) => {
    t.equal((await seenOf(own, '/plain/x', []))['host'], host)
    t.equal((await seenOf(own, '/preserved/x', [], 'Gateway.test:81'))['host'], 'Gateway.test:81')
  })

  t.test('what a client claims of itself is replaced', async (t) => {
    const claims = [
      'Forwarded: for=9.9.9.9',
      'X-Real-IP: 9.9.9.9',
      'X-Forwarded-For: 9.9.9.9',
      'X-Forwarded-For: 8.8.8.8',
      'X-Forwarded-Proto: https',
      'X-Forwarded-Host: evil.test',
      'X-Forwarded-Port: 1',
      'X-Forwarded-Prefix: /evil',
      'X-Forwarded-Anything: evil',
      'X-Request-Id: mine',
      'X_Forwarded-For: 9.9.9.9',
      'X-Forwarded_For: 9.9.9.9',
      'X.Forwarded.Host: evil.test',
      'x_real_ip: 9.9.9.9',
      'X_Request_Id: mine'
    ]
    const seen = await seenOf(own, '/plain/x', claims)
    t.match(seen, {
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': 'gateway.test',
      'x-forwarded-port': '80'
    })
    t.not(seen['x-request-id'], 'mine')
    t.strictSame(
      Object.keys(seen)
        .filter((name) => /forwarded|real|request.id/.test(name))
        .toSorted(),
      ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-port', 'x-forwarded-proto', 'x-request-id']
    )
    t.notMatch(JSON.stringify(seen), /evil|9\.9\.9\.9|8\.8\.8\.8/)
  })

  t.test('what a trusted proxy says is kept, and its address is added', async (t) => {
    const seen = await seenOf(behind, '/stripped/y/x', [
      'Forwarded: for=9.9.9.9',
      'X-Real-IP: 9.9.9.9',
      'X-Forwarded-For: 9.9.9.9',
      'X-Forwarded-For: 10.0.0.1',
      'X-Forwarded-Proto: https',
      'X-Forwarded-Host: web.test',
      'X-Forwarded-Port: 443',
      'X-Forwarded-Prefix: /outer',
      'X-Request-Id: theirs-1',
      'X_Forwarded_For: 7.7.7.7',
      'X.Real-IP: 7.7.7.7'
    ])
    t.match(seen, {
      forwarded: 'for=9.9.9.9',
      'x-real-ip': '9.9.9.9',
      'x-forwarded-for': '9.9.9.9, 10.0.0.1, 127.0.0.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'web.test',
      'x-forwarded-port': '443',
      'x-forwarded-prefix': '/outer/stripped/y',
      'x-request-id': 'theirs-1'
    })
    t.notMatch(JSON.stringify(seen), /7\.7\.7\.7/, "odd spellings are nobody's to say")
  })

  t.test('what a trusted proxy leaves out is set', async (t) => {
    t.match(await seenOf(behind, '/plain/x', []), {
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': 'gateway.test',
      'x-forwarded-port': '80'
    })
  })

  t.test('X-Forwarded-Prefix is what rewrite strips', async (t) => {
    for (const [target, prefix] of [
      ['/plain/x', undefined],
      ['/stripped/y/x', '/stripped/y'],
      ['/stripped/a%2Fb/x', '/stripped/a%2Fb'],
      ['/replaced/x', '/replaced']
    ] as const)
      t.equal((await seenOf(own, target, []))['x-forwarded-prefix'], prefix, target)
  })

  t.test(
    'what is meant for this connection alone stays here, names nominated by Connection, too',
    async (t) => {
      const answer = await raw(
        own.port,
        [
          'GET /plain/x HTTP/1.1',
          'Host: gateway.test',
          'Connection: close, X-Once',
          'Connection: x-twice',
          'Keep-Alive: timeout=5',
          'Proxy-Connection: keep-alive',
          'Proxy-Authorization: Basic eDp5',
          'TE: trailers',
          'Upgrade: h2c',
          'HTTP2-Settings: AAMAAABkAAQAAP__',
          'X-Once: 1',
          'X-Twice: 2',
          'X-Kept: 3',
          '',
          ''
        ].join('\r\n')
      )
      const seen = (JSON.parse(textOf(answer)) as Seen).headers
      t.equal(seen['x-kept'], '3')
      for (const name of [
        'x-once',
        'x-twice',
        'keep-alive',
        'proxy-connection',
        'proxy-authorization',
        'te',
        'upgrade',
        'http2-settings',
        'transfer-encoding'
      ])
        t.notOk(Object.hasOwn(seen, name), name)
      t.notMatch(seen['connection'] ?? '', /x-once|x-twice|close/i)
    }
  )

  t.test('Connection can not take away what is ours to say, nor what frames a message', async (t) => {
    const body = 'hello'
    const answer = await raw(
      own.port,
      `POST /stripped/y/x HTTP/1.1\r\nHost: gateway.test\r\nConnection: close, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Prefix, X-Request-Id, Host, Content-Length, Content-Type, Authorization, Cookie\r\nX-Forwarded-For: 9.9.9.9\r\nAuthorization: Bearer x\r\nCookie: a=b\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n${body}`
    )
    const seen = JSON.parse(textOf(answer)) as Seen
    t.equal(seen.body, body)
    t.match(seen.headers, {
      host,
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-host': 'gateway.test',
      'x-forwarded-prefix': '/stripped/y',
      'x-request-id': /\S/,
      authorization: 'Bearer x',
      cookie: 'a=b',
      'content-type': 'text/plain'
    })
  })

  t.test('all else goes on as it came, repeated lines included', async (t) => {
    const answer = await raw(
      own.port,
      bytes('/plain/x', {
        lines: ['X-Two: a', 'X-Two: b', 'Accept: a/b', 'Accept-Encoding: gzip', 'Via: 1.1 x']
      })
    )
    const { rawHeaders } = JSON.parse(textOf(answer)) as Seen
    const values = (name: string): string[] =>
      rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === name)
    t.strictSame(values('x-two'), ['a', 'b'])
    t.strictSame(values('accept'), ['a/b'])
    t.strictSame(values('accept-encoding'), ['gzip'])
  })
})

t.test('the head that comes back', async (t) => {
  // Answers with the headers that the query names, "{own}" being its own origin.
  const server = createServer((request, response) => {
    const own = `http://${request.headers.host}`
    const { searchParams } = new URL(request.url ?? '/', own)
    for (const [name, value] of searchParams) response.appendHeader(name, value.replaceAll('{own}', own))
    response.statusCode = searchParams.has('location') ? 302 : 200
    response.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { url: own } = await listening(t, {
    upstreams: { based: { url: `${url}/base` } },
    routes: [
      { path: '/plain/*', proxy: { upstream: url } },
      { path: '/stripped/*', proxy: { upstream: url, rewrite: '/' } },
      { path: '/o/:id/*', proxy: { upstream: url, rewrite: '/' } },
      { path: '/replaced/*', proxy: { upstream: url, rewrite: '/v2' } },
      { path: '/based/*', proxy: { upstream: 'based', rewrite: '/' } },
      { path: '/left/*', proxy: { upstream: url, rewrite: '/', rewriteBack: false } },
      { path: '/named/*', proxy: { upstream: url.replace('127.0.0.1', 'localhost'), rewrite: '/' } }
    ]
  })
  const back = async (path: string, name: string, value: string): Promise<string> =>
    (await ask(`${own}${path}?${new URLSearchParams({ [name]: value }).toString()}`)).headers.get(name) ?? ''

  const locations: [path: string, said: string, comes: string][] = [
    ['/plain/x', '{own}/y?z=1#f', '/y?z=1#f'],
    ['/plain/x', '/y', '/y'],
    ['/plain/x', 'y', 'y'],
    ['/plain/x', '../y', '../y'],
    ['/plain/x', 'https://other.test/y', 'https://other.test/y'],
    ['/plain/x', '//other.test/y', '//other.test/y'],
    ['/stripped/x', '{own}/y?z=1', '/stripped/y?z=1'],
    ['/stripped/x', '/y', '/stripped/y'],
    ['/stripped/x', '/', '/stripped/'],
    ['/stripped/x', 'y', 'y'],
    ['/stripped/x', '/stripped/y', '/stripped/y'],
    ['/stripped/x', 'https://other.test/y', 'https://other.test/y'],
    ['/o/a%2Fb/x', '/y', '/o/a%2Fb/y'],
    ['/replaced/x', '/v2/y', '/replaced/y'],
    ['/replaced/x', '/v2', '/replaced'],
    ['/replaced/x', '{own}/v2/y', '/replaced/y'],
    ['/replaced/x', '/v3/y', '/v3/y'],
    ['/based/x', '/base/y', '/based/y'],
    ['/based/x', '{own}/base/y', '/based/y'],
    ['/left/x', '{own}/y', `${url}/y`],
    ['/left/x', '/y', '/y']
  ]
  for (const [path, said, comes] of locations)
    t.test(`Location: ${said} on ${path}`, async (t) => {
      t.equal(await back(path, 'location', said), comes)
    })
  t.test('Content-Location likewise', async (t) => {
    t.equal(await back('/stripped/x', 'content-location', '{own}/y'), '/stripped/y')
  })

  const cookies: [path: string, said: string, comes: string][] = [
    ['/plain/x', 'a=b; Path=/; HttpOnly', 'a=b; Path=/; HttpOnly'],
    ['/stripped/x', 'a=b', 'a=b'],
    ['/stripped/x', 'a=b; Path=/', 'a=b; Path=/stripped'],
    ['/stripped/x', 'a=b; Path=/y; Secure', 'a=b; Path=/stripped/y; Secure'],
    ['/stripped/x', 'a=b; Path=/stripped/y', 'a=b; Path=/stripped/y'],
    ['/replaced/x', 'a=b; Path=/v2', 'a=b; Path=/replaced'],
    ['/replaced/x', 'a=b; path=/v2/y', 'a=b; Path=/replaced/y'],
    ['/based/x', 'a=b; Path=/base', 'a=b; Path=/based'],
    ['/stripped/x', 'a=/x; Path=/', 'a=/x; Path=/stripped'],
    ['/named/x', 'a=b; Domain=localhost; SameSite=Lax', 'a=b; SameSite=Lax'],
    ['/named/x', 'a=b; Domain=.LOCALHOST', 'a=b'],
    ['/named/x', 'a=b; Domain=other.test', 'a=b; Domain=other.test'],
    ['/left/x', 'a=b; Path=/; Domain=127.0.0.1', 'a=b; Path=/; Domain=127.0.0.1']
  ]
  for (const [path, said, comes] of cookies)
    t.test(`Set-Cookie: ${said} on ${path}`, async (t) => {
      t.equal(await back(path, 'set-cookie', said), comes)
    })
  t.test('each of several cookies', async (t) => {
    const { headers } = await ask(`${own}/stripped/x?set-cookie=a%3D1;Path%3D/&set-cookie=b%3D2;Path%3D/y`)
    t.strictSame(headers.getSetCookie(), ['a=1; Path=/stripped', 'b=2; Path=/stripped/y'])
  })

  t.test('what was meant for the other connection alone stays there', async (t) => {
    const query = new URLSearchParams({
      connection: 'X-Once',
      'x-once': '1',
      'keep-alive': 'timeout=9',
      'proxy-authenticate': 'Basic',
      'x-kept': '3'
    })
    const { headers } = await ask(`${own}/plain/x?${query.toString()}`)
    t.equal(headers.get('x-kept'), '3')
    for (const name of ['x-once', 'proxy-authenticate']) t.notOk(headers.has(name), name)
    t.not(headers.get('keep-alive'), 'timeout=9')
    t.notMatch(headers.get('connection') ?? '', /x-once/i)
  })
})
