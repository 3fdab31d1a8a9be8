import type { FastifyInstance } from 'fastify'
import { monotonic } from '../../src/lib/clock.ts'
import type { Sender } from '../../src/lib/contracts/dispatch.ts'
import { hash32 } from '../../src/lib/hash.ts'
import { connectionOptions } from '../../src/lib/http/tls-client.ts'
import { Repeated } from '../../src/lib/repeated.ts'
import { duration, size } from '../../src/lib/units.ts'
import { type Address, makeConnect } from './client/connect.ts'
import { onread } from './client/http1/connection.ts'
import { Http1Pool } from './client/http1/pool.ts'
import { Http2Pool } from './client/http2/pool.ts'
import { HealthCheck } from './health.ts'
import { Lease } from './lease.ts'
import type { UpstreamOptions } from './options.ts'
import { TargetHealth } from './target-health.ts'

/** Where a target is, and how much of the requests it gets. */
export interface Endpoint {
  /** Its URL, as the config says it or as the name and port that were found. */
  readonly url: string
  /** Where its connections go, if not where its URL says. */
  readonly address?: Address
  readonly weight: number
  readonly backup: boolean
}

/** Asked before a target is ejected. */
export type CanEject = () => boolean

// A new target gets no less than this of its weight, or a slow start would never begin.
const MIN_SLOW_START_SHARE = 0.1

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
  readonly pool: Http1Pool | Http2Pool
  /** Sends those that switch protocols, which HTTP/2 does not do. */
  readonly upgrades: Sender
  readonly http2: boolean
  /** The requests that it has now, waiting ones included, over a reload. */
  readonly load: { requests: number }
  /** The most requests it may have. */
  readonly maxRequests: number
  /** A number of its own, the same in every process. */
  readonly seed: number
  readonly health: TargetHealth
  /** How far its turn has come. */
  currentWeight = 0
  readonly #slowStart: number
  readonly #canEject: CanEject
  readonly #releaseResources: () => void

  constructor(
    app: FastifyInstance,
    said: UpstreamOptions,
    key: string,
    endpoint: Endpoint,
    slowStart: number,
    mayEject: CanEject
  ) {
    const { url: text, address, weight, backup } = endpoint
    const unix = text.startsWith('unix:') ? text.slice(5) : undefined
    const url = new URL(unix === undefined ? text : 'http://localhost')
    const { timeouts, connections, http2 } = said
    const connect = {
      timeout: duration(timeouts.connect),
      ...(unix === undefined ? {} : { socketPath: unix }),
      ...(said.tls === undefined ? {} : connectionOptions(said.tls))
    }
    this.key = key
    this.name = unix ?? (address === undefined ? url.host : `${address.address}:${address.port}`)
    this.host = url.host
    this.origin = url.origin
    this.base = url.pathname === '/' ? '' : url.pathname.replace(/\/$/, '')
    this.weight = weight
    this.backup = backup
    this.http2 = http2
    const maxConnections = connections.max ?? Number.POSITIVE_INFINITY
    this.maxRequests = maxConnections + connections.pending
    this.seed = hash32(`${text} ${address?.address ?? ''}`)
    this.#slowStart = slowStart
    this.#canEject = mayEject
    const where = `${text} ${address?.address ?? ''} ${JSON.stringify([connect, connections.max, timeouts.keepAlive, said.maxHeaders])}`
    const keys: string[] = []
    const lease = <T>(key: string, make: () => T, end: (value: T) => unknown): T => {
      keys.push(key)
      return app.resources.lease(app, key, make, end)
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
    const plain = (): Http1Pool =>
      new Http1Pool({
        connect: makeConnect(url, { ...connect, onread }, address, exhausted),
        connectStream: makeConnect(url, connect, address, exhausted),
        connections: maxConnections,
        keepAlive,
        maxHeaders
      })
    const open = (): Http1Pool | Http2Pool =>
      http2
        ? new Http2Pool({
            origin: url,
            connect: makeConnect(url, { ...connect, ...http2ConnectOptions(url) }, address, exhausted),
            connections: maxConnections,
            keepAlive,
            maxHeaders,
            replyTimeout: connect.timeout,
            http1: plain()
          })
        : plain()
    const { pool, load } = lease(
      `pool ${where} ${http2}`,
      () => ({ load: { requests: 0 }, pool: open() }),
      (kept) => kept.pool.close()
    )
    this.pool = pool
    this.load = load
    this.upgrades = pool instanceof Http2Pool ? pool.http1 : pool
    const { eject, breaker, health } = said
    this.health = lease(
      `condition ${where} ${JSON.stringify([eject, breaker, health])}`,
      () => new TargetHealth(this.name, app.log, eject, breaker),
      (kept) => kept.stop()
    )
    if (health !== undefined)
      lease(
        `health ${where} ${JSON.stringify([health, eject, breaker])}`,
        () => new HealthCheck(health, this.host, this.health, open()),
        (kept) => kept.stop()
      )
    this.#releaseResources = () => {
      for (const key of keys) app.resources.release(app, key)
    }
  }

  /** Whether it can take one more request. */
  get hasRoom(): boolean {
    return this.load.requests < this.maxRequests && this.health.admits
  }

  /** Its weight now: less than said while it starts slowly. */
  effectiveWeight(): number {
    if (this.#slowStart === 0 || this.health.since === 0) return this.weight
    const warm = (monotonic() - this.health.since) / this.#slowStart
    return warm >= 1 ? this.weight : this.weight * Math.max(MIN_SLOW_START_SHARE, warm)
  }

  /** Counts a request that is sent to it. */
  acquire(): Lease {
    return new Lease(this.health, this.load, this.#canEject)
  }

  /** Gives back its connections, which close once nothing is on them. */
  release(): void {
    this.#releaseResources()
  }
}

// Without TLS there is nobody to agree with on a protocol: both sides know it (RFC 9113 section 3.3).
const http2ConnectOptions = (url: URL): object =>
  url.protocol === 'https:' ? { allowH2: true } : { useH2c: true }
