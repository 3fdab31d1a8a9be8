import { once } from 'node:events'
import { request as send } from 'node:http'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { gateway, listening } from '../../helpers.ts'
import { seenOf, service } from './services.ts'

const ODD = ' { "big": 12345678901234567890, "z" : 1,  "a": 1.10 } '

t.test('the body of a response', async (t) => {
  const url = await service(t, {
    '/user': ODD,
    '/list': [1, 2],
    '/name': '"Ada \\"x\\""',
    '/number': '12345678901234567890',
    '/null': 'null',
    '/proto': '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"a":1}',
    '/more': '{"a":2,"b":[1.10],"n":12345678901234567890}',
    '/empty': '{}',
    '/500': 500
  })
  const leg = (path: string, more: object = {}): object => ({ upstream: 'a', path, ...more })
  const down = leg('/500', { required: false })
  const cases: readonly [name: string, aggregate: object, body: string, partial?: string][] = [
    [
      'each leg under its name, untouched',
      { legs: { user: leg('/user'), list: leg('/list', { as: 'items' }) } },
      `{"user":${ODD},"items":[1,2]}`
    ],
    ['a key that is special', { legs: { a: leg('/list', { as: '__proto__' }) } }, '{"__proto__":[1,2]}'],
    ['only one leg', { legs: { a: leg('/user') }, body: '{legs.a}' }, ODD],
    [
      'values keep their types',
      {
        legs: { a: leg('/user') },
        body: { n: '{legs.a.big}', f: '{legs.a.a}', t: 'n={legs.a.big}', l: ['{legs.a.none}', 1] }
      },
      '{"n":12345678901234567890,"f":1.1,"t":"n=12345678901234567890","l":[null,1]}'
    ],
    [
      'a leg that is a text',
      {
        legs: { a: leg('/name'), n: leg('/number') },
        body: { t: 'Hello {legs.a}', whole: '{legs.a}', n: 'n {legs.n}' }
      },
      '{"t":"Hello Ada \\"x\\"","whole":"Ada \\"x\\"","n":"n 12345678901234567890"}'
    ],
    [
      'null stays, missing goes',
      {
        legs: { a: leg('/null'), down },
        body: { a: '{legs.a}', x: '{legs.a.x}', d: '{legs.down}', t: 'x{legs.down}', o: 'x{legs.a}' }
      },
      '{"a":null}',
      'down;reason=status;status=500'
    ],
    ['nothing at all', { legs: { down }, body: '{legs.down}' }, 'null', 'down;reason=status;status=500'],
    [
      'values of the request',
      { legs: { a: leg('/list') }, body: { q: '{query.q}', none: '{query.none}', f: '{{x}}' } },
      '{"q":"a\\"b","f":"{x}"}'
    ],
    [
      'keys of prototypes survive',
      { legs: { a: leg('/proto', { omit: ['a'] }) } },
      '{"a":{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}}'
    ],
    [
      'merged, later ones win',
      {
        legs: { a: leg('/proto'), b: leg('/more'), c: leg('/500', { fallback: { d: 1 } }) },
        merge: ['a', 'b', 'c']
      },
      '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"a":2,"b":[1.1],"n":12345678901234567890,"d":1}',
      'c;reason=status;status=500'
    ],
    [
      'a list can not be merged',
      { legs: { a: leg('/list', { required: false }), b: leg('/more', { pick: ['a'] }) }, merge: ['a', 'b'] },
      '{"a":2}',
      'a;reason=format'
    ],
    ['nothing to merge', { legs: { down }, merge: ['down'] }, '{}', 'down;reason=status;status=500'],
    [
      '_partial',
      { legs: { a: leg('/empty'), down }, partial: 'body' },
      '{"a":{},"_partial":[{"leg":"down","reason":"status","status":500}]}',
      'down;reason=status;status=500'
    ],
    [
      '_partial alone',
      { legs: { down }, partial: 'body' },
      '{"_partial":[{"leg":"down","reason":"status","status":500}]}',
      'down;reason=status;status=500'
    ],
    ['_partial of a complete response', { legs: { a: leg('/empty') }, partial: 'body' }, '{"a":{}}'],
    [
      '_partial of a merged one',
      { legs: { a: leg('/more', { pick: ['a'] }), down }, merge: ['a', 'down'], partial: 'body' },
      '{"a":2,"_partial":[{"leg":"down","reason":"status","status":500}]}',
      'down;reason=status;status=500'
    ]
  ]
  const app = await gateway(t, {
    upstreams: { a: { url } },
    routes: cases.map(([, aggregate], i) => ({ path: `/${i}`, aggregate }))
  })
  for (const [i, [name, , body, partial]] of cases.entries()) {
    const response = await app.inject(`/${i}?q=a%22b`)
    t.strictSame(
      seenOf(response),
      { status: 200, partial, caching: partial === undefined ? undefined : 'no-store', body },
      name
    )
    t.equal(response.headers['content-length'], String(Buffer.byteLength(body)))
    t.equal(response.headers['content-type'], 'application/json; charset=utf-8')
  }
  t.equal(({} as { polluted?: number }).polluted, undefined)
})

