import type { FastifyInstance } from 'fastify'
import { monotonic } from '../../src/lib/clock.ts'
import type { Sender } from '../../src/lib/contracts/dispatch.ts'
import { scatter } from '../../src/lib/hash.ts'
import { connectionOptions } from '../../src/lib/http/tls-client.ts'
import { Repeated } from '../../src/lib/repeated.ts'
import { duration, size } from '../../src/lib/units.ts'
import { makeConnect, type Place } from './client/connect.ts'
import { onread } from './client/http1/connection.ts'
import { Pool } from './client/http1/pool.ts'
import { Multiplexed } from './client/http2/pool.ts'
import { HealthCheck } from './health.ts'
import type { UpstreamOptions } from './options.ts'
import { Condition } from './target-health.ts'

/** Where a target is, and how much of the requests it gets. */
export interface Endpoint {
  /** Its URL, as the config says it or as the name and port that were found. */
  readonly url: string
  /** Where its connections go, if not where its URL says. */
  readonly place?: Place
  readonly weight: number
  readonly backup: boolean
}

/** Asked before a target is ejected. */
export type MayEject = () => boolean

// A new target gets no less than this of its weight, or a slow start would never begin.
const SLOWEST = 0.1

/** One place an upstream listens at, with its connections. */
export class Target {
  /** What tells it from the other targets of its upstream. */
  readonly key: string
  /** What logs call it: host and port, or the path of a socket. */
  readonly name: string
  /** The Host it is addressed by. */
  readonly host: string
  readonly origin: string
  /** What its URL has before every path; empty for none. */
  readonly base: string
  /** Its share of the requests, and whether it stands by; what finds it may change both. */
  weight: number
  backup: boolean
  /** Sends requests. */
  readonly pool: Pool | Multiplexed
  /** Sends those that switch protocols, which HTTP/2 does not do. */
  readonly upgrades: Sender
  readonly http2: boolean
  /** The requests that it has now, waiting ones included, over a reload. */
  readonly load: { requests: number }
  /** The most requests it may have. */
  readonly most: number
  /** A number of its own, the same in every process. */
  readonly seed: number
  readonly condition: Condition
  /** How far its turn has come. */
  turn = 0
  readonly #slowStart: number
  readonly #mayEject: MayEject
  readonly #release: () => void

  constructor(
    app: FastifyInstance,
    said: UpstreamOptions,
    key: string,
    endpoint: Endpoint,
    slowStart: number,
    mayEject: MayEject
  ) {
    const { url: text, place, weight, backup } = endpoint
    const unix = text.startsWith('unix:') ? text.slice(5) : undefined
    const url = new URL(unix === undefined ? text : 'http://localhost')
    const { timeouts, connections, http2 } = said
    const connect = {
      timeout: duration(timeouts.connect),
      ...(unix === undefined ? {} : { socketPath: unix }),
      ...(said.tls === undefined ? {} : connectionOptions(said.tls))
    }
    this.key = key
    this.name = unix ?? (place === undefined ? url.host : `${place.address}:${place.port}`)
    this.host = url.host
    this.origin = url.origin
    this.base = url.pathname === '/' ? '' : url.pathname.replace(/\/$/, '')
    this.weight = weight
    this.backup = backup
    this.http2 = http2
    const maxConnections = connections.max ?? Number.POSITIVE_INFINITY
    this.most = maxConnections + connections.pending
    this.seed = scatter(`${text} ${place?.address ?? ''}`)
    this.#slowStart = slowStart
    this.#mayEject = mayEject
    const where = `${text} ${place?.address ?? ''} ${JSON.stringify([connect, connections.max, timeouts.keepAlive, said.maxHeaders])}`
    const keys: string[] = []
    const lease = <T>(key: string, make: () => T, end: (value: T) => unknown): T => {
      keys.push(key)
      return app.keep.lease(app, key, make, end)
    }
    // One line for all targets, over a reload.
    const warnings = lease(
      'sockets exhausted',
      () =>
        new Repeated<string>((connections, cause) =>
          app.log.warn(
            { connections, cause },
            'connections to upstreams could not be opened: no file descriptor or local port is left'
          )
        ),
      (kept) => kept.stop()
    )
    const exhausted = (cause: string): void => warnings.note(cause)
    const keepAlive = duration(timeouts.keepAlive)
    const maxHeaders = size(said.maxHeaders)
    const plain = (): Pool =>
      new Pool({
        connect: makeConnect(url, { ...connect, onread }, place, exhausted),
        connectStream: makeConnect(url, connect, place, exhausted),
        connections: maxConnections,
        keepAlive,
        maxHeaders
      })
    const open = (): Pool | Multiplexed =>
      http2
        ? new Multiplexed({
            origin: url,
            connect: makeConnect(url, { ...connect, ...h2With(url) }, place, exhausted),
            connections: maxConnections,
            keepAlive,
            maxHeaders,
            patience: connect.timeout,
            plain: plain()
          })
        : plain()
    const { pool, load } = lease(
      `pool ${where} ${http2}`,
      () => ({ load: { requests: 0 }, pool: open() }),
      (kept) => kept.pool.close()
    )
    this.pool = pool
    this.load = load
    this.upgrades = pool instanceof Multiplexed ? pool.plain : pool
    const { eject, breaker, health } = said
    this.condition = lease(
      `condition ${where} ${JSON.stringify([eject, breaker, health])}`,
      () => new Condition(this.name, app.log, eject, breaker),
      (kept) => kept.stop()
    )
    if (health !== undefined)
      lease(
        `health ${where} ${JSON.stringify([health, eject, breaker])}`,
        () => new HealthCheck(health, this.host, this.condition, open()),
        (kept) => kept.stop()
      )
    this.#release = () => {
      for (const key of keys) app.keep.release(app, key)
    }
  }

  /** Whether it can take one more request. */
  get hasRoom(): boolean {
    return this.load.requests < this.most && this.condition.admits
  }

  /** Its weight now: less than said while it starts slowly. */
  weightNow(): number {
    if (this.#slowStart === 0 || this.condition.since === 0) return this.weight
    const warm = (monotonic() - this.condition.since) / this.#slowStart
    return warm >= 1 ? this.weight : this.weight * Math.max(SLOWEST, warm)
  }

  /** Notes that a request is sent; tells whether it tries a target whose breaker is half-open. */
  take(): boolean {
    this.load.requests++
    return this.condition.take()
  }

  /** Notes how a request went: whether there was an answer, and one below 500. */
  judge(ok: boolean, probe: boolean): void {
    this.condition.judge(ok, probe, this.#mayEject)
  }

  /** Notes that a request was left before it told anything. */
  untried(probe: boolean): void {
    this.condition.untried(probe)
  }

  /** Notes that a request is over. */
  leave(): void {
    this.load.requests--
  }

  /** Gives back its connections, which close once nothing is on them. */
  release(): void {
    this.#release()
  }
}

// Without TLS there is nobody to agree with on a protocol: both sides know it (RFC 9113 section 3.3).
const h2With = (url: URL): object => (url.protocol === 'https:' ? { allowH2: true } : { useH2c: true })
