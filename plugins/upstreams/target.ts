import { isIP } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { monotonic } from '../../src/lib/clock.ts'
import type { Sender } from '../../src/lib/contracts/dispatch.ts'
import { hash32 } from '../../src/lib/hash.ts'
import { connectionOptions } from '../../src/lib/http/tls-client.ts'
import { Repeated } from '../../src/lib/repeated.ts'
import { duration, durationOrNone, size } from '../../src/lib/units.ts'
import { type Address, makeConnect } from './client/connect.ts'
import { Http1Pool } from './client/http1/pool.ts'
import { onread } from './client/http1/socket-events.ts'
import { Http2Pool } from './client/http2/pool.ts'
import { observedSender } from './client/observed-sender.ts'
import { SimulatedPool } from './client/simulated-pool.ts'
import { HealthCheck } from './health.ts'
import { Lease } from './lease.ts'
import type { UpstreamOptions } from './options.ts'
import { TargetHealth } from './target-health.ts'

/** Where a target listens, and its share of the requests. */
export interface Endpoint {
  /** The URL from the config, or built from a discovered name and port. */
  readonly url: string
  /** The resolved address to connect to, if it differs from the URL's. */
  readonly address?: Address
  readonly weight: number
  readonly backup: boolean
}

/** Returns the identity of an endpoint, by which a known target is recognized. */
export const endpointKey = ({ url, address }: Endpoint): string => `${url} ${address?.address ?? ''}`

/** Returns whether one more target may be ejected. */
export type CanEject = () => boolean

/** A target among those of its upstream. */
export interface TargetPlace {
  readonly endpoint: Endpoint
  readonly canEject: CanEject
}

// The smallest share of its weight that a target gets during slow start; with 0 it would never get a request.
const MIN_SLOW_START_SHARE = 0.1

/** One target of an upstream, with its connections and its health. */
export class Target {
  /** Its identity among the targets of its upstream. */
  readonly key: string
  /** Its name in logs: host and port, or the path of a socket. */
  readonly name: string
  /** The Host header of its requests. */
  readonly host: string
  readonly origin: string
  /** The path of its URL, which precedes every request path; empty for none. */
  readonly base: string
  /** Its share of the requests and whether it is a backup; discovery may change both. */
  weight: number
  backup: boolean
  readonly pool: Sender & { readonly closed?: boolean }
  /** Sends upgrade requests, which always use HTTP/1.1. */
  readonly upgrades: Sender
  readonly http2: boolean
  /** The number of current requests, queued ones included. It survives a reload. */
  readonly load: { requests: number }
  /** The number of requests it may have at a time. */
  readonly maxRequests: number
  /** A seed for hashing that is the same in every process. */
  readonly seed: number
  readonly health: TargetHealth
  /** The counter of smooth weighted round robin. */
  currentWeight = 0
  readonly #slowStart: number
  readonly #canEject: CanEject
  readonly #releaseResources: () => void

