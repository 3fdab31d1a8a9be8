import { startInterval, stopTimer, type Timer, wall } from '../../src/lib/clock.ts'

/** Sessions that are to end once the store is available. */
export interface PendingEnd {
  /** The key of one session; undefined for all sessions of an index entry. */
  readonly key?: string
  /** With a key, whether all sessions of the same user end. */
  readonly everywhere?: boolean
  /** The index entry of the sessions. */
  readonly index?: string
  /** When the end was requested, in milliseconds since 1970; later sessions are kept. */
  readonly at: number
}

const RETRY_INTERVAL_MS = 200
const MAX_PENDING = 10_000

/** Keeps ends of sessions while the store is unavailable, and carries them out when it is back. */
export class PendingEnds {
  readonly #pending = new Map<string, PendingEnd>()
  readonly #isUp: () => boolean
  readonly #end: (end: PendingEnd) => Promise<void>
  #timer: Timer | undefined
  #isRunning = false

  /** Calls `end` for each pending end while `isUp` returns true, until it resolves. */
  constructor(isUp: () => boolean, end: (end: PendingEnd) => Promise<void>) {
    this.#isUp = isUp
    this.#end = end
  }

  /** Adds an end; beyond 10,000 the oldest one is dropped. */
  add(end: PendingEnd): void {
    const id = end.key ?? `name ${end.index}`
    const before = this.#pending.get(id)
    this.#pending.set(id, { ...end, everywhere: end.everywhere === true || before?.everywhere === true })
    const [oldest] = this.#pending.keys()
    if (this.#pending.size > MAX_PENDING && oldest !== undefined) this.#pending.delete(oldest)
    this.#timer ??= startInterval(() => void this.#run(), RETRY_INTERVAL_MS).unref()
  }

  get isEmpty(): boolean {
    return this.#pending.size === 0
  }

  /** Returns whether a session has a pending end, though the store may still have it. */
  covers(key: string, indexes: readonly string[], created: number): boolean {
    if (this.#pending.has(key)) return true
    return indexes.some((index) => {
      const end = this.#pending.get(`name ${index}`)
      return end !== undefined && created <= end.at
    })
  }

  /** Drops all pending ends. */
  close(): void {
    stopTimer(this.#timer)
    this.#timer = undefined
    this.#pending.clear()
  }

  async #run(): Promise<void> {
    if (this.#isRunning || !this.#isUp()) return
    this.#isRunning = true
    try {
      for (const [id, end] of this.#pending) {
        await this.#end(end)
        if (this.#pending.get(id) === end) this.#pending.delete(id)
      }
    } catch {
      // The store is unavailable again: the next run continues.
    } finally {
      this.#isRunning = false
    }
    if (this.#pending.size > 0) return
    stopTimer(this.#timer)
    this.#timer = undefined
  }
}

/** Makes a pending end that is requested now. */
export const pendingEnd = (end: Omit<PendingEnd, 'at'>): PendingEnd => ({ ...end, at: wall() })
