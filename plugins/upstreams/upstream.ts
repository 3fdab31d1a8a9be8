import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import { Pool } from 'undici'
import { duration, durationOrNone } from '../../src/kit/index.ts'
import type { UpstreamOptions } from './index.ts'

/** One place an upstream listens at, with its connections. */
export interface Target {
  /** What logs call it: host and port, or the path of a socket. */
  readonly name: string
  /** The Host it is addressed by. */
  readonly host: string
  readonly origin: string
  /** What its URL has before every path; empty for none. */
  readonly base: string
  readonly pool: Pool
  /** The requests that it has now, waiting ones included, over a reload. */
  readonly load: { requests: number }
  /** The most requests it may have. */
  readonly most: number
  readonly weight: number
}

const DEFAULTS: UpstreamOptions = {
  timeouts: { connect: '2s', headers: '30s', body: '60s', keepAlive: '30s' },
  connections: { max: 128, pending: 256 }
}

/** Reads a one-off URL as an upstream; undefined where the text is no URL. */
export function originOf(text: string): UpstreamOptions | undefined {
  return /^(https?:\/\/|unix:\/)/.test(text) ? { ...DEFAULTS, url: text } : undefined
}

/** A service behind the gateway: its targets, and which of them is next. */
export class Upstream {
  readonly name: string
  readonly targets: readonly Target[]
  /** Milliseconds; 0 for none. */
  readonly timeouts: { readonly headers: number; readonly body: number }
  readonly #turns: readonly Target[]
  #turn = 0

  constructor(app: FastifyInstance, name: string, said: UpstreamOptions) {
    this.name = name
    this.timeouts = {
      headers: durationOrNone(said.timeouts.headers) ?? 0,
      body: durationOrNone(said.timeouts.body) ?? 0
    }
    const listed = said.targets ?? (said.url === undefined ? [] : [said.url])
    this.targets = listed.map((target) =>
      typeof target === 'string'
        ? makeTarget(app, said, target, 1)
        : makeTarget(app, said, target.url, target.weight)
    )
    this.#turns = spread(this.targets)
  }

  /** Picks the target for the next request: in turn, each as often as its weight says. */
  pick(): Target | undefined {
    const turns = this.#turns
    if (turns.length <= 1) return turns[0]
    this.#turn = (this.#turn + 1) % turns.length
    return turns[this.#turn]
  }
}

/** Lays out one round of turns in which no target comes twice in a row if it need not (nginx's smooth weighted round robin). */
function spread(targets: readonly Target[]): Target[] {
  const total = targets.reduce((sum, { weight }) => sum + weight, 0)
  const current = targets.map(() => 0)
  return Array.from({ length: total }, () => {
    let best = 0
    for (const [i, { weight }] of targets.entries()) {
      current[i] = (current[i] ?? 0) + weight
      if ((current[i] ?? 0) > (current[best] ?? 0)) best = i
    }
    current[best] = (current[best] ?? 0) - total
    return targets[best] as Target
  })
}

function makeTarget(app: FastifyInstance, said: UpstreamOptions, text: string, weight: number): Target {
  const unix = text.startsWith('unix:') ? text.slice(5) : undefined
  const url = new URL(unix === undefined ? text : 'http://localhost')
  const { timeouts, connections, tls } = said
  const pem = (file: string | undefined): string | undefined =>
    file === undefined ? undefined : readFileSync(file, 'utf8')
  const connect = {
    timeout: duration(timeouts.connect),
    ...(unix === undefined ? {} : { socketPath: unix }),
    ...(tls === undefined
      ? {}
      : {
          ca: pem(tls.ca),
          cert: pem(tls.cert),
          key: pem(tls.key),
          rejectUnauthorized: tls.verify,
          ...(tls.serverName === undefined ? {} : { servername: tls.serverName })
        })
  }
  const { pool, load } = app.keep.lease(
    app,
    `pool ${text} ${JSON.stringify([connect, connections.max, timeouts.keepAlive])}`,
    () => ({
      load: { requests: 0 },
      pool: new Pool(url.origin, {
        connect,
        connections: connections.max,
        pipelining: 1,
        keepAliveTimeout: duration(timeouts.keepAlive),
        keepAliveMaxTimeout: 600_000
      } as never)
    }),
    (kept) => kept.pool.close()
  )
  return {
    name: unix ?? url.host,
    host: url.host,
    origin: url.origin,
    base: url.pathname === '/' ? '' : url.pathname.replace(/\/$/, ''),
    pool,
    load,
    most: connections.max + connections.pending,
    weight
  }
}
