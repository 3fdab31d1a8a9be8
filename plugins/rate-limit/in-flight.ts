import type { ServerResponse } from 'node:http'
import { wall } from '../../src/lib/clock.ts'
import type { Script, SharedStore } from '../../src/lib/contracts/store.ts'
import { onResponseClosed } from '../../src/lib/http/response-end.ts'

/** Counts requests by key for as long as they last. */
export interface InFlight {
  /** Lets a request in where fewer than `max` of its key are there; it stays until `leave`. */
  enter(key: string, max: number): boolean | Promise<boolean>
  leave(key: string): void
}

/** Counts in the memory of this process. */
export class OwnInFlight implements InFlight {
  readonly #counts = new Map<string, number>()

  enter(key: string, max: number): boolean {
    const count = this.#counts.get(key) ?? 0
    if (count >= max) return false
    this.#counts.set(key, count + 1)
    return true
  }

  leave(key: string): void {
    const count = (this.#counts.get(key) ?? 0) - 1
    if (count > 0) this.#counts.set(key, count)
    else this.#counts.delete(key)
  }
}

// How long a place is kept for a gateway that says nothing more, and how often it says so, in milliseconds.
const LEASE = 30_000
const RENEW_EVERY = 10_000

const ENTER = `
local time = redis.call('TIME')
local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local lease = ms + tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms)
for _, place in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. lease, '+inf')) do
  redis.call('ZADD', KEYS[1], 'XX', lease, place)
end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], lease, ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`

const RENEW = `
local time = redis.call('TIME')
local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', ms + tonumber(ARGV[1]), ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1`

let places = 0

/** Counts in the store that gateways share; the places of one that died are free again after a while. */
export class SharedInFlight implements InFlight {
  readonly #store: SharedStore
  readonly #enter: Script
  readonly #renew: Script
  readonly #prefix: string
  readonly #mine = new Map<string, string[]>()
  readonly #timer: NodeJS.Timeout

  constructor(store: SharedStore, name: string) {
    this.#store = store
    this.#prefix = `${store.prefix}flight:${name}:`
    this.#enter = store.script('enter', 1, ENTER)
    this.#renew = store.script('renew', 1, RENEW)
    this.#timer = setInterval(() => this.#stay(), RENEW_EVERY)
    this.#timer.unref()
  }

  async enter(key: string, max: number): Promise<boolean> {
    const place = `${process.pid}-${started}-${places++}`
    if ((await this.#enter([this.#prefix + key], [max, LEASE, place])) !== 1) return false
    const mine = this.#mine.get(key)
    if (mine === undefined) this.#mine.set(key, [place])
    else mine.push(place)
    return true
  }

  leave(key: string): void {
    const mine = this.#mine.get(key)
    const place = mine?.pop()
    if (mine?.length === 0) this.#mine.delete(key)
    // Where the store is away the place ends by itself.
    if (place !== undefined) this.#store.call('ZREM', this.#prefix + key, place).catch(() => {})
  }

  /** Stops saying who is there. */
  close(): void {
    clearInterval(this.#timer)
  }

  #stay(): void {
    for (const [key, mine] of this.#mine) this.#renew([this.#prefix + key], [LEASE, ...mine]).catch(() => {})
  }
}

const started = wall().toString(36)

/** Leaves, when an answer is over, what its request has entered. */
export function leaveAtTheEnd(response: ServerResponse, inFlight: InFlight, key: string): void {
  // It ended while the store was asked.
  if (response.destroyed || response.closed) inFlight.leave(key)
  else onResponseClosed(response, leave, inFlight, key)
}

const leave = (inFlight: InFlight, key: string): void => inFlight.leave(key)
