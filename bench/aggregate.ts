// What an aggregated response costs beside proxying its legs one by one and parsing them, and what 1,000 at a time hold in
// memory. `node bench/aggregate.ts [rounds]`; all in one run, so that the ratios are comparable.
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent, createServer, get } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import { buildGateway, Keep, loadConfig, serve } from '../src/index.ts'

const REQUESTS = 1500
const CONNECTIONS = 16
const CONCURRENT = 1000
const MB = 1024 * 1024

const [, , role = '', ...args] = process.argv
if (role === 'upstream') await startUpstream()
else if (role === 'load') await load(args[0] ?? '', Number(args[1]), Number(args[2]))
else await measure(Number(role || 5))

/** Makes JSON of at most so many bytes. */
function jsonOf(bytes: number): string {
  const items: string[] = []
  for (let length = 2; ; ) {
    const id = items.length
    const tags = ['kitchen', 'gift']
    const item = JSON.stringify({ id, name: `Blue cup ${id}`, price: id + 0.9, tags, note: 'x'.repeat(20) })
    length += item.length + 1
    if (length > bytes) return `[${items.join(',')}]`
    items.push(item)
  }
}

async function startUpstream(): Promise<void> {
  const small = jsonOf(10_240)
  const large = jsonOf(MB)
  const server = createServer(({ url = '' }, response) => {
    const body = url.startsWith('/large') ? large : small
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
    response.end(body)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`)
}

/** Sends requests over some connections; prints how many got each status, and how many 503s had no Retry-After. */
async function load(url: string, requests: number, connections: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const seen: Record<string, number> = {}
  let left = requests
  await Promise.all(
    Array.from({ length: connections }, async () => {
      while (left-- > 0) {
        const [response] = await once(get(url, { agent }), 'response')
        response.resume()
        await once(response, 'end')
        const status = `${response.statusCode}${response.statusCode === 503 && response.headers['retry-after'] === undefined ? ' without Retry-After' : ''}`
        seen[status] = (seen[status] ?? 0) + 1
      }
    })
  )
  agent.destroy()
  process.stdout.write(JSON.stringify(seen))
}

function child(...words: string[]): ChildProcessByStdio<null, Readable, null> {
  return spawn(process.execPath, [fileURLToPath(import.meta.url), ...words], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
}

async function loaded(url: string, requests: number, connections: number): Promise<string> {
  return await text(child('load', url, String(requests), String(connections)).stdout)
}

async function measure(rounds: number): Promise<void> {
  const upstream = child('upstream')
  const [port] = (await once(upstream.stdout, 'data')) as [Buffer]
  const url = `http://127.0.0.1:${port.toString().trim()}`
  const leg = (path: string): object => ({ upstream: 'up', path })
  const config = {
    upstreams: { up: { url } },
    accessLog: false,
    limits: { time: '60s' },
    routes: [
      { path: '/three', aggregate: { legs: { a: leg('/a'), b: leg('/b'), c: leg('/c') } } },
      { path: '/large', aggregate: { legs: { a: leg('/large') } } },
      { path: '/large/picked', aggregate: { legs: { a: { ...leg('/large'), pick: ['id'] } } } },
      { path: '/one/*', proxy: { upstream: 'up', rewrite: '/' } }
    ]
  }
  const log = pino({ level: 'silent' })
  const app = await buildGateway(await loadConfig(config, {}), new Keep(), log)
  const served = await serve(app, { host: '127.0.0.1', port: 0, log, drainDelay: 0, drainTimeout: 1000 })
  const own = `http://127.0.0.1:${served.address.port}`
  try {
    await measureCpu(own, rounds)
    for (const path of ['/large', '/large/picked']) await measureMemory(`${own}${path}`, app.buffers.limit)
  } finally {
    upstream.kill()
    await served.close()
  }
}

/** Returns the CPU of this process for a task, in microseconds. */
async function cpuOf(task: () => unknown): Promise<number> {
  const before = process.cpuUsage()
  await task()
  const { user, system } = process.cpuUsage(before)
  return user + system
}

async function measureCpu(own: string, rounds: number): Promise<void> {
  const body = jsonOf(10_240)
  const lowest = {
    aggregated: Number.POSITIVE_INFINITY,
    proxied: Number.POSITIVE_INFINITY,
    parsed: Number.POSITIVE_INFINITY
  }
  const note = async (what: keyof typeof lowest, task: () => unknown): Promise<void> => {
    lowest[what] = Math.min(lowest[what], (await cpuOf(task)) / REQUESTS)
  }
  for (let round = 0; round < rounds; round++) {
    await note('aggregated', () => loaded(`${own}/three`, REQUESTS, CONNECTIONS))
    await note('proxied', () => loaded(`${own}/one/a`, 3 * REQUESTS, CONNECTIONS))
    await note('parsed', () => {
      for (let i = 0; i < 3 * REQUESTS; i++) JSON.parse(body)
    })
  }
  const { aggregated, proxied, parsed } = lowest
  console.log(
    `three legs of 10 KB: ${aggregated.toFixed(0)} us; proxied one by one ${proxied.toFixed(0)} us, JSON.parse ${parsed.toFixed(0)} us; ratio ${(aggregated / (proxied + parsed)).toFixed(2)}`
  )
}

async function measureMemory(url: string, limit: number): Promise<void> {
  await loaded(url, 50, 4)
  globalThis.gc?.()
  const before = process.memoryUsage.rss()
  let most = before
  const sampler = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss())
  }, 5)
  const seen = await loaded(url, CONCURRENT, CONCURRENT)
  clearInterval(sampler)
  const grown = (most - before) / MB
  console.log(
    `${CONCURRENT} at a time, ${new URL(url).pathname}: RSS grew by ${grown.toFixed(0)} MB of ${limit / MB + 64}; ${seen}`
  )
}
