import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { start as startCatalog } from '../examples/services/catalog.ts'
import { ask, gateway, readableLog, SECRET, sallyport, upstream } from './helpers.ts'

const fileOf = (name: string): string => fileURLToPath(new URL(`../${name}`, import.meta.url))

t.test('the configs of the examples are sound', async (t) => {
  const cases = [
    { file: 'gateway.json', env: {} },
    { file: 'examples/tutorial/gateway.json', env: { SESSION_SECRET: SECRET, PASSWORD: 'lovelace' } },
    { file: 'examples/extensions/gateway.json', env: {} }
  ]
  for (const { file, env } of cases)
    t.test(file, async (t) => {
      const { code, stdout, stderr } = await sallyport(['check', '--strict', '-c', fileOf(file)], { env })
      t.equal(code, 0, `${stdout}${stderr}`)
      t.match(stdout, /is valid/)
    })
})

t.test("the demo's catalog is validated, cached and compressed", async (t) => {
  const service = await startCatalog(0)
  t.teardown(() => service.close())
  const { port } = service.address() as AddressInfo
  const env = { SESSION_SECRET: SECRET, CATALOG_URL: `http://127.0.0.1:${port}` }
  const app = await gateway(t, fileOf('gateway.json'), { env })
  const headers = { 'accept-encoding': 'gzip' }
  const cases: [url: string, status: number, cacheStatus: RegExp | undefined][] = [
    ['/catalog/search?q=brass', 200, /fwd=uri-miss; stored/],
    ['/catalog/search?q=brass', 200, /; hit; ttl=\d+/],
    ['/catalog/search?q=b', 400, undefined],
    ['/catalog/items/first', 400, undefined],
    ['/catalog/nothing', 404, undefined]
  ]
  for (const [url, status, cacheStatus] of cases) {
    const response = await app.inject({ url, headers })
    t.equal(response.statusCode, status, url)
    if (cacheStatus === undefined) t.match(response.json(), { code: /^SP_ERR_VALIDATE_/ }, url)
    else t.match(response.headers, { 'cache-status': cacheStatus, vary: 'Accept-Encoding' }, url)
  }
})

t.test('the tutorial protects its proxy, logs in and counts', async (t) => {
  const env = { SESSION_SECRET: SECRET, PASSWORD: 'lovelace', SEARCH_URL: await upstream(t) }
  const app = await gateway(t, fileOf('examples/tutorial/gateway.json'), { env })
  const refused = await app.inject('/search/a')
  t.equal(refused.statusCode, 401)
  t.equal(refused.headers['ratelimit-policy'], '"default";q=100;w=300')
  t.equal(refused.headers['x-frame-options'], 'SAMEORIGIN')
  t.ok(refused.headers['x-response-time'])
  const login = await app.inject({
    method: 'POST',
    url: '/login',
    payload: { username: 'ada', password: 'lovelace' }
  })
  t.equal(login.body, 'Successfully authenticated')
  const [cookie] = login.cookies
  const passed = await app.inject({
    url: '/search/a',
    cookies: { [cookie?.name ?? '']: cookie?.value ?? '' }
  })
  t.equal(passed.statusCode, 200)
  t.match(passed.json(), { url: '/a' })
})

t.test('the concern of the extensions example', async (t) => {
  const config = fileOf('examples/extensions/gateway.json')

  t.test('adds its options to the schema, at the root and on routes', async (t) => {
    const { code, stdout } = await sallyport(['schema', '-c', config])
    t.equal(code, 0)
    const known = { anyOf: [{ type: 'boolean' }, { properties: { known: { type: 'array' } } }] }
    t.match(JSON.parse(stdout), {
      properties: { tenant: known },
      $defs: { route: { properties: { tenant: { description: String } } } }
    })
  })

  t.test('has its wrong options named with their places', async (t) => {
    const module = JSON.stringify(fileOf('examples/extensions/tenant.ts'))
    const cwd = t.testdir({
      'gateway.json': `{
  "extensions": [{ "module": ${module} }],
  "tenant": { "knwon": ["acme"], "header": 3 },
  "routes": []
}`
    })
    const { code, stderr } = await sallyport(['check'], { cwd })
    t.equal(code, 1)
    t.match(stderr, /^gateway\.json:3:15 tenant\.knwon: Unknown option "knwon"; did you mean "known"\?$/m)
    t.match(stderr, /^gateway\.json:3:34 tenant\.header: expected a string.*, got 3/m)
  })

  t.test('refuses an unknown tenant, unless the route overrides it', async (t) => {
    const { log, lines } = readableLog()
    const app = await gateway(t, config, { log })
    const cases = [
      { url: '/whoami', tenant: 'acme', status: 200 },
      { url: '/whoami', tenant: 'initech', status: 404, code: 'SP_ERR_TENANT_UNKNOWN' },
      { url: '/whoami', tenant: '', status: 404, code: 'SP_ERR_TENANT_UNKNOWN' },
      { url: '/status', tenant: 'initech', status: 200 },
      { url: '/trial', tenant: 'acme', status: 200 },
      { url: '/trial', tenant: 'initech', status: 200, wouldRefuse: ['tenant SP_ERR_TENANT_UNKNOWN'] }
    ]
    for (const { url, tenant, status, code, wouldRefuse } of cases)
      t.test(`${url} for "${tenant}"`, async (t) => {
        lines.length = 0
        const answer = await app.inject({ url, headers: { 'x-tenant': tenant } })
        t.equal(answer.statusCode, status)
        if (code !== undefined) t.equal(answer.json<{ code: string }>().code, code)
        const [line] = lines
        t.same(line?.['wouldRefuse'], wouldRefuse)
        t.equal(line?.['refusedBy'], code === undefined ? undefined : 'tenant')
      })
  })
})

