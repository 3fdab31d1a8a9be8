import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, createServer as createHttp2Server, type Http2ServerRequest } from 'node:http2'
import type { Test } from 'tap'
import { certificate, type Listening, listening, originOf, type Setup } from '../../helpers.ts'

/** What a client got. */
export interface Got {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: string
  /** The gateway's member of Cache-Status. */
  readonly cacheStatus: string
}

/** A request of a test. */
export interface Asked {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** A gateway in front of an upstream, over real sockets. */
export interface Front extends Listening {
  /** The requests that the upstream got: each with its headers. */
  readonly seen: {
    readonly method: string
    readonly url: string
    readonly headers: IncomingMessage['headers']
  }[]
  get(path: string, asked?: Asked): Promise<Got>
  /** Closes the upstream: connections to it are refused. */
  stop(): void
}

/** Answers a request of the gateway. */
export type Answer = (request: IncomingMessage, response: ServerResponse, count: number) => void

/** The HTTP versions of the client's side and of the upstream's side. */
export interface Versions {
  readonly client: 1 | 2
  readonly upstream: 1 | 2
}

export const HTTP1: Versions = { client: 1, upstream: 1 }

/** Every pair of versions. */
export const ALL_VERSIONS: readonly Versions[] = [
  HTTP1,
  { client: 2, upstream: 1 },
  { client: 1, upstream: 2 },
  { client: 2, upstream: 2 }
]

/** What a test says of its gateway. */
export interface FrontOptions {
  /** Further options of the route, beside its cache. */
  readonly route?: object
  readonly root?: object
  readonly proxy?: object
  readonly upstreamOptions?: object
  readonly setup?: Setup
  readonly versions?: Versions
}

/** Starts an upstream, and a gateway whose one route has a cache. */
export async function front(
  t: Test,
  cache: unknown,
  answer: Answer,
  { route, root, proxy, upstreamOptions, setup, versions = HTTP1 }: FrontOptions = {}
): Promise<Front> {
  const seen: Front['seen'] = []
  const listener = (request: IncomingMessage | Http2ServerRequest, response: unknown): void => {
    const { method = '', url = '', headers } = request
    seen.push({ method, url, headers })
    answer(request as IncomingMessage, response as ServerResponse, seen.length)
  }
  const server = versions.upstream === 2 ? createHttp2Server(listener) : createServer(listener)
  const sessions = new Set<{ destroy(): void }>()
  server.on('session', (session) => sessions.add(session))
  t.teardown(() => {
    for (const session of sessions) session.destroy()
  })
  Object.assign(server, versions.upstream === 2 ? { closeAllConnections: () => {} } : {})
  const url = await originOf(t, server as never)
  const made = versions.client === 2 ? certificate(t) : undefined
  const tls =
    made === undefined
      ? {}
      : { tls: { certificates: [{ cert: made.ca, key: made.ca.replace('.pem', '.key') }] } }
  const gateway = await listening(
    t,
    {
      ...tls,
      upstreams: { one: { url, ...(versions.upstream === 2 ? { http2: true } : {}), ...upstreamOptions } },
      ...root,
      routes: [{ path: '/*', proxy: { upstream: 'one', ...proxy }, cache, ...route }]
    },
    setup
  )
  const get = (path: string, asked: Asked = {}): Promise<Got> =>
    versions.client === 2 ? overHttp2(gateway.port, path, asked) : overHttp1(gateway.url, path, asked)
  const stop = (): void => {
    server.close()
    if ('closeAllConnections' in server) server.closeAllConnections()
  }
  return { ...gateway, seen, get, stop }
}

/** Sends a request over HTTP/1.1. */
export async function overHttp1(origin: string, path: string, asked: Asked = {}): Promise<Got> {
  const { method = 'GET', headers = {}, body } = asked
  const init = { method, headers: { ...headers }, redirect: 'manual' as const }
  const response = await fetch(origin + path, body === undefined ? init : { ...init, body })
  const text = await response.text()
  const all = Object.fromEntries(response.headers)
  return { status: response.status, headers: all, body: text, cacheStatus: all['cache-status'] ?? '' }
}

/** Sends a request over HTTP/2. */
export function overHttp2(port: number, path: string, asked: Asked = {}): Promise<Got> {
  const { method = 'GET', headers = {}, body } = asked
  return new Promise((resolve, reject) => {
    const session = connect(`https://localhost:${port}`, { rejectUnauthorized: false })
    session.on('error', reject)
    const stream = session.request({ ':method': method, ':path': path, ...headers })
    let status = 0
    let got: Record<string, string> = {}
    let text = ''
    stream.on('response', ({ ':status': code = 0, ...rest }) => {
      status = Number(code)
      got = rest as Record<string, string>
    })
    stream.setEncoding('latin1')
    stream.on('data', (chunk: string) => {
      text += chunk
    })
    stream.on('error', reject)
    stream.on('end', () => {
      session.close()
      resolve({ status, headers: got, body: text, cacheStatus: got['cache-status'] ?? '' })
    })
    stream.end(body)
  })
}
