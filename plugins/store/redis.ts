import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import { Cluster, Command, Redis, type RedisOptions } from 'ioredis'
import { type Script, type SharedStore, storeUnavailable } from '../../src/lib/contracts/store.ts'

/** The address of a store and the settings of its connections. */
export interface StoreConnection {
  readonly redis?: string | undefined
  readonly cluster?: readonly string[] | undefined
  readonly sentinel?:
    | {
        readonly name: string
        readonly nodes: readonly string[]
        readonly username?: string | undefined
        readonly password?: string | undefined
        readonly db: number
      }
    | undefined
  readonly tls: object | undefined
  readonly prefix: string
  /** Milliseconds. */
  readonly timeout: number
}

type Client = (Redis | Cluster) & Record<string, (...args: unknown[]) => Promise<unknown>>

// How often an unavailable store is pinged.
const PING_INTERVAL_MS = 200

// A timeout that fires later than this was delayed by a stalled process.
const LATE_TIMER_MS = 50
const MAX_RECONNECT_DELAY_MS = 500

// Errors of a single command; all others concern the server (LOADING, READONLY, CLUSTERDOWN, OOM, NOAUTH ...).
const COMMAND_ERROR = /^(ERR|WRONGTYPE|NOSCRIPT|EXECABORT|user_script)/

let storeCount = 0

/** A store in Redis or Valkey. Calls fail at once while it is unavailable, and otherwise within its timeout. */
export class RedisStore implements SharedStore {
  readonly id = `store ${storeCount++}`
  readonly prefix: string
  /** Resolves when the first connection is ready, or after the timeout. */
  readonly opened: Promise<unknown>
  readonly #client: Client
  readonly #log: FastifyBaseLogger
  readonly #timeout: number
  #unavailable = false
  // When the last stall of this process was seen, by performance.now(); 0 for never.
  #doubtedAt = 0
  #pingTimer: NodeJS.Timeout | undefined
  #closed = false

  constructor(place: StoreConnection, log: FastifyBaseLogger) {
    this.prefix = place.prefix
    this.#log = log
    this.#timeout = place.timeout
    this.#client = createClient(place) as Client
    // Without an error listener, the client's error event would end the process.
    this.#client.on('error', () => {})
    this.opened = Promise.race([
      new Promise<void>((resolve) => this.#client.once('ready', () => resolve())),
      wait(place.timeout, undefined, { ref: false })
    ])
  }

  get up(): boolean {
    return !this.#unavailable && this.#client.status === 'ready'
  }

  get client(): Redis | Cluster {
    return this.#client
  }

  async run<T>(command: () => Promise<T>): Promise<T> {
    if (this.#unavailable) throw storeUnavailable()
    const startedAt = performance.now()
    try {
      const reply = await command()
      this.#doubtedAt = 0
      return reply
    } catch (error) {
      const { message } = error as Error
      if (COMMAND_ERROR.test(message)) this.#log.error({ cause: message }, 'store command failed')
      else if (!this.#recordStall(startedAt)) this.#markUnavailable(message)
      throw storeUnavailable()
    }
  }

  call(command: string, ...args: readonly (string | number)[]): Promise<unknown> {
    return this.run(() => this.#client.call(command, args.map(String)))
  }

  callBuffer(command: string, ...args: readonly (string | number | Buffer)[]): Promise<unknown> {
    const values = args.map((arg) => (typeof arg === 'number' ? String(arg) : arg))
    // ioredis fails on its own callBuffer where it pipelines by itself.
    return this.run(() => {
      const sent = new Command(command, values, { replyEncoding: null })
      void this.#client.sendCommand(sent)
      return sent.promise
    })
  }

  script(name: string, keys: number, lua: string): Script {
    const command = `sallyport_${name}`
    if (this.#client[command] === undefined) this.#client.defineCommand(command, { numberOfKeys: keys, lua })
    return (named, args) => this.run(() => (this.#client[command] as Client[string])(...named, ...args))
  }

  /** Closes the connections. */
  close(): void {
    this.#closed = true
    clearInterval(this.#pingTimer)
    this.#client.disconnect()
  }

  /** Records a stall of this process, which delays replies too; returns whether it excuses the timeout. Two in a row don't. */
  #recordStall(startedAt: number): boolean {
    const now = performance.now()
    if (
      now - startedAt < this.#timeout + LATE_TIMER_MS ||
      (this.#doubtedAt !== 0 && startedAt > this.#doubtedAt)
    )
      return false
    if (this.#doubtedAt === 0) this.#doubtedAt = now
    return true
  }

  // From here on calls fail at once; a ping at a time finds out when the store is back.
  #markUnavailable(cause: string): void {
    if (this.#unavailable || this.#closed) return
    this.#unavailable = true
    this.#log.error({ cause: withoutAddresses(cause) }, 'store unavailable')
    let pinging = false
    this.#pingTimer = setInterval(() => {
      if (pinging || this.#client.status !== 'ready') return
      pinging = true
      Promise.race([this.#client.ping(), wait(this.#timeout, undefined, { ref: false })]).then(
        (reply) => {
          pinging = false
          if (reply !== undefined) this.#markAvailable()
        },
        () => {
          pinging = false
        }
      )
    }, PING_INTERVAL_MS)
    this.#pingTimer.unref()
  }

  #markAvailable(): void {
    if (!this.#unavailable) return
    this.#unavailable = false
    clearInterval(this.#pingTimer)
    this.#log.info('store recovered')
  }
}

// Connection errors contain the address of the store.
const withoutAddresses = (text: string): string => text.replaceAll(/\S*[\d.:]+:\d+\S*|\/\S+/g, '…')

function createClient({ redis, cluster, sentinel, tls, timeout }: StoreConnection): Redis | Cluster {
  const common = {
    // Commands fail at once while there is no connection.
    connectionName: 'sallyport',
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    commandTimeout: timeout,
    connectTimeout: Math.max(timeout, 1000),
    enableAutoPipelining: true,
    retryStrategy: (times: number) => Math.min(MAX_RECONNECT_DELAY_MS, 50 * times),
    ...(tls === undefined ? {} : { tls })
  } satisfies RedisOptions
  if (cluster !== undefined)
    return new Cluster(
      cluster.map((node) => {
        const { hostname, port } = new URL(node)
        return { host: hostname, port: Number(port || 6379) }
      }),
      {
        redisOptions: { ...common, ...credentialsOf(cluster[0] ?? '') },
        enableOfflineQueue: false,
        enableAutoPipelining: true,
        clusterRetryStrategy: common.retryStrategy,
        slotsRefreshTimeout: Math.max(timeout, 1000)
      }
    )
  if (sentinel !== undefined)
    return new Redis({
      ...common,
      name: sentinel.name,
      sentinels: sentinel.nodes.map((node) => {
        const { hostname, port } = new URL(node)
        return { host: hostname, port: Number(port || 26_379) }
      }),
      sentinelRetryStrategy: common.retryStrategy,
      db: sentinel.db,
      ...(sentinel.username === undefined ? {} : { username: sentinel.username }),
      ...(sentinel.password === undefined ? {} : { password: sentinel.password })
    })
  const url = redis ?? ''
  return url.startsWith('unix:') ? new Redis({ ...common, path: url.slice(5) }) : new Redis(url, common)
}

function credentialsOf(node: string): { username?: string; password?: string } {
  const { username, password } = new URL(node)
  return {
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) })
  }
}
