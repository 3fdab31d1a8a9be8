import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { ask, BIN, clean, type Running, running, SECRET, sallyport, statusOf, upstream } from '../helpers.ts'
import { provider, Visitor } from '../provider.ts'

// Each test starts three processes or more.
t.setTimeout(600_000)

type Line = Record<string, unknown>
const listens = (worker: number) => (line: Line) => line['worker'] === worker && line['port'] !== undefined

/** Runs a gateway with two workers and a config file that the test may change. */
async function workers(
  t: Test,
  config: object,
  env: Record<string, string> = {}
): Promise<Running & { admin: string; write(text: string): void }> {
  const cwd = t.testdir({ 'gateway.json': JSON.stringify(config) })
  const gateway = await running(t, [], { cwd, env: { WORKERS: '2', ADMIN_PORT: '0', ...env } })
  const { admin } = (await gateway.line(({ admin }) => admin !== undefined)) as { admin: string }
  return { ...gateway, admin, write: (text) => writeFileSync(join(cwd, 'gateway.json'), text) }
}

interface Member {
  readonly worker: number
  readonly pid: number
  readonly generation: number
  readonly inFlight: number
}

async function members(admin: string): Promise<Member[]> {
  const { workers } = JSON.parse((await ask(`${admin}/status`)).text) as { workers: Member[] }
  return workers.toSorted((one, other) => one.worker - other.worker)
}

/** Starts an upstream that responds when the test says so. */
async function patient(
  t: Test
): Promise<{ url: string; asked(count: number): Promise<void>; answer(): void }> {
  const waiting: (() => void)[] = []
  const listeners = new Set<() => void>()
  const url = await upstream(t, (request, response) => {
    if (request.url !== '/slow') return void response.end('at once')
    waiting.push(() => response.end('at last'))
    for (const look of listeners) look()
  })
  return {
    url,
    asked: (count) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (waiting.length < count) return
          listeners.delete(look)
          resolve()
        }
        listeners.add(look)
        look()
      }),
    answer: () => {
      for (const end of waiting.splice(0)) end()
    }
  }
}

