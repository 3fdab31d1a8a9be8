import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Agent, request } from 'undici'
import { Keep } from '../../src/index.ts'
import { ask, gateway, listening, noOpenssl, readableLog, upstream } from '../helpers.ts'
import { cli, freePort, type RealRedis, redis, until, withoutRedis } from '../redis.ts'

const skip = withoutRedis
const respond = { body: 'hello' }

/** Two gateways that share a store: what one counts the other knows. */
async function two(t: Test, config: object): Promise<{ urls: [string, string] }> {
  const [one, other] = [await listening(t, config), await listening(t, config)]
  return { urls: [one.url, other.url] }
}

/** Asks as often as said, over both gateways in turn and many at a time, and counts the answers by status. */
async function flood(t: Test, urls: readonly string[], times: number): Promise<Record<number, number>> {
  const agent = new Agent({ connections: 20 })
  t.teardown(() => agent.close())
  const counts: Record<number, number> = {}
  await Promise.all(
    Array.from({ length: times }, async (_, i) => {
      const { statusCode, body } = await request(`${urls[i % urls.length]}/a`, { dispatcher: agent })
      await body.dump()
      counts[statusCode] = (counts[statusCode] ?? 0) + 1
    })
  )
  return counts
}

t.test('two gateways on one Redis count exactly like one', { skip }, async (t) => {
  const server = await redis(t)
  for (const algorithm of ['fixedWindow', 'slidingWindow', 'tokenBucket'])
    t.test(`counted as ${algorithm}`, async (t) => {
      cli(server.port, 'flushall')
      const { urls } = await two(t, {
        // A reply that is late, because the machine is busy, would count in memory.
        store: { redis: server.url, timeout: '10s' },
        rateLimit: { max: 1000, window: '7d', algorithm },
        routes: [{ path: '/a', respond }]
      })
      t.strictSame(await flood(t, urls, 1500), { 200: 1000, 429: 500 })
    })
  t.test('in one round trip a request, however many limits it has', async (t) => {
    const also = { day: { max: 1000, window: '1d' }, hour: { max: 1000, window: '1h', by: 'header:x-user' } }
    const app = await gateway(t, {
      store: { redis: server.url, timeout: '10s' },
      rateLimit: { max: 1000, window: '1m', also },
      routes: [{ path: '/a', respond }]
    })
    // The scripts are known from the first request on.
    await app.inject('/a')
    const reads = async (ask: () => Promise<unknown>): Promise<number> => {
      const before = readsOf(server)
      await ask()
      return readsOf(server) - before
    }
    const asking = await reads(async () => {})
    t.equal((await reads(() => app.inject('/a'))) - asking, 1)
  })
})

t.test(
  'lets no count in Redis last longer than its window when the clock of Redis is set back',
  { skip },
  async (t) => {
    const server = await redis(t)
    const app = await gateway(t, {
      store: { redis: server.url, timeout: '10s' },
      rateLimit: { max: 1, window: '10s' },
      routes: [{ path: '/a', respond }]
    })
    t.equal((await app.inject('/a')).statusCode, 200)
    const [key = ''] = cli(server.port, 'keys', 'sallyport:limit:*').trim().split('\n')
    // What is left of a key is the difference of two dates.
    cli(server.port, 'pexpire', key, '3600000')
    const refused = await app.inject('/a')
    t.equal(refused.statusCode, 429)
    t.equal(refused.headers['retry-after'], '10')
    t.ok(Number(cli(server.port, 'pttl', key)) <= 10_000)
  }
)

/** Counts how often the server has read from a connection, which is once a round trip. */
const readsOf = ({ port }: RealRedis): number =>
  Number(/total_reads_processed:(\d+)/.exec(cli(port, 'info', 'stats'))?.[1])

t.test(
  'a place in flight is one of all gateways, and free again when its request is over',
  { skip },
  async (t) => {
    const server = await redis(t)
    const answers: (() => void)[] = []
    const arrived: (() => void)[] = []
    const target = await upstream(t, (_request, response) => {
      answers.push(() => response.end('done'))
      arrived.shift()?.()
    })
    const { urls } = await two(t, {
      store: { redis: server.url, timeout: '10s' },
      rateLimit: { maxInFlight: 1 },
      routes: [{ path: '/a', proxy: { upstream: target } }]
    })
    const there = new Promise<void>((resolve) => arrived.push(resolve))
    const first = ask(`${urls[0]}/a`)
    await there
    const refused = await ask(`${urls[1]}/a`)
    t.equal(refused.status, 429)
    t.match(JSON.parse(refused.text), { code: 'SP_ERR_RATE_LIMIT_IN_FLIGHT' })
    t.equal(refused.headers.get('retry-after'), '1')
    answers[0]?.()
    t.equal((await first).status, 200)
    await until(() => cli(server.port, 'keys', 'sallyport:flight:*').trim() === '')
    const next = new Promise<void>((resolve) => arrived.push(resolve))
    const second = ask(`${urls[1]}/a`)
    await next
    answers[1]?.()
    t.equal((await second).status, 200)
  }
)

