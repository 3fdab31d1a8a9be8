import { writeFileSync } from 'node:fs'
import t from 'tap'
import { type GatewayConfig, loadConfig } from '../../../src/index.ts'
import { gateway, type Scope, sallyport, upstream } from '../../helpers.ts'

type TestScope = Scope & { testdir(files: Record<string, string>): string }

const shop = `openapi: "3.1.0"
info: { title: Shop, version: "1" }
servers: [{ url: "https://api.example.com/v1" }]
paths:
  /orders/{id}:
    parameters: [{ name: id, in: path, required: true, schema: { type: integer } }]
    get: { operationId: getOrder, deprecated: true }
    head: { operationId: headOrder }
    put: { operationId: putOrder }
  /orders/latest:
    get: { operationId: latest }
  /orders:
    get: {}
    post: { operationId: getOrder }
  /files/{name}.{ext}:
    get: { operationId: getFile, parameters: [{ name: ext, in: path, required: true, schema: { enum: [pdf] } }] }
  /files/{file}:
    get: { operationId: anyFile }
  /files/{file}:archive:
    post: { operationId: archive }
  /:
    get: { operationId: index }
`

/** Writes a document and a config with one group, and returns the config's file. */
function configFile(
  t: TestScope,
  group: object,
  { document = shop, ...root }: Record<string, unknown> = {}
): string {
  const folder = t.testdir({
    'shop.yaml': String(document),
    'gateway.json': JSON.stringify({
      ...root,
      routes: [{ path: '/shop', operations: 'shop.yaml', ...group }]
    })
  })
  return `${folder}/gateway.json`
}

const named = async (t: Scope): Promise<object> => ({
  proxy: {
    upstream: await upstream(t, ({ method, url }, response) => void response.end(`${method} ${url}`)),
    rewrite: '/api'
  }
})

t.test('the operations of a document are routes of the group', async (t) => {
  const group = { ...(await named(t)), headers: { response: { 'x-group': 'yes' } } }
  const file = configFile(t, { ...group, routes: [{ path: '/hand/:id' }] })
  const app = await gateway(t, file)
  const cases: [
    method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE',
    url: string,
    status: number,
    body?: string
  ][] = [
    ['GET', '/shop/orders/7', 200, 'GET /api/orders/7'],
    ['GET', '/shop/orders/x', 400],
    ['HEAD', '/shop/orders/7', 200],
    ['PUT', '/shop/orders/7', 200, 'PUT /api/orders/7'],
    ['GET', '/shop/orders/latest', 200, 'GET /api/orders/latest'],
    ['GET', '/shop/orders?a=1', 200, 'GET /api/orders?a=1'],
    ['GET', '/shop', 200, 'GET /api'],
    ['GET', '/shop/files/a.b.pdf', 400],
    ['GET', '/shop/files/a.pdf', 200, 'GET /api/files/a.pdf'],
    ['GET', '/shop/files/a', 200, 'GET /api/files/a'],
    ['POST', '/shop/files/a:archive', 200, 'POST /api/files/a:archive'],
    ['POST', '/shop/files/a', 405],
    ['DELETE', '/shop/orders/7', 405],
    ['GET', '/shop/other', 404],
    ['GET', '/orders', 404],
    ['GET', '/shop/hand/x', 200, 'GET /api/hand/x']
  ]
  for (const [method, url, status, body] of cases) {
    const answer = await app.inject({ method, url })
    t.equal(answer.statusCode, status, `${method} ${url}`)
    if (body !== undefined) t.equal(answer.body, body)
  }
  const order = await app.inject('/shop/orders/7')
  t.match(order.headers, { deprecation: '@0', 'x-group': 'yes' })
  t.equal((await app.inject('/shop/orders')).headers['deprecation'], undefined)
  t.match((await app.inject({ method: 'DELETE', url: '/shop/orders/7' })).headers['allow'], /GET, HEAD, PUT/)
  const { routes, files } = await loadConfig(file, {})
  t.strictSame(
    routes.map(({ name, methods }) => `${methods?.join() ?? '*'} ${name}`),
    [
      '* /shop/hand/:id',
      'GET,HEAD getOrder, headOrder',
      'GET,HEAD latest',
      'GET,HEAD GET /orders',
      'GET,HEAD getFile, anyFile',
      'GET,HEAD index',
      'PUT putOrder',
      'POST POST /orders',
      'POST archive'
    ]
  )
  t.ok(
    files.some((each) => each.endsWith('/shop.yaml')),
    'the document is watched'
  )
})

t.test('a written route with the same path and method wins, and check lists it', async (t) => {
  const file = configFile(t, {
    ...(await named(t)),
    routes: [
      { name: 'mine', path: '/orders/:order', methods: ['GET'], respond: { body: 'mine' } },
      { name: 'all', path: '/orders', respond: { body: 'all' } },
      { path: '/*', respond: { body: 'rest' } }
    ]
  })
  const app = await gateway(t, file)
  for (const [method, url, body] of [
    ['GET', '/shop/orders/x', 'mine'],
    ['PUT', '/shop/orders/1', 'PUT /api/orders/1'],
    ['POST', '/shop/orders', 'all'],
    ['GET', '/shop/orders/latest', 'GET /api/orders/latest'],
    ['GET', '/shop/none', 'rest']
  ] as const)
    t.equal((await app.inject({ method, url })).body, body, `${method} ${url}`)
  const { stdout } = await sallyport(['check', '-c', file])
  t.match(stdout, /The route mine takes the place of GET \/orders\/\{id\} \(.*shop\.yaml:7:5\), HEAD/)
  t.match(stdout, /The route all takes the place of POST \/orders \(.*shop\.yaml:14:5\)/)
})

