import t from 'tap'
import { loadConfig } from '../../src/index.ts'
import { gateway, upstream } from '../helpers.ts'

type Case = readonly [url: string, result: string | number]

const routes = [
  { path: '/a/*', respond: { body: 'a' } },
  { path: '/both/*', slash: false, respond: { body: 'both' } },
  { path: '/group', slash: 'add', routes: [{ path: '/x', respond: { body: 'x' } }] },
  { path: '/', respond: { body: 'home' } }
]

t.test('redirects to the path with or without a final slash, and keeps the query', async (t) => {
  const cases: readonly (readonly [slash: 'add' | 'strip', cases: readonly Case[]])[] = [
    [
      'add',
      [
        ['/a/b', '/a/b/'],
        ['/a/b?c=/d', '/a/b/?c=/d'],
        ['/a/b/', 200],
        ['/a/app.js', 200],
        ['/a/%2e%2e%2fx.y', 400],
        ['/both/x', 200],
        ['/group/x', '/group/x/'],
        ['/', 200],
        ['/missing', 404]
      ]
    ],
    [
      'strip',
      [
        ['/a/b/', '/a/b'],
        ['/a/b/?c', '/a/b?c'],
        ['/a/b', 200],
        ['/both/x/', 200],
        ['/group/x', '/group/x/'],
        ['/group/x/', 200],
        ['/', 200],
        ['/missing/', 404]
      ]
    ]
  ]
  for (const [slash, asked] of cases) {
    const app = await gateway(t, { slash, routes } as never)
    for (const [url, result] of asked)
      for (const method of ['GET', 'POST'] as const) {
        const { statusCode, headers } = await app.inject({ method, url })
        t.equal(statusCode === 308 ? headers.location : statusCode, result, `${slash} ${method} ${url}`)
      }
  }
})

t.test('never redirects to another host', async (t) => {
  const paths = { doubleSlash: 'keep' }
  for (const slash of ['add', 'strip']) {
    const app = await gateway(t, { slash, paths, routes: [{ path: '/*', respond: { body: 'a' } }] } as never)
    for (const url of ['//evil.example', '//evil.example/', '//evil.example/a/']) {
      const { statusCode, headers } = await app.inject(url)
      t.strictSame([statusCode, headers.location], [200, undefined], `${slash} ${url}`)
    }
  }
})

t.test('redirects before a gate, and asks no service', async (t) => {
  let asked = 0
  const url = await upstream(t, (_request, response) => {
    asked++
    response.end()
  })
  const app = await gateway(t, {
    slash: 'strip',
    auth: { apiKeys: { list: [] } },
    routes: [{ path: '/a/*', proxy: { upstream: url } }]
  } as never)
  t.equal((await app.inject('/a/b/')).statusCode, 308)
  t.equal((await app.inject('/a/b')).statusCode, 401)
  t.equal(asked, 0)
})

t.test('rejects another form', async (t) => {
  await t.rejects(loadConfig({ slash: 'both', routes: [] } as never, {}), {
    message: /slash.*expected "add" or "strip".*got "both"/
  })
})