/** Sends a request on a new connection, and reads until it closes. */
function slowly(port: number): { socket: Socket; answer: Promise<string> } {
  const socket = connect(port, '127.0.0.1')
  socket.write('GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
  let seen = ''
  socket.on('data', (data) => {
    seen += data.toString()
  })
  socket.on('error', () => {})
  return { socket, answer: new Promise((resolve) => socket.on('close', () => resolve(seen))) }
}

t.test('several processes serve one port', async (t) => {
  const service = await upstream(t, (_request, response) => response.end('ok'))
  const gateway = await workers(t, { metrics: true, routes: [{ path: '/*', proxy: { upstream: service } }] })
  for (let i = 0; i < 20; i++)
    t.equal((await ask(`${gateway.url}/${i}`, { headers: { connection: 'close' } })).status, 200)
  const served = (): Line[] => gateway.lines.filter(({ method }) => method === 'GET')
  // Lines of two workers may be out of order.
  await gateway.line(() => served().length === 20)
  t.strictSame(
    new Set(served().map(({ worker }) => worker)),
    new Set([1, 2]),
    'each line tells its worker, and both have some'
  )
  const [one, two] = await members(gateway.admin)
  t.match([one, two], [{ worker: 1 }, { worker: 2 }])
  t.not(one?.pid, two?.pid)
  const { text } = await ask(`${gateway.admin}/metrics`)
  t.match(
    text,
    /^sallyport_requests_total\{route="\/\*",method="GET",status="2xx"\} 20$/m,
    'their counts add up'
  )
  t.match(text, /^sallyport_workers 2$/m)
  t.match(JSON.parse((await ask(`${gateway.admin}/config`)).text), { routes: [{ path: ['/*'] }] })
  gateway.signal('SIGTERM')
  t.equal(await gateway.ended, 0)
  t.equal(gateway.lines.filter(({ msg }) => msg === 'stopped').length, 3)
})

t.test('restarts a killed worker, which loses only its own requests', async (t) => {
  const service = await patient(t)
  const gateway = await workers(t, { routes: [{ path: '/*', proxy: { upstream: service.url } }] })
  const requests = [slowly(gateway.port), slowly(gateway.port), slowly(gateway.port), slowly(gateway.port)]
  await service.asked(4)
  const [one, two] = await members(gateway.admin)
  t.equal((one?.inFlight ?? 0) + (two?.inFlight ?? 0), 4)
  process.kill(one?.pid ?? 0, 'SIGKILL')
  await gateway.line(({ msg, signal }) => signal === 'SIGKILL' && /^worker exited/.test(String(msg)))
  t.equal((await ask(gateway.url)).text, 'at once', 'the other one serves meanwhile')
  service.answer()
  const answers = await Promise.all(requests.map(({ answer }) => answer))
  t.equal(answers.filter((answer) => statusOf(answer) === 200).length, two?.inFlight)
  const again = (lines: Line[]): Line[] => lines.filter(listens(1))
  await gateway.line(() => again(gateway.lines).length === 2)
  for (let after = await members(gateway.admin); after.length < 2; after = await members(gateway.admin));
  t.not((await members(gateway.admin))[0]?.pid, one?.pid)
})

t.test('keeps all counts when a worker exits, and does not wait for one that hangs', async (t) => {
  const service = await upstream(t, (_request, response) => response.end('ok'))
  const gateway = await workers(t, { metrics: true, routes: [{ path: '/*', proxy: { upstream: service } }] })
  const counted = async (): Promise<{ requests: number; durations: number; seconds: number }> => {
    const { text } = await ask(`${gateway.admin}/metrics`)
    const of = (name: string): number =>
      Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, 'm').exec(text)?.[1])
    return {
      requests: of('sallyport_requests_total'),
      durations: of('sallyport_request_duration_seconds_count'),
      seconds: Number(/^process_cpu_seconds_total (\S+)$/m.exec(text)?.[1])
    }
  }
  const askTen = async (): Promise<void> => {
    for (let i = 0; i < 10; i++) await ask(gateway.url, { headers: { connection: 'close' } })
  }
  await askTen()
  let before = await counted()
  t.match(before, { requests: 10, durations: 10 })
  for (let death = 1; death <= 2; death++) {
    const [one] = await members(gateway.admin)
    process.kill(one?.pid ?? 0, 'SIGKILL')
    await gateway.line(
      () => gateway.lines.filter(({ msg }) => /^worker exited/.test(String(msg))).length === death
    )
    const without = await counted()
    t.match(without, { requests: before.requests, durations: before.durations })
    await gateway.line(() => gateway.lines.filter(listens(1)).length === death + 1)
    while ((await members(gateway.admin)).length < 2);
    await askTen()
    const after = await counted()
    t.match(after, { requests: before.requests + 10, durations: before.durations + 10 })
    t.ok(after.seconds >= before.seconds)
    before = after
  }
  const [one] = await members(gateway.admin)
  t.teardown(() => process.kill(one?.pid ?? 0, 'SIGCONT'))
  process.kill(one?.pid ?? 0, 'SIGSTOP')
  t.match(await counted(), { requests: before.requests }, 'its last known figures count')
  t.match(await gateway.line(({ msg }) => /^worker not responding/.test(String(msg))), { level: 'warn' })
  t.equal((await members(gateway.admin)).length, 2)
  t.equal((await ask(`${gateway.admin}/config`)).status, 200)
  process.kill(one?.pid ?? 0, 'SIGCONT')
})

t.test('restarts a crashing worker with exponential backoff', async (t) => {
  const gateway = await workers(t, { routes: [] })
  for (let i = 1; i <= 4; i++) {
    const [one] = await members(gateway.admin)
    process.kill(one?.pid ?? 0, 'SIGKILL')
    await gateway.line(() => gateway.lines.filter(listens(1)).length === i + 1)
    while ((await members(gateway.admin)).length < 2);
  }
  const waits = gateway.lines
    .filter(({ msg }) => /^worker exited/.test(String(msg)))
    .map(({ wait: ms }) => ms)
  t.strictSame(waits, [0, 100, 200, 400])
})

t.test('reloads the workers one by one on SIGHUP, and stops at the first that refuses', async (t) => {
  const config = (body: string): string => JSON.stringify({ routes: [{ path: '/', respond: { body } }] })
  const gateway = await workers(t, JSON.parse(config('one')))
  gateway.write(config('two'))
  gateway.signal('SIGHUP')
  await gateway.line(({ msg, worker }) => msg === 'reloaded' && worker === 2)
  t.match(await members(gateway.admin), [{ generation: 2 }, { generation: 2 }])
  for (let i = 0; i < 4; i++)
    t.equal((await ask(gateway.url, { headers: { connection: 'close' } })).text, 'two')
  gateway.write('{ "routes": 7 }')
  gateway.signal('SIGHUP')
  const refused = await gateway.line(({ msg }) => /refused/.test(String(msg)))
  t.equal(refused['worker'], 1)
  gateway.write(config('three'))
  gateway.signal('SIGHUP')
  await gateway.line(({ msg, worker, why }) => msg === 'reloaded' && worker === 2 && why === 'SIGHUP')
  await gateway.line(
    () => gateway.lines.filter(({ msg, worker }) => msg === 'reloaded' && worker === 2).length === 2
  )
  t.equal(
    gateway.lines.filter(({ msg }) => /refused/.test(String(msg))).length,
    1,
    'the second was not asked'
  )
  t.equal((await ask(gateway.url)).text, 'three')
})

