// npm run bench: what a request costs, in CPU microseconds of the process that serves it, side by side in one run.
// It wants wrk and Linux; numbers of different runs or machines can't be compared, the ratios within one can.
import { type ChildProcess, execFileSync, type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { others } from './others.ts'

const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 5)
const CONNECTIONS = 32
const UPSTREAM = 19_300
const PINS = spawnSync('taskset', ['-V']).error === undefined
const TICKS = Number(execFileSync('getconf', ['CLK_TCK']).toString())
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))

interface Contender {
  readonly name: string
  readonly port: number
  readonly path: string
  readonly args: readonly string[]
  /** What is started; Node.js by default. */
  readonly command?: string
  readonly env?: Readonly<Record<string, string>>
}

interface Result {
  readonly name: string
  readonly perSecond: number
  readonly cpuPerRequest: number
  readonly p99: string
  readonly megabytes: number
}

const upstreams = { up: { url: `http://127.0.0.1:${UPSTREAM}` } }
const forward = { path: '/a/*', proxy: { upstream: 'up', rewrite: '/' } }
const concerns = {
  rateLimit: { max: 1_000_000_000, window: '1h' },
  cors: { origins: ['https://app.example.com'], credentials: true },
  responseTime: true
}
const many = (count: number): object[] =>
  Array.from({ length: count }, (_, i) => ({ ...forward, path: `/r${i}/*` }))

function sallyport(name: string, port: number, config: object, path = '/a/x'): Contender {
  const file = join(folder, `${port}.json`)
  writeFileSync(file, JSON.stringify(config))
  return { name, port, path, args: [here('../bin/sallyport.js'), '-c', file], env: { PORT: String(port) } }
}

const contenders: Contender[] = [
  { name: 'the upstream itself', port: UPSTREAM, path: '/x', args: [] },
  {
    name: 'Fastify, @fastify/http-proxy',
    port: 19_301,
    path: '/a/x',
    args: [here('plain.ts'), '19301', String(UPSTREAM)]
  },
  {
    name: 'the same, with its log and plugins',
    port: 19_302,
    path: '/a/x',
    args: [here('plain.ts'), '19302', String(UPSTREAM), 'plugins']
  },
  ...others(folder, UPSTREAM).map((other) => ({ ...other, path: '/a/x' })),
  sallyport('Sallyport, a route', 19_303, { upstreams, accessLog: false, routes: [forward] }),
  sallyport('Sallyport, all concerns', 19_304, { upstreams, ...concerns, routes: [forward] }),
  sallyport('Sallyport, 10,000 routes', 19_305, { upstreams, ...concerns, routes: many(10_000) }, '/r9999/x')
]

if (spawnSync('wrk', ['-v']).error !== undefined) {
  console.error('The bench needs wrk: apt-get install wrk')
  process.exit(1)
}

const upstream = pinned(1, process.execPath, [here('upstream.ts'), String(UPSTREAM)], { stdio: 'ignore' })
const results: Result[] = []
try {
  await listening(UPSTREAM)
  for (const contender of contenders) results.push(await measure(contender))
} finally {
  upstream.kill()
  rmSync(folder, { recursive: true, force: true })
}
report(results)

async function measure({
  name,
  port,
  path,
  args,
  env,
  command = process.execPath
}: Contender): Promise<Result> {
  const child =
    args.length === 0
      ? upstream
      : pinned(0, command, args, {
          stdio: ['ignore', 'ignore', command === process.execPath ? 'inherit' : 'ignore'],
          env: { ...process.env, ...env }
        })
  try {
    await listening(port)
    const url = `http://127.0.0.1:${port}${path}`
    load(url, 2)
    const before = cpuOf(child)
    const { requests, p99 } = load(url, SECONDS)
    const cpu = cpuOf(child) - before
    return {
      name,
      perSecond: requests / SECONDS,
      cpuPerRequest: (cpu * 1e6) / requests,
      p99,
      megabytes: memoryOf(child)
    }
  } finally {
    if (child !== upstream) {
      child.kill()
      await new Promise((resolve) => child.once('exit', resolve))
    }
  }
}

function load(url: string, seconds: number): { requests: number; p99: string } {
  const out = execFileSync(
    ...onCore(1, 'wrk', ['-t1', `-c${CONNECTIONS}`, `-d${seconds}`, '--latency', url])
  ).toString()
  const wrong = /Non-2xx or 3xx responses: (\d+)/.exec(out)
  if (wrong !== null) throw new Error(`${url}: ${wrong[1]} answers were no 2xx`)
  return {
    requests: Number(/(\d+) requests in/.exec(out)?.[1] ?? 0),
    p99: /99%\s+([\d.]+\w+)/.exec(out)?.[1] ?? ''
  }
}

// Each process keeps to one core where taskset is: the contender to the first, all else to the second.
function onCore(core: number, command: string, args: readonly string[]): [string, string[]] {
  return PINS ? ['taskset', ['-c', String(core), command, ...args]] : [command, [...args]]
}

function pinned(core: number, command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  return spawn(...onCore(core, command, args), options)
}

/** Finds a process and all that it has started. */
function treeOf(pid: number): number[] {
  const children = spawnSync('pgrep', ['-P', String(pid)])
    .stdout.toString()
    .split('\n')
    .filter(Boolean)
  return [pid, ...children.flatMap((child) => treeOf(Number(child)))]
}

// User and system time of a process and its children, in seconds (proc(5), fields 14 and 15 of stat).
function cpuOf({ pid = 0 }: ChildProcess): number {
  return treeOf(pid).reduce((sum, each) => {
    const fields = readFileSync(`/proc/${each}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ')
    return sum + (Number(fields[11]) + Number(fields[12])) / TICKS
  }, 0)
}

function memoryOf({ pid = 0 }: ChildProcess): number {
  const of = (each: number): number =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${each}/status`, 'utf8'))?.[1] ?? 0) / 1024
  return treeOf(pid).reduce((sum, each) => sum + of(each), 0)
}

async function listening(port: number): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true))
      socket.on('error', () => resolve(false)).on('connect', () => socket.destroy())
    })
    if (open) return
    await wait(100)
  }
  throw new Error(`nobody listens on ${port}`)
}

function report(results: readonly Result[]): void {
  const base = results.find(({ name }) => name.startsWith('Fastify,'))?.cpuPerRequest ?? 1
  console.log(`${cpus().length} cores, ${CONNECTIONS} connections, ${SECONDS} s each, answers of 1 KB`)
  console.table(
    results.map(({ name, perSecond, cpuPerRequest, p99, megabytes }) => ({
      name,
      'CPU us/request': Number(cpuPerRequest.toFixed(1)),
      'of plain Fastify': `${(cpuPerRequest / base).toFixed(2)}x`,
      'requests/s': Math.round(perSecond),
      p99,
      'RSS MB': Math.round(megabytes)
    }))
  )
}