t.test(
  'applies onStoreFailure while the store is unavailable, and recovers by itself',
  { skip },
  async (t) => {
    const cases = [
      { onStoreFailure: 'allow', away: 200 },
      { onStoreFailure: 'deny', away: 503 }
    ]
    for (const { onStoreFailure, away } of cases)
      for (const how of ['killed', 'hanging'] as const)
        t.test(`${how}, with onStoreFailure ${onStoreFailure}`, async (t) => {
          const server = await redis(t)
          const { log, lines, line } = readableLog()
          const { url } = await listening(
            t,
            {
              store: { redis: server.url, timeout: '2s' },
              rateLimit: { max: 5, window: '7d', onStoreFailure },
              accessLog: false,
              routes: [{ path: '/a', respond }]
            },
            { log }
          )
          t.equal((await ask(`${url}/a`)).status, 200)
          if (how === 'killed') await server.kill()
          else server.hang()
          t.strictSame(await flood(t, [url], 50), { [away]: 50 }, 'nobody waits for a store that is away')
          const one = await ask(`${url}/a`)
          if (away === 503) {
            t.match(JSON.parse(one.text), { code: 'SP_ERR_STORE_UNAVAILABLE' })
            t.equal(one.headers.get('retry-after'), '1')
          }
          t.notMatch(one.text, String(server.port), 'no address is told')
          t.match(JSON.parse((await ask(`${url}/-/ready?verbose`)).text), { status: 'ready', store: 'away' })
          if (how === 'killed') await server.start()
          else server.go()
          await line(({ msg }) => msg === 'store recovered')
          t.match(JSON.parse((await ask(`${url}/-/ready?verbose`)).text), { store: 'up' })
          const { 200: passed } = await flood(t, [url], 20)
          // What it was sent before it hung it has counted when it goes on.
          if (how === 'killed') t.equal(passed, 5, 'it counts again')
          else t.ok((passed ?? 0) < 5, 'it counts again')
          t.equal(lines.filter(({ msg }) => /^store unavailable/.test(String(msg))).length, 1, 'said once')
          t.notMatch(JSON.stringify(lines), String(server.port), 'the log has no address either')
        })
  }
)

t.test('boots without its store and connects later', { skip }, async (t) => {
  const server = await redis(t)
  await server.kill()
  const { log, line } = readableLog()
  const app = await gateway(
    t,
    {
      store: { redis: server.url, timeout: '2s' },
      rateLimit: { max: 1, window: '1h' },
      routes: [{ path: '/a', respond }]
    },
    { log }
  )
  t.equal((await app.inject('/a')).statusCode, 200)
  t.equal((await app.inject('/a')).statusCode, 200)
  await server.start()
  await line(({ msg }) => msg === 'store recovered')
  t.equal((await app.inject('/a')).statusCode, 200)
  t.equal((await app.inject('/a')).statusCode, 429)
})

t.test('keeps the connection over a reload and closes it with the last user', { skip }, async (t) => {
  const server = await redis(t)
  const keep = new Keep()
  const config = {
    store: { redis: server.url, timeout: '10s' },
    rateLimit: { max: 1 },
    routes: [{ path: '/a', respond }]
  }
  const clients = (): number => cli(server.port, 'client', 'list').split('name=sallyport').length - 1
  const first = await gateway(t, config, { keep })
  await first.inject('/a')
  const second = await gateway(t, config, { keep })
  t.equal((await second.inject('/a')).statusCode, 429)
  t.equal(clients(), 1)
  await first.close()
  t.equal((await second.inject('/a')).statusCode, 429)
  await second.close()
  t.equal(keep.size, 0)
  await until(() => clients() === 0)
})

