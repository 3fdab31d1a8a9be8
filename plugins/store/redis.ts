import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { type Script, type SharedStore, storeAway } from '../../src/lib/contracts/store.ts'

/** Where a store is and how it is spoken to. */
export interface RedisOptionsOfStore {
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

// How often a store that is away is asked whether it is back, and how long the client waits between connections at most, in milliseconds.
const PING_INTERVAL_MS = 200

// A time-out that comes so much too late is that of a process that stood still, in milliseconds.
const LATE_TIMER_MS = 50
const MAX_RECONNECT_DELAY_MS = 500

// What Redis says of one command alone; all else that it says is about itself (LOADING, READONLY, CLUSTERDOWN, OOM, NOAUTH ...).
const COMMAND_ERROR = /^(ERR|WRONGTYPE|NOSCRIPT|EXECABORT|user_script)/

let storeCount = 0

/** Redis or Valkey, as a store that is there or away: nobody queues for it, and nobody waits longer than its timeout. */
export class RedisStore implements SharedStore {
  readonly id = `store ${storeCount++}`
  readonly prefix: string
  /** Settles once the first connection stands, or after the timeout. */
  readonly opened: Promise<unknown>
  readonly #client: Client
  readonly #log: FastifyBaseLogger
  readonly #timeout: number
  #away = false
  // Since when there is a doubt, by performance.now(); 0 for none.
  #doubted = 0
  #asking: NodeJS.Timeout | undefined
  #closed = false

  constructor(place: RedisOptionsOfStore, log: FastifyBaseLogger) {
    this.prefix = place.prefix
    this.#log = log
    this.#timeout = place.timeout
    this.#client = createClient(place) as Client
    // A client without a listener would end the process.
    this.#client.on('error', () => {})
    this.opened = Promise.race([
      new Promise<void>((resolve) => this.#client.once('ready', () => resolve())),
      wait(place.timeout, undefined, { ref: false })
    ])
  }

  get up(): boolean {
    return !this.#away && this.#client.status === 'ready'
  }

  get client(): Redis | Cluster {
    return this.#client
  }

  async ask<T>(run: () => Promise<T>): Promise<T> {
    if (this.#away) throw storeAway()
    const began = performance.now()
    try {
      const answer = await run()
      this.#doubted = 0
      return answer
    } catch (error) {
      const { message } = error as Error
      if (COMMAND_ERROR.test(message)) this.#log.error({ cause: message }, 'the store did not take a command')
      else if (!this.#stoodStill(began)) this.#leave(message)
      throw storeAway()
    }
  }

  call(command: string, ...args: readonly (string | number)[]): Promise<unknown> {
    return this.ask(() => this.#client.call(command, args.map(String)))
  }

  script(name: string, keys: number, lua: string): Script {
    const command = `sallyport_${name}`
    if (this.#client[command] === undefined) this.#client.defineCommand(command, { numberOfKeys: keys, lua })
    return (named, args) => this.ask(() => (this.#client[command] as Client[string])(...named, ...args))
  }

  /** Ends the connections. */
  close(): void {
    this.#closed = true
    clearInterval(this.#asking)
    this.#client.disconnect()
  }

  /** Tells whether this process itself did nothing for a while, and so read no answers either: that says nothing of the store, unless it happens twice in a row. */
  #stoodStill(began: number): boolean {
    const now = performance.now()
    if (now - began < this.#timeout + LATE_TIMER_MS || (this.#doubted !== 0 && began > this.#doubted))
      return false
    if (this.#doubted === 0) this.#doubted = now
    return true
  }

  // From here on nobody waits for it; one question at a time finds out when it is back.
  #leave(cause: string): void {
    if (this.#away || this.#closed) return
    this.#away = true
    this.#log.error(
      { cause: withoutAddresses(cause) },
      'the store is away: limits do what "onStoreFailure" says, and sessions let nobody in'
    )
    let asked = false
    this.#asking = setInterval(() => {
      if (asked || this.#client.status !== 'ready') return
      asked = true
      Promise.race([this.#client.ping(), wait(this.#timeout, undefined, { ref: false })]).then(
        (answer) => {
          asked = false
          if (answer !== undefined) this.#return()
        },
        () => {
          asked = false
        }
      )
    }, PING_INTERVAL_MS)
    this.#asking.unref()
  }

  #return(): void {
    if (!this.#away) return
    this.#away = false
    clearInterval(this.#asking)
    this.#log.info('the store is back')
  }
}

// An error of a connection names where it went.
const withoutAddresses = (text: string): string => text.replaceAll(/\S*[\d.:]+:\d+\S*|\/\S+/g, '…')

function createClient({ redis, cluster, sentinel, tls, timeout }: RedisOptionsOfStore): Redis | Cluster {
  const common = {
    // What can't be asked now is refused now.
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
  const said = redis ?? ''
  return said.startsWith('unix:') ? new Redis({ ...common, path: said.slice(5) }) : new Redis(said, common)
}

function credentialsOf(node: string): { username?: string; password?: string } {
  const { username, password } = new URL(node)
  return {
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) })
  }
}