t.test('reloads all workers with --watch', async (t) => {
  const cwd = t.testdir({ 'gateway.json': '{ "routes": [{ "path": "/", "respond": { "body": "one" } }] }' })
  const gateway = await running(t, ['--watch'], { cwd, env: { WORKERS: '2' } })
  await gateway.line(({ workers: count }) => count === 2)
  writeFileSync(join(cwd, 'gateway.json'), '{ "routes": [{ "path": "/", "respond": { "body": "two" } }] }')
  await gateway.line(({ msg, worker }) => msg === 'reloaded' && worker === 2)
  t.equal((await ask(gateway.url)).text, 'two')
})

t.test('drains all workers on SIGTERM', async (t) => {
  const service = await patient(t)
  const gateway = await workers(t, { routes: [{ path: '/*', proxy: { upstream: service.url } }] })
  const requests = Array.from({ length: 6 }, () => slowly(gateway.port))
  await service.asked(6)
  gateway.signal('SIGTERM')
  await gateway.line(({ msg, worker }) => msg === 'draining' && worker === 1)
  await gateway.line(({ msg, worker }) => msg === 'draining' && worker === 2)
  service.answer()
  for (const { answer } of requests) t.equal(statusOf(await answer), 200)
  t.equal(await gateway.ended, 0)
})

t.test('kills all workers on a second SIGTERM', async (t) => {
  const service = await patient(t)
  const gateway = await workers(t, { routes: [{ path: '/*', proxy: { upstream: service.url } }] })
  const { answer } = slowly(gateway.port)
  await service.asked(1)
  gateway.signal('SIGTERM')
  await gateway.line(({ msg }) => msg === 'draining')
  const again = setInterval(() => gateway.signal('SIGTERM'), 100)
  t.equal(await gateway.ended, 1)
  clearInterval(again)
  t.equal(await answer, '')
})

t.test('answers requests in flight when the primary is killed, and leaves no process behind', async (t) => {
  const service = await patient(t)
  const gateway = await workers(t, { routes: [{ path: '/*', proxy: { upstream: service.url } }] })
  const pids = (await members(gateway.admin)).map(({ pid }) => pid)
  const requests = [slowly(gateway.port), slowly(gateway.port)]
  await service.asked(2)
  gateway.signal('SIGKILL')
  await gateway.ended
  service.answer()
  for (const { answer } of requests) t.equal(statusOf(await answer), 200)
  const lives = (pid: number): boolean => {
    try {
      return process.kill(pid, 0)
    } catch {
      return false
    }
  }
  while (pids.some(lives)) await wait(20)
  t.pass('both workers have ended')
})

