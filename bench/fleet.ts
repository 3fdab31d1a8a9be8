// npm run fleet: many gateways with one Redis, each a process of its own: what they share, what they do not, and what
// clients see when one of them, or the Redis, goes away. It wants redis-server and Linux.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { type Asked, Balancer, type Habits, Instance, load, type Outcome, Store, until } from './instances.ts'
import { cpuOf, end, listening, pinned } from './processes.ts'

const { values: flags } = parseArgs({
  options: {
    /** How many gateways there are. */
    instances: { type: 'string', default: '8' },
    /** How many requests each measurement of cost takes. */
    requests: { type: 'string', default: '20000' },
    /** How often each cost is measured; the least counts. */
    rounds: { type: 'string', default: '3' }
  }
})
const COUNT = Number(flags.instances)
const REQUESTS = Number(flags.requests)
const MAX = 1000
const [UPSTREAM, REDIS, FIRST] = [19_400, 19_401, 19_410]
const AT_A_TIME = 32

if (spawnSync('redis-server', ['--version']).error !== undefined) {
  console.error('The fleet needs redis-server: apt-get install redis-server')
  process.exit(1)
}

const folder = mkdtempSync(join(tmpdir(), 'sallyport-fleet-'))
const config = join(folder, 'gateway.json')
const upstream = pinned(
  1,
  process.execPath,
  [fileURLToPath(new URL('upstream.ts', import.meta.url)), String(UPSTREAM)],
  { stdio: ['ignore', 'ignore', 'inherit'] }
)
const store = new Store(REDIS)
const proxy = { upstream: 'one' }
writeFileSync(
  config,
  JSON.stringify({
    upstreams: { one: { url: `http://127.0.0.1:${UPSTREAM}` } },
    auth: { global: false, session: true, users: { list: [{ name: 'ada', secret: 'lovelace' }] } },
    routes: [
      { path: '/free', proxy },
      { path: '/thousand', proxy, rateLimit: { max: MAX, window: '1h', by: 'route' } },
      { path: '/counted', proxy, rateLimit: { max: 1e9, window: '1h' } },
      { path: '/strict', proxy, rateLimit: { max: 1e9, window: '1h', onStoreFailure: 'deny' } },
      { path: '/me', proxy, auth: true }
    ]
  })
)
const ENV = {
  SESSION_SECRET: 'a secret of the fleet, of 32 characters or more',
  DRAIN_DELAY: '300ms',
  DRAIN_TIMEOUT: '5s'
}
const SHARED = { ...ENV, REDIS_URL: `redis://127.0.0.1:${REDIS}` }
const ALONE = { ...ENV, REDIS_URL: '' }

const LOG_IN: Asked = {
  method: 'POST',
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
  body: 'username=ada&password=lovelace'
}

/** What is found out, and what came of it. */
interface Finding {
  readonly what: string
  readonly found: string
}
const findings: Finding[] = []
const found = (what: string, said: string): void => {
  findings.push({ what, found: said })
  console.log(`${what}: ${said}`)
}

try {
  await Promise.all([listening(UPSTREAM), store.start()])
  for (const [name, env] of [
    [`${COUNT} with one Redis`, SHARED],
    [`${COUNT}, each by itself`, ALONE]
  ] as const)
    await withFleet(COUNT, env, async (fleet) => {
      await limits(name, fleet)
      await sessions(name, fleet)
      if (env !== SHARED) return
      await killed(fleet)
      await drained(fleet)
      await redeployed(fleet)
      await storeHung(fleet)
      await storeKilled(fleet)
    })
  await costs()
} finally {
  await end(upstream)
  await store.kill()
  rmSync(folder, { recursive: true, force: true })
}
console.log(`\n${COUNT} gateways, Node.js ${process.version}, ${cpus().length} cores`)
console.table(Object.fromEntries(findings.map(({ what, found }) => [what, { found }])))

async function withFleet(
  count: number,
  env: Record<string, string>,
  use: (fleet: readonly Instance[]) => Promise<void>,
  core?: number
): Promise<void> {
  const fleet = Array.from({ length: count }, (_, i) => new Instance(FIRST + i, config, env, core))
  try {
    for (const one of fleet) await one.start()
    // Code that has never run is slow, and a Redis that seems slow is taken to be away.
    for (const path of ['/free', '/counted'])
      await load(
        AT_A_TIME,
        (n) => at(fleet, n).ask(path),
        (sent) => sent >= count * 500
      )
    await use(fleet)
  } finally {
    await Promise.all(fleet.map((one) => one.end()))
  }
}

