import type { SharedStore } from '../../../src/lib/contracts/store.ts'
import { type CacheStore, decode, encode, isVaryRecord, type Stored } from '../entry.ts'
import type { MemoryStore } from './memory.ts'

// Larger bodies are not worth a round trip.
const MAX_BODY_BYTES = 1024 * 1024

// How long a process answers from its memory what it has read from Redis or written to it, in ms.
const FRONT_MS = 1000

/** Entries in the Redis that gateways share, with those of the last second in memory. An unavailable Redis has no entries. */
export class RedisCacheStore implements CacheStore {
  readonly #store: SharedStore
  readonly #front: MemoryStore
  readonly #frontPrefix: string

  constructor(store: SharedStore, front: MemoryStore) {
    this.#store = store
    this.#front = front
    this.#frontPrefix = `${store.id} `
  }

  get(key: string): Stored | undefined | Promise<Stored | undefined> {
    return this.#front.get(this.#frontPrefix + key) ?? this.#read(key)
  }

  set(key: string, stored: Stored, ttl: number): void {
    if (!isVaryRecord(stored) && stored.body.length > MAX_BODY_BYTES) return
    this.#front.set(this.#frontPrefix + key, stored, Math.min(ttl, FRONT_MS))
    const milliseconds = Math.max(1, Math.ceil(ttl))
    this.#try('SET', this.#redisKey(key), encode(stored), 'PX', milliseconds)
  }

  delete(key: string): void {
    this.#front.delete(this.#frontPrefix + key)
    this.#try('DEL', this.#redisKey(key))
  }

  async #read(key: string): Promise<Stored | undefined> {
    try {
      const bytes = await this.#store.callBuffer('GET', this.#redisKey(key))
      const stored = Buffer.isBuffer(bytes) ? decode(bytes) : undefined
      if (stored !== undefined) this.#front.set(this.#frontPrefix + key, stored, FRONT_MS)
      return stored
    } catch {
      return undefined
    }
  }

  /** Runs a command without waiting for it; the store logs why it is unavailable. */
  #try(command: string, ...args: readonly (string | number | Buffer)[]): void {
    this.#store.callBuffer(command, ...args).catch(() => {})
  }

  #redisKey(key: string): string {
    return `${this.#store.prefix}cache:${key}`
  }
}
