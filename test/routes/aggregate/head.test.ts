import t from 'tap'
import { gateway, movableClock } from '../../helpers.ts'
import { answering, service } from './services.ts'

const YEAR = 31_536_000

t.test('Cache-Control is the strictest of the legs, and Vary the union', async (t) => {
  // Times are exact while it stands still.
  movableClock(t, Date.parse('2026-11-30T12:00:00Z'))
  const soon = (seconds: number): string => new Date(Date.now() + seconds * 1000).toUTCString()
  const hour = { 'cache-control': 'max-age=3600' }
  /** The headers of two legs, and those of the response. */
  const cases: readonly [name: string, a: object, b: object, caching: string | undefined, vary?: string][] = [
    ['no leg says anything', {}, {}, undefined],
    ['the shorter time', hour, { 'cache-control': 'public, max-age=60' }, 'max-age=60'],
    ['one says nothing', hour, {}, 'no-cache'],
    ['no-store for caches like ours', hour, { ...hour, 'cdn-cache-control': 'no-store' }, 'no-store'],
    ['a shorter time for them', hour, { ...hour, 'cdn-cache-control': 'max-age=5' }, 'max-age=5'],
    [
      'a longer time for them',
      hour,
      { 'cache-control': 'max-age=5', 'cdn-cache-control': 'max-age=50' },
      'max-age=5'
    ],
    ['a time for them alone', hour, { 'cdn-cache-control': 'max-age=50' }, 'max-age=50'],
    ['private', hour, { 'cache-control': 'private, max-age=60' }, 'no-store'],
    ['Private with fields', hour, { 'cache-control': 'Private="x-a", max-age=60' }, 'no-store'],
    ['no-store', hour, { 'cache-control': 'no-store' }, 'no-store'],
    ['no-cache', hour, { 'cache-control': 'no-cache' }, 'no-cache'],
    ['no-cache with fields', hour, { 'cache-control': 'max-age=9, no-cache="x"' }, 'no-cache'],
    ['invalid', hour, { 'cache-control': 'max-age="60' }, 'no-store'],
    ['contradictory', hour, { 'cache-control': 'max-age=60, max-age=600' }, 'no-store'],
    ['two fields', hour, { 'cache-control': ['max-age=60', 'no-store'] }, 'no-store'],
    ['Set-Cookie', hour, { ...hour, 'set-cookie': 'a=b' }, 'no-store'],
    [
      'shared caches have less',
      hour,
      { 'cache-control': 'max-age=600, s-maxage=10' },
      'max-age=10, stale-if-error=0'
    ],
    ['shared caches alone', hour, { 'cache-control': 's-maxage=30' }, 'max-age=30, stale-if-error=0'],
    [
      'stale windows',
      { 'cache-control': 'max-age=9, stale-while-revalidate=20, stale-if-error=5' },
      { 'cache-control': 'max-age=9, stale-while-revalidate=10' },
      'max-age=9, stale-while-revalidate=10, stale-if-error=5'
    ],
    [
      'must-revalidate',
      hour,
      { 'cache-control': 'max-age=60, must-revalidate' },
      'max-age=60, must-revalidate'
    ],
    [
      'proxy-revalidate',
      hour,
      { 'cache-control': 'max-age=60, proxy-revalidate' },
      'max-age=60, must-revalidate'
    ],
    ['Age', hour, { ...hour, age: '3500' }, 'max-age=100'],
    ['an Age beyond', hour, { ...hour, age: '9999' }, 'no-cache'],
    ['an invalid Age', hour, { 'cache-control': 'max-age=60', age: '-100' }, 'max-age=60'],
    ['Expires', { 'cache-control': `max-age=${YEAR}` }, { expires: soon(120), date: soon(0) }, 'max-age=120'],
    ['Expires in the past', hour, { expires: '0' }, 'no-cache'],
    [
      'a time beyond all',
      { 'cache-control': 'max-age=99999999999' },
      { expires: 'Fri, 31 Dec 9999 23:59:59 GMT' },
      'max-age=2147483648'
    ],
    ['immutable', hour, { 'cache-control': 'max-age=31536000, immutable' }, 'max-age=3600'],
    [
      'Vary',
      { vary: 'Accept-Language, X-A' },
      { vary: 'x-a, Cookie' },
      undefined,
      'Accept-Language, X-A, Cookie'
    ],
    ['Vary: *', { vary: '*' }, { vary: 'Cookie' }, undefined, '*, Cookie']
  ]
  const url = await service(
    t,
    Object.fromEntries(
      cases.flatMap(([, a, b], i) => [
        [`/a${i}`, answering({}, { etag: '"x"', 'last-modified': soon(-9), 'x-secret': '1', ...a })],
        [`/b${i}`, answering({}, { server: 'x', 'content-language': 'de', link: '</x>', ...b })]
      ])
    )
  )
  const app = await gateway(t, {
    upstreams: { up: { url } },
    routes: cases.map((_case, i) => ({
      path: `/${i}`,
      aggregate: { legs: { a: { upstream: 'up', path: `/a${i}` }, b: { upstream: 'up', path: `/b${i}` } } }
    }))
  })
  for (const [i, [name, , , caching, vary]] of cases.entries()) {
    const { headers } = await app.inject(`/${i}`)
    t.strictSame([headers['cache-control'], headers['vary']], [caching, vary], name)
    for (const none of [
      'set-cookie',
      'etag',
      'last-modified',
      'expires',
      'age',
      'x-secret',
      'server',
      'link',
      'content-language'
    ])
      t.notOk(none in headers, `${name}: no ${none}`)
  }
})

