import { once } from 'node:events'
import http from 'node:http'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { FAULTS, type Fault, faultProxy, seeded } from './fault-proxy.ts'
import { closed, listening, running, type Scope, upstream } from './helpers.ts'

const BODY = 'a whole body '.repeat(100)

interface Outcome {
  readonly status: number
  /** Whether the body ended as a whole one does. */
  readonly whole: boolean
  readonly body: string
}

/** Sends one request; tells an aborted response from a complete one. */
function ask(url: string, method: string, id: string, agent: http.Agent): Promise<Outcome> {
  return new Promise((resolve) => {
    const request = http.request(url, { method, agent, headers: { 'x-id': id } }, (response) => {
      let body = ''
      const end = (whole: boolean): void => resolve({ status: response.statusCode ?? 0, whole, body })
      response.on('data', (data: Buffer) => (body += data.toString()))
      response.on('end', () => end(response.complete)).on('error', () => end(false))
    })
    request.on('error', () => resolve({ status: 0, whole: false, body: '' }))
    request.end(method === 'GET' ? undefined : 'x')
  })
}

const METHODS = ['GET', 'POST', 'PUT'] as const
const methodOf = (id: number): string => METHODS[id % METHODS.length] as string

/** Asks many times, so many at a time. */
async function askMany(url: string, count: number, atOnce: number): Promise<Outcome[]> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: atOnce })
  const all = Array.from({ length: count }, (_, i) => ask(url, methodOf(i), String(i), agent))
  const outcomes = await Promise.all(all)
  agent.destroy()
  return outcomes
}

/** Waits until all sockets of a set are closed, in whatever way, and those that are opened meanwhile. */
async function allClosed(sockets: ReadonlySet<Socket>): Promise<void> {
  while (sockets.size > 0) await Promise.all([...sockets].map(closed))
}

/** An upstream that counts how often it executed each request. */
async function counting(t: Scope): Promise<{ url: string; executed: Map<number, number> }> {
  const executed = new Map<number, number>()
  const url = await upstream(t, (request, response) => {
    const id = Number(request.headers['x-id'])
    executed.set(id, (executed.get(id) ?? 0) + 1)
    request.resume()
    // Most connections take one request, and what becomes of it is chosen anew; the others name no time of their own.
    response.setHeader('connection', id % 4 === 0 ? 'keep-alive' : 'close')
    if (id % 2 === 0) response.setHeader('content-length', BODY.length)
    response.write(BODY.slice(0, 700))
    response.end(BODY.slice(700))
  })
  return { url, executed }
}

const mostly = (random: () => number) => (): Fault =>
  random() < 0.7 ? 'pass' : (FAULTS[Math.floor(random() * FAULTS.length)] ?? 'pass')

function judge(t: Test, outcomes: readonly Outcome[], executed: ReadonlyMap<number, number>): void {
  for (const status of new Set(outcomes.map(({ status }) => status)))
    t.ok([200, 502, 503, 504].includes(status), `status ${status}`)
  const good = outcomes.filter(({ status }) => status === 200)
  // A busy machine lets many of them take too long.
  t.ok(good.length > outcomes.length / 20, `${good.length} of ${outcomes.length} have an answer`)
  t.ok(
    good.every(({ whole, body }) => whole === (body === BODY)),
    'no answer that was cut ends like a whole one'
  )
  t.ok(
    outcomes.every(({ status, whole }) => status === 200 || whole),
    'no refusal is cut'
  )
  t.same(
    [...executed].filter(([id, times]) => methodOf(id) === 'POST' && times > 1),
    [],
    'nothing that may not be repeated was executed twice'
  )
}

for (const seed of [1, 2, 3])
  t.test(`bears upstreams that break in every way at random, seed ${seed}`, async (t) => {
    const { url: real, executed } = await counting(t)
    const broken = await faultProxy(t, real, mostly(seeded(seed)))
    const { url, app } = await listening(t, {
      accessLog: false,
      upstreams: {
        up: { url: broken.url, timeouts: { headers: '3s', body: '3s', keepAlive: '50ms' } }
      },
      routes: [{ path: '/*', proxy: { upstream: 'up', retry: { attempts: 3, backoff: '2ms' } } }]
    })
    const over = watchBudget(app.upstream('up').traffic, 0.2)
    judge(t, await askMany(`${url}/x`, 600, 50), executed)
    t.same(over, [], 'tries beyond the first stay within the budget')
    // Idle connections are closed after keepAlive, all others with their request.
    await allClosed(broken.open)
    t.equal(broken.open.size, 0, 'no connection to the upstream is left')
    t.match(app.upstream('up').traffic, { active: 0, activeRetries: 0 }, 'no request is counted for ever')
    t.equal(app.upstream('up').targets[0]?.load.requests, 0)
  })

