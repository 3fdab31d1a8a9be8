import t, { type Test } from 'tap'
import { type GatewayConfig, loadConfig } from '../../../src/index.ts'
import { gateway } from '../../helpers.ts'
import { faultsOf } from './helpers.ts'

/** The RateLimit-Policy header of a response: requests and seconds. */
async function limitPolicy(t: Test, config: object, path: string): Promise<unknown> {
  const app = await gateway(t, config)
  return (await app.inject(path)).headers['ratelimit-policy']
}

t.test('merges options from the root through groups to the route', async (t) => {
  const limit = (options: object, ...groups: object[]): GatewayConfig => {
    let route: object = { ...options, path: '/x', respond: { body: 'x' } }
    for (const group of groups.toReversed()) route = { ...group, routes: [route] }
    return { routes: [route] } as GatewayConfig
  }
  const root = { max: 9, window: '1h' }
  const cases: { name: string; config: object; is: string | undefined }[] = [
    { name: 'a route without the option inherits that of the root', config: limit({}), is: 'q=9;w=3600' },
    { name: 'an object changes single options', config: limit({ rateLimit: { max: 3 } }), is: 'q=3;w=3600' },
    {
      name: 'each group changes single options',
      config: limit(
        { rateLimit: { max: 3 } },
        { rateLimit: { max: 4, window: '9m' } },
        { rateLimit: { window: '1s' } }
      ),
      is: 'q=3;w=1'
    },
    {
      name: 'a group without path or host only sets options',
      config: limit({}, { rateLimit: { max: 4 } }),
      is: 'q=4;w=3600'
    },
    { name: 'true inherits', config: limit({ rateLimit: true }), is: 'q=9;w=3600' },
    { name: 'false disables', config: limit({ rateLimit: false }), is: undefined },
    { name: 'false of a group disables', config: limit({}, { rateLimit: false }), is: undefined },
    {
      name: 'true after false inherits from further out',
      config: limit({ rateLimit: true }, { rateLimit: false }),
      is: 'q=9;w=3600'
    },
    {
      name: 'an object after false inherits from further out',
      config: limit({ rateLimit: { window: '2s' } }, { rateLimit: { max: 4 } }, { rateLimit: false }),
      is: 'q=4;w=2'
    },
    {
      name: 'false for a single option unsets it',
      config: limit({ rateLimit: { window: false } }),
      is: 'q=9;w=60'
    },
    {
      name: 'an option unset in a group can be set again',
      config: limit({ rateLimit: { max: 2 } }, { rateLimit: { max: false, window: false } }),
      is: 'q=2;w=60'
    },
    {
      name: 'global: false in a group excludes routes without the option',
      config: limit({}, { rateLimit: { max: 4, global: false } }),
      is: undefined
    },
    {
      name: 'global: false in a group: true inherits from the group',
      config: limit({ rateLimit: true }, { rateLimit: { max: 4, global: false } }),
      is: 'q=4;w=3600'
    }
  ]
  for (const { name, config, is } of cases)
    t.test(name, async (t) => {
      t.equal(
        await limitPolicy(t, { ...config, rateLimit: root }, '/x'),
        is === undefined ? undefined : `"default";${is}`
      )
    })

  t.test('a required option that was unset is reported as missing', async (t) => {
    const [fault] = await faultsOf(
      t,
      JSON.stringify({ ...limit({ rateLimit: { max: false } }), rateLimit: root })
    )
    t.match(
      fault,
      /^gateway\.json:1:\d+ routes\[0\]\.rateLimit: expected "max" or "maxInFlight", got neither/
    )
  })

  t.test('global: false at the root applies only to routes with the option', async (t) => {
    const app = await gateway(t, {
      rateLimit: { ...root, global: false },
      routes: [
        { path: '/silent', respond: {} },
        { path: '/asks', rateLimit: true, respond: {} },
        { path: '/changes', rateLimit: { max: 2 }, respond: {} }
      ]
    })
    const policyOf = async (path: string): Promise<unknown> =>
      (await app.inject(path)).headers['ratelimit-policy']
    t.equal(await policyOf('/silent'), undefined)
    t.equal(await policyOf('/nowhere'), undefined)
    t.equal(await policyOf('/asks'), '"default";q=9;w=3600')
    t.equal(await policyOf('/changes'), '"default";q=2;w=3600')
  })

  t.test(
    'an option of a route applies to that route only, one of the root also to unknown paths',
    async (t) => {
      const one = {
        routes: [
          { path: '/a', rateLimit: { max: 2 }, respond: {} },
          { path: '/b', respond: {} }
        ]
      }
      t.equal(await limitPolicy(t, one, '/a'), '"default";q=2;w=60')
      t.equal(await limitPolicy(t, one, '/b'), undefined)
      t.equal(await limitPolicy(t, one, '/c'), undefined)
      t.equal(await limitPolicy(t, { ...one, rateLimit: root }, '/c'), '"default";q=9;w=3600')
    }
  )

  t.test('objects merge by key, lists and scalars replace', async (t) => {
    const app = await gateway(t, {
      cors: { origins: ['https://a.b'], expose: ['x-one', 'x-two'] },
      headers: { response: { 'x-root': 'root', 'x-both': 'root', 'x-gone': 'root' } },
      routes: [
        {
          path: '/a',
          cors: { expose: ['x-three'] },
          headers: { response: { 'x-both': 'route', 'x-own': 'route', 'x-gone': false } },
          respond: {}
        }
      ]
    })
    const { headers } = await app.inject({ url: '/a', headers: { origin: 'https://a.b' } })
    t.match(headers, { 'x-root': 'root', 'x-both': 'route', 'x-own': 'route' })
    t.notHas(headers, 'x-gone')
    t.match(headers, {
      'access-control-allow-origin': 'https://a.b',
      'access-control-expose-headers': 'x-three'
    })
  })

  t.test('a group applies its path and host to its routes', async (t) => {
    const app = await gateway(t, {
      routes: [
        {
          path: ['/v1', '/v2'],
          host: 'api.b',
          routes: [
            { path: '/', respond: { body: 'top' } },
            { host: 'api.b', routes: [{ path: ['/x', '/y/*'], respond: { body: '{path}' } }] },
            { path: '/sub', routes: [{ respond: { body: 'sub' } }] }
          ]
        }
      ]
    })
    const get = async (url: string, host = 'api.b'): Promise<string> =>
      (await app.inject({ url, headers: { host, accept: 'text/plain' } })).body.split('\n', 1)[0] ?? ''
    for (const [path, body] of [
      ['/v1', 'top'],
      ['/v2/', 'top'],
      ['/v1/x', '/v1/x'],
      ['/v2/y/z', '/v2/y/z'],
      ['/v2/sub', 'sub'],
      ['/x', '404 Not Found']
    ] as const)
      t.equal(await get(path), body, path)
    t.equal(await get('/v1/x', 'web.b'), '404 Not Found')
  })

  t.test('the config is frozen', async (t) => {
    const plan = await loadConfig({ ...limit({ rateLimit: root }), rateLimit: root })
    const deep = (value: unknown): boolean =>
      typeof value !== 'object' ||
      value === null ||
      (Object.isFrozen(value) && Object.values(value).every(deep))
    t.ok(deep(plan.options))
    t.ok(plan.routes.every(({ options, targetOptions }) => deep(options) && deep(targetOptions)))
  })
})

