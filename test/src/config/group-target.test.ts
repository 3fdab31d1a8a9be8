import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type ConfigError, loadConfig } from '../../../src/index.ts'
import { gateway, upstream } from '../../helpers.ts'

/** Starts upstreams that answer with their name and the path they were asked for. */
async function named(
  t: Pick<Test, 'teardown'>,
  ...names: string[]
): Promise<Record<string, { url: string }>> {
  const upstreams: Record<string, { url: string }> = {}
  for (const name of names)
    upstreams[name] = { url: await upstream(t, ({ url }, response) => void response.end(`${name} ${url}`)) }
  return upstreams
}

t.test("a group's proxy is the target of the routes inside that have none", async (t) => {
  const app = await gateway(t, {
    upstreams: await named(t, 'shop', 'other', 'canary'),
    routes: [
      {
        path: '/shop',
        proxy: { upstream: 'shop', rewrite: '/v1' },
        routes: [
          { path: '/items' },
          { path: '/items/:id' },
          { path: '/files/*' },
          { path: ['/a', '/b/*'] },
          { path: '/other/*', proxy: { upstream: 'other' } },
          { path: '/own/*', proxy: { rewrite: '/' } },
          { path: '/split', proxy: { split: [{ upstream: 'canary', share: '100%' }] } },
          { path: '/plain', proxy: true },
          { path: '/here', respond: { body: 'respond' } },
          { path: '/admin', proxy: { rewrite: '/v2' }, routes: [{ path: '/x' }, { path: '/y/*' }] },
          { path: '/deep', routes: [{ path: '/er/*' }] }
        ]
      },
      {
        path: '/t/:tenant',
        proxy: { upstream: 'shop', rewrite: '/tenants/{params.tenant}' },
        routes: [{ path: '/*' }]
      },
      { proxy: { upstream: 'other' }, routes: [{ path: '/unchanged/*' }] },
      { proxy: { upstream: 'other', rewrite: '/base' }, routes: [{ path: '/below/*' }] }
    ]
  })
  for (const [url, body] of [
    ['/shop/items', 'shop /v1/items'],
    ['/shop/items/', 'shop /v1/items/'],
    ['/shop/items/7?a=1', 'shop /v1/items/7?a=1'],
    ['/shop/files', 'shop /v1/files'],
    ['/shop/files/a/b', 'shop /v1/files/a/b'],
    ['/shop/a', 'shop /v1/a'],
    ['/shop/b/c', 'shop /v1/b/c'],
    ['/shop/other/x', 'other /v1/other/x'],
    ['/shop/own/x', 'shop /x'],
    ['/shop/split', 'canary /v1/split'],
    ['/shop/plain', 'shop /v1/plain'],
    ['/shop/here', 'respond'],
    ['/shop/admin/x', 'shop /v2/x'],
    ['/shop/admin/y/z', 'shop /v2/y/z'],
    ['/shop/deep/er/x', 'shop /v1/deep/er/x'],
    ['/t/acme/x', 'shop /tenants/acme/x'],
    ['/unchanged/x', 'other /unchanged/x'],
    ['/below/x', 'other /base/below/x']
  ] as const)
    t.equal((await app.inject({ url })).body, body, url)
  t.equal((await app.inject('/shop/unknown')).statusCode, 404, 'a group adds no route by itself')
})

t.test("a group's proxy keeps the defaults of the root, and an included file may set it", async (t) => {
  const dir = t.testdir({
    'team.json': JSON.stringify({ proxy: { rewrite: '/team' }, routes: [{ path: '/x' }] })
  })
  const file = join(dir, 'gateway.json')
  writeFileSync(
    file,
    JSON.stringify({
      proxy: { preserveHost: true },
      upstreams: {
        up: {
          url: await upstream(t, ({ url, headers }, response) => void response.end(`${headers.host} ${url}`))
        }
      },
      routes: [{ path: '/a', include: 'team.json', proxy: { upstream: 'up' } }]
    })
  )
  const app = await gateway(t, file)
  const response = await app.inject({ url: '/a/x', headers: { host: 'example.com' } })
  t.equal(response.body, 'example.com /team/x')
})

t.test('Location and X-Forwarded-Prefix follow the path of the group', async (t) => {
  const url = await upstream(t, ({ headers }, response) =>
    response.writeHead(302, { location: '/v1/next', 'x-prefix': headers['x-forwarded-prefix'] }).end()
  )
  const app = await gateway(t, {
    routes: [{ path: '/shop', proxy: { upstream: url, rewrite: '/v1' }, routes: [{ path: '/items' }] }]
  })
  t.match((await app.inject('/shop/items')).headers, { location: '/shop/next', 'x-prefix': '/shop' })
})

t.test('errors of a proxy on a group stand where it is written', async (t) => {
  const group = (proxy: unknown, route: object, more: object = {}): object => ({
    upstreams: { up: { url: 'http://localhost:1' } },
    routes: [{ path: '/g', proxy, routes: [{ path: '/a', ...route }], ...more }]
  })
  const cases: [name: string, config: object, faults: [path: string, message: RegExp][]][] = [
    [
      'an unknown upstream',
      group({ upstream: 'upp' }, {}),
      [['routes[0].proxy.upstream', /No upstream "upp"/]]
    ],
    [
      'neither upstream nor split',
      group({ rewrite: '/' }, {}),
      [['routes[0].proxy', /either "upstream" or "split"/]]
    ],
    [
      'a parameter that only the route has',
      group({ upstream: 'up', rewrite: '/{params.id}' }, { path: '/:id' }),
      [
        [
          'routes[0].proxy.rewrite',
          /expected a parameter of the path, got "\{params.id\}"; the path has none/
        ]
      ]
    ],
    [
      'an unknown option',
      group({ upstream: 'up', rewrit: '/' }, {}),
      [['routes[0].proxy.rewrit', /rewrite/]]
    ],
    [
      'a target that groups do not take',
      group(undefined, { respond: {} }, { respond: { body: 'x' } }),
      [['routes[0].respond', /no target of its own/]]
    ],
    [
      'the defaults of the root are no target',
      { proxy: { upstream: 'http://localhost:1' }, routes: [{ path: '/a' }] },
      [['routes[0]', /no target/]]
    ],
    [
      'a route that switches it off',
      group({ upstream: 'up' }, { proxy: false }),
      [['routes[0].routes[0].proxy', /expected an object/]]
    ]
  ]
  for (const [name, config, expected] of cases) {
    const error = await loadConfig(config, {}).then(
      () => undefined,
      (error: ConfigError) => error
    )
    t.same(
      error?.faults.map(({ path }) => path),
      expected.map(([path]) => path),
      name
    )
    for (const [i, [, message]] of expected.entries()) t.match(error?.faults[i]?.message, message, name)
  }
})
