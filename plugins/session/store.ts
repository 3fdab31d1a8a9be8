/** What a session remembers. */
export interface Kept {
  readonly user: string
  /** When it began, in milliseconds since 1970. */
  readonly created: number
}

interface Entry {
  readonly text: string
  readonly created: number
  ends: number
}

// How many sessions one process remembers; beyond that the one longest not used ends.
const MOST = 100_000

/** Sessions in the memory of this process, bounded, with idle and absolute ends; a store as @fastify/session wants one. */
export class MemorySessions {
  readonly #entries = new Map<string, Entry>()
  #idle = 0
  #absolute = 0

  /** Sets how long sessions last, in milliseconds; a reload may change it. */
  last(idle: number, absolute: number): void {
    this.#idle = idle
    this.#absolute = absolute
  }

  /** Counts the sessions that are stored, ended ones that nobody came for included. */
  get size(): number {
    return this.#entries.size
  }

  set(id: string, session: object, done: (error?: Error | null) => void): void {
    const created = (session as Partial<Kept>).created ?? Date.now()
    // A session without a user is that of a visitor: nobody who never logs in is remembered.
    if ((session as Partial<Kept>).user !== undefined) {
      this.#entries.delete(id)
      this.#entries.set(id, { text: JSON.stringify(session), created, ends: this.#endOf(created) })
      if (this.#entries.size > MOST) this.#forget()
    }
    done(null)
  }

  get(id: string, done: (error: Error | null, session?: never) => void): void {
    const entry = this.#entries.get(id)
    const lives = entry !== undefined && entry.ends > Date.now()
    if (!lives) this.#entries.delete(id)
    done(null, lives ? (JSON.parse(entry.text) as never) : undefined)
  }

  destroy(id: string, done: (error?: Error | null) => void): void {
    this.#entries.delete(id)
    done(null)
  }

  /** Moves the idle end of a session, once that is by a tenth of the idle time. */
  touch(id: string): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    const ends = this.#endOf(entry.created)
    if (Math.abs(ends - entry.ends) < this.#idle / 10) return
    entry.ends = ends
    this.#entries.delete(id)
    this.#entries.set(id, entry)
  }

  #endOf(created: number): number {
    return Math.min(Date.now() + this.#idle, created + this.#absolute)
  }

  #forget(): void {
    const now = Date.now()
    for (const [id, { ends }] of this.#entries) if (ends <= now) this.#entries.delete(id)
    for (const id of this.#entries.keys()) {
      if (this.#entries.size <= MOST) return
      this.#entries.delete(id)
    }
  }
}
