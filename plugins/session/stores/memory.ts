import { monotonic } from '../../../src/lib/clock.ts'
import { indexesOf, type ListedSession, type SessionData, SessionStore } from '../store.ts'

interface Entry {
  readonly text: string
  readonly created: number
  readonly indexes: readonly string[]
  /** By the monotonic clock. */
  expiresAt: number
}

// Beyond this number the least recently used session ends.
const MAX_SESSIONS = 100_000

/** Sessions in the memory of this process, bounded. */
export class MemorySessions extends SessionStore {
  // In the order of their last use.
  readonly #entries = new Map<string, Entry>()
  readonly #keysByIndex = new Map<string, Set<string>>()

  /** The number of stored sessions, expired ones included. */
  get size(): number {
    return this.#entries.size
  }

  async list(index: string): Promise<ListedSession[]> {
    const now = monotonic()
    return [...(this.#keysByIndex.get(index) ?? [])].flatMap((id) => {
      const entry = this.#entries.get(id)
      return entry === undefined || entry.expiresAt <= now ? [] : [{ id, created: entry.created }]
    })
  }

  protected write(key: string, data: SessionData, text: string): void | Promise<void> {
    this.put({ key, text, expiresAt: this.expiryOf(data.created) }, data)
  }

  protected async replace(key: string, data: SessionData, text: string): Promise<boolean> {
    if (this.readAndTouch(key) === undefined) return false
    await this.write(key, data, text)
    return this.read(key) !== undefined
  }

  protected read(key: string): string | undefined {
    const entry = this.#entries.get(key)
    return entry === undefined || entry.expiresAt <= monotonic() ? undefined : entry.text
  }

  protected readAndTouch(key: string): string | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (entry.expiresAt <= monotonic()) {
      this.drop(key)
      return undefined
    }
    const expiresAt = this.expiryOf(entry.created)
    if (Math.abs(expiresAt - entry.expiresAt) >= this.idle / 10) this.touch(key, expiresAt)
    return entry.text
  }

  protected remove(key: string): void | Promise<void> {
    this.drop(key)
  }

  /** Returns when a session expires, by the monotonic clock. */
  protected expiryOf(created: number): number {
    return monotonic() + this.remainingMs(created)
  }

  /** Stores a session in this process. */
  protected put({ key, text, expiresAt }: StoredSession, data: SessionData): void {
    this.#delete(key)
    const indexes = indexesOf(data)
    this.#entries.set(key, { text, created: data.created, indexes, expiresAt })
    for (const index of indexes) {
      const keys = this.#keysByIndex.get(index)
      if (keys === undefined) this.#keysByIndex.set(index, new Set([key]))
      else keys.add(key)
    }
    if (this.#entries.size > MAX_SESSIONS) this.#evict()
  }

  /** Sets the expiry of a session in this process. */
  protected touch(key: string, expiresAt: number): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    entry.expiresAt = expiresAt
    this.#entries.delete(key)
    this.#entries.set(key, entry)
  }

  /** Removes a session from this process and ends its streams. */
  protected drop(key: string): void {
    this.#delete(key)
    this.streams.end(key)
  }

  /** Lists all sessions of this process. */
  protected all(): StoredSession[] {
    return [...this.#entries].map(([key, { text, expiresAt }]) => ({ key, text, expiresAt }))
  }

  #delete(key: string): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#entries.delete(key)
    for (const index of entry.indexes) {
      const keys = this.#keysByIndex.get(index)
      keys?.delete(key)
      if (keys?.size === 0) this.#keysByIndex.delete(index)
    }
  }

  #evict(): void {
    const now = monotonic()
    for (const [key, { expiresAt }] of this.#entries) if (expiresAt <= now) this.drop(key)
    for (const key of this.#entries.keys()) {
      if (this.#entries.size <= MAX_SESSIONS) return
      this.drop(key)
    }
  }
}

/** A session as it is stored. */
export interface StoredSession {
  readonly key: string
  readonly text: string
  /** By the monotonic clock. */
  readonly expiresAt: number
}