t.test('counts a rate limit per place of its definition', async (t) => {
  const limit = { max: 9, window: '1h' }
  const open = { respond: { body: 'x' } }
  const cases: {
    name: string
    config: object
    asks: readonly string[]
    left: readonly (number | undefined)[]
  }[] = [
    {
      name: 'all that inherit the limit of the root share one count, unknown paths included',
      config: {
        rateLimit: limit,
        routes: [
          { path: '/a', ...open },
          { path: '/b', ...open },
          { path: '/c', rateLimit: true, ...open }
        ]
      },
      asks: ['/a', '/b', '/c', '/nowhere', '/a'],
      left: [8, 7, 6, 5, 4]
    },
    {
      name: 'a route with its own limit has its own count',
      config: {
        rateLimit: limit,
        routes: [
          { path: '/a', ...open },
          { path: '/b', rateLimit: { max: 9 }, ...open }
        ]
      },
      asks: ['/a', '/b', '/b', '/a'],
      left: [8, 8, 7, 7]
    },
    {
      name: 'a group with a limit shares one count',
      config: {
        rateLimit: limit,
        routes: [
          { path: '/a', ...open },
          {
            path: '/g',
            rateLimit: { max: 5 },
            routes: [
              { path: '/x', ...open },
              { path: '/y', rateLimit: true, ...open },
              { path: '/z', rateLimit: { max: 3 }, ...open }
            ]
          },
          { path: '/h', rateLimit: { max: 5 }, routes: [{ path: '/x', ...open }] }
        ]
      },
      asks: ['/g/x', '/g/y', '/g/z', '/h/x', '/a'],
      left: [4, 3, 2, 4, 8]
    },
    {
      name: 'all paths of one route share one count',
      config: { routes: [{ path: ['/a/*', '/b'], rateLimit: limit, ...open }] },
      asks: ['/a', '/a/', '/a/x', '/b', '/b/'],
      left: [8, 7, 6, 5, 4]
    },
    {
      name: '/a and /a/* of one route share one count, for every method',
      config: { routes: [{ path: ['/a', '/a/*'], rateLimit: limit, ...open }] },
      asks: ['/a', 'POST /a', '/a/x', 'HEAD /a/y'],
      left: [8, 7, 6, 5]
    },
    {
      name: 'an empty object shares the inherited count',
      config: {
        rateLimit: limit,
        routes: [
          { path: '/a', ...open },
          { path: '/b', rateLimit: {}, ...open }
        ]
      },
      asks: ['/a', '/b'],
      left: [8, 7]
    },
    {
      name: 'false does not count',
      config: {
        rateLimit: limit,
        routes: [
          { path: '/a', ...open },
          { path: '/b', rateLimit: false, ...open }
        ]
      },
      asks: ['/a', '/b', '/a'],
      left: [8, undefined, 7]
    },
    {
      name: 'refused requests count',
      config: { rateLimit: { max: 1, window: '1h' }, routes: [{ path: '/a', ...open }] },
      asks: ['/a', '/a', '/a'],
      left: [0, 0, 0]
    }
  ]
  for (const { name, config, asks, left } of cases)
    t.test(name, async (t) => {
      const app = await gateway(t, config)
      const found: (number | undefined)[] = []
      for (const each of asks) {
        const [url = '', method = 'GET'] = each.split(' ').toReversed()
        const header = (await app.inject({ url, method: method as 'GET' })).headers['ratelimit']
        found.push(header === undefined ? undefined : Number(/;r=(\d+);/.exec(String(header))?.[1]))
      }
      t.strictSame(found, left)
    })
})
