// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
import t from 'tap'
import { diffPlans } from '../../../src/diff/diff-plans.ts'
import { type Config, changes, diff, side } from './diffs.ts'

const UPSTREAM = 'http://127.0.0.1:4001'
const route = (options: Config, root: Config = {}): Config => ({
  ...root,
  routes: [{ path: '/orders/*', proxy: { upstream: UPSTREAM }, ...options }]
})
const auth = { apiKeys: { list: [{ id: 'partner', key: `sha256:${'0'.repeat(64)}` }] } }
const proxy = (options: Config): Config => route({ proxy: { upstream: UPSTREAM, ...options } })
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
