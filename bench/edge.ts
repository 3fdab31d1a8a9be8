// npm run bench:edge: what the engine room costs, each as a ratio within one run: metrics, TLS, a second worker, and
// reloads of 1,000 routes under load. It wants wrk, openssl and Linux.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { NODE_FLAGS } from '../src/process/node-flags.ts'
import { cpuOf, end, listening, memoryOf, onCore, pinned } from './processes.ts'

const { values: flags } = parseArgs({
  options: {
    /** Seconds of load for each measurement. */
    seconds: { type: 'string', default: '4' },
    /** How often each is done, in turn; the least counts. */
    rounds: { type: 'string', default: '4' },
    /** Only the part of this name: metrics, tls, workers or reload. */
    only: { type: 'string', default: '' }
  }
})
const SECONDS = Number(flags.seconds)
const ROUNDS = Number(flags.rounds)
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'sallyport-edge-'))
const UPSTREAM = 19_600
const CONCERNS = {
  rateLimit: { max: 1_000_000_000, window: '1h' },
  cors: { origins: ['https://app.example.com'], credentials: true },
  responseTime: true
}
const ROUTE = { path: '/a/*', proxy: { upstream: `http://127.0.0.1:${UPSTREAM}`, rewrite: '/' } }

interface Load {
  readonly requests: number
  readonly p50: number
  readonly p99: number
}

/** Loads a URL from the other core; times in milliseconds. */
function load(url: string, core: number | undefined = 1): Promise<Load> {
  const args = ['-t1', '-c32', `-d${SECONDS}`, '--latency', url]
  const [command, rest] = core === undefined ? ['wrk', args] : onCore(core, 'wrk', args)
  return new Promise((resolve, reject) => {
    const child = spawn(command as string, rest as string[])
    let out = ''
    child.stdout.on('data', (data: Buffer) => {
      out += data.toString()
    })
    child.on('close', () => {
      const wrong = /Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)/.exec(out)
      if (wrong !== null) reject(new Error(`${url}: ${wrong[0]}`))
      else
        resolve({
          requests: Number(/(\d+) requests in/.exec(out)?.[1] ?? 0),
          p50: milliseconds(/50%\s+([\d.]+\w+)/.exec(out)?.[1]),
          p99: milliseconds(/99%\s+([\d.]+\w+)/.exec(out)?.[1])
        })
    })
  })
}

function milliseconds(text = ''): number {
  const value = Number.parseFloat(text)
  return text.endsWith('us') ? value / 1000 : text.endsWith('ms') ? value : value * 1000
}

interface Started {
  readonly child: ChildProcess
  readonly url: string
  /** Waits until it has reloaded once more; tells when that was by its log, whose lines are written some while later. */
  reloaded(): Promise<number>
}

// Milliseconds between two reloads where they come one at a time.
const PAUSE = 500

// Whoever asks at a pace of his own asks this share of the most that is answered: he has a core together with the upstream, and is late himself at half of it.
const PACE = 1 / 4

// Milliseconds for which whoever asks at a pace of his own gets going: how late he is meanwhile is no fault of who answers.
const GETTING_GOING = 2000

let nextPort = UPSTREAM + 1

/** Starts a gateway on a core, or wherever there is room. */
async function sallyport(
  config: object,
  env: Record<string, string> = {},
  core: number | undefined = 0
): Promise<Started> {
  const port = nextPort++
  const file = join(folder, `${port}.json`)
  writeFileSync(file, JSON.stringify(config))
  const args = [...NODE_FLAGS, here('../bin/sallyport.js'), '-c', file]
  const options = {
    stdio: ['ignore', 'pipe', 'inherit'] as ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, PORT: String(port), ADMIN_PORT: '', ...env }
  }
  const child =
    core === undefined
      ? spawn(process.execPath, args, options)
      : pinned(core, process.execPath, args, options)
  const news = new EventEmitter()
  createInterface({ input: child.stdout as Readable }).on('line', (line) => {
    if (line.includes('"msg":"reloaded"'))
      news.emit('reloaded', Date.parse((JSON.parse(line) as { time: string }).time))
  })
  await listening(port)
  return {
    child,
    url: `${'tls' in config ? 'https' : 'http'}://127.0.0.1:${port}/a/x`,
    reloaded: async () => ((await once(news, 'reloaded')) as [number])[0]
  }
}

