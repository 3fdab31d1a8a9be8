import { EventEmitter, once } from 'node:events'
import { connect } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { lint } from '../../src/config/lint.ts'
import { Keep, loadConfig } from '../../src/index.ts'
import type { Peers } from '../../src/lib/contracts/peers.ts'
import { gateway, listening, upstream, workersTogether } from '../helpers.ts'
import { cli, redis, withoutRedis } from '../redis.ts'

/** Answers with the status that the path names. */
const named = (t: Test): Promise<string> =>
  upstream(t, (request, response) => void response.writeHead(Number(request.url?.slice(1))).end())

const statuses = async (app: FastifyInstance, paths: readonly number[]): Promise<number[]> => {
  const found: number[] = []
  for (const path of paths) found.push((await app.inject(`/${path}`)).statusCode)
  return found
}

const ALGORITHMS = ['fixedWindow', 'slidingWindow', 'tokenBucket'] as const

t.test('counts responses of some statuses, and refuses every request when they are too many', async (t) => {
  const server = withoutRedis === false ? await redis(t) : undefined
  for (const shared of server === undefined ? [undefined] : [undefined, server])
    for (const algorithm of ALGORITHMS)
      t.test(`${algorithm} ${shared === undefined ? 'in memory' : 'in Redis'}`, async (t) => {
        if (shared !== undefined) cli(shared.port, 'flushall')
        const config = {
          rateLimit: { max: 2, window: '7d', algorithm, count: ['401', 403] },
          routes: [{ path: '/*', proxy: { upstream: await named(t) } }]
        }
        const env = shared === undefined ? {} : { REDIS_URL: shared.url }
        const app = await gateway(t, config, { env })
        t.same(
          await statuses(app, [200, 404, 401, 200, 200, 403, 200, 401]),
          [200, 404, 401, 200, 200, 403, 429, 429]
        )
        const refused = await app.inject('/200')
        t.ok(Number(refused.headers['retry-after']) > 0)
        t.match(refused.headers['ratelimit'], /^"default";r=0;t=/)
        t.match(refused.json(), { code: 'SP_ERR_RATE_LIMIT_EXCEEDED' })
        if (shared === undefined) return
        const other = await gateway(t, config, { env })
        t.same(await statuses(other, [200]), [429], 'in another gateway')
      })
})

t.test('counts responses of all workers together, without a store', async (t) => {
  for (const algorithm of ALGORITHMS)
    t.test(algorithm, async (t) => {
      const bus = new EventEmitter()
      const config = {
        rateLimit: { max: 2, window: '7d', algorithm, count: ['401'] },
        routes: [{ path: '/*', proxy: { upstream: await named(t) } }]
      }
      const [one, other] = (await Promise.all(
        workersTogether(2).map((peers) => {
          const heard: Peers = {
            ...peers,
            async broadcast(topic, message) {
              await peers.broadcast(topic, message)
              bus.emit('counted')
            }
          }
          return gateway(t, config, { keep: new Keep(heard) })
        })
      )) as [FastifyInstance, FastifyInstance]
      for (const worker of [one, other]) {
        t.same(await statuses(worker, [200, 404]), [200, 404])
        const counted = once(bus, 'counted')
        t.same(await statuses(worker, [401]), [401])
        await counted
      }
      for (const worker of [one, other]) t.same(await statuses(worker, [200]), [429])
    })
})

t.test('tells how many responses are left', async (t) => {
  const app = await gateway(t, {
    rateLimit: { max: 3, window: '7d', count: ['4xx'] },
    routes: [{ path: '/*', proxy: { upstream: await named(t) } }]
  })
  const left: (string | undefined)[] = []
  for (const path of ['/200', '/401', '/200', '/404', '/200'])
    left.push(/r=(\d+)/.exec(String((await app.inject(path)).headers['ratelimit']))?.[1])
  t.same(left, ['3', '3', '2', '2', '1'])
})

t.test('counts the 401 of the gateway itself, by address', async (t) => {
  const app = await gateway(t, {
    rateLimit: { max: 2, window: '7d', count: [401] },
    auth: { apiKeys: { list: [{ id: 'a', secret: 'right' }] } },
    routes: [{ path: '/a', respond: { body: 'hello' } }]
  })
  const found: number[] = []
  for (const key of ['right', 'wrong', 'right', 'right', 'wrong', 'right'])
    found.push((await app.inject({ url: '/a', headers: { 'x-api-key': key } })).statusCode)
  t.same(found, [200, 401, 200, 200, 401, 429])
})

