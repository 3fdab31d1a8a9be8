// What a hit of the cache costs beside a proxied request, and beside nginx's: `node bench/cache.ts [rounds]`. Needs wrk and nginx.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { others } from './others.ts'
import { cpuOf, end, listening } from './processes.ts'

const ROUNDS = Number(process.argv[2] ?? 3) || 0
const SECONDS = 2
const UPSTREAM_PORT = 19_340
const GATEWAY_PORT = 19_341
const SIZES = { '1kb': 1024, '100kb': 102_400 }

if (process.argv[2] === 'upstream') {
  const bodies = new Map(Object.entries(SIZES).map(([name, bytes]) => [name, Buffer.alloc(bytes, 'x')]))
  createServer((request, response) => {
    const body = bodies.get(request.url?.split('/').at(-1) ?? '') ?? Buffer.alloc(0)
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': body.length,
      'cache-control': 'max-age=3600'
    })
    response.end(body)
  }).listen(UPSTREAM_PORT, '127.0.0.1')
} else await main()

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-cache-'))
  const proxy = { upstream: `http://127.0.0.1:${UPSTREAM_PORT}` }
  const routes = [
    { path: '/hit/*', cache: true, proxy },
    { path: '/a/*', proxy }
  ]
  writeFileSync(join(folder, 'gateway.json'), JSON.stringify({ accessLog: false, routes }))
  const run = (command: string, args: readonly string[], env: Record<string, string> = {}): ChildProcess =>
    spawn(command, args, {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'inherit']
    })
  const upstream = run(process.execPath, [fileURLToPath(import.meta.url), 'upstream'])
  const bin = fileURLToPath(new URL('../bin/sallyport.js', import.meta.url))
  const env = { PORT: String(GATEWAY_PORT), ADMIN_PORT: '', LOG_LEVEL: 'error' }
  const gateway = run(process.execPath, [bin], env)
  const nginx = others(folder, UPSTREAM_PORT).find(({ name }) => name === 'nginx')
  const nginxProcess = nginx === undefined ? undefined : run(nginx.command, nginx.args)
  const ports = [UPSTREAM_PORT, GATEWAY_PORT, ...(nginx === undefined ? [] : [nginx.port])]
  await Promise.all(ports.map(listening))

  const contenders = Object.keys(SIZES).flatMap((size) => [
    { name: `proxied, ${size}`, url: `http://127.0.0.1:${GATEWAY_PORT}/a/${size}`, child: gateway },
    { name: `hit, ${size}`, url: `http://127.0.0.1:${GATEWAY_PORT}/hit/${size}`, child: gateway },
    ...(nginx === undefined || nginxProcess === undefined
      ? []
      : [
          {
            name: `nginx proxied, ${size}`,
            url: `http://127.0.0.1:${nginx.port}/a/${size}`,
            child: nginxProcess
          }
        ])
  ])
  for (const { url, child } of contenders) await burst(url, child)
  const costs = contenders.map(() => [] as Burst[])
  for (let round = 0; round < ROUNDS; round++)
    for (const [i, { url, child }] of contenders.entries()) costs[i]?.push(await burst(url, child))
  for (const [i, { name }] of contenders.entries()) {
    const all = costs[i] ?? []
    const micros = median(all.map((each) => each.micros))
    const rate = median(all.map((each) => each.rate))
    process.stdout.write(
      `${name.padEnd(24)}${micros.toFixed(1).padStart(8)} us of CPU${rate.toFixed(0).padStart(9)}/s\n`
    )
  }
  for (const child of [gateway, nginxProcess, upstream]) if (child !== undefined) await end(child)
}

/** What one burst of requests measured. */
interface Burst {
  /** Microseconds of CPU a request. */
  readonly micros: number
  /** Requests a second. */
  readonly rate: number
}

async function burst(url: string, child: ChildProcess): Promise<Burst> {
  const before = cpuOf(child)
  const wrk = spawn('wrk', ['-t1', '-c32', `-d${SECONDS}s`, url], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  wrk.stdout.on('data', (data) => {
    text += String(data)
  })
  await once(wrk, 'close')
  const requests = Number(/(\d+) requests in/.exec(text)?.[1])
  if (/Non-2xx/.test(text)) throw new Error(text)
  return { micros: ((cpuOf(child) - before) * 1e6) / requests, rate: requests / SECONDS }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}