interface Steady {
  /** The 99th percentiles of those answers that were due while no reload went on, and while one did, in milliseconds. */
  readonly calm: number
  readonly stirred: number
}

/** Loads a gateway at a pace of its own, which now and then reloads. */
async function steadily({ child, url, reloaded }: Started, perSecond: number): Promise<Steady> {
  const seconds = SECONDS + GETTING_GOING / 1000
  const asking = pinned(1, process.execPath, [here('steady.ts'), url, `${perSecond}`, `${seconds}`], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  let out = ''
  asking.stdout?.on('data', (data: Buffer) => {
    out += data.toString()
  })
  const over = once(asking, 'close').then(() => true)
  const reloads: [from: number, to: number][] = []
  const now = (): number => performance.timeOrigin + performance.now()
  await wait(GETTING_GOING)
  while (!(await Promise.race([over, wait(PAUSE)]))) {
    const from = now()
    child.kill('SIGHUP')
    reloads.push([from, await reloaded()])
  }
  const all = JSON.parse(out) as [due: number, took: number][]
  const from = all.reduce((first, [due]) => Math.min(first, due), Number.POSITIVE_INFINITY) + GETTING_GOING
  const answered = all.filter(([due]) => due >= from)
  const during = (due: number): boolean => reloads.some(([from, to]) => due >= from && due <= to)
  const p99 = (those: typeof answered): number =>
    those.map(([, took]) => took).toSorted((one, other) => one - other)[Math.floor(those.length * 0.99)] ?? 0
  return {
    calm: p99(answered.filter(([due]) => !during(due))),
    stirred: p99(answered.filter(([due]) => during(due)))
  }
}

/** Starts a bare server of Node.js. */
async function bare(kind: 'http' | 'https', cert: string, key: string): Promise<Started> {
  const port = nextPort++
  const child = pinned(0, process.execPath, [here('bare.ts'), kind, String(port), cert, key], {
    stdio: 'ignore'
  })
  await listening(port)
  return { child, url: `${kind}://127.0.0.1:${port}/x`, reloaded: async () => 0 }
}

/** Measures CPU microseconds a request of each, in turn; the least of some rounds. */
async function least(all: Readonly<Record<string, Started>>, core?: number): Promise<Record<string, number>> {
  const found: Record<string, number> = {}
  for (let round = 0; round <= ROUNDS; round++)
    for (const [name, { child, url }] of Object.entries(all)) {
      const before = cpuOf(child)
      const { requests } = await load(url, core)
      const cost = ((cpuOf(child) - before) * 1e6) / requests
      // The first round warms up.
      if (round > 0) found[name] = Math.min(found[name] ?? Number.POSITIVE_INFINITY, cost)
    }
  for (const { child } of Object.values(all)) await end(child)
  return found
}

function middle<T>(all: readonly T[], of: (each: T) => number): number {
  return all.map(of).toSorted((one, other) => one - other)[Math.floor(all.length / 2)] ?? 0
}

const us = (value = 0): string => `${value.toFixed(1)} us`
const ratio = (one = 0, other = 1): string => `${(one / other).toFixed(3)}x`

const parts: Readonly<Record<string, () => Promise<void>>> = {
  async metrics() {
    const config = { ...CONCERNS, routes: [ROUTE] }
    const { off, on } = await least({
      off: await sallyport(config),
      on: await sallyport({ ...config, metrics: true }, { ADMIN_PORT: '0' })
    })
    console.log(`metrics: without ${us(off)}, with ${us(on)}: ${ratio(on, off)}`)
  },
  async tls() {
    const cert = join(folder, 'cert.pem')
    const key = join(folder, 'key.pem')
    execFileSync(
      'openssl',
      `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${key} -out ${cert} -days 2 -subj /CN=localhost`.split(
        ' '
      ),
      { stdio: 'ignore' }
    )
    const config = { ...CONCERNS, routes: [ROUTE] }
    const costs = await least({
      plain: await sallyport(config),
      tls: await sallyport({ ...config, tls: { certificates: [{ cert, key }] } }),
      http: await bare('http', cert, key),
      https: await bare('https', cert, key)
    })
    const { plain = 0, tls = 0, http = 0, https = 0 } = costs
    console.log(
      `tls: the gateway ${us(plain)} and ${us(tls)}, which is ${us(tls - plain)} more; a bare server of Node.js ${us(http)} and ${us(https)}, ${us(https - http)} more`
    )
  },
  async workers() {
    const config = { ...CONCERNS, routes: [{ path: '/a/*', respond: { body: 'a'.repeat(1000) } }] }
    for (const [what, routes] of [
      ['answers of its own', config.routes],
      ['forwarded', [ROUTE]]
    ] as const) {
      const all = {
        one: await sallyport({ ...config, routes }),
        two: await sallyport({ ...config, routes }, { WORKERS: '2' })
      }
      const { one, two } = await least(all)
      console.log(`workers, ${what}: one ${us(one)}, two ${us(two)} of CPU a request: ${ratio(two, one)}`)
    }
  },
  async reload() {
    const routes = Array.from({ length: 1000 }, (_, i) => ({ ...ROUTE, path: i === 0 ? '/a/*' : `/r${i}/*` }))
    const gateway = await sallyport({ ...CONCERNS, accessLog: false, routes })
    const { child, url, reloaded } = gateway
    await load(url)
    const calm: Load[] = []
    const stirred: Load[] = []
    const steady: Steady[] = []
    for (let round = 0; round < ROUNDS; round++) {
      calm.push(await load(url))
      let going = true
      const stirring = (async () => {
        while (going) {
          child.kill('SIGHUP')
          await reloaded()
        }
      })()
      stirred.push(await load(url))
      going = false
      await stirring
      const most = middle(calm, (each) => each.requests) / SECONDS
      steady.push(await steadily(gateway, Math.round(most * PACE)))
    }
    const [p99, p99Stirred] = [calm, stirred].map((loads) => middle(loads, (each) => each.p99))
    const [p50, p50Stirred] = [calm, stirred].map((loads) => middle(loads, (each) => each.p50))
    console.log(
      `reload of 1,000 routes, one after the other: p50 ${p50?.toFixed(2)} and ${p50Stirred?.toFixed(2)} ms, p99 ${p99?.toFixed(2)} and ${p99Stirred?.toFixed(2)} ms: ${ratio(p99Stirred, p99)}`
    )
    const [paced, pacedStirred] = [
      middle(steady, (each) => each.calm),
      middle(steady, (each) => each.stirred)
    ]
    console.log(
      `the same, one at a time under a quarter of that load: p99 ${paced.toFixed(2)} and ${pacedStirred.toFixed(2)} ms: ${ratio(pacedStirred, paced)}`
    )
    const memory: string[] = []
    for (let i = 0; i <= 90; i++) {
      child.kill('SIGHUP')
      await reloaded()
      if (i % 30 === 0) memory.push(`${memoryOf(child).toFixed(0)} MB`)
    }
    console.log(`memory after 0, 30, 60 and 90 reloads more: ${memory.join(', ')}`)
    await end(child)
  }
}

const upstream = pinned(1, process.execPath, [here('upstream.ts'), String(UPSTREAM)], { stdio: 'ignore' })
try {
  await listening(UPSTREAM)
  for (const [name, run] of Object.entries(parts)) if (name.includes(flags.only)) await run()
} finally {
  await end(upstream)
  rmSync(folder, { recursive: true, force: true })
}