  /** `upstream` is the name of its upstream, or the URL that stands in its place. */
  constructor(
    app: FastifyInstance,
    upstream: string,
    options: UpstreamOptions,
    { endpoint, canEject }: TargetPlace
  ) {
    const { url: text, address, weight, backup } = endpoint
    const unix = text.startsWith('unix:') ? text.slice(5) : undefined
    const url = new URL(unix === undefined ? text : 'http://localhost')
    const { timeouts, connections, http2 } = options
    const connect = {
      timeout: duration(timeouts.connect),
      ...(unix === undefined ? {} : { socketPath: unix }),
      ...serverName(options.host),
      ...(options.tls === undefined ? {} : connectionOptions(options.tls))
    }
    this.key = endpointKey(endpoint)
    this.name = unix ?? (address === undefined ? url.host : `${address.address}:${address.port}`)
    this.host = options.host ?? url.host
    this.origin = url.origin
    this.base = url.pathname === '/' ? '' : url.pathname.replace(/\/$/, '')
    this.weight = weight
    this.backup = backup
    this.http2 = http2
    const maxConnections = connections.max ?? Number.POSITIVE_INFINITY
    this.maxRequests = maxConnections + connections.pending
    this.seed = hash32(`${text} ${address?.address ?? ''}`)
    this.#slowStart = durationOrNone(options.slowStart) ?? 0
    this.#canEject = canEject
    const identity = `${text} ${address?.address ?? ''} ${JSON.stringify([connect, connections.max, timeouts.keepAlive, options.maxHeaders])}`
    const keys: string[] = []
    const lease = <T>(key: string, make: () => T, end: (value: T) => unknown): T => {
      keys.push(key)
      return app.resources.lease(app, key, make, end)
    }
    // Shared by all targets and across reloads, so that the log has one line for all.
    const warnings = lease(
      'sockets exhausted',
      () =>
        new Repeated<string>((connections, cause) =>
          app.log.warn(
            { connections, cause },
            'upstream connections failed: out of file descriptors or local ports'
          )
        ),
      (value) => value.stop()
    )
    const exhausted = (cause: string): void => warnings.note(cause)
    const keepAlive = duration(timeouts.keepAlive)
    const maxHeaders = size(options.maxHeaders)
    const openHttp1 = (to: Place): Http1Pool =>
      new Http1Pool({
        connect: makeConnect(to.url, { ...connect, onread }, to.address, exhausted),
        connectStream: makeConnect(to.url, connect, to.address, exhausted),
        connections: maxConnections,
        keepAlive,
        maxHeaders
      })
    const openPool = (to: Place): Http1Pool | Http2Pool =>
      http2
        ? new Http2Pool({
            origin: to.url,
            connect: makeConnect(to.url, { ...connect, ...http2ConnectOptions(url) }, to.address, exhausted),
            connections: maxConnections,
            keepAlive,
            maxHeaders,
            replyTimeout: connect.timeout,
            http1: openHttp1(to)
          })
        : openHttp1(to)
    const { pool, load } = lease(
      `pool ${identity} ${http2}`,
      () => ({ load: { requests: 0 }, pool: openPool({ url, address }) }),
      (value) => value.pool.close()
    )
    const at = { upstream, target: text }
    const simulated = app.simulation === null ? undefined : new SimulatedPool(app.simulation, at)
    this.pool = simulated ?? observedSender(pool, app.observer, at)
    this.load = load
    const upgrades = pool instanceof Http2Pool ? pool.http1 : pool
    this.upgrades = simulated ?? observedSender(upgrades, app.observer, at)
    const { eject, breaker, health } = options
    this.health = lease(
      `target health ${identity} ${JSON.stringify([eject, breaker, health])}`,
      () => new TargetHealth(this.name, app.log, eject, breaker),
      (value) => value.stop()
    )
    if (health !== undefined && app.simulation === null)
      lease(
        `health ${identity} ${JSON.stringify([health, eject, breaker, this.host])}`,
        () =>
          new HealthCheck(health, this.host, this.health, openPool(withPort({ url, address }, health.port))),
        (value) => value.stop()
      )
    this.#releaseResources = () => {
      for (const key of keys) app.resources.release(app, key)
    }
  }

  /** Whether the target can accept one more request. */
  get hasRoom(): boolean {
    return this.load.requests < this.maxRequests && this.health.admits
  }

  /** Returns its weight, reduced during slow start. */
  effectiveWeight(): number {
    if (this.#slowStart === 0 || this.health.since === 0) return this.weight
    const warm = (monotonic() - this.health.since) / this.#slowStart
    return warm >= 1 ? this.weight : this.weight * Math.max(MIN_SLOW_START_SHARE, warm)
  }

  /** Registers a request with this target. */
  acquire(): Lease {
    return new Lease(this.health, this.load, this.#canEject)
  }

  /** Releases its connections, which close when their requests have ended. */
  release(): void {
    this.#releaseResources()
  }
}

/** Where connections are opened to. */
interface Place {
  readonly url: URL
  readonly address: Address | undefined
}

/** Returns the place of the health checks of a target: its own, or another port of it. */
function withPort(place: Place, port: number | undefined): Place {
  if (port === undefined) return place
  const url = new URL(place.url)
  url.port = String(port)
  return { url, address: place.address && { ...place.address, port } }
}

/** Returns the name in TLS of an upstream with a host of its own; an address is not sent (RFC 6066 section 3). */
function serverName(host: string | undefined): { servername?: string } {
  const name = host?.replace(/:\d+$/, '')
  return name === undefined || name.startsWith('[') || isIP(name) !== 0 ? {} : { servername: name }
}

// TLS negotiates the protocol; without TLS, HTTP/2 needs prior knowledge (RFC 9113 section 3.3).
const http2ConnectOptions = (url: URL): object =>
  url.protocol === 'https:' ? { allowH2: true } : { useH2c: true }