t.test('counts at the end of a response, also of one that the client has left', async (t) => {
  const left = Promise.withResolvers<void>()
  const to = await upstream(t, (request, response) => {
    response.writeHead(request.url === '/slow' ? 401 : 200)
    if (request.url !== '/slow') response.end()
    else response.on('close', () => left.resolve()).write('some')
  })
  const { app, port } = await listening(t, {
    rateLimit: { max: 1, window: '7d', count: ['401'] },
    routes: [{ path: '/*', proxy: { upstream: to } }]
  })
  const socket = connect(port, '127.0.0.1')
  socket.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n')
  await once(socket, 'data')
  t.same(await statuses(app, [200]), [200], 'while it goes on')
  socket.destroy()
  await left.promise
  t.same(await statuses(app, [200]), [429])
})

t.test('keeps the count after a reload, and starts a new one with other statuses', async (t) => {
  const keep = new Keep()
  const to = await named(t)
  const counting = (count: number[]): Promise<FastifyInstance> =>
    gateway(
      t,
      { rateLimit: { max: 1, window: '7d', count }, routes: [{ path: '/*', proxy: { upstream: to } }] },
      { keep }
    )
  t.same(await statuses(await counting([401]), [401]), [401])
  t.same(await statuses(await counting([401]), [200]), [429])
  t.same(await statuses(await counting([403]), [200]), [200])
})

t.test('counts by a claim of the caller, else by the caller, else by the address', async (t) => {
  const key = (id: string, claims?: object): object => ({ id, secret: id, ...(claims && { claims }) })
  const app = await gateway(t, {
    rateLimit: { max: 1, window: '7d', by: 'caller.claims.org.tenant' },
    auth: {
      optional: true,
      apiKeys: {
        list: [
          key('ada', { org: { tenant: 'one' } }),
          key('bob', { org: { tenant: 'one' } }),
          key('eve', { org: { tenant: 'two' } }),
          key('joe'),
          key('one'),
          key('sue', { org: { tenant: '' } })
        ]
      }
    },
    routes: [{ path: '/a', respond: { body: 'hello' } }]
  })
  const cases: [id: string, status: number][] = [
    ['ada', 200],
    ['bob', 429],
    ['eve', 200],
    ['joe', 200],
    ['joe', 429],
    ['one', 200],
    ['sue', 200],
    ['', 200],
    ['', 429]
  ]
  for (const [id, status] of cases) {
    const headers = id === '' ? {} : { 'x-api-key': id }
    t.equal((await app.inject({ url: '/a', headers })).statusCode, status, id)
  }
})

t.test('warns of what clients choose, and of headers that only the gateway sets', async (t) => {
  const route = { path: '/a', respond: { body: 'hello' } }
  const limit = { max: 1, window: '1h' }
  const auth = {
    global: false,
    identity: { 'x-user-id': 'id' },
    apiKeys: { list: [{ id: 'a', secret: 'b' }] }
  }
  const cases: [config: object, warning: RegExp | undefined][] = [
    [
      { rateLimit: { ...limit, by: 'header:x-tenant' } },
      /counts by "header:x-tenant", which clients can choose/
    ],
    [{ rateLimit: { ...limit, by: 'cookie:sid' } }, /counts by "cookie:sid", which clients can choose/],
    [{ rateLimit: { ...limit, by: 'query:user' } }, /counts by "query:user", which clients can choose/],
    [{ rateLimit: { ...limit, also: { tenant: { ...limit, by: 'header:x-tenant' } } } }, undefined],
    [
      {
        auth,
        rateLimit: { ...limit, also: { u: { ...limit, by: 'header:X-User-Id' } } },
        routes: [{ ...route, auth: true }]
      },
      /counts by "header:X-User-Id", which only the gateway sets/
    ]
  ]
  for (const [config, warning] of cases) {
    const plan = await loadConfig({ routes: [route], ...config }, {})
    const { warnings } = lint(plan, [], { workers: 1, pairs: [] })
    const texts = warnings.map(({ message }) => message).filter((text) => text.includes('counts by'))
    if (warning === undefined) t.same(texts, [])
    else t.match(texts.join(), warning)
  }
})
