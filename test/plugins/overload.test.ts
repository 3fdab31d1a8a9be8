import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { buildGateway, Keep, loadConfig } from '../../src/index.ts'
import { ask, gateway, listening, readableLog, running, type Scope, upstream } from '../helpers.ts'

const respond = { body: 'hello' }

/** An upstream that holds what it is asked until it may answer. */
interface Holding {
  readonly url: string
  /** The most requests that were here at a time. */
  readonly most: number
  /** Waits until so many are here. */
  arrived(count: number): Promise<void>
  /** Answers those that are here, and all that come from now on. */
  release(): void
}

async function holding(t: Scope): Promise<Holding> {
  const held = new Set<ServerResponse>()
  const waiting = new Set<() => void>()
  let released = false
  let most = 0
  const url = await upstream(t, (_request, response) => {
    if (released) return void response.end('done')
    held.add(response)
    response.on('close', () => held.delete(response))
    most = Math.max(most, held.size)
    for (const look of waiting) look()
  })
  return {
    url,
    get most() {
      return most
    },
    arrived: (count) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (held.size < count) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
      }),
    release() {
      released = true
      for (const response of held) response.end('done')
    }
  }
}

/** Asks until the answer has a status: what is over is counted once its connection says so, a little after its client has it. */
async function until(url: string, status: number): Promise<Awaited<ReturnType<typeof ask>>> {
  for (;;) {
    const answer = await ask(url)
    if (answer.status === status) return answer
  }
}

t.test('refuses by priority when too many requests are in flight, but never a health check', async (t) => {
  const hold = await holding(t)
  const proxy = { upstream: hold.url }
  const { log, line } = readableLog()
  const { url } = await listening(
    t,
    {
      overload: { maxInFlight: 10 },
      routes: [
        { path: '/background', proxy, overload: { priority: 'background' } },
        { path: '/normal', proxy },
        { path: '/critical', proxy, overload: { priority: 'critical' } },
        { path: '/none', proxy, overload: { maxInFlight: false } },
        { path: '/off', respond, overload: false }
      ]
    },
    { log }
  )
  const answers: ReturnType<typeof ask>[] = []
  let here = 0
  const fill = async (path: string, count: number): Promise<void> => {
    for (let i = 0; i < count; i++) answers.push(ask(`${url}${path}`))
    here += count
    await hold.arrived(here)
  }
  const steps: [path: string, count: number, refused: string[]][] = [
    ['/background', 8, ['/background']],
    ['/normal', 2, ['/background', '/normal', '/nowhere']],
    ['/critical', 10, ['/background', '/normal', '/critical']],
    ['/none', 5, ['/background', '/normal', '/critical', '/critical']]
  ]
  for (const [path, count, refused] of steps)
    await t.test(`${count} more of ${path}`, async (t) => {
      await fill(path, count)
      for (const each of refused) {
        const answer = await ask(`${url}${each}`)
        t.equal(answer.status, 503, each)
        t.match(answer.headers.get('retry-after'), /^[123]$/)
        t.equal(answer.headers.get('x-content-type-options'), 'nosniff', 'it has all that an answer has')
        t.match(JSON.parse(answer.text), {
          status: 503,
          code: 'SP_ERR_OVERLOAD_IN_FLIGHT',
          detail: 'Service overloaded: too many requests in flight, retry later'
        })
      }
      for (const each of ['/-/live', '/-/ready', '/off'])
        t.equal((await ask(`${url}${each}`)).status, 200, each)
    })
  t.match(await line(({ path, status }) => path === '/background' && status === 503), {
    level: 'error',
    refusedBy: 'overload',
    code: 'SP_ERR_OVERLOAD_IN_FLIGHT'
  })
  hold.release()
  for (const { status, text } of await Promise.all(answers)) t.equal(`${status} ${text}`, '200 done')
  await until(`${url}/background`, 200)
})

t.test('serves up to the limit when many more requests arrive at once', async (t) => {
  const hold = await holding(t)
  const { url } = await listening(t, {
    overload: { maxInFlight: 50 },
    routes: [{ path: '/*', proxy: { upstream: hold.url } }]
  })
  let refused = 0
  const enough = Promise.withResolvers<void>()
  const answers = Array.from({ length: 300 }, async () => {
    const { status } = await ask(`${url}/x`)
    if (status === 503 && ++refused === 250) enough.resolve()
    return status
  })
  await Promise.all([hold.arrived(50), enough.promise])
  hold.release()
  const statuses = await Promise.all(answers)
  t.equal(statuses.filter((status) => status === 200).length, 50)
  t.equal(statuses.filter((status) => status === 503).length, 250)
  t.equal(hold.most, 50)
})