t.test('the demo', async (t) => {
  t.test('serves its services, lets ada in, and ends on SIGTERM', async (t) => {
    const demo = start(t, '0')
    const url = await demo.url
    const page = await ask(url, { headers: { accept: 'text/html' } })
    t.equal(page.headers.get('content-type'), 'text/html; charset=utf-8')
    t.same(await statusesOf(page.text, url), {
      '/style.css': 200,
      '/catalog/items': 200,
      '/catalog/search?q=brass': 200,
      '/catalog/items/first': 400,
      '/legacy/orders': 401,
      '/me': 401,
      '/login': 200,
      '/hello/world': 200,
      '/shop/items/2?from=old': 308,
      '/nowhere': 404
    })
    const items = await ask(`${url}/catalog/items`, { headers: { origin: 'https://elsewhere.example' } })
    t.equal(items.status, 200)
    t.equal((JSON.parse(items.text) as unknown[]).length, 4)
    t.equal(items.headers.get('access-control-allow-origin'), '*')
    t.equal((await ask(`${url}/catalog/items/9`)).status, 404)
    t.match((await ask(`${url}/catalog/search?q=brass`)).text, /sextant.*lantern/)
    t.equal((await ask(`${url}/legacy/orders`)).status, 401)
    t.equal((await ask(`${url}/hello/world`)).text, 'Hello, world!\n')
    t.equal((await ask(`${url}/shop/items/2?a=b`)).headers.get('location'), '/catalog/items/2?a=b')
    const login = await ask(`${url}/login`, {
      method: 'POST',
      body: new URLSearchParams({ username: 'ada', password: 'lovelace' })
    })
    t.equal(login.text, 'Successfully authenticated')
    const cookie = login.headers.get('set-cookie')?.split(';', 1)[0] ?? ''
    const orders = await ask(`${url}/legacy/orders`, { headers: { cookie, 'x-user-id': 'root' } })
    t.equal(orders.status, 200)
    t.match(orders.text, /<orders for="ada">/)
    t.equal((await ask(`${url}/me`)).status, 401)
    const me = await ask(`${url}/me`, { headers: { cookie } })
    t.match(JSON.parse(me.text), {
      name: 'ada',
      orders: [{ '@id': 'A-17', item: 'Brass sextant' }, { '@id': 'A-18' }],
      offers: [
        { name: 'Brass sextant', price: 240 },
        { name: 'Storm lantern', price: 38 }
      ]
    })
    t.equal(me.headers.get('sallyport-partial'), null)
    demo.child.kill('SIGTERM')
    t.equal(await demo.ended, 0)
  })

  t.test('prints one line if the port is in use', async (t) => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    t.teardown(() => taken.close())
    const { port } = taken.address() as AddressInfo
    const demo = start(t, String(port))
    t.equal(await demo.ended, 1)
    t.equal(
      demo.stderr(),
      `The port ${port} of 127.0.0.1 is in use; set PORT to another one, or 0 for any free one\n`
    )
  })
})

/** Requests every link of a page without a log-in; returns the statuses. */
async function statusesOf(page: string, url: string): Promise<Record<string, number>> {
  const links = [...page.matchAll(/href="(\/[^"]*)"/g)].map(([, link = '']) => link)
  const answers = links.map(async (link) => [link, (await ask(url + link)).status] as const)
  return Object.fromEntries(await Promise.all(answers))
}

interface Demo {
  readonly child: ReturnType<typeof spawn>
  /** Where the demo says that it is. */
  readonly url: Promise<string>
  readonly ended: Promise<number | null>
  stderr(): string
}

/** Starts the demo in a process of its own, which ends with the test. */
function start(t: Test, port: string): Demo {
  const child = spawn(process.execPath, [fileOf('examples/demo.ts')], {
    env: { ...process.env, PORT: port, HOST: '127.0.0.1' }
  })
  let stdout = ''
  let stderr = ''
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString()
  })
  const url = new Promise<string>((resolve) => {
    child.stdout.on('data', (data: Buffer) => {
      stdout += data.toString()
      const said = /Sallyport is at (http:\/\/[^;]+);/.exec(stdout)?.[1]
      if (said !== undefined) resolve(said)
    })
  })
  const ended = once(child, 'close').then(([code]) => code as number | null)
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return { child, url, ended, stderr: () => stderr }
}
