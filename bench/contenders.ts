import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SignJWT } from 'jose'
import { NODE_FLAGS } from '../src/process/node-flags.ts'
import { others } from './others.ts'

/** A server under test: what starts it, where it listens, and the path that it forwards to the upstream's root. */
export interface Contender {
  readonly name: string
  readonly port: number
  /** Forwarded without it: `/a/x` asks the upstream for `/x`. */
  readonly prefix: string
  readonly args: readonly string[]
  /** What is started; Node.js by default. */
  readonly command?: string
  readonly env?: Readonly<Record<string, string>>
  /** Headers of every request. */
  readonly headers?: Readonly<Record<string, string>>
}

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const SECRET = 'a secret of the bench, and of nothing else'
const CONCERNS = {
  rateLimit: { max: 1_000_000_000, window: '1h' },
  cors: { origins: ['https://app.example.com'], credentials: true },
  responseTime: true
}

/** Lists who is compared, all in front of the upstream on a port of this machine; their configs are written to `folder`. */
export async function contenders(folder: string, upstream: number): Promise<Contender[]> {
  const upstreams = { up: { url: `http://127.0.0.1:${upstream}` } }
  const forward = { path: '/a/*', proxy: { upstream: 'up', rewrite: '/' } }
  const script = (name: string, port: number, file: string, ...rest: string[]): Contender => ({
    name,
    port,
    prefix: '/a',
    args: [here(file), String(port), String(upstream), ...rest]
  })
  const sallyport = (name: string, port: number, config: object, prefix = '/a'): Contender => {
    const file = join(folder, `${port}.json`)
    writeFileSync(file, JSON.stringify({ upstreams, ...config }))
    return {
      name,
      port,
      prefix,
      args: [...NODE_FLAGS, here('../bin/sallyport.js'), '-c', file],
      env: { PORT: String(port) }
    }
  }
  const many = (count: number): object[] =>
    Array.from({ length: count }, (_, i) => ({ ...forward, path: `/r${i}/*` }))
  return [
    { name: 'the upstream itself', port: upstream, prefix: '', args: [] },
    script('the tutorial (Express)', 19_309, 'tutorial/server.js'),
    script('the same, no session for visitors', 19_314, 'tutorial/server.js', 'lean'),
    script('Fastify, @fastify/http-proxy', 19_301, 'plain.ts'),
    script('the same, with its log and plugins', 19_302, 'plain.ts', 'plugins'),
    ...others(folder, upstream).map((other) => ({ ...other, prefix: '/a' })),
    sallyport('Sallyport, a route', 19_303, { accessLog: false, routes: [forward] }),
    sallyport('Sallyport, all concerns', 19_304, { ...CONCERNS, routes: [forward] }),
    {
      ...sallyport('Sallyport, all and a JWT', 19_307, {
        ...CONCERNS,
        auth: { jwt: { secret: SECRET, algorithms: ['HS256'] } },
        routes: [forward]
      }),
      headers: { authorization: `Bearer ${await token()}` }
    },
    {
      ...sallyport('Sallyport, all and an API key', 19_308, {
        ...CONCERNS,
        auth: { apiKeys: { list: [{ id: 'bench', secret: SECRET }] } },
        routes: [forward]
      }),
      headers: { 'x-api-key': SECRET }
    },
    sallyport('Sallyport, 100 routes', 19_305, { ...CONCERNS, routes: many(100) }, '/r99'),
    sallyport('Sallyport, 10,000 routes', 19_306, { ...CONCERNS, routes: many(10_000) }, '/r9999')
  ]
}

const token = (): Promise<string> =>
  new SignJWT({ sub: 'bench', exp: 4_102_444_800 })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(Buffer.from(SECRET))