t.test("serves as a worker of another program's cluster, such as PM2", async (t) => {
  const ada = { name: 'ada', secret: 'a password of ada' }
  const service = await patient(t)
  const cwd = t.testdir({
    'gateway.json': JSON.stringify({
      session: {},
      auth: { global: false, session: true, users: { list: [ada] } },
      rateLimit: { max: 1000, window: '1h' },
      routes: [{ path: '/*', proxy: { upstream: service.url } }]
    }),
    'primary.js': `
      import cluster from 'node:cluster'
      cluster.setupPrimary({ exec: ${JSON.stringify(BIN)}, args: ['run'] })
      cluster.on('listening', (_worker, { port }) => console.log(JSON.stringify({ port })))
      cluster.on('exit', (_worker, code) => console.log(JSON.stringify({ code })))
      const workers = [cluster.fork(), cluster.fork()]
      process.on('SIGUSR2', () => { for (const worker of workers) worker.process.kill('SIGINT') })`
  })
  const env = { ...clean, PORT: '0', ADMIN_PORT: '', SESSION_SECRET: SECRET, WORKERS: '2' }
  const primary = spawn(process.execPath, [join(cwd, 'primary.js')], { cwd, env })
  t.teardown(() => primary.kill('SIGKILL'))
  const lines: Line[] = []
  const looks = new Set<() => void>()
  let rest = ''
  primary.stdout.on('data', (data: Buffer) => {
    const parts = (rest + data.toString()).split('\n')
    rest = parts.pop() ?? ''
    lines.push(...parts.map((part) => JSON.parse(part) as Line))
    for (const look of looks) look()
  })
  const count = (test: (line: Line) => boolean, wanted: number): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => void (lines.filter(test).length >= wanted && resolve())
      looks.add(look)
      look()
    })
  await count(({ msg }) => String(msg).startsWith('listening'), 2)
  await count(({ msg }) => String(msg).startsWith('WORKERS is ignored'), 2)
  const { port } = lines.find((line) => line['port'] !== undefined) as { port: number }
  const { status } = await ask(`http://127.0.0.1:${port}/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ username: 'ada', password: ada.secret })
  })
  t.equal(status, 200, 'a log-in is accepted')
  const { answer } = slowly(port)
  await service.asked(1)
  primary.kill('SIGUSR2')
  await count(({ msg }) => msg === 'draining', 2)
  service.answer()
  t.equal(statusOf(await answer), 200)
  await count(({ code }) => code === 0, 2)
  t.pass('both end with 0')
})

t.test("exits with one message when the first worker can't start", async (t) => {
  t.test('an invalid config', async (t) => {
    const cwd = t.testdir({ 'gateway.json': '{ "routes": [], "rateLimt": {} }' })
    const { code, stdout, stderr } = await sallyport([], { cwd, env: { WORKERS: '2', ADMIN_PORT: '' } })
    t.equal(code, 1)
    t.equal(stdout, '')
    t.equal(stderr.match(/did you mean/g)?.length, 1)
  })

  t.test('a port that is in use', async (t) => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    t.teardown(() => other.close())
    const { port } = other.address() as AddressInfo
    const cwd = t.testdir({ 'gateway.json': '{ "routes": [] }' })
    const { code, stderr } = await sallyport([], {
      cwd,
      env: { WORKERS: '2', ADMIN_PORT: '', PORT: String(port) }
    })
    t.equal(code, 1)
    t.match(stderr, `The port ${port} of 127.0.0.1 is in use`)
  })

  t.test('an invalid number of workers', async (t) => {
    for (const said of ['0', '-1', '1.5', 'many', '1025']) {
      const { code, stderr } = await sallyport([], { env: { WORKERS: said } })
      t.equal(code, 1)
      t.match(stderr, `WORKERS: expected a number from 1 to 1024 or auto, got "${said}"`)
    }
  })
})

t.test('shares counts and sessions between workers without a store', async (t) => {
  const ada = { name: 'ada', secret: 'a password of ada' }
  const config = {
    session: {},
    auth: { session: true, users: { list: [ada] } },
    routes: [
      { path: '/mine', respond: { body: '{caller.name}' } },
      ...(['fixedWindow', 'slidingWindow', 'tokenBucket'] as const).map((algorithm) => ({
        path: `/${algorithm}`,
        auth: false,
        rateLimit: { max: 20, window: '1h', algorithm },
        respond: { body: 'x' }
      }))
    ]
  }
  const gateway = await workers(t, config)
  const fresh = { connection: 'close' }
  const askFresh = (path: string, headers: Record<string, string> = {}) =>
    ask(gateway.url + path, { headers: { ...fresh, ...headers } })

  t.test('all workers have a session before its cookie is sent, until it ends', async (t) => {
    const answer = await ask(`${gateway.url}/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ username: 'ada', password: ada.secret })
    })
    t.equal(answer.status, 200)
    const cookie = (answer.headers.get('set-cookie') ?? '').split(';')[0] ?? ''
    for (let i = 0; i < 6; i++) t.equal((await askFresh('/mine', { cookie })).text, 'ada')
    const [one] = await members(gateway.admin)
    process.kill(one?.pid ?? 0, 'SIGKILL')
    await gateway.line(() => gateway.lines.filter(listens(1)).length === 2)
    while ((await members(gateway.admin)).length < 2);
    for (let i = 0; i < 6; i++)
      t.equal((await askFresh('/mine', { cookie })).text, 'ada', 'also a worker that has just started')
    t.equal((await ask(`${gateway.url}/logout`, { method: 'POST', headers: { cookie } })).status, 200)
    for (let i = 0; i < 6; i++) t.equal((await askFresh('/mine', { cookie })).status, 401)
  })

  for (const algorithm of ['fixedWindow', 'slidingWindow', 'tokenBucket'])
    t.test(`one limit for all workers: ${algorithm}`, async (t) => {
      let passed = 0
      // Slower than the workers synchronize their counts, which takes longer on a busy machine.
      for (let i = 0; i < 10; i++) {
        const answers = await Promise.all(Array.from({ length: 5 }, () => askFresh(`/${algorithm}`)))
        passed += answers.filter(({ status }) => status === 200).length
        await wait(250)
      }
      t.ok(passed >= 20 && passed < 40, `${passed} passed of 50; each for itself, they would let 40 through`)
    })

  t.test('counts failed log-ins across workers', async (t) => {
    let refused = 0
    for (let i = 0; i < 14; i++) {
      const { status } = await ask(`${gateway.url}/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...fresh },
        body: JSON.stringify({ username: 'ada', password: 'guessed' })
      })
      if (status === 429) refused++
    }
    t.equal(refused, 4, 'ten may fail')
  })
})

t.test('shares one session between workers without a store', async (t) => {
  const real = await provider(t, {
    configuration: {
      rotateRefreshToken: true,
      ttl: { AccessToken: 1, RefreshToken: 600, Session: 600, Grant: 600 }
    }
  })
  const service = await upstream(t, (request, response) => {
    if (request.url !== '/app/events') response.end('ok')
    else response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: x\n\n')
  })
  const gateway = await workers(t, {
    auth: {
      session: true,
      oidc: {
        issuer: real.issuer,
        clientId: 'gateway',
        clientSecret: 'a secret of the client',
        scopes: ['openid', 'offline_access'],
        params: { prompt: 'consent' }
      },
      require: { claims: { sub: '*' } }
    },
    routes: [{ path: '/app/*', proxy: { upstream: service } }]
  })
  real.know(gateway.url)
  const ada = new Visitor()
  await ada.logInAs('ada', `${gateway.url}/app/`)
  const headers = { cookie: ada.cookiesFor(gateway.url), connection: 'close' }

  t.test('refreshes its tokens once', async (t) => {
    const renewals = (): number => real.asked.filter((each) => each === 'POST /token').length - 1
    while (renewals() < 3) {
      const burst = Array.from({ length: 12 }, () => ask(`${gateway.url}/app/`, { headers }))
      for (const { status } of await Promise.all(burst)) t.equal(status, 200)
    }
    t.notOk(gateway.lines.some(({ msg }) => /token refresh failed/.test(String(msg))))
  })

  t.test('ends streams on both workers with the session', async (t) => {
    const streams = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const response = await fetch(`${gateway.url}/app/events`, { headers })
        const reader = (response.body as ReadableStream<Uint8Array>).getReader()
        await reader.read()
        return {
          ended: reader.read().then(
            ({ done }) => done,
            () => true
          )
        }
      })
    )
    const out = await ask(`${gateway.url}/logout`, { method: 'POST', headers })
    t.equal(out.status, 200)
    for (const { ended } of streams) t.ok(await ended)
  })
})

t.test('check warns about several workers with a rate limit and without a store', async (t) => {
  const limited = { rateLimit: { max: 1, window: '1s' }, routes: [{ path: '/', respond: { body: 'x' } }] }
  const cases = [
    { name: 'two workers with a rate limit', config: limited, env: { WORKERS: '2' }, code: 1 },
    { name: 'one worker', config: limited, env: {}, code: 0 },
    { name: 'two workers without a rate limit', config: { routes: [] }, env: { WORKERS: '2' }, code: 0 },
    {
      name: 'two workers with a store',
      config: { ...limited, store: { redis: 'redis://127.0.0.1:1' } },
      env: { WORKERS: '2' },
      code: 0
    }
  ]
  for (const { name, config, env, code } of cases) {
    const cwd = t.testdir({ 'gateway.json': JSON.stringify(config) })
    const ended = await sallyport(['check', '--strict'], { cwd, env: env as Record<string, string> })
    t.equal(ended.code, code, name)
    if (code === 1) t.match(ended.stdout, 'share "rateLimit" by messages')
  }
})

t.test('stops workers that have not started yet', async (t) => {
  const cwd = t.testdir({
    'slow.js': `process.stderr.write('loading')
      await new Promise((resolve) => setTimeout(resolve, 60_000))`,
    'gateway.json': '{ "extensions": [{ "module": "./slow.js" }], "routes": [] }'
  })
  for (const count of ['1', '2']) {
    const child = spawn(process.execPath, [BIN], { cwd, env: { ...clean, WORKERS: count, ADMIN_PORT: '' } })
    t.teardown(() => child.kill('SIGKILL'))
    const ended = once(child, 'close')
    await once(child.stderr, 'data')
    child.kill('SIGHUP')
    child.kill('SIGTERM')
    t.strictSame(await ended, [0, null], `${count} process(es)`)
  }
})