t.test('a response as JSON or XML, as the client likes', async (t) => {
  const url = await service(t, {
    '/a': '{"n":12345678901234567890,"l":[1,"<"],"x":null}',
    '/bad': '{"1 no name":1}'
  })
  const format = { to: ['json', 'xml'], root: 'answer' }
  const app = await gateway(t, {
    routes: [
      { path: '/', aggregate: { legs: { a: { upstream: url, path: '/a' } }, format } },
      { path: '/bad', aggregate: { legs: { a: { upstream: url, path: '/bad' } }, format } },
      { path: '/json', aggregate: { legs: { a: { upstream: url, path: '/a' } }, format: 'json' } }
    ]
  })
  for (const [accept, type] of [
    ['application/json', 'json'],
    ['text/xml', 'xml'],
    ['application/json;q=0.5, application/xml', 'xml'],
    ['image/png', 'json']
  ] as const) {
    const response = await app.inject({ url: '/', headers: { accept } })
    t.match(
      response.headers,
      { 'content-type': new RegExp(`^application/${type};`), vary: /\bAccept\b/ },
      accept
    )
    t.match(
      response.body,
      type === 'json'
        ? '{"a":{"n":12345678901234567890,"l":[1,"<"],"x":null}}'
        : /<answer.*<a><n>12345678901234567890<\/n><l>1<\/l><l>&lt;<\/l><x xsi:nil="true"\/><\/a><\/answer>/s
    )
  }
  const bad = await app.inject({ url: '/bad', headers: { accept: 'text/xml' } })
  t.match([bad.statusCode, bad.headers['cache-control']], [502, 'no-store'])
  t.match(bad.body, /SP_ERR_FORMAT_XML/)
  t.notMatch((await app.inject('/json')).headers['vary'] ?? '', /Accept\b/)
})

t.test('a response larger than "maxTotal" is a 502, whose head has nothing of it', async (t) => {
  const url = await service(t, { '/big': JSON.stringify('x'.repeat(90_000)) })
  const legs = { a: { upstream: url, path: '/big' } }
  const app = await gateway(t, {
    routes: [
      { path: '/small', aggregate: { legs, maxTotal: '64kb' } },
      { path: '/large', aggregate: { legs } }
    ]
  })
  const small = await app.inject('/small')
  t.match(small.json(), { status: 502, code: 'SP_ERR_AGGREGATE_SIZE' })
  t.equal(small.headers['content-length'], String(Buffer.byteLength(small.body)))
  t.equal((await app.inject('/large')).json().a.length, 90_000)
})

t.test('HEAD runs the legs as GET; ranges and other methods', async (t) => {
  const methods: unknown[] = []
  const big = JSON.stringify('x'.repeat(90_000))
  const url = await service(t, {
    '/a': ({ method }, response) => {
      methods.push(method)
      response.end(big)
    }
  })
  const legs = { a: { upstream: url, path: '/a' } }
  const { port } = await listening(t, {
    routes: [
      { path: '/', aggregate: { legs } },
      { path: '/post', methods: ['POST'], aggregate: { legs } }
    ]
  })
  const cases: readonly [method: string, path: string, status: number, length: number][] = [
    ['GET', '/', 200, big.length + 6],
    ['HEAD', '/', 200, 0],
    ['POST', '/post', 200, big.length + 6]
  ]
  for (const [method, path, status, length] of cases) {
    const request = send({ port, path, method, headers: { range: 'bytes=0-3', 'if-none-match': '*' } }).end()
    const [response] = await once(request, 'response')
    t.equal(response.statusCode, status, method)
    t.equal(response.headers['content-length'], String(big.length + 6))
    t.equal(response.headers.etag, undefined)
    t.equal((await text(response)).length, length)
  }
  t.strictSame(methods, ['GET', 'GET', 'GET'])
  const refused = send({ port, path: '/', method: 'POST' })
  refused.end('x'.repeat(1000))
  const [response] = await once(refused, 'response')
  t.match([response.statusCode, response.headers.allow], [405, 'GET, HEAD'])
  t.match(await text(response), 'SP_ERR_ROUTE_METHOD')
})
