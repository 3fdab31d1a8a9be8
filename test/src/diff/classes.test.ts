// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
import t from 'tap'
import { diffPlans } from '../../../src/diff/diff-plans.ts'
import { type Config, changes, diff, side } from './diffs.ts'

const UPSTREAM = 'http://127.0.0.1:4001'
const route = (options: Config, root: Config = {}): Config => ({
  ...root,
  routes: [{ path: '/orders/*', proxy: { upstream: UPSTREAM }, ...options }]
})
interface Keys {
  readonly apiKeys: { readonly list: readonly Config[] }
}
const auth: Keys = { apiKeys: { list: [{ id: 'partner', key: `sha256:${'0'.repeat(64)}` }] } }
const proxy = (options: Config): Config => route({ proxy: { upstream: UPSTREAM, ...options } })
const twoKeys = (roles: readonly string[]): Keys => ({
  apiKeys: { list: [...auth.apiKeys.list, { id: 'other', key: `sha256:${'1'.repeat(64)}`, roles }] }
})
const fromTwo = ({ apiKeys }: Keys): Config => ({
  apiKeys: { ...apiKeys, from: ['header:x-a', 'header:x-b'] }
})
const ORDER = { type: 'object', required: ['item'], properties: { item: { type: 'string' } } }
const body = (schema: Config): Config => route({ validate: { body: schema } })
const query = (properties: Config, unknown = 'keep'): Config =>
  route({ validate: { query: { type: 'object', properties }, unknown: { query: unknown } } })
const upstream = (options: Config): Config => ({
  upstreams: { orders: { url: UPSTREAM, ...options } },
  routes: [{ path: '/*', proxy: { upstream: 'orders' } }]
})

