import { once } from 'node:events'
import http from 'node:http'
import { connect } from 'node:net'
import t from 'tap'
import { FAULTS, type Fault, faultProxy, seeded } from './fault-proxy.ts'
import { listening, upstream } from './helpers.ts'

const BODY = 'a whole body '.repeat(100)

interface Outcome {
  readonly status: number
  /** Whether the body ended as a whole one does. */
  readonly whole: boolean
  readonly body: string
}

/** Asks once; an answer that is cut is told from one that ends. */
function ask(url: string, method: string, id: string, agent: http.Agent): Promise<Outcome> {
  return new Promise((resolve) => {
    const request = http.request(url, { method, agent, headers: { 'x-id': id } }, (response) => {
      let body = ''
      const end = (whole: boolean): void => resolve({ status: response.statusCode ?? 0, whole, body })
      response.on('data', (data: Buffer) => (body += data.toString()))
      response.on('end', () => end(response.complete)).on('error', () => end(false))
    })
    request.on('error', () => resolve({ status: 0, whole: false, body: '' }))
    request.end(method === 'POST' ? 'x' : undefined)
  })
}

for (const seed of [1, 2, 3])
  t.test(`bears upstreams that break in every way at random, seed ${seed}`, async (t) => {
    const random = seeded(seed)
    const executed = new Map<string, number>()
    const real = await upstream(t, (request, response) => {
      const id = String(request.headers['x-id'])
      executed.set(id, (executed.get(id) ?? 0) + 1)
      request.resume()
      response.end(BODY)
    })
    const broken = await faultProxy(
      t,
      real,
      (): Fault => (random() < 0.5 ? 'pass' : (FAULTS[Math.floor(random() * FAULTS.length)] ?? 'pass'))
    )
    const { url, app } = await listening(t, {
      accessLog: false,
      upstreams: {
        up: { url: broken.url, timeouts: { headers: '300ms', body: '300ms', keepAlive: '50ms' } }
      },
      routes: [{ path: '/*', proxy: { upstream: 'up', retry: { attempts: 3, backoff: '2ms' } } }]
    })
    const agent = new http.Agent({ keepAlive: true, maxSockets: 50 })
    t.teardown(() => agent.destroy())
    const methods = new Map<string, string>()
    const outcomes = await Promise.all(
      Array.from({ length: 600 }, (_, i) => {
        const method = i % 3 === 0 ? 'POST' : 'GET'
        methods.set(String(i), method)
        return ask(`${url}/x`, method, String(i), agent)
      })
    )
    const statuses = new Set(outcomes.map(({ status }) => status))
    for (const status of statuses) t.ok([200, 502, 503, 504].includes(status), `status ${status}`)
    const good = outcomes.filter(({ status }) => status === 200)
    t.ok(good.length > 300)
    t.ok(
      good.every(({ whole, body }) => whole === (body === BODY)),
      'no answer that was cut ends like a whole one'
    )
    for (const [id, times] of executed)
      if (methods.get(id) === 'POST' && times > 1) t.fail(`POST ${id} was executed ${times} times`)
    t.same({ ...app.upstream('up').traffic }, { active: 0, extra: 0 }, 'no request is counted for ever')
    t.equal(app.upstream('up').targets[0]?.load.requests, 0)
    // Idle connections are closed after keepAlive, all others with their request.
    await Promise.all([...broken.open].map((socket) => once(socket, 'close')))
    t.equal(broken.open.size, 0, 'no connection is left')
  })

t.test('leaves no socket behind after thousands of clients that left', async (t) => {
  const open = new Set<unknown>()
  let reached: () => void = () => {}
  const silent = http.createServer(() => reached())
  silent.on('connection', (socket) => {
    open.add(socket)
    socket.on('error', () => {}).on('close', () => open.delete(socket))
  })
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => silent.close())
  const { port: up } = silent.address() as { port: number }
  const { port, app } = await listening(t, {
    accessLog: false,
    upstreams: { up: { url: `http://127.0.0.1:${up}` } },
    routes: [{ path: '/*', proxy: { upstream: 'up' } }]
  })
  const AT_A_TIME = 100
  for (let round = 0; round < 100; round++) {
    let there = 0
    const all = Promise.withResolvers<void>()
    reached = () => {
      if (++there === AT_A_TIME) all.resolve()
    }
    const clients = Array.from({ length: AT_A_TIME }, () => {
      const socket = connect(port, '127.0.0.1', () => socket.write('GET /x HTTP/1.1\r\nHost: a\r\n\r\n'))
      return socket.on('error', () => {})
    })
    await all.promise
    for (const socket of clients) socket.destroy()
    await Promise.all([...open].map((socket) => once(socket as NodeJS.EventEmitter, 'close')))
  }
  t.equal(open.size, 0, 'ten thousand requests were given up upstream')
  t.same({ ...app.upstream('up').traffic }, { active: 0, extra: 0 })
  t.equal(app.upstream('up').targets[0]?.load.requests, 0)
})
