import { once } from 'node:events'
import { type IncomingMessage, request as send } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { ask, type Running, running, upstream } from '../../helpers.ts'
import { redis, stored, withoutRedis } from '../../redis.ts'

const TAGGED = { 'cache-control': 'max-age=600', 'surrogate-key': 'all-products' }

/** Answers with the number of the request. */
async function counted(t: Test): Promise<{ url: string; count(): number }> {
  let count = 0
  const url = await upstream(t, (_request, response) => {
    count++
    response.writeHead(200, TAGGED).end(`answer ${count}`)
  })
  return { url, count: () => count }
}

/** Starts a gateway in processes of its own, and tells where its admin listener is. */
async function started(
  t: Test,
  config: object,
  env: Record<string, string> = {}
): Promise<Running & { admin: string }> {
  const cwd = t.testdir({ 'gateway.json': JSON.stringify(config) })
  const gateway = await running(t, [], { cwd, env: { ADMIN_PORT: '0', ...env } })
  const { admin } = (await gateway.line((line) => line['admin'] !== undefined)) as { admin: string }
  return { ...gateway, admin }
}

/** Purges, and tells the status and the body. */
async function purge(admin: string, body: unknown, token?: string): Promise<[number, string]> {
  const headers = {
    'content-type': 'application/json',
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` })
  }
  const { status, text } = await ask(`${admin}/purge`, {
    method: 'POST',
    headers,
    body: JSON.stringify(body)
  })
  return [status, text]
}

const bodyOf = async (url: string): Promise<string> =>
  (await ask(url, { headers: { connection: 'close' } })).text

/** Asks for a host, which all gateways have. */
async function shop(url: string): Promise<{ status: number; body: string; isHit: boolean }> {
  const request = send(url, { headers: { host: 'shop.example' }, agent: false }).end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const isHit = String(response.headers['cache-status']).includes('hit')
  return { status: response.statusCode ?? 0, body: await text(response), isHit }
}

const configFor = (url: string, more: object = {}): object => ({
  ...more,
  routes: [{ path: '/:id', cache: { tags: ['product-{params.id}'] }, proxy: { upstream: url } }]
})

t.test('POST /purge', async (t) => {
  const { url } = await counted(t)
  const env = { ADMIN_TOKEN: 'of the admin', ADMIN_PURGE_TOKEN: 'of purges' }
  const { admin, url: origin } = await started(t, configFor(url), env)
  t.equal(await bodyOf(`${origin}/7`), 'answer 1')
  t.equal(await bodyOf(`${origin}/7`), 'answer 1')
  const { host } = new URL(origin)
  let count = 1
  for (const body of [
    { tags: ['product-7'] },
    { tags: 'all-products' },
    { urls: [`${origin}/7`] },
    { urls: ['/7', '/8'] },
    { prefix: '/' },
    { prefix: `//${host}/7` },
    { all: true },
    { all: true, soft: true }
  ]) {
    const names = [body.tags ?? body.urls ?? 'one'].flat().length
    t.strictSame(await purge(admin, body, 'of purges'), [200, `{"purged":${names}}`])
    count++
    t.equal(await bodyOf(`${origin}/7`), `answer ${count}`, JSON.stringify(body))
  }
  await purge(admin, { tags: ['product-8'] }, 'of the admin')
  t.equal(await bodyOf(`${origin}/7`), `answer ${count}`, 'nothing else is purged')
  for (const body of [
    {},
    { all: false },
    { tags: [] },
    { tags: ['a'], all: true },
    { urls: ['x'] },
    { x: 1 },
    [],
    7
  ])
    t.match(await purge(admin, body, 'of purges'), [400, /SP_ERR_ADMIN_PURGE/], JSON.stringify(body))
  t.match(await purge(admin, { all: true }), [401, /SP_ERR_ADMIN_TOKEN/])
  t.match(await purge(admin, { all: true }, 'of others'), [401, /SP_ERR_ADMIN_TOKEN/])
  const plain = await ask(`${admin}/purge`, {
    method: 'POST',
    headers: { authorization: 'Bearer of purges', 'content-type': 'text/plain' },
    body: '{"all":true}'
  })
  t.equal(plain.status, 415, 'what a page of another origin can send')
  const status = await ask(`${admin}/status`, { headers: { authorization: 'Bearer of purges' } })
  t.equal(status.status, 401, 'the token of purges is for purges')
  const metrics = await ask(`${admin}/metrics`, { headers: { authorization: 'Bearer of the admin' } })
  t.match(metrics.text, 'sallyport_cache_requests_total{route="/:id",result="hit"} 2')
  t.match(metrics.text, 'sallyport_cache_entries 1')
})

t.test('a gateway without a cache has nothing to purge', async (t) => {
  const { admin } = await started(t, { routes: [{ path: '/', respond: { body: 'x' } }] })
  t.match(await purge(admin, { all: true }), [404, /SP_ERR_ADMIN_CACHE/])
})

t.test('a purge reaches all workers', async (t) => {
  const { url } = await counted(t)
  const { admin, url: origin } = await started(t, configFor(url), { WORKERS: '2' })
  const bodies = async (): Promise<Set<string>> =>
    new Set(await Promise.all(Array.from({ length: 40 }, () => bodyOf(`${origin}/7`))))
  const before = await bodies()
  t.ok(before.size <= 2, [...before].join())
  t.strictSame(await purge(admin, { all: true }), [200, '{"purged":1}'])
  for (const body of await bodies()) t.notOk(before.has(body), body)
})

t.test('two gateways on one Redis', { skip: withoutRedis }, async (t) => {
  const server = await redis(t)
  const { url, count } = await counted(t)
  const config = configFor(url, { store: { redis: server.url, timeout: '10s' } })
  const one = await started(t, config)
  const two = await started(t, config)
  t.match(await shop(`${one.url}/7`), { body: 'answer 1' })
  await stored(server, 1)
  t.match(await shop(`${two.url}/7`), { body: 'answer 1', isHit: true })
  await purge(one.admin, { tags: ['product-7'] })
  while ((await shop(`${two.url}/7`)).body === 'answer 1') await wait(20)
  t.match(await shop(`${one.url}/7`), { body: /answer [23]/ })
  t.ok(count() <= 3, 'one more where the memory of the last second has what was purged')
  await server.kill()
  for (const { url: each } of [one, two])
    for (let i = 0; i < 3; i++) t.match(await shop(`${each}/other-${i}`), { status: 200 }, 'a miss')
  t.match(await purge(one.admin, { all: true }), [503, /SP_ERR_STORE_UNAVAILABLE/])
  await server.start()
  const isShared = async (): Promise<boolean> => {
    const [mine, other] = [await shop(`${one.url}/back`), await shop(`${two.url}/back`)]
    return mine.isHit && other.isHit && mine.body === other.body
  }
  while (!(await isShared())) await wait(50)
  t.match(await purge(one.admin, { all: true }), [200, '{"purged":1}'])
})