const CASES: readonly (readonly [what: string, before: Config, after: Config, found: readonly string[]])[] = [
  ['a larger body', route({}), route({ limits: { body: '5mb' } }), ['loosened-limits limits.body']],
  ['no limit of the body', route({}), route({ limits: { body: false } }), ['loosened-limits limits.body']],
  [
    'a smaller rate of bodies',
    route({}),
    route({ limits: { bodyRate: '10b/s' } }),
    ['loosened-limits limits.bodyRate']
  ],
  [
    'fewer headers',
    route({}),
    route({ limits: { headerCount: 10 } }),
    ['tightened-limits limits.headerCount']
  ],
  ['no rate limit', route({ rateLimit: { max: 10 } }), route({}), ['loosened-limits rateLimit']],
  ['a rate limit', route({}), route({ rateLimit: { max: 10 } }), ['tightened-limits rateLimit']],
  [
    'a rate limit that only reports',
    route({ rateLimit: { max: 10 } }),
    route({ rateLimit: { max: 10, mode: 'report' } }),
    ['loosened-limits rateLimit.mode']
  ],
  [
    'a higher rate',
    route({ rateLimit: { max: 10 } }),
    route({ rateLimit: { max: 20 } }),
    ['loosened-limits rateLimit.max']
  ],
  [
    'a shorter window',
    route({ rateLimit: { max: 10 } }),
    route({ rateLimit: { max: 10, window: '1s' } }),
    ['loosened-limits rateLimit.window']
  ],
  [
    'a tier',
    route({ rateLimit: { max: 10 } }),
    route({ rateLimit: { max: 10, tiers: { gold: { max: 100 } } } }),
    ['loosened-limits rateLimit.tiers.gold.max']
  ],
  [
    'a limit more',
    route({ rateLimit: { max: 10 } }),
    route({ rateLimit: { max: 10, also: { day: { max: 50, window: '1d' } } } }),
    ['tightened-limits rateLimit.also.day']
  ],
  [
    'less load',
    route({ overload: { maxInFlight: 100 } }),
    route({ overload: { maxInFlight: 50 } }),
    ['tightened-limits overload.maxInFlight']
  ],
  [
    'maintenance',
    route({ maintenance: { on: true } }),
    route({ maintenance: { on: false } }),
    ['loosened-limits maintenance']
  ],
  [
    'a longer timeout of the upstream',
    upstream({}),
    upstream({ timeouts: { headers: '5s' } }),
    ['timing upstreams.orders.timeouts']
  ],
  ['a retry', proxy({}), proxy({ retry: { attempts: 2 } }), ['timing proxy.retry']],
  [
    'another share',
    proxy({}),
    {
      routes: [
        {
          path: '/orders/*',
          proxy: {
            split: [
              { upstream: UPSTREAM, share: '90%' },
              { upstream: 'http://127.0.0.1:4009', share: '10%' }
            ]
          }
        }
      ]
    },
    ['moved proxy']
  ],
  [
    'a header for clients',
    route({}),
    route({ headers: { response: { 'x-served-by': 'us' } } }),
    ['exposure headers.response']
  ],
  ['no security headers', route({}), route({ securityHeaders: false }), ['exposure securityHeaders']],
  ['another format of errors', route({}), route({ errors: { format: 'text' } }), ['exposure errors.format']],
  ['a cache on a private route', route({ auth }), route({ auth, cache: { ttl: '1m' } }), ['exposure cache']],
  ['a cache on a public route', route({}), route({ cache: { ttl: '1m' } }), ['timing cache']],
  [
    'a cache that callers share',
    route({ auth, cache: { ttl: '1m' } }),
    route({ auth, cache: { ttl: '1m', callers: 'shared' } }),
    ['exposure cache.callers']
  ],
  ['origins that read responses', route({}), route({ cors: { origins: ['*'] } }), ['exposure cors.origins']],
  ['auth', route({}), route({ auth }), ['narrowed-access auth']],
  [
    'a denied address',
    route({}),
    route({ ipAccess: { deny: ['203.0.113.0/24'] } }),
    ['narrowed-access ipAccess']
  ],
  [
    'an address list that is written otherwise',
    route({ ipAccess: { allow: ['10.0.0.0/8'] } }),
    route({ ipAccess: { allow: ['10.128.0.0/9', '10.0.0.0/9', '10.1.2.3'] } }),
    []
  ],
  [
    'origins within a pattern',
    route({ cors: { origins: ['https://*.a.example'], credentials: true } }),
    route({ cors: { origins: ['https://x.a.example', 'https://*.a.example'], credentials: true } }),
    []
  ],
  [
    'a claim that is written otherwise',
    route({ auth: { ...auth, require: { claims: { org: 'a*' } } } }),
    route({ auth: { ...auth, require: { claims: { org: 'a**' } } } }),
    []
  ],
  [
    'a claim as a list that says the same',
    route({ auth: { ...auth, require: { claims: { org: 'a*' } } } }),
    route({ auth: { ...auth, require: { claims: { org: ['ab', 'a*'] } } } }),
    []
  ],
  [
    'more addresses that are exempt from a limit',
    route({ rateLimit: { max: 10, exempt: ['203.0.113.1'] } }),
    route({ rateLimit: { max: 10, exempt: ['203.0.113.0/24'] } }),
    ['loosened-limits rateLimit.exempt']
  ],
  [
    'a limit by route',
    route({ rateLimit: { max: 10 } }),
    route({ rateLimit: { max: 10, by: 'route' } }),
    ['tightened-limits rateLimit.by']
  ],
  [
    'a limit by a header',
    route({ rateLimit: { max: 10 } }),
    route({ rateLimit: { max: 10, by: 'header:x-tenant' } }),
    ['loosened-limits rateLimit.by']
  ],
  [
    'a sliding window',
    route({ rateLimit: { max: 10 } }),
    route({ rateLimit: { max: 10, algorithm: 'slidingWindow' } }),
    ['tightened-limits rateLimit.algorithm']
  ],
  [
    'a token bucket of half the quota',
    route({ rateLimit: { max: 10, algorithm: 'slidingWindow' } }),
    route({ rateLimit: { max: 10, algorithm: 'tokenBucket', burst: 5 } }),
    ['loosened-limits rateLimit.algorithm', 'tightened-limits rateLimit.burst']
  ],
  [
    'fewer responses that count',
    route({ rateLimit: { max: 10, count: [401, 403] } }),
    route({ rateLimit: { max: 10, count: [403] } }),
    ['loosened-limits rateLimit.count']
  ],
  [
    'an API key that lacks what is required',
    route({ auth: { ...auth, require: { roles: ['admin'] } } }),
    route({ auth: { ...twoKeys([]), require: { roles: ['admin'] } } }),
    []
  ],
  [
    'an API key that has what is required',
    route({ auth: { ...auth, require: { roles: ['admin'] } } }),
    route({ auth: { ...twoKeys(['admin']), require: { roles: ['admin'] } } }),
    ['widened-access auth.apiKeys']
  ],
  [
    'an API key that lacks it, which is no wrong one any more beside another one',
    route({ auth: { ...fromTwo(auth), require: { roles: ['admin'] } } }),
    route({ auth: { ...fromTwo(twoKeys([])), require: { roles: ['admin'] } } }),
    ['widened-access auth.apiKeys']
  ],
  ['a schema', route({}), body({ type: 'object' }), ['narrowed-access validate']],
  ['a narrower schema', body({ type: 'object' }), body(ORDER), ['narrowed-access validate.body']],
  ['a wider schema', body(ORDER), body({ type: 'object' }), ['widened-access validate.body']],
  [
    'a schema that is written otherwise',
    body(ORDER),
    body({ allOf: [{ ...ORDER, description: 'an order' }], $defs: { item: {} } }),
    []
  ],
  [
    'a schema that accepts other values',
    body({ ...ORDER, maxProperties: 2 }),
    body({ ...ORDER, minProperties: 1 }),
    ['widened-access validate.body']
  ],
  [
    'a parameter that is read as a number',
    query({ page: { maxLength: 2 } }),
    query({ page: { type: 'integer', maxLength: 2 } }),
    ['widened-access validate.query']
  ],
  [
    'a parameter that is declared',
    query({ page: { type: 'integer' } }),
    query({ page: { type: 'integer' }, sort: { enum: ['name'] } }),
    ['narrowed-access validate.query']
  ],
  [
    'a parameter that is declared where others are rejected',
    query({ page: { type: 'integer' } }, 'reject'),
    query({ page: { type: 'integer' }, sort: { enum: ['name'] } }, 'reject'),
    ['widened-access validate.unknown.query', 'narrowed-access validate.query']
  ],
  [
    'a header that is required and only now looked at',
    route({ validate: { headers: { required: ['x-a'] } } }),
    route({ validate: { headers: { required: ['x-a'], properties: { 'x-a': {} } } } }),
    ['widened-access validate.headers']
  ],
  ['the access log', route({}), route({}, { accessLog: { sample: '10%' } }), []]
]