t.test('operations come to every path and host of their group', async (t) => {
  const group = await named(t)
  const app = await gateway(t, {
    routes: [
      {
        path: ['/a/:tenant', '/b'],
        host: ['one.example.com', 'two.example.com'],
        operations: { openapi: `${t.testdir({ 'shop.yaml': shop })}/shop.yaml`, servers: true },
        ...group
      }
    ]
  } as GatewayConfig)
  for (const [host, url, status] of [
    ['one.example.com', '/a/x/v1/orders/7', 200],
    ['two.example.com', '/b/v1/orders/7', 200],
    ['two.example.com', '/b/v1/orders/x', 400],
    ['two.example.com', '/b/orders/7', 404],
    ['three.example.com', '/b/v1/orders/7', 404]
  ] as const)
    t.equal((await app.inject({ url, headers: { host } })).statusCode, status, `${host} ${url}`)
})

t.test('the description of the gateway has each operation once', async (t) => {
  const { stdout, stderr } = await sallyport(['openapi', '-c', configFile(t, await named(t))])
  const { paths } = JSON.parse(stdout) as { paths: Record<string, Record<string, { operationId?: string }>> }
  t.strictSame(
    Object.entries(paths).map(
      ([path, item]) =>
        `${path} ${Object.keys(item)
          .filter((key) => key !== 'parameters')
          .join()}`
    ),
    [
      '/shop get',
      '/shop/files/{file} get',
      '/shop/files/{file}:archive post',
      '/shop/files/{name}.{ext} get',
      '/shop/orders get,post',
      '/shop/orders/latest get',
      '/shop/orders/{id} get,put,head'
    ],
    stderr
  )
})

t.test('an included file can have operations', async (t) => {
  const folder = t.testdir({
    'gateway.json': JSON.stringify({ routes: [{ path: '/in', include: 'teams/shop.json' }] }),
    teams: {
      'shop.json': JSON.stringify({ operations: 'shop.yaml', ...(await named(t)) }),
      'shop.yaml': shop
    }
  })
  const app = await gateway(t, `${folder}/gateway.json`)
  t.equal((await app.inject('/in/orders/7')).body, 'GET /api/orders/7')
})

t.test('a reload reads the document anew', async (t) => {
  const file = configFile(t, await named(t))
  t.equal((await (await gateway(t, file)).inject('/shop/more')).statusCode, 404)
  writeFileSync(file.replace('gateway.json', 'shop.yaml'), `${shop}  /more: { get: {} }\n`)
  t.equal((await (await gateway(t, file)).inject('/shop/more')).statusCode, 200)
})

t.test('faults are told at the option, with the place in the document', async (t) => {
  const group = await named(t)
  const cases: [what: string, group: object, document: string | undefined, message: RegExp][] = [
    [
      'no target',
      {},
      undefined,
      /gateway\.json:1:\d+ routes\[0\]\.operations: .*"proxy".* on this group would work/
    ],
    [
      'no YAML',
      group,
      'openapi: "3.1.0"\n paths: 1\n',
      /routes\[0\]\.operations: .* got no YAML: .*shop\.yaml:2:\d/
    ],
    ['no file', { ...group, operations: 'none.yaml' }, undefined, /none\.yaml, which can't be read/],
    ['no document', { ...group, operations: 5 }, undefined, /routes\[0\]\.operations: expected /],
    [
      'an unknown option',
      { ...group, operations: { openapi: 'shop.yaml', server: true } },
      undefined,
      /server/
    ],
    [
      'a schema',
      { ...group, operations: { openapi: 'shop.yaml' } },
      'openapi: "3.1.0"\npaths:\n  /a: { get: { parameters: [{ name: a, in: query, schema: { type: x } }] } }\n',
      /routes\[0\]\.operations\.openapi: .*shop\.yaml:3:\d+ must be one of/
    ]
  ]
  for (const [what, value, document, message] of cases)
    await t.rejects(
      gateway(t, configFile(t, value, document === undefined ? {} : { document })),
      { message },
      what
    )
})

t.test('check warns of operations that can be no route', async (t) => {
  const document = `openapi: "3.2.0"
paths:
  /a//b: { get: {} }
  /c: { trace: {}, additionalOperations: { COPY: {}, ODD: {} } }
`
  const { stdout, stderr } = await sallyport(['check', '-c', configFile(t, await named(t), { document })])
  for (const text of [
    /GET \/a\/\/b \(.*shop\.yaml:3:12\) is no route: .* has an empty segment/,
    /TRACE \/c .* is no route, since the gateway does not take the method TRACE/,
    /ODD \/c .* does not take the method ODD/
  ])
    t.match(`${stdout}${stderr}`, text)
})