t.test(
  'the store may be a cluster, a group with sentinels, or behind TLS and a password',
  { skip },
  async (t) => {
    const works = async (t: Test, store: object): Promise<void> => {
      const { urls } = await two(t, {
        store: { timeout: '10s', ...store },
        rateLimit: { max: 3, window: '7d' },
        routes: [{ path: '/a', respond }]
      })
      t.strictSame(await flood(t, urls, 10), { 200: 3, 429: 7 })
    }
    t.test('a cluster of three', async (t) => {
      const nodes = [await clusterNode(t), await clusterNode(t), await clusterNode(t)]
      const ports = nodes.map(({ port }) => port)
      const [first = 0, second = 0, third = 0] = ports
      const meet = (): void => {
        for (const { port, bus } of nodes.slice(1))
          cli(first, 'cluster', 'meet', '127.0.0.1', String(port), String(bus))
      }
      meet()
      cli(first, 'cluster', 'addslotsrange', '0', '5460')
      cli(second, 'cluster', 'addslotsrange', '5461', '10922')
      cli(third, 'cluster', 'addslotsrange', '10923', '16383')
      await until(() => {
        if (ports.every((port) => cli(port, 'cluster', 'info').includes('cluster_state:ok'))) return true
        // A node forgets a handshake that takes longer than its timeout, as it may on a busy machine.
        if (!cli(first, 'cluster', 'info').includes('cluster_known_nodes:3')) meet()
        return false
      })
      await works(t, { cluster: [`redis://127.0.0.1:${first}`, `redis://127.0.0.1:${second}`] })
    })
    t.test('a group with a sentinel', async (t) => {
      const server = await redis(t, ['--requirepass', 'hush', '--masterauth', 'hush'])
      const port = await freePort()
      const dir = t.testdir({
        'sentinel.conf': `port ${port}\nsentinel monitor group 127.0.0.1 ${server.port} 1\nsentinel auth-pass group hush\n`
      })
      await sentinel(t, join(dir, 'sentinel.conf'), port)
      await works(t, { sentinel: { name: 'group', nodes: [`redis://127.0.0.1:${port}`], password: 'hush' } })
    })
    t.test('TLS, by a certificate that is checked', { skip: noOpenssl }, async (t) => {
      const dir = t.testdir()
      const make =
        'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout up.key -out up.pem -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost'
      execFileSync('openssl', make.split(' '), { cwd: dir, stdio: 'ignore' })
      const port = await freePort()
      const file = (name: string): string => join(dir, name)
      await redis(t, [
        ...['--tls-port', String(port), '--tls-auth-clients', 'no', '--requirepass', 'hush'],
        ...[
          '--tls-cert-file',
          file('up.pem'),
          '--tls-key-file',
          file('up.key'),
          '--tls-ca-cert-file',
          file('up.pem')
        ]
      ])
      const url = `rediss://:hush@localhost:${port}`
      await works(t, { redis: url, tls: { ca: file('up.pem') } })
      const app = await gateway(t, {
        store: { redis: url, timeout: '200ms' },
        rateLimit: { max: 1, onStoreFailure: 'deny' },
        routes: [{ path: '/a', respond }]
      })
      t.equal((await app.inject('/a')).statusCode, 503, 'a certificate of nobody known is not believed')
    })
  }
)

async function clusterNode(t: Test): Promise<RealRedis & { bus: number }> {
  // By default the bus takes the port plus 10,000, which something else may have.
  const bus = await freePort()
  const options = [
    '--cluster-enabled',
    'yes',
    '--cluster-node-timeout',
    '2000',
    '--cluster-port',
    String(bus)
  ]
  return { ...(await redis(t, options)), bus }
}

async function sentinel(t: Test, file: string, port: number): Promise<void> {
  const child = spawn('redis-server', [file, '--sentinel'], { stdio: 'ignore' })
  t.teardown(async () => {
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  await until(() => knows(port))
}

function knows(port: number): boolean {
  try {
    return cli(port, 'sentinel', 'get-master-addr-by-name', 'group').includes('127.0.0.1')
  } catch {
    // It does not listen yet.
    return false
  }
}

t.test('a stalled process does not mark its store as unavailable', { skip }, async (t) => {
  const server = await redis(t)
  const { log, lines } = readableLog()
  const app = await gateway(
    t,
    {
      store: { redis: server.url, timeout: '1s' },
      rateLimit: { max: 100, window: '1h' },
      routes: [{ path: '/a', respond: { body: 'x' } }]
    },
    { log }
  )
  t.equal((await app.inject('/a')).headers['ratelimit'], '"default";r=99;t=3600')
  for (let i = 0; i < 3; i++) {
    // The answer comes while nothing is done for a while, so that it is not read in time.
    cli(server.port, 'client', 'pause', '600')
    const asked = app.inject('/a')
    for (let turns = 0; turns < 10; turns++) await new Promise(setImmediate)
    for (const until = performance.now() + 1200; performance.now() < until; );
    t.equal((await asked).statusCode, 200)
    t.match((await app.inject('/a')).headers['ratelimit'], /^"default";r=\d+/, 'the next one is counted')
  }
  t.notOk(lines.some(({ msg }) => /store unavailable/.test(String(msg))))
})
