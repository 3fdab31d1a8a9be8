import t from 'tap'
import { type Config, changes, diff } from './diffs.ts'

const PROTECTED = 'http://127.0.0.1:4001'
const PUBLIC = 'http://127.0.0.1:4002'
const auth = { apiKeys: { list: [{ id: 'partner', key: `sha256:${'0'.repeat(64)}` }] } }
const routes = (...list: readonly Config[]): Config => ({ routes: list })
const orders = { path: '/orders/*', auth, proxy: { upstream: PROTECTED } }
const shop = { path: '/shop/*', proxy: { upstream: PUBLIC } }

const NEWLY_ANSWERED =
  'widened-access Requests are answered that were not, by what only protected routes reached'
const REACHES = (name: string): string => `widened-access Requests reach what the route ${name} protects`
const ADDED = 'added Requests are answered that were not'
const REMOVED = 'removed Requests are no longer answered'

const CASES: readonly (readonly [what: string, before: Config, after: Config, found: readonly string[]])[] = [
  [
    'a new path to what only protected routes reached',
    routes(orders),
    routes(orders, { path: '/o/*', proxy: { upstream: PROTECTED } }),
    [NEWLY_ANSWERED]
  ],
  [
    'a new path with the same protection',
    routes(orders),
    routes(orders, { ...orders, path: '/o/*' }),
    [NEWLY_ANSWERED]
  ],
  [
    'a public upstream with a target that only protected routes reached',
    {
      upstreams: { shop: { targets: [PUBLIC] } },
      ...routes(orders, { ...shop, proxy: { upstream: 'shop' } })
    },
    {
      upstreams: { shop: { targets: [PUBLIC, PROTECTED] } },
      ...routes(orders, { ...shop, proxy: { upstream: 'shop' } })
    },
    [REACHES('/orders/*'), 'moved proxy']
  ],
  ['a wider path', routes({ ...orders, path: '/orders/:id' }), routes(orders), [NEWLY_ANSWERED]],
  [
    'a wider expression',
    routes({ ...orders, path: '/orders/:id(\\d+)' }),
    routes({ ...orders, path: '/orders/:id(\\w+)' }),
    [NEWLY_ANSWERED]
  ],
  [
    'a new method',
    routes({ ...orders, methods: ['GET'] }),
    routes({ ...orders, methods: ['GET', 'PUT'] }),
    [NEWLY_ANSWERED]
  ],
  ['every method', routes({ ...orders, methods: ['GET'] }), routes(orders), [NEWLY_ANSWERED]],
  [
    'a new host',
    routes({ ...orders, host: 'a.example.com' }),
    routes({ ...orders, host: ['a.example.com', 'b.example.com'] }),
    [NEWLY_ANSWERED]
  ],
  [
    'a wildcard host',
    routes({ ...orders, host: 'a.example.com' }),
    routes({ ...orders, host: '*.example.com' }),
    [NEWLY_ANSWERED]
  ],
  ['every host', routes({ ...orders, host: 'a.example.com' }), routes(orders), [NEWLY_ANSWERED]],
  [
    'a condition removed',
    routes({ ...orders, when: { 'header:x-beta': 'true' } }),
    routes(orders),
    [NEWLY_ANSWERED]
  ],
  [
    'a wider condition',
    routes({ ...orders, when: { 'client.ip': '10.0.0.0/8' } }),
    routes({ ...orders, when: { 'client.ip': '10.0.0.0/7' } }),
    [NEWLY_ANSWERED]
  ],
  [
    'a protected route that gives way to a public one',
    routes({ ...orders, path: '/shop/admin' }, shop),
    routes(shop),
    ['widened-access auth', 'moved proxy']
  ],
  [
    'a public route that takes a path of a protected one',
    routes({ ...orders, path: '/a/*' }),
    routes({ ...orders, path: '/a/*' }, { path: '/a/b', proxy: { upstream: PROTECTED } }),
    ['widened-access auth']
  ],
  [
    'a public route that moves to a protected upstream',
    routes(orders, shop),
    routes(orders, { ...shop, proxy: { upstream: PROTECTED } }),
    [REACHES('/orders/*'), 'moved proxy']
  ],
  [
    'a public route that reaches other paths of a protected upstream',
    routes(orders, { path: '/docs/*', proxy: { upstream: PROTECTED, rewrite: '/docs' } }),
    routes(orders, { path: '/docs/*', proxy: { upstream: PROTECTED, rewrite: '/' } }),
    [REACHES('/orders/*'), 'moved proxy']
  ],
  ['a new path to a new upstream', routes(orders), routes(orders, shop), [ADDED]],
  [
    'a new path to a public upstream',
    routes(orders, shop),
    routes(orders, shop, { ...shop, path: '/s/*' }),
    [ADDED]
  ],
  ['a removed route', routes(orders, shop), routes(orders), [REMOVED]],
  [
    'a removed method',
    routes({ ...shop, methods: ['GET', 'PUT'] }),
    routes({ ...shop, methods: ['GET'] }),
    [REMOVED]
  ],
  [
    'another upstream',
    routes(shop),
    routes({ ...shop, proxy: { upstream: 'http://127.0.0.1:4003' } }),
    ['moved proxy']
  ],
  [
    'another target',
    routes(shop),
    routes({ path: '/shop/*', redirect: { to: 'https://example.com/' } }),
    ['moved redirect']
  ],
  [
    'a route that its own name changes',
    routes({ ...orders, name: 'a' }),
    routes({ ...orders, name: 'b' }),
    []
  ],
  ['routes in another order', routes(orders, shop), routes(shop, orders), []],
  [
    'routes that become a group',
    routes(orders),
    routes({ path: '/orders', auth, routes: [{ path: '/*', proxy: { upstream: PROTECTED } }] }),
    []
  ],
  [
    'options that move to the root',
    routes(orders),
    { auth, ...routes({ path: '/orders/*', proxy: { upstream: PROTECTED } }) },
    []
  ],
  [
    'a renamed parameter',
    routes({ ...orders, path: '/o/:id' }),
    routes({ ...orders, path: '/o/:order' }),
    []
  ],
  [
    'an expression written otherwise',
    routes({ ...orders, path: '/o/:id(\\d+)' }),
    routes({ ...orders, path: '/o/:id([0-9]+)' }),
    []
  ],
  [
    'a URL that gets a name',
    routes(shop),
    { upstreams: { shop: { url: PUBLIC } }, ...routes({ ...shop, proxy: { upstream: 'shop' } }) },
    []
  ],
  [
    'an upstream that gets another name',
    { upstreams: { a: { url: PUBLIC } }, ...routes({ ...shop, proxy: { upstream: 'a' } }) },
    { upstreams: { b: { url: PUBLIC } }, ...routes({ ...shop, proxy: { upstream: 'b' } }) },
    []
  ],
  [
    'keys in another order',
    routes({ ...orders, limits: { body: '2mb', url: '4kb' } }),
    routes({ ...orders, limits: { url: '4kb', body: '2mb' } }),
    []
  ],
  ['a default that is written out', routes(orders), routes({ ...orders, limits: { body: '1mb' } }), []],
  [
    'a path that is split in two',
    routes({ ...shop, path: ['/a', '/b'] }),
    routes({ ...shop, path: '/a' }, { ...shop, path: '/b' }),
    []
  ]
]

for (const [what, before, after, found] of CASES)
  t.test(`finds for ${what}: ${found.join(', ') || 'nothing'}`, async (t) => {
    t.strictSame((await changes(before, after)).toSorted(), found.toSorted())
  })

t.test('tells of a change once, with all its routes and a request for each', async (t) => {
  const [finding, ...others] = await diff(
    { auth, ...routes(orders, { ...orders, path: '/users/*' }) },
    routes({ ...orders, auth: false }, { ...orders, path: '/users/*', auth: false })
  )
  t.strictSame(others, [])
  t.match(finding, { class: 'widened-access', option: 'auth' })
  t.strictSame(finding?.routes.map(({ before, after, request }) => [before, after, request]).toSorted(), [
    ['/orders/*', '/orders/*', 'GET /orders'],
    ['/users/*', '/users/*', 'GET /users']
  ])
})
