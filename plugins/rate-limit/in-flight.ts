import type { ServerResponse } from 'node:http'
import { wall } from '../../src/lib/clock.ts'
import type { Script, SharedStore } from '../../src/lib/contracts/store.ts'
import { onResponseClosed } from '../../src/lib/http/response-end.ts'

/** Counts requests in flight by key. */
export interface InFlight {
  /** Acquires a slot if fewer than `max` are in use; the caller releases it. */
  acquire(key: string, max: number): boolean | Promise<boolean>
  release(key: string): void
}

/** Counts in the memory of this process. */
export class LocalInFlight implements InFlight {
  readonly #counts = new Map<string, number>()

  acquire(key: string, max: number): boolean {
    const count = this.#counts.get(key) ?? 0
    if (count >= max) return false
    this.#counts.set(key, count + 1)
    return true
  }

  release(key: string): void {
    const count = (this.#counts.get(key) ?? 0) - 1
    if (count > 0) this.#counts.set(key, count)
    else this.#counts.delete(key)
  }
}

// The slots of a gateway that stopped renewing them expire after this time.
const SLOT_LEASE_MS = 30_000
const RENEW_INTERVAL_MS = 10_000

const ACQUIRE_SCRIPT = `
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

const RENEW_SCRIPT = `
local time = redis.call('TIME')
local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', ms + tonumber(ARGV[1]), ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1`

let slotCount = 0

/** Counts in the shared store; the slots of a gateway that died expire after SLOT_LEASE_MS. */
export class SharedInFlight implements InFlight {
  readonly #store: SharedStore
  readonly #acquireScript: Script
  readonly #renewScript: Script
  readonly #prefix: string
  readonly #held = new Map<string, string[]>()
  readonly #timer: NodeJS.Timeout

  constructor(store: SharedStore, name: string) {
    this.#store = store
    this.#prefix = `${store.prefix}flight:${name}:`
    this.#acquireScript = store.script('enter', 1, ACQUIRE_SCRIPT)
    this.#renewScript = store.script('renew', 1, RENEW_SCRIPT)
    this.#timer = setInterval(() => this.#renewSlots(), RENEW_INTERVAL_MS)
    this.#timer.unref()
  }

  async acquire(key: string, max: number): Promise<boolean> {
    const slot = `${process.pid}-${startedAt}-${slotCount++}`
    if ((await this.#acquireScript([this.#prefix + key], [max, SLOT_LEASE_MS, slot])) !== 1) return false
    const held = this.#held.get(key)
    if (held === undefined) this.#held.set(key, [slot])
    else held.push(slot)
    return true
  }

  release(key: string): void {
    const held = this.#held.get(key)
    const slot = held?.pop()
    if (held?.length === 0) this.#held.delete(key)
    // If the store is unavailable, the slot expires by itself.
    if (slot !== undefined) this.#store.call('ZREM', this.#prefix + key, slot).catch(() => {})
  }

  /** Stops renewing the slots; they expire after SLOT_LEASE_MS. */
  close(): void {
    clearInterval(this.#timer)
  }

  #renewSlots(): void {
    for (const [key, held] of this.#held)
      this.#renewScript([this.#prefix + key], [SLOT_LEASE_MS, ...held]).catch(() => {})
  }
}

const startedAt = wall().toString(36)

/** Releases the slot of a request when its response closes. */
export function releaseOnClose(response: ServerResponse, inFlight: InFlight, key: string): void {
  // The response may have closed while the store was queried.
  if (response.destroyed || response.closed) inFlight.release(key)
  else onResponseClosed(response, release, inFlight, key)
}

const release = (inFlight: InFlight, key: string): void => inFlight.release(key)
