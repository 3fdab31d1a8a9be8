import { LRUCache } from 'lru-cache'
import { monotonic } from '../../../src/lib/clock.ts'
import { bytesOf, type CacheStore, type Entry, isVaryRecord, type Stored } from '../entry.ts'
import { Encodings } from './encodings.ts'

/** How much memory all entries of a process share by default, in bytes. */
export const MEMORY_BYTES: number = 64 * 1024 * 1024

interface Slot {
  readonly stored: Stored
  readonly expiresAt: number
}

/** Entries in the memory of this process; the least recently used ones go first. */
export class MemoryStore implements CacheStore {
  readonly #slots: LRUCache<string, Slot>

  constructor(bytes: number = MEMORY_BYTES) {
    this.#slots = new LRUCache({
      maxSize: bytes,
      sizeCalculation: ({ stored }, key) => bytesOf(key, stored)
    })
  }

  get(key: string): Stored | undefined {
    const slot = this.#slots.get(key)
    if (slot === undefined) return undefined
    if (slot.expiresAt > monotonic()) return slot.stored
    this.#slots.delete(key)
    return undefined
  }

  set(key: string, stored: Stored, ttl: number): void {
    const expiresAt = monotonic() + ttl
    if (isVaryRecord(stored)) {
      this.#slots.set(key, { stored, expiresAt })
      return
    }
    const slot: Slot = {
      stored: { ...ownBody(stored), encodings: new Encodings(() => this.#grow(key, slot)) },
      expiresAt
    }
    this.#slots.set(key, slot)
  }

  /** Counts an entry anew, unless another one has taken its place. */
  #grow(key: string, { stored }: Slot): void {
    const slot = this.#slots.peek(key)
    if (slot?.stored === stored) this.#slots.set(key, { ...slot })
  }

  delete(key: string): void {
    this.#slots.delete(key)
  }

  /** Returns how many bytes all entries take, about. */
  get bytes(): number {
    return this.#slots.calculatedSize
  }

  /** Returns how many entries there are. */
  get size(): number {
    return this.#slots.size
  }
}

/** Copies a body that is a small part of a larger block of memory, such as a read of a socket, which would stay in memory with it. */
function ownBody(entry: Entry): Entry {
  const { body } = entry
  if (body.length === body.buffer.byteLength) return entry
  const copy = Buffer.allocUnsafeSlow(body.length)
  body.copy(copy)
  return { ...entry, body: copy }
}