/** Ten times as many requests as a limit lets through, in turn to each. */
async function limits(name: string, fleet: readonly Instance[]): Promise<void> {
  const outcomes = await load(
    AT_A_TIME,
    (n) => at(fleet, n).ask('/thousand'),
    (sent) => sent >= MAX * 10
  )
  const passed = outcomes.filter(({ status }) => status === 200)
  // While Redis is away, "allow" lets requests through that nobody counts; they have no header of the limit.
  const uncounted = passed.filter(({ headers }) => headers['ratelimit'] === undefined).length
  const beside = uncounted > 0 ? `, ${uncounted} of them uncounted, since Redis seemed away` : ''
  found(`a limit of ${MAX}, ${name}`, `${passed.length} of ${outcomes.length} passed${beside}`)
}

/** A session from the first, shown to each; a log-out at another. */
async function sessions(name: string, fleet: readonly Instance[]): Promise<void> {
  const session = await logIn(fleet)
  const known = async (): Promise<number> =>
    (await Promise.all(fleet.map((one) => one.ask('/me', session)))).filter(({ status }) => status === 200)
      .length
  const before = await known()
  const { status } = await at(fleet, 1).ask('/logout', { ...session, method: 'POST' })
  found(
    `a session of one, ${name}`,
    `known to ${before} of ${fleet.length}; after a log-out at another (${status}) to ${await known()}`
  )
}

async function logIn(fleet: readonly Instance[]): Promise<Asked> {
  const { headers } = await at(fleet, 0).ask('/login', LOG_IN)
  const cookie = [headers['set-cookie']].flat()[0]?.split(';')[0] ?? ''
  return { headers: { cookie } }
}

/** One is killed in the middle of a load, behind a balancer that notices by broken connections. */
async function killed(fleet: readonly Instance[]): Promise<void> {
  for (const retries of [false, true]) {
    const [victim] = fleet
    const told = await underLoad(fleet, { asksEvery: 0, retries }, () => victim?.stop('SIGKILL'))
    found(`one of ${fleet.length} is killed, ${retries ? 'a retry at the next' : 'no retry'}`, told)
    await victim?.start()
  }
}

/** One is told to stop, behind a balancer that asks whether it is ready, and behind one that does not. */
async function drained(fleet: readonly Instance[]): Promise<void> {
  for (const asksEvery of [100, 0]) {
    const [one] = fleet
    let code: number | null | undefined
    const told = await underLoad(fleet, { asksEvery, retries: false }, async () => {
      code = await one?.stop('SIGTERM')
    })
    const balancer = asksEvery === 0 ? 'nobody asks /-/ready' : `/-/ready is asked every ${asksEvery} ms`
    found(`one of ${fleet.length} drains, ${balancer}`, `${told}; it ended with ${code}`)
    await one?.start()
  }
}

/** All are replaced under load, one after the other. */
async function redeployed(fleet: readonly Instance[]): Promise<void> {
  const told = await underLoad(fleet, { asksEvery: 100, retries: false }, async () => {
    for (const one of fleet) {
      await one.stop('SIGTERM')
      await one.start()
      await until(async () => (await one.ask('/-/ready')).status === 200)
    }
  })
  found(`all ${fleet.length} are replaced, one by one`, told)
}

/** Keeps a load up while something happens, and a little before and after; tells what clients saw. */
async function underLoad(
  fleet: readonly Instance[],
  habits: Habits,
  happens: () => Promise<unknown> | undefined
): Promise<string> {
  const balancer = new Balancer(fleet, habits)
  let after = Number.POSITIVE_INFINITY
  let began = false
  const outcomes = await load(
    AT_A_TIME,
    (n) => {
      if (n >= 2000 && !began) {
        began = true
        void Promise.resolve(happens()).then(() => {
          after = n + 2000
        })
      }
      if (after !== Number.POSITIVE_INFINITY && after < n) after = n
      return balancer.ask('/free')
    },
    (sent) => sent >= after
  )
  balancer.stop()
  const retried = habits.retries ? `, ${balancer.retried} tried again` : ''
  return `${outcomes.length} requests, ${failures(outcomes)}${retried}`
}

function failures(outcomes: readonly Outcome[]): string {
  const kinds = new Map<string, number>()
  for (const { status, broke } of outcomes) {
    if (status === 200) continue
    const kind = broke ?? String(status)
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  }
  if (kinds.size === 0) return 'no failure'
  return `failures: ${[...kinds].map(([kind, count]) => `${count} ${kind}`).join(', ')}`
}

