import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { Agent, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

// The cost of metrics and of tracing at 1 %: the same requests to gateways with and without them, in alternating bursts.

const BURSTS = Number(process.env['BURSTS'] ?? 8)
const REQUESTS = 10_000
const CONCURRENCY = 32

const VARIANTS = {
  off: {},
  metrics: { metrics: true },
  both: { metrics: true, tracing: { sample: '1%' } },
  everything: { metrics: true, tracing: { sample: '100%' } }
}

const listen = async (answer: string): Promise<string> => {
  const server = createServer(
    (incoming, response) => void incoming.resume().on('end', () => response.end(answer))
  )
  server.listen(0, '127.0.0.1').unref()
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const children: ChildProcess[] = []

/** Starts a gateway in a process of its own. */
async function start(
  options: object,
  upstream: string,
  receiver: string
): Promise<{ port: number; pid: number }> {
  const cwd = mkdtempSync(join(tmpdir(), 'sallyport-'))
  const config = { ...options, accessLog: false, routes: [{ path: '/*', proxy: { upstream } }] }
  writeFileSync(join(cwd, 'gateway.json'), JSON.stringify(config))
  const bin = fileURLToPath(new URL('../bin/sallyport.js', import.meta.url))
  const env = { ...process.env, PORT: '0', ADMIN_PORT: '', OTEL_EXPORTER_OTLP_ENDPOINT: receiver }
  const child = spawn(process.execPath, [bin], { cwd, env, stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  child.stdout.resume()
  return { port: Number(/"port":(\d+)/.exec(line.toString())?.[1]), pid: child.pid ?? 0 }
}

/** Sends one burst; returns the microseconds of CPU time that the gateway spent on each request. */
async function burst({ port, pid }: { port: number; pid: number }): Promise<number> {
  const before = cpuTime(pid)
  let left = REQUESTS
  const send = (): Promise<void> =>
    new Promise((resolve, reject) => {
      request({ port, path: '/', agent }, (response) => response.resume().on('end', resolve))
        .on('error', reject)
        .end()
    })
  const worker = async (): Promise<void> => {
    while (left-- > 0) await send()
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, worker))
  return ((cpuTime(pid) - before) * 10_000) / REQUESTS
}

const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENCY })

/** Returns the CPU time of a process in ticks of 10 ms (proc(5)). */
function cpuTime(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return Number(fields[11]) + Number(fields[12])
}

const upstream = await listen('hello')
const receiver = await listen('{}')
const gateways = await Promise.all(
  Object.entries(VARIANTS).map(async ([name, options]) => ({
    name,
    times: [] as number[],
    ...(await start(options, upstream, receiver))
  }))
)
// Code is optimised and libraries are loaded before anything counts.
for (let i = 0; i < 2; i++) for (const each of gateways) await burst(each)
for (let i = 0; i < BURSTS; i++) for (const each of gateways) each.times.push(await burst(each))
const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
const base = median(gateways[0]?.times ?? [])
for (const { name, times } of gateways)
  console.log(
    `${name.padEnd(12)}${median(times).toFixed(1)} us of CPU a request, ${(median(times) / base).toFixed(3)}x`
  )
for (const child of children) child.kill()
process.exit(0)
