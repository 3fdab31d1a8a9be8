import t, { type Test } from 'tap'
import { gateway, listening, raw, type Seen, statusOf, upstream } from '../helpers.ts'
import { bytes, codeOf, headOf, textOf } from '../raw-http.ts'

type Words = Record<string, unknown>

/** A route that responds with its name. */
const route = (name: string, options: Words): Words => ({ name, ...options, respond: { body: name } })

/** A request as "METHOD /path @host", and its result: the name of a route, or a status with the Allow header. */
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

t.test('selects the route that matches a request', async (t) => {
  const cases: Routing[] = [
    {
      name: 'a route with a matching host wins over every route without a host',
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
      name: 'a path that no route of the host matches falls to the routes without a host',
      routes: [route('api', { path: '/x', host: 'api.test' }), route('rest', { path: '/*' })],
      asks: [
        ['GET /x @api.test', 'api'],
        ['GET /x/ @api.test', 'api'],
        ['GET /y @api.test', 'rest'],
        ['GET /x/y @api.test', 'rest']
      ]
    },
    {
      name: 'a wildcard host matches one label, and an exact host wins',
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
      name: 'compares hosts in lower case, without port and final dot',
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
      name: 'a list of hosts applies to each of them',
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
      name: 'a known path with another method is 405, and does not fall back to a wider path',
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
      name: 'routes of one path differ by method, and Allow lists all methods',
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
      name: '/a/* matches /a, /a/ and all below',
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
      name: 'an exact /a matches /a/ also, and wins over /a/* for both',
      routes: [route('exact', { path: '/a' }), route('below', { path: '/a/*' })],
      asks: [
        ['GET /a', 'exact'],
        ['GET /a/', 'exact'],
        ['GET /a/b', 'below']
      ]
    },
    {
      name: 'a route for /a/ wins over /a',
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
      name: '/a/ alone matches only /a/',
      routes: [route('slash', { path: '/a/' })],
      asks: [
        ['GET /a/', 'slash'],
        ['GET /a', 404],
        ['GET /a/b', 404]
      ]
    },
    {
      name: '/ matches the root, and /* matches everything',
      routes: [route('root', { path: '/' }), route('all', { path: '/*' })],
      asks: [
        ['GET /', 'root'],
        ['GET /?a=b', 'root'],
        ['GET /a', 'all']
      ]
    },
    {
      name: 'a list of paths is one route',
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
      name: 'a parameter matches one non-empty segment',
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
      name: 'an empty segment matches only a wildcard',
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
      name: 'a pattern has to match the whole segment of a parameter',
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
      name: 'colons, dots and non-ASCII letters are literal in a path',
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
      name: 'paths are case-sensitive',
      routes: [route('a', { path: '/Shop/:id' })],
      asks: [
        ['GET /Shop/X', 'a'],
        ['GET /shop/X', 404]
      ]
    },
    {
      name: 'paths are case-insensitive with ignoreCase',
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
      name: 'several patterns for parameters at one position',
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
      name: 'patterns at one position, with a host, by method and deeper in the path',
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
      name: 'an exact path wins over "/*" beside patterns',
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
      name: 'patterns stay case-sensitive with ignoreCase',
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

  t.test('groups inside a pattern do not become parameters', async (t) => {
    const app = await gateway(t, {
      routes: [{ path: '/:x(([a-z])(?<n>\\d)[-])/:y', respond: { body: '{params.x} {params.y}' } }]
    })
    t.equal((await app.inject('/a1-/b')).body, 'a1- b')
  })

  t.test('the first route in the file wins when several patterns match', async (t) => {
    const digits = { path: '/p/:id(\\d+)', respond: { body: 'digits {params.id}' } }
    const word = { path: '/p/:slug(\\w+)', respond: { body: 'word {params.slug}' } }
    // The same pattern elsewhere changes nothing.
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

  t.test('a parameter keeps its case with ignoreCase', async (t) => {
    const app = await gateway(t, {
      paths: { ignoreCase: true },
      routes: [{ path: '/Shop/:Name', respond: { body: '{params.Name}' } }]
    })
    t.equal((await app.inject('/sHoP/AdA')).body, 'AdA')
  })
})

t.test('accepts the methods of a route', async (t) => {
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

  t.test('GET includes HEAD, with the headers of GET and no body', async (t) => {
    const answer = await send('/get', 'HEAD')
    t.equal(statusOf(answer), 200)
    t.equal(headOf(answer, 'content-length'), '12')
    t.equal(textOf(answer), '')
    t.equal(statusOf(await send('/post', 'HEAD')), 405, 'POST does not')
  })

  t.test('a route without methods accepts all but CONNECT and TRACE', async (t) => {
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

  t.test('accepts WebDAV methods that a route lists', async (t) => {
    t.equal(statusOf(await send('/dav', 'REPORT')), 200)
    const refused = await send('/dav', 'MKCOL')
    t.equal(statusOf(refused), 405)
    t.equal(headOf(refused, 'allow'), 'PROPFIND, REPORT')
  })

  t.test('refuses TRACE and CONNECT on every path', async (t) => {
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
      ['a preflight gets a response', '/cors', [origin, about('PUT')], 204, 'GET, PUT, HEAD'],
      [
        'a preflight for a method that the route does not accept',
        '/cors',
        [origin, about('DELETE')],
        405,
        undefined
      ],
      ['without a method it is an ordinary request', '/cors', [origin], 405, undefined],
      ['without an origin it is an ordinary request', '/cors', [about('PUT')], 405, undefined],
      ['an ordinary OPTIONS request reaches the upstream', '/any-cors', [], 200, undefined],
      ['a request with only an origin reaches the upstream', '/any-cors', [origin], 200, undefined],
      [
        'a preflight does not reach the upstream',
        '/any-cors',
        [origin, about('PUT')],
        204,
        'GET, HEAD, PUT, PATCH, POST, DELETE'
      ],
      ['without cors, a preflight is an ordinary request', '/all', [origin, about('PUT')], 200, undefined],
      ['without cors, a preflight is refused like OPTIONS', '/get', [origin, about('GET')], 405, undefined]
    ]
    for (const [name, target, lines, status, allowed] of cases) {
      const answer = await send(target, 'OPTIONS', lines)
      t.equal(statusOf(answer), status, name)
      t.equal(headOf(answer, 'access-control-allow-methods'), allowed, name)
    }
  })
})
