// npm run bench: what a request costs, in CPU microseconds of the process that serves it, side by side in one run.
// It wants wrk and Linux; numbers of different runs or machines can't be compared, the ratios within one can.
import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { measureBodies } from './bodies.ts'
import { chart, type Result } from './chart.ts'
import { type Contender, contenders } from './contenders.ts'
import { cpuOf, end, listening, memoryOf, onCore, pinned } from './processes.ts'

const { values: flags } = parseArgs({
  options: {
    /** Seconds of load for each contender and workload. */
    seconds: { type: 'string', default: '3' },
    /** How often all of it is done, one contender after the other; the least that each needed counts. */
    rounds: { type: 'string', default: '3' },
    /** Only the contenders whose name has one of these in it, parted by semicolons. */
    only: { type: 'string', default: '' },
    /** Only the workload of this name. */
    workload: { type: 'string', default: '' },
    /** Lets all of them run from beginning to end, with so many seconds of load each before the first round; by default each begins anew in each round. */
    warm: { type: 'string' },
    /** Writes results.json and docs/bench.svg. */
    write: { type: 'boolean', default: false }
  }
})
const SECONDS = Number(flags.seconds)
const UPSTREAM = 19_300
const BASE = 'Fastify, @fastify/http-proxy'
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

interface Workload {
  readonly name: string
  readonly path: string
  readonly connections: number
  /** A script for wrk that makes the request; a plain GET without it. */
  readonly script?: string
  /** Not for the contenders that differ only in their number of routes. */
  readonly once?: true
}

const UPLOAD = 'wrk.method = "POST"; wrk.body = string.rep("a", 1024 * 1024)'
const WORKLOADS: readonly Workload[] = [
  { name: '1 KB answers', path: '/x', connections: 32 },
  { name: '1 MB answers', path: '/big', connections: 8, once: true },
  { name: '1 MB uploads', path: '/x', connections: 8, script: UPLOAD, once: true }
]

if (spawnSync('wrk', ['-v']).error !== undefined) {
  console.error('The bench needs wrk: apt-get install wrk')
  process.exit(1)
}
const tutorial = here('tutorial')
if (!existsSync(join(tutorial, 'node_modules')))
  execFileSync('npm', ['ci', '--silent'], { cwd: tutorial, stdio: 'inherit' })

const folder = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
const upstream = pinned(1, process.execPath, [here('upstream.ts'), String(UPSTREAM)], { stdio: 'ignore' })
const results: Result[] = []
const started = new Map<string, ChildProcess>()
try {
  await listening(UPSTREAM)
  const those = (await contenders(folder, UPSTREAM)).filter(({ name }) =>
    flags.only.split(';').some((part) => name.includes(part))
  )
  if (flags.warm !== undefined)
    for (const contender of those) {
      await running(contender)
      for (const workload of workloadsOf(contender)) load(contender, workload, Number(flags.warm))
    }
  // What else the machine does only ever adds: the least of some rounds is nearest to what a request costs.
  for (let round = 0; round < Number(flags.rounds); round++)
    for (const contender of those) for (const result of await measure(contender)) keepLeast(result)
} finally {
  await Promise.all([...started.values(), upstream].map(end))
  rmSync(folder, { recursive: true, force: true })
}
report()
// Without a filter, what bodies cost follows.
if (flags.only === '' && flags.workload === '') await measureBodies()
if (flags.write) {
  writeFileSync(
    here('results.json'),
    `${JSON.stringify({ node: process.version, seconds: SECONDS, rounds: Number(flags.rounds), results }, null, 2)}\n`
  )
  writeFileSync(
    here('../docs/bench.svg'),
    chart(results.filter(({ workload }) => workload === '1 KB answers'))
  )
}

function keepLeast(result: Result): void {
  const at = results.findIndex(({ name, workload }) => name === result.name && workload === result.workload)
  if (at === -1) results.push(result)
  else if (result.cpuPerRequest < (results[at]?.cpuPerRequest ?? 0)) results[at] = result
}

async function measure(contender: Contender): Promise<Result[]> {
  const child = await running(contender)
  const found = workloadsOf(contender).map((workload) => {
    load(contender, workload, 1)
    const before = cpuOf(child)
    const { requests, p50, p99 } = load(contender, workload, SECONDS)
    const cpu = cpuOf(child) - before
    return {
      name: contender.name,
      workload: workload.name,
      cpuPerRequest: Number(((cpu * 1e6) / requests).toFixed(1)),
      perSecond: Math.round(requests / SECONDS),
      p50,
      p99,
      megabytes: Math.round(memoryOf(child))
    }
  })
  if (flags.warm === undefined) await stop(contender)
  return found
}

/** Starts a contender that does not run yet, and waits until it listens. */
async function running(contender: Contender): Promise<ChildProcess> {
  const { name, port, args, env, command = process.execPath } = contender
  if (args.length === 0) return upstream
  let child = started.get(name)
  if (child === undefined) {
    child = pinned(0, command, args, {
      stdio: ['ignore', 'ignore', command === process.execPath ? 'inherit' : 'ignore'],
      env: { ...process.env, ...env }
    })
    started.set(name, child)
  }
  await listening(port)
  return child
}

async function stop({ name }: Contender): Promise<void> {
  const child = started.get(name)
  if (child === undefined) return
  started.delete(name)
  await end(child)
}

function workloadsOf({ name }: Contender): readonly Workload[] {
  return WORKLOADS.filter(
    ({ name: workload, once }) =>
      workload.includes(flags.workload) && !(once && /\d routes|and an? /.test(name))
  )
}

function load(
  { port, prefix, headers = {} }: Contender,
  { path, connections, script }: Workload,
  seconds: number
): { requests: number; p50: string; p99: string } {
  const url = `http://127.0.0.1:${port}${prefix}${path}`
  const file = join(folder, 'wrk.lua')
  if (script !== undefined) writeFileSync(file, script)
  const said = Object.entries(headers).flatMap(([header, value]) => ['-H', `${header}: ${value}`])
  const args = [
    '-t1',
    `-c${connections}`,
    `-d${seconds}`,
    '--latency',
    ...(script ? ['-s', file] : []),
    ...said,
    url
  ]
  const out = execFileSync(...onCore(1, 'wrk', args)).toString()
  const wrong = /Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)/.exec(out)
  if (wrong !== null) throw new Error(`${url}: ${wrong[0]}`)
  return {
    requests: Number(/(\d+) requests in/.exec(out)?.[1] ?? 0),
    p50: /50%\s+([\d.]+\w+)/.exec(out)?.[1] ?? '',
    p99: /99%\s+([\d.]+\w+)/.exec(out)?.[1] ?? ''
  }
}

function report(): void {
  for (const { name: workload, connections } of WORKLOADS) {
    const rows = results.filter((result) => result.workload === workload)
    if (rows.length === 0) continue
    const base = rows.find(({ name }) => name === BASE)?.cpuPerRequest
    console.log(
      `${workload}: ${connections} connections, the least of ${flags.rounds} rounds of ${SECONDS} s, ${cpus().length} cores`
    )
    console.table(
      rows.map(({ name, cpuPerRequest, perSecond, p50, p99, megabytes }) => ({
        name,
        'CPU us/request': cpuPerRequest,
        ...(base === undefined ? {} : { 'of plain Fastify': `${(cpuPerRequest / base).toFixed(2)}x` }),
        'requests/s': perSecond,
        p50,
        p99,
        'RSS MB': megabytes
      }))
    )
  }
}