t.test('counts a request until its response closes', async (t) => {
  const hold = await holding(t)
  const config = {
    overload: { maxInFlight: 2 },
    routes: [
      { path: '/hold', proxy: { upstream: hold.url } },
      { path: '/here', respond }
    ]
  }
  const keep = new Keep()
  const { url, served } = await listening(t, config, { keep })
  const leave = new AbortController()
  const left = ask(`${url}/hold`, { signal: leave.signal })
  const stays = ask(`${url}/hold`)
  await hold.arrived(2)
  t.equal((await ask(`${url}/here`)).status, 503)
  leave.abort()
  await t.rejects(left, 'the client leaves')
  await until(`${url}/here`, 200)
  const again = ask(`${url}/hold`)
  await hold.arrived(2)
  served.swap(await buildGateway(await loadConfig(config), keep))
  t.equal((await ask(`${url}/here`)).status, 503, 'what began before a reload counts after it')
  hold.release()
  t.strictSame([(await stays).status, (await again).status], [200, 200])
  await until(`${url}/here`, 200)
})

t.test('does not count upgraded connections', async (t) => {
  const server = createServer().on('upgrade', (_request, socket: Socket) => {
    socket.on('error', () => {})
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port, url } = await listening(t, {
    overload: { maxInFlight: 1 },
    routes: [
      { path: '/ws', proxy: { upstream: `http://127.0.0.1:${(server.address() as AddressInfo).port}` } },
      { path: '/here', respond }
    ]
  })
  for (let i = 0; i < 3; i++) {
    const client = connect(port, '127.0.0.1')
    t.teardown(() => client.destroy())
    client.write(
      'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
    )
    const [answer] = (await once(client, 'data')) as [Buffer]
    t.match(answer.toString('latin1'), /^HTTP\/1\.1 101 /)
  }
  await until(`${url}/here`, 200)
})

/** A target that lets nothing else happen for a while, as an extension would bring it. */
const blockTarget = `
export const key = 'block'
export const target = true
export const options = { type: 'object', properties: {}, additionalProperties: false }
export default async function block(app, { routes }) {
  for (const { mounts } of routes)
    for (const mount of mounts)
      app.route({ ...mount, method: [...mount.method], exposeHeadRoute: false, handler: async () => {
        for (const end = performance.now() + 650; performance.now() < end; );
        return 'late'
      } })
}
`

t.test('refuses by priority while the event loop is delayed, and recovers', async (t) => {
  const folder = t.testdir({
    'block.mjs': blockTarget,
    'gateway.json': JSON.stringify({
      extensions: [{ module: './block.mjs' }],
      overload: { eventLoopDelay: '500ms', maxInFlight: false },
      routes: [
        { path: '/block', block: {}, overload: false },
        { path: '/background', respond, overload: { priority: 'background' } },
        { path: '/normal', respond },
        { path: '/critical', respond, overload: { priority: 'critical' } },
        { path: '/none', respond, overload: { eventLoopDelay: false } }
      ]
    })
  })
  const { url } = await running(t, ['-c', join(folder, 'gateway.json')])
  await ask(`${url}/block`)
  t.equal((await ask(`${url}/background`)).status, 200, 'one long pause is no overload')
  let blocks = true
  const blocked = (async () => {
    while (blocks) await ask(`${url}/block`)
  })()
  const refusal = await until(`${url}/normal`, 503)
  t.match(JSON.parse(refusal.text), {
    code: 'SP_ERR_OVERLOAD_EVENT_LOOP',
    detail: 'Service overloaded: event loop delay over the limit, retry later'
  })
  t.match(refusal.headers.get('retry-after'), /^[123]$/)
  const cases = { background: 503, normal: 503, critical: 200, none: 200, '-/live': 200, '-/ready': 200 }
  for (const [path, status] of Object.entries(cases))
    t.equal((await ask(`${url}/${path}`)).status, status, path)
  blocks = false
  await blocked
  for (const path of ['background', 'normal']) t.equal((await until(`${url}/${path}`, 200)).text, 'hello')
})

t.test('reports but does not refuse in report mode', async (t) => {
  const hold = await holding(t)
  const { log, line } = readableLog()
  const { url } = await listening(
    t,
    {
      overload: { maxInFlight: 1, mode: 'report' },
      routes: [
        { path: '/hold', proxy: { upstream: hold.url } },
        { path: '/here', respond }
      ]
    },
    { log }
  )
  const held = [ask(`${url}/hold`)]
  await hold.arrived(1)
  held.push(ask(`${url}/hold`))
  await hold.arrived(2)
  t.equal((await ask(`${url}/here`)).status, 200)
  t.strictSame((await line(({ path }) => path === '/here'))['wouldRefuse'], [
    'overload SP_ERR_OVERLOAD_IN_FLIGHT'
  ])
  hold.release()
  for (const answer of held) t.equal((await answer).status, 200)
})

/** Opens a connection, asks once and keeps it; undefined where it is closed without a word. */
async function kept(t: Scope, port: number): Promise<Socket | undefined> {
  const client = connect(port, '127.0.0.1')
  t.teardown(() => client.destroy())
  client.on('error', () => {})
  client.write('GET /a HTTP/1.1\r\nHost: a\r\n\r\n')
  const [data] = (await Promise.race([once(client, 'data'), once(client, 'close')])) as [unknown]
  return Buffer.isBuffer(data) ? client : undefined
}

t.test('closes connections beyond maxConnections and accepts new ones when others close', async (t) => {
  const { log, lines, line } = readableLog()
  const keep = new Keep()
  const configOf = (maxConnections: number | false) => ({
    overload: { maxConnections },
    routes: [{ path: '/a', respond }]
  })
  const { port, served } = await listening(t, configOf(3), { log, keep })
  const clients = [await kept(t, port), await kept(t, port), await kept(t, port)]
  t.ok(clients.every((client) => client !== undefined))
  for (let i = 0; i < 5; i++) t.equal(await kept(t, port), undefined, 'one more is closed')
  t.match(await line(({ msg }) => String(msg).startsWith('connections refused')), {
    level: 'warn',
    dropped: 1,
    maxConnections: 3
  })
  t.equal(lines.filter(({ dropped }) => dropped !== undefined).length, 1, 'the log is not flooded')
  for (const client of clients) {
    client?.write('GET /a HTTP/1.1\r\nHost: a\r\n\r\n')
    const [data] = (await once(client as Socket, 'data')) as [Buffer]
    t.match(data.toString('latin1'), /^HTTP\/1\.1 200 /, 'those that are here go on')
  }
  clients[0]?.destroy()
  let next: Socket | undefined
  while (next === undefined) next = await kept(t, port)
  t.equal(await kept(t, port), undefined, 'the place is taken')
  const change = async (maxConnections: number | false): Promise<void> =>
    served.swap(await buildGateway(await loadConfig(configOf(maxConnections)), keep, log))
  await change(4)
  t.ok(await kept(t, port), 'a reload changes the number')
  t.equal(await kept(t, port), undefined)
  await change(false)
  for (let i = 0; i < 5; i++) t.ok(await kept(t, port))
})

t.test('is not loaded unless it is configured', async (t) => {
  const quiet = await gateway(t, { routes: [{ path: '/a', respond }] })
  t.equal(quiet.maxConnections, Number.POSITIVE_INFINITY)
  t.notOk(quiet.routeInfos.some(({ gates }) => gates.includes('overload')))
  const one = await gateway(t, {
    routes: [
      { path: '/a', respond, overload: { priority: 'background' } },
      { path: '/b', respond }
    ]
  })
  t.equal(one.maxConnections, Number.POSITIVE_INFINITY)
  t.strictSame(
    one.routeInfos.filter(({ gates }) => gates.includes('overload')).map(({ name }) => name),
    ['/a']
  )
  const cases: [name: string, config: object, message: RegExp][] = [
    [
      'no request at all',
      { overload: { maxInFlight: 0 } },
      /overload\.maxInFlight: .*a number from 1, or false/
    ],
    [
      'what holds before a route is known, on a route',
      { routes: [{ path: '/a', respond, overload: { maxConnections: 5 } }] },
      /maxConnections/
    ],
    ['a priority that is none', { overload: { priority: 'high' } }, /overload\.priority/]
  ]
  for (const [name, config, message] of cases)
    t.test(name, async (t) => {
      await t.rejects(loadConfig({ routes: [], ...config }, {}), { message })
    })
})