/** Notes each try that goes beyond the budget. */
function watchBudget(traffic: { active: number; activeRetries: number }, budget: number): string[] {
  const over: string[] = []
  let { activeRetries } = traffic
  Object.defineProperty(traffic, 'activeRetries', {
    enumerable: true,
    get: () => activeRetries,
    set(value: number) {
      if (value > activeRetries && value > Math.max(3, Math.ceil(traffic.active * budget)))
        over.push(`${value} of ${traffic.active}`)
      activeRetries = value
    }
  })
  return over
}

t.test('keeps running as a process, whatever the upstreams do', async (t) => {
  const { url: real, executed } = await counting(t)
  const broken = await faultProxy(t, real, mostly(seeded(4)))
  const folder = t.testdir({
    'gateway.json': JSON.stringify({
      accessLog: { sample: '0%' },
      upstreams: {
        up: { url: broken.url, timeouts: { headers: '3s', body: '3s', keepAlive: '50ms' } },
        real: { url: real }
      },
      routes: [
        { path: '/x', proxy: { upstream: 'up', retry: { attempts: 3, backoff: '2ms' } } },
        { path: '/fine', proxy: { upstream: 'real' } }
      ]
    })
  })
  const gateway = await running(t, ['-c', `${folder}/gateway.json`])
  judge(t, await askMany(`${gateway.url}/x`, 2000, 50), executed)
  await allClosed(broken.open)
  const [fine] = await askMany(`${gateway.url}/fine`, 1, 1)
  t.match(fine, { status: 200, whole: true, body: BODY })
  t.notOk(
    gateway.lines.find(({ msg, level }) => msg === 'request failed' || level === 'fatal'),
    'nothing failed but upstreams'
  )
  gateway.signal('SIGTERM')
  t.equal(await gateway.ended, 0)
})

t.test('hides one broken target of three behind retries and ejection', async (t) => {
  const random = seeded(5)
  const faults: readonly Fault[] = ['refuse', 'silent', 'before', 'garbage', 'endless', 'in head']
  const good = [await counting(t), await counting(t), await counting(t)]
  const broken = await faultProxy(
    t,
    good[0]?.url ?? '',
    () => faults[Math.floor(random() * faults.length)] ?? 'refuse'
  )
  const { url, app } = await listening(t, {
    accessLog: false,
    upstreams: {
      up: {
        targets: [broken.url, good[1]?.url, good[2]?.url],
        // Long enough for a good target on a machine that is busy.
        timeouts: { headers: '5s' },
        eject: { failures: 3 }
      }
    },
    routes: [
      {
        path: '/*',
        proxy: {
          upstream: 'up',
          retry: { on: ['connect', 'reset', 'timeout', '502', '503'], backoff: '2ms', budget: '100%' }
        }
      }
    ]
  })
  const agent = new http.Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  for (let i = 0; app.upstream('up').ready.length === 3; i++)
    t.equal((await ask(`${url}/x`, 'GET', String(i), agent)).status, 200, 'the first failures are hidden')
  const outcomes = await askMany(`${url}/x`, 600, 20)
  const failed = outcomes.filter(({ status, whole }) => status !== 200 || !whole)
  t.ok(failed.length < 6, `${failed.length} of 600 failed`)
})

t.test('leaves no socket behind after thousands of clients that left', async (t) => {
  const open = new Set<Socket>()
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
    await allClosed(open)
  }
  t.equal(open.size, 0, 'ten thousand requests were given up upstream')
  t.match(app.upstream('up').traffic, { active: 0, activeRetries: 0 })
  t.equal(app.upstream('up').targets[0]?.load.requests, 0)
})