for (const [what, before, after, found] of CASES)
  t.test(`finds for ${what}: ${found.join(', ') || 'nothing'}`, async (t) => {
    t.strictSame(await changes(before, after), found)
  })

t.test('takes variables that are not set as symbols, which are equal by name', async (t) => {
  const jwt = (secret: string): Config =>
    route(
      {
        proxy: { upstream: '${ORDERS_URL}' },
        auth: { jwt: { issuer: '${ISSUER}', secret, algorithms: ['HS256'] } }
      },
      { rateLimit: { max: '${MAX}', window: '${WINDOW}' }, trustedProxies: ['${PROXY}'] }
    )
  t.strictSame(await changes(jwt('${JWT_SECRET}'), jwt('${JWT_SECRET}')), [])
  t.strictSame(await changes(jwt('${JWT_SECRET}'), jwt('${OTHER_SECRET}')), [
    'widened-access auth.jwt.secret'
  ])

  t.test('and tells of those that choose between a few values', async (t) => {
    const mode = (value: string): Config => route({ auth: { ...auth, mode: value } })
    t.strictSame(await changes(mode('${MODE}'), mode('${MODE}')), [])
    t.match(await diff(mode('enforce'), mode('${MODE}')), [
      { class: 'widened-access', message: /\$\{MODE\}, which is not set/ }
    ])
  })
})

t.test('masks secrets, set by variables or not', async (t) => {
  const config = (secret: string): Config =>
    route({ auth: { jwt: { secret, algorithms: ['HS256'] } }, headers: { request: { 'x-token': secret } } })
  const [one, other] = ['first secret of 32 characters, or more', 'second secret of 32 characters, or more']
  const found = [
    await diff(config(one), config(other)),
    await diffPlans(await side(config('${A}'), { A: one }), await side(config('${A}'), { A: other }))
  ]
  t.ok(found.every((findings) => findings.length > 0))
  t.notMatch(JSON.stringify(found), /secret of 32/)
})

