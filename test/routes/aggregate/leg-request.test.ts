import { gzipSync } from 'node:zlib'
import t from 'tap'
import { gateway, type Seen, upstream } from '../../helpers.ts'

t.test(
  'a leg has the headers of a proxied request, without those about its body and conditions',
  async (t) => {
    const app = await gateway(t, {
      upstreams: { a: { url: await upstream(t) } },
      requestId: { header: 'x-request-id' },
      routes: [
        {
          path: '/',
          methods: ['GET', 'POST'],
          headers: { request: { 'x-set': 'by the route' } },
          aggregate: {
            legs: {
              a: {
                upstream: 'a',
                path: '/',
                headers: {
                  'X-Own': 'v-{query.v}',
                  'x-gone': false,
                  'x-none': '{query.none}',
                  Accept: 'text/x'
                }
              }
            }
          }
        }
      ]
    })
    const { headers } = (
      await app.inject({
        url: '/?v=1%0d%0aevil:%201%f0%9f%98%80',
        method: 'POST',
        payload: '{}',
        headers: {
          'accept-language': 'de',
          'content-type': 'application/json',
          'content-encoding': 'identity',
          'x-gone': '1',
          'x-client': '1',
          'x-user-id': 'forged',
          'x-forwarded-for': '1.2.3.4',
          'accept-encoding': 'gzip',
          range: 'bytes=0-1',
          'if-none-match': '"a"',
          'if-modified-since': 'Mon, 30 Nov 2026 00:00:00 GMT',
          'if-match': '"a"',
          'if-range': '"a"',
          'repr-digest': 'x',
          expect: '100-continue',
          te: 'trailers',
          connection: 'x-client'
        }
      })
    ).json<{ a: Seen }>().a
    t.match(headers, {
      'accept-language': 'de',
      'x-set': 'by the route',
      'x-own': 'v-1evil: 1',
      accept: 'text/x',
      'accept-encoding': 'identity',
      'x-request-id': String,
      'x-forwarded-for': '127.0.0.1'
    })
    for (const name of [
      'x-gone',
      'x-none',
      'x-client',
      'range',
      'if-none-match',
      'if-modified-since',
      'if-match',
      'if-range',
      'repr-digest',
      'expect',
      'te',
      'content-type',
      'content-length',
      'content-encoding',
      'transfer-encoding'
    ])
      t.equal(headers[name], undefined, name)
  }
)

t.test(
  'the identity of the caller goes to each leg, and the credential only where it is passed on',
  async (t) => {
    const leg = { legs: { a: { upstream: 'a', path: '/{caller.id}' } } }
    const app = await gateway(t, {
      upstreams: { a: { url: await upstream(t) } },
      auth: {
        apiKeys: { list: [{ id: 'ada', secret: 'key' }] },
        identity: { 'x-user-id': 'id' }
      },
      routes: [
        { path: '/', aggregate: leg },
        { path: '/passed', auth: { passOn: ['apiKeys'] }, aggregate: leg }
      ]
    })
    for (const [path, passed] of [
      ['/', undefined],
      ['/passed', 'key']
    ] as const) {
      const response = await app.inject({
        url: path,
        headers: { 'x-api-key': 'key', 'x-user-id': 'mallory' }
      })
      const { url, headers } = response.json<{ a: Seen }>().a
      t.match([url, headers['x-user-id'], headers['x-api-key']], ['/ada', 'ada', passed])
    }
    t.equal((await app.inject('/')).statusCode, 401, 'gates run once, before all legs')
  }
)

t.test('the body of a leg', async (t) => {
  const cases: readonly [name: string, leg: object, payload: string | Buffer, seen: object][] = [
    ['that of the client', { body: '{body}' }, '{"a": 1}', { body: '{"a": 1}', type: 'application/json' }],
    ['a value keeps its type', { body: '{body.n}' }, '{"n":1.10}', { body: '1.1', type: 'application/json' }],
    [
      'numbers survive',
      { body: { x: '{body.n}', missing: '{body.m}', none: '{body.z}' } },
      '{"n":12345678901234567890,"z":null}',
      { body: '{"x":12345678901234567890,"none":null}', type: 'application/json' }
    ],
    [
      'a text, escaped for its type',
      { body: '<a b="{body.x}"/>', headers: { 'Content-Type': 'application/xml' } },
      '{"x":"\\"><evil>"}',
      { body: '<a b="&quot;&gt;&lt;evil&gt;"/>', type: 'application/xml' }
    ],
    [
      'a text as JSON',
      { body: 'Hello {body.x}', headers: { 'content-type': 'application/merge-patch+json' } },
      '{"x":"\\""}',
      { body: '"Hello \\""', type: 'application/merge-patch+json' }
    ],
    ['a missing value', { body: 'x {body.none}' }, '{}', {}],
    [
      'keys of prototypes',
      { body: { v: '{body.__proto__}' } },
      '{"__proto__":{"a":1}}',
      { body: '{"v":{"a":1}}' }
    ],
    ['nothing inherited', { body: { v: '{body.constructor}' } }, '{}', { body: '{}' }],
    [
      'the value of a gzip body',
      { body: { v: '{body.a}' } },
      gzipSync('{"a":2}'),
      { body: '{"v":2}', coding: undefined }
    ],
    [
      'the bytes of a gzip body',
      { body: '{body}' },
      gzipSync('{"a":2}'),
      { body: gzipSync('{"a":2}').toString('latin1'), coding: 'gzip' }
    ]
  ]
  const app = await gateway(t, {
    upstreams: { a: { url: await upstream(t) } },
    routes: cases.map(([, leg], i) => ({
      path: `/${i}`,
      methods: ['POST'],
      aggregate: { legs: { a: { upstream: 'a', path: '/', method: 'POST', required: false, ...leg } } }
    }))
  })
  for (const [i, [name, , payload, expected]] of cases.entries()) {
    const gzip = Buffer.isBuffer(payload) ? { 'content-encoding': 'gzip' } : {}
    const response = await app.inject({
      method: 'POST',
      url: `/${i}`,
      payload,
      headers: { 'content-type': 'application/json', ...gzip }
    })
    const seen = response.json<{ a?: Seen }>().a
    t.match(
      seen === undefined
        ? {}
        : { body: seen.body, type: seen.headers['content-type'], coding: seen.headers['content-encoding'] },
      expected,
      name
    )
    t.equal(seen === undefined, Object.keys(expected).length === 0, name)
  }
  for (const payload of ['', 'x', '{"a":', '\xff', '['.repeat(65) + ']'.repeat(65)]) {
    const response = await app.inject({ method: 'POST', url: '/1', payload: Buffer.from(payload, 'latin1') })
    t.match(
      payload === '' ? response.headers : response.json(),
      payload === ''
        ? { 'sallyport-partial': 'a;reason=skipped' }
        : { status: 400, code: 'SP_ERR_AGGREGATE_BODY' },
      JSON.stringify(payload.slice(0, 5))
    )
  }
})
