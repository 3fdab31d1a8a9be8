import { writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { parse, stringify } from 'yaml'
import { findUi, INSTALL_NOTE } from '../../routes/api-docs/swagger-ui.ts'
import { lint } from '../../src/config/lint.ts'
import { loadConfig } from '../../src/index.ts'
import { printJson, printYaml } from '../../src/lib/openapi/print.ts'
import { describeGateway } from '../../src/openapi/document.ts'
import { ask, gateway, listening, running, sallyport } from '../helpers.ts'

const proxy = { upstream: 'http://127.0.0.1:9' }
const keys = { list: [{ id: 'ada', secret: 'a key that is long enough' }] }
const docs = { path: '/docs/*', apiDocs: {} }
const plain = { path: '/docs/*', apiDocs: { ui: false } }
const order = { path: '/orders/:id', methods: ['GET'], proxy, openapi: { summary: 'Returns an order' } }

const printed = async (config: object, host?: string): Promise<string> =>
  `${JSON.stringify(describeGateway(await loadConfig(config, {}), host).document, null, 2)}\n`

t.test('serves the document, a page and the files of the page', async (t) => {
  const app = await gateway(t, {
    routes: [
      docs,
      { ...plain, path: '/plain/*' },
      { path: ['/alone', '/spec.yaml', '/v1.json'], apiDocs: {} },
      order
    ]
  })
  const HTML = 'text/html; charset=utf-8'
  const JSON_TYPE = 'application/json; charset=utf-8'
  const YAML = 'application/yaml; charset=utf-8'
  const cases: [url: string, status: number, type: string, body: RegExp][] = [
    ['/docs/', 200, HTML, /<script src="init\.js">/],
    ['/docs/openapi.json', 200, JSON_TYPE, /"openapi": "3\.1\.0"/],
    ['/docs/openapi.yaml', 200, YAML, /^openapi: 3\.1\.0\n/],
    ['/docs/openapi.json?x=1', 200, JSON_TYPE, /Returns an order/],
    ['/docs/init.js', 200, 'text/javascript; charset=utf-8', /SwaggerUIBundle\(/],
    ['/docs/swagger-ui.css', 200, 'text/css; charset=utf-8', /\.swagger-ui/],
    ['/docs/swagger-ui-bundle.js', 200, 'application/javascript; charset=utf-8', /SwaggerUIBundle/],
    ['/docs/oauth2-redirect.html', 200, HTML, /oauth2-redirect\.js/],
    ['/plain/', 200, HTML, /<a href="openapi\.json">.*\n(.*\n)*.*Returns an order/],
    ['/plain/openapi.json', 200, JSON_TYPE, /Returns an order/],
    ['/alone', 200, HTML, /Returns an order/],
    ['/alone/', 200, HTML, /Returns an order/],
    ['/spec.yaml', 200, YAML, /^openapi: 3\.1\.0\n/],
    ['/v1.json', 200, JSON_TYPE, /"openapi": "3\.1\.0"/]
  ]
  for (const [url, status, type, body] of cases)
    t.test(url, async (t) => {
      const response = await app.inject(url)
      t.equal(response.statusCode, status)
      t.equal(response.headers['content-type'], type)
      t.equal(response.headers['cache-control'], 'no-cache')
      t.match(response.body, body)
      if (type === HTML)
        t.notMatch(
          response.body,
          /<script>|<script [^>]*src="https?:|\son\w+=/,
          'no inline script, no script of others'
        )

      const head = await app.inject({ url, method: 'HEAD' })
      t.equal(head.statusCode, status)
      t.equal(head.body, '')
      for (const name of [
        'content-type',
        'content-length',
        'etag',
        'cache-control',
        'content-security-policy'
      ])
        t.equal(head.headers[name], response.headers[name], name)

      const etag = String(response.headers['etag'])
      for (const condition of [etag, `"other", W/${etag.replace(/^W\//, '')}`, '*']) {
        const unchanged = await app.inject({ url, headers: { 'if-none-match': condition } })
        t.equal(unchanged.statusCode, 304, condition)
        t.equal(unchanged.body, '')
        t.equal(unchanged.headers['etag'], etag)
      }
      t.equal((await app.inject({ url, headers: { 'if-none-match': '"other"' } })).statusCode, 200)
    })

  t.same(
    parse((await app.inject('/docs/openapi.yaml')).body),
    (await app.inject('/docs/openapi.json')).json(),
    'both formats are one document'
  )
  t.notMatch((await app.inject('/alone')).body, 'href="openapi', 'has no links to files that are not there')
})

t.test('prints a document in steps as at once', async (t) => {
  const document = {
    openapi: '3.1.0',
    info: { title: 'a: b\n\nc', version: '1', description: '  - x\n\n\n' },
    paths: {
      '/a': { get: { tags: [], description: 'one\n\ttwo ' } },
      [`/${'long'.repeat(300)}`]: {},
      '? x': { get: null }
    },
    components: { schemas: {}, 'x y: z': { '#': [1, { a: '\n' }] } },
    servers: [{ url: '/' }]
  }
  t.equal(printJson(document), `${JSON.stringify(document, null, 2)}\n`)
  t.equal(printYaml(document), stringify(document, { lineWidth: 0 }))
  t.equal(printYaml({ paths: {} }), 'paths: {}\n')
})

t.test('lets other requests through while it describes a large gateway', async (t) => {
  const many = Array.from({ length: 400 }, (_, i) => ({ path: `/r${i}/:id`, proxy }))
  const app = await gateway(t, { auth: { global: false, apiKeys: keys }, routes: [plain, ...many] })
  let others = 0
  let isDone = false
  const texts = Promise.all(['openapi.json', 'openapi.yaml', ''].map((name) => app.inject(`/docs/${name}`)))
  const done = texts.finally(() => {
    isDone = true
  })
  while (!isDone) {
    await app.inject('/-/live')
    await setImmediate()
    others++
  }
  for (const { statusCode } of await done) t.equal(statusCode, 200)
  t.ok(others > 20, `${others} requests meanwhile`)
})

t.test('redirects to the path with a slash, since the links of the page are relative', async (t) => {
  const app = await gateway(t, { routes: [docs] })
  const { statusCode, headers } = await app.inject('/docs?tag=a')
  t.equal(statusCode, 308)
  t.equal(headers.location, '/docs/?tag=a')
})

t.test('refuses what it does not have', async (t) => {
  const app = await gateway(t, { routes: [docs, { ...plain, path: '/plain/*' }] })
  const cases: [method: 'GET' | 'POST' | 'DELETE', url: string, status: number][] = [
    ['GET', '/docs/x', 404],
    ['GET', '/docs/openapi.json/', 404],
    ['GET', '/docs/package.json', 404],
    ['GET', '/docs/index.html', 404],
    ['GET', '/docs/..%2findex.js', 404],
    ['GET', '/docs/constructor', 404],
    ['GET', '/plain/swagger-ui.css', 404],
    ['GET', '/plain/init.js', 404],
    ['POST', '/docs/', 405],
    ['DELETE', '/docs/openapi.json', 405]
  ]
  for (const [method, url, status] of cases) {
    const response = await app.inject({ method, url })
    t.ok(
      response.statusCode === status || response.statusCode === 400,
      `${method} ${url}: ${response.statusCode}`
    )
    t.match(response.headers['content-type'], 'application/problem+json')
    if (status === 405) t.equal(response.headers['allow'], 'GET, HEAD')
  }
})

t.test('leaves hidden routes out, and does not name their upstreams', async (t) => {
  const config = {
    routes: [
      plain,
      order,
      { path: '/internal/*', openapi: false, proxy: { upstream: 'http://127.0.0.1:9999' } },
      { path: '/group', openapi: false, routes: [{ path: '/secret', proxy }] }
    ]
  }
  const app = await gateway(t, config)
  for (const name of ['', 'openapi.json', 'openapi.yaml']) {
    const { body } = await app.inject(`/docs/${name}`)
    t.match(body, '/orders/{id}')
    t.notMatch(body, /internal|secret|127\.0\.0\.1/)
  }
})

t.test('lets the gates of its route decide', async (t) => {
  const app = await gateway(t, { auth: { apiKeys: keys }, routes: [docs, order] })
  for (const name of ['', 'openapi.json', 'openapi.yaml', 'swagger-ui.css']) {
    const refused = await app.inject(`/docs/${name}`)
    t.equal(refused.statusCode, 401)
    t.notMatch(refused.body, 'orders')
    const headers = { 'x-api-key': 'a key that is long enough' }
    const { statusCode, headers: fields } = await app.inject({ url: `/docs/${name}`, headers })
    t.equal(statusCode, 200)
    t.equal(fields['cache-control'], 'private, no-cache')
  }
})

t.test('describes what requests to the host can reach', async (t) => {
  const config = {
    publicUrl: 'https://www.example.com',
    routes: [
      plain,
      { path: '/a', methods: ['GET'], proxy, openapi: { summary: 'for all' } },
      { path: '/a', host: 'a.example.com', methods: ['GET'], proxy, openapi: { summary: 'for one' } },
      { path: '/b', host: '*.example.org', methods: ['GET'], proxy }
    ]
  }
  const { port } = await listening(t, config)
  const cases: [host: string, described: string, paths: string[], summary: string][] = [
    ['a.example.com', 'a.example.com', ['/a', '/docs/{path}'], 'for one'],
    ['A.example.com.:80', 'a.example.com', ['/a', '/docs/{path}'], 'for one'],
    ['x.example.org', '*.example.org', ['/a', '/b', '/docs/{path}'], 'for all'],
    ['y.example.org', '*.example.org', ['/a', '/b', '/docs/{path}'], 'for all'],
    ['www.example.com', 'www.example.com', ['/a', '/docs/{path}'], 'for all'],
    ['evil.example', 'www.example.com', ['/a', '/docs/{path}'], 'for all']
  ]
  for (const [host, described, paths, summary] of cases)
    t.test(host, async (t) => {
      const text = await textOf(port, host)
      t.equal(text, await printed(config, described))
      const document = JSON.parse(text) as { paths: Record<string, { get: { summary?: string } }> }
      t.strictSame(Object.keys(document.paths), paths)
      t.equal(document.paths['/a']?.get.summary, summary)
      t.notMatch(text, 'evil', 'a client names no server')
    })
})

/** Requests the document with a Host. */
const textOf = (port: number, host: string): Promise<string> =>
  new Promise((resolve, reject) => {
    request({ port, path: '/docs/openapi.json', headers: { host } }, (response) => {
      let text = ''
      response.on('data', (data: Buffer) => {
        text += data.toString()
      })
      response.on('end', () => resolve(text))
    })
      .on('error', reject)
      .end()
  })

t.test('escapes every text of the config and of documents', async (t) => {
  const evil = `"><img src=x onerror=alert(1)><script>alert(2)</script>'&`
  const folder = t.testdir({
    'shop.json': JSON.stringify({
      openapi: '3.1.0',
      info: { title: evil, version: evil },
      paths: {
        [`/x${evil.replaceAll('/', '')}`]: {
          get: {
            operationId: evil,
            summary: evil,
            description: evil,
            parameters: [
              { name: evil, in: 'query', description: evil, schema: { type: 'string' } },
              { $ref: '#/components/parameters/P' }
            ],
            responses: { 200: { description: evil }, 404: { $ref: '#/components/responses/R' } }
          },
          post: {
            requestBody: { content: { [`a/b${evil}`]: {} } },
            responses: { [evil]: { description: evil } }
          }
        }
      },
      components: {
        parameters: { P: { name: evil, in: 'header', description: evil, schema: {} } },
        responses: { R: { description: evil } }
      }
    })
  })
  const config = join(folder, 'gateway.json')
  writeFileSync(
    config,
    JSON.stringify({
      openapi: { info: { title: evil, version: evil, description: evil } },
      auth: { global: false, apiKeys: keys },
      routes: [
        plain,
        { path: '/shop/*', validate: { openapi: 'shop.json' }, proxy },
        {
          path: '/b',
          methods: ['GET'],
          auth: { require: { scopes: ['<b>scope</b>'] } },
          openapi: { summary: evil, description: evil, tags: [evil] },
          proxy
        }
      ]
    })
  )
  const { body, statusCode } = await (await gateway(t, config)).inject('/docs/')
  t.equal(statusCode, 200)
  t.notMatch(body, /<img|<script|<b>/)
  t.ok((body.match(/&lt;img/g) ?? []).length >= 10, 'the texts are there')
  t.match(body, '<code>apiKey</code> &lt;b&gt;scope&lt;/b&gt;')
})

t.test('responds with an error without details where the document cannot be made', async (t) => {
  const folder = t.testdir({
    'shop.json': '{ "openapi": "3.1.0", "info": { "title": "a", "version": "1" }, "paths": {} }',
    'gateway.json': JSON.stringify({
      routes: [plain, { path: '/shop/*', validate: { openapi: 'shop.json' }, proxy }]
    })
  })
  const app = await gateway(t, join(folder, 'gateway.json'))
  writeFileSync(join(folder, 'shop.json'), '{')
  for (const name of ['openapi.json', 'openapi.yaml', '']) {
    const response = await app.inject(`/docs/${name}`)
    t.equal(response.statusCode, 500)
    t.match(response.headers['content-type'], 'application/problem+json')
    t.notMatch(response.body, /shop|JSON/)
  }
})

t.test('sends the policy of the page, unless the route has one', async (t) => {
  const app = await gateway(t, {
    securityHeaders: { preset: 'strict' },
    routes: [
      docs,
      { ...plain, path: '/plain/*' },
      { ...docs, path: '/own/*', securityHeaders: { csp: "default-src 'self'" } }
    ]
  })
  const policyOf = async (url: string) => String((await app.inject(url)).headers['content-security-policy'])
  t.match(await policyOf('/docs/'), /^default-src 'none'; script-src 'self';/)
  t.match(await policyOf('/plain/'), /^default-src 'none'; style-src 'sha256-/)
  t.equal(await policyOf('/own/'), "default-src 'self'")
})

t.test('compresses the document and the page', async (t) => {
  const app = await gateway(t, { compress: true, routes: [docs, order] })
  for (const name of ['openapi.json', 'swagger-ui-bundle.js']) {
    const url = `/docs/${name}`
    const response = await app.inject({ url, headers: { 'accept-encoding': 'gzip' } })
    t.equal(response.headers['content-encoding'], 'gzip')
    const etag = String(response.headers['etag'])
    t.match(etag, /^W\//)
    const again = await app.inject({ url, headers: { 'accept-encoding': 'gzip', 'if-none-match': etag } })
    t.equal(again.statusCode, 304)
  }
})

t.test('the document is what "sallyport openapi" prints, and a reload changes it', async (t) => {
  const config = (...routes: object[]): string => JSON.stringify({ routes: [docs, order, ...routes] })
  const cwd = t.testdir({ 'gateway.json': config() })
  const { url, line, signal } = await running(t, [], { cwd })
  const read = (etag = ''): ReturnType<typeof ask> =>
    ask(`${url}/docs/openapi.json`, { headers: { 'if-none-match': etag } })
  const before = await read()
  t.equal(before.text, (await sallyport(['openapi', '--json'], { cwd })).stdout)
  const etag = before.headers.get('etag') ?? ''
  t.equal((await read(etag)).status, 304)

  writeFileSync(join(cwd, 'gateway.json'), config({ path: '/new', proxy }))
  signal('SIGHUP')
  await line(({ msg }) => /reload/.test(String(msg)))
  const after = await read(etag)
  t.equal(after.status, 200)
  t.match(after.text, '"/new"')
  t.equal(after.text, (await sallyport(['openapi', '--json'], { cwd })).stdout)
})

t.test('check tells how to install the interactive page', async (t) => {
  t.type(findUi(), 'string')
  t.equal(findUi('file:///sallyport/routes/api-docs/index.js'), undefined)
  const plan = await loadConfig({ routes: [docs] }, {})
  const { routeInfos } = await gateway(t, { routes: [docs] })
  const context = { workers: 1, pairs: [] }
  t.same(lint(plan, routeInfos, context).notes, [])
  const catalog = {
    ...plan.catalog,
    targets: plan.catalog.targets.map((each) => ({ ...each, notes: () => [INSTALL_NOTE] }))
  }
  const { notes, warnings } = lint({ ...plan, catalog }, routeInfos, context)
  t.match(notes, [
    { message: /^The route \/docs\/\* shows a page without scripts, .*npm install @fastify\/swagger-ui/ }
  ])
  t.same(warnings, [])
})