/** The Redis hangs without closing a connection: the worst way to be away. */
async function storeHung(fleet: readonly Instance[]): Promise<void> {
  const session = await logIn(fleet)
  store.process.kill('SIGSTOP')
  await away('Redis hangs', fleet, session)
  store.process.kill('SIGCONT')
  await back('Redis goes on', fleet, session)
}

async function storeKilled(fleet: readonly Instance[]): Promise<void> {
  const session = await logIn(fleet)
  await store.kill()
  await away('Redis is killed', fleet, session)
  await store.start()
  await back('Redis is started anew, empty', fleet, session)
}

/** What each kind of request gets, at first and then, at every instance. */
async function away(name: string, fleet: readonly Instance[], session: Asked): Promise<void> {
  const first = await Promise.all(fleet.map((one) => one.ask('/counted')))
  found(`${name}: the first of each`, `${statuses(first)}, the slowest after ${slowest(first)} ms`)
  for (const [kind, path, asked] of [
    ['no limit', '/free', {}],
    ['a limit, "allow"', '/counted', {}],
    ['a limit, "deny"', '/strict', {}],
    ['a session', '/me', session],
    ['a log-in', '/login', LOG_IN]
  ] as const) {
    const outcomes = await Promise.all(fleet.map((one) => one.ask(path, asked)))
    found(`${name}: ${kind}`, `${statuses(outcomes)}, the slowest after ${slowest(outcomes)} ms`)
  }
}

async function back(name: string, fleet: readonly Instance[], session: Asked): Promise<void> {
  const took = await until(async () => {
    const outcomes = await Promise.all(fleet.map((one) => one.ask('/strict')))
    return outcomes.every(({ status }) => status === 200)
  })
  const known = await Promise.all(fleet.map((one) => one.ask('/me', session)))
  const limited = await Promise.all(fleet.map((one) => one.ask('/thousand')))
  found(
    name,
    `all count again after ${took.toFixed(0)} ms; the session: ${statuses(known)}; the limit that was used up: ${statuses(limited)}`
  )
}

/** What a limit and a session cost a request in memory and in Redis, at one instance. */
async function costs(): Promise<void> {
  const redis = new Redis(REDIS)
  for (const [name, env] of [
    ['memory', ALONE],
    ['Redis', SHARED]
  ] as const)
    await withFleet(
      1,
      env,
      async (fleet) => {
        const one = at(fleet, 0)
        const session = await logIn(fleet)
        for (const [kind, path, asked] of [
          ['no limit', '/free', {}],
          ['a limit', '/counted', {}],
          ['a session', '/me', session]
        ] as const) {
          const run = (): Promise<Outcome[]> =>
            load(
              AT_A_TIME,
              () => one.ask(path, asked),
              (sent) => sent >= REQUESTS
            )
          await run()
          let least = Number.POSITIVE_INFINITY
          let ofRedis = Number.POSITIVE_INFINITY
          let commands = ''
          for (let round = 0; round < Number(flags.rounds); round++) {
            await redis.config('RESETSTAT')
            const before = [cpuOf(one.process), cpuOf(store.process)] as const
            const outcomes = await run()
            least = Math.min(least, ((cpuOf(one.process) - before[0]) * 1e6) / outcomes.length)
            ofRedis = Math.min(ofRedis, ((cpuOf(store.process) - before[1]) * 1e6) / outcomes.length)
            commands = perRequest(await redis.info('commandstats'), outcomes.length)
            if (!outcomes.every(({ status }) => status === 200)) throw new Error(failures(outcomes))
          }
          const there = commands === '' ? '' : `; ${ofRedis.toFixed(1)} µs of Redis for ${commands} each`
          found(`CPU, ${kind}, in ${name}`, `${least.toFixed(1)} µs a request${there}`)
        }
      },
      0
    )
  redis.disconnect()
}

/** Which commands came often enough to belong to a request. */
function perRequest(stats: string, requests: number): string {
  return [...stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)]
    .map(([, name, calls]) => ({ name, each: Number(calls) / requests }))
    .filter(({ each }) => each > 0.01)
    .map(({ name, each }) => `${each.toFixed(2)} ${name}`)
    .join(', ')
}

function at(fleet: readonly Instance[], n: number): Instance {
  return fleet[n % fleet.length] as Instance
}

function statuses(outcomes: readonly Outcome[]): string {
  const counts = new Map<string, number>()
  for (const { status, broke } of outcomes) {
    const said = broke ?? String(status)
    counts.set(said, (counts.get(said) ?? 0) + 1)
  }
  return [...counts].map(([said, count]) => `${said} from ${count}`).join(', ')
}

function slowest(outcomes: readonly Outcome[]): string {
  return Math.max(...outcomes.map(({ took }) => took)).toFixed(0)
}