t.test(
  'compares OpenAPI documents by what they say of requests, with the files that they refer to',
  async (t) => {
    const document = (description: string, item: object): string =>
      JSON.stringify({
        openapi: '3.1.0',
        info: { title: 'Shop', version: '1', description },
        paths: {
          '/orders': {
            post: {
              description,
              requestBody: { content: { 'application/json': { schema: { $ref: './item.json' } } } },
              responses: { '200': { description } },
              'x-item': item
            }
          }
        }
      })
    const properties = (maxLength: number): string =>
      JSON.stringify({ properties: { description: { type: 'string', maxLength } } })
    const folder = t.testdir({
      a: { 'api.json': document('An order', {}), 'item.json': properties(10) },
      b: { 'api.json': document('The order', {}), 'item.json': properties(10) },
      c: { 'api.json': document('An order', {}), 'item.json': properties(20) }
    })
    const config = (name: string): Config => route({ validate: { openapi: `${folder}/${name}/api.json` } })
    const schema = (name: string): Config => body({ $ref: `${folder}/${name}/item.json` })
    t.strictSame(await changes(config('a'), config('b')), [])
    t.strictSame(await changes(config('a'), config('c')), ['widened-access validate.openapi'])
    t.strictSame(await changes(schema('a'), schema('b')), [])
    t.strictSame(await changes(schema('a'), schema('c')), ['widened-access validate.body'])
    t.strictSame(await changes(schema('c'), schema('a')), ['narrowed-access validate.body'])
  }
)

t.test('compares equal schemas as equal, whatever they have, and hostile ones in time', async (t) => {
  const odd = { $id: 'https://a.example/s', type: 'object', unevaluatedProperties: false }
  const with1 = (maxBody: string): Config => route({ validate: { body: odd, maxBody } })
  t.strictSame(
    (await changes(with1('1kb'), with1('2kb'))).filter((each) => each.includes('validate.body')),
    []
  )
  const endless = { allOf: [{ $ref: '#' }, { $ref: '#' }] }
  t.strictSame(
    await changes(body({ ...endless, maxProperties: 2 }), body({ ...endless, maxProperties: 3 })),
    ['widened-access validate.body']
  )
  t.strictSame(await changes(body({ constructor: 1, minLength: 1 }), body({ constructor: 2 })), [
    'widened-access validate.body'
  ])
})

t.test('says that wrong credentials of a strategy or a place that is gone are ignored', async (t) => {
  const jwt = { secret: 'a'.repeat(32), algorithms: ['HS256'] }
  t.match(await diff(route({ auth: { ...auth, jwt } }), route({ auth: { ...auth, jwt, by: ['apiKeys'] } })), [
    {
      class: 'narrowed-access',
      message: 'no longer accepts jwt, and ignores credentials of jwt, also wrong ones'
    }
  ])
  t.match(
    await diff(
      route({ auth: fromTwo(auth) }),
      route({ auth: { apiKeys: { ...auth.apiKeys, from: ['header:x-a'] } } })
    ),
    [{ class: 'narrowed-access', message: /in header:x-b, and ignores wrong ones there/ }]
  )
  // Where no caller is required, those with a wrong credential were refused, and are not any more.
  const optional = { ...auth, jwt, optional: true }
  t.match(await diff(route({ auth: optional }), route({ auth: { ...optional, by: ['apiKeys'] } })), [
    { class: 'widened-access', message: 'lets requests with wrong credentials of jwt through, as anonymous' },
    { class: 'narrowed-access' }
  ])
  const anonymous = (from: readonly string[]): Config =>
    route({ auth: { apiKeys: { ...auth.apiKeys, from }, optional: true } })
  t.match(await diff(anonymous(['header:x-a', 'header:x-b']), anonymous(['header:x-a'])), [
    { class: 'widened-access', message: 'lets requests with wrong credentials there through, as anonymous' },
    { class: 'narrowed-access' }
  ])
})

t.test('masks secrets in conditions and in URLs', async (t) => {
  const config = (secret: string): Config => ({
    store: { redis: `redis://:${secret}@127.0.0.1:6379` },
    routes: [
      {
        path: '/hook',
        when: { 'header:x-hook': secret },
        redirect: { to: `https://a:${secret}@a.example/${secret}` }
      },
      { path: '/hook', respond: { status: 201 } }
    ]
  })
  for (const written of ['${A}', 'v1-${A}*'] as const) {
    const found = await diffPlans(
      await side(config(written), { A: 'hook-of-one' }),
      await side(config(written), { A: 'hook-of-another' })
    )
    t.ok(found.some(({ option }) => option === 'store.redis'))
    t.notMatch(JSON.stringify(found), /hook-of/)
  }
})