t.test('what else decides whether a response may be stored', async (t) => {
  const fresh = answering({}, { 'cache-control': 'max-age=60' })
  const url = await service(t, {
    '/': fresh,
    '/list': answering([1, 2], { 'cache-control': 'max-age=60' }),
    '/1': fresh,
    '/2': answering({}, { 'cache-control': 'max-age=5' }),
    '/500': 500
  })
  const leg = { upstream: 'up', path: '/' }
  const down = { upstream: 'up', path: '/500' }
  const cases: readonly [name: string, legs: object, caching: string, key?: string][] = [
    ['a leg that changes something', { a: leg, b: { ...leg, method: 'POST' } }, 'no-store'],
    ['a POST that only reads', { a: { ...leg, method: 'POST', safe: true } }, 'max-age=60'],
    ['a partial response', { a: leg, b: { ...down, required: false } }, 'no-store'],
    ['a fallback', { a: leg, b: { ...down, fallback: {} } }, 'no-store'],
    ['a caller', { a: leg }, 'private, max-age=60', 'key'],
    [
      'the items of a list',
      {
        list: { upstream: 'up', path: '/list' },
        x: { upstream: 'up', path: '/{item}', each: '{legs.list}' }
      },
      'max-age=5'
    ]
  ]
  const app = await gateway(t, {
    upstreams: { up: { url } },
    auth: { global: false, apiKeys: { list: [{ id: 'ada', secret: 'key' }] } },
    routes: cases.map(([, legs, , key], i) => ({
      path: `/${i}`,
      aggregate: { legs },
      ...(key === undefined ? {} : { auth: true })
    }))
  })
  for (const [i, [name, , caching, key]] of cases.entries()) {
    const { headers } = await app.inject({
      url: `/${i}`,
      headers: key === undefined ? {} : { 'x-api-key': key }
    })
    t.equal(headers['cache-control'], caching, name)
  }
})

t.test('the head of a route applies to its aggregated response', async (t) => {
  const url = await service(t, { '/': answering({}, { 'content-security-policy': 'none', vary: 'Origin' }) })
  const app = await gateway(t, {
    securityHeaders: {},
    cors: { origins: ['https://a.example'] },
    routes: [
      {
        path: '/',
        headers: { response: { 'x-set': '1' } },
        aggregate: { legs: { a: { upstream: url, path: '/' } } }
      }
    ]
  })
  const { headers } = await app.inject({ url: '/', headers: { origin: 'https://a.example' } })
  t.match(headers, {
    'access-control-allow-origin': 'https://a.example',
    'x-content-type-options': 'nosniff',
    'x-set': '1',
    vary: 'Origin'
  })
})
