import { startInterval, stopTimer, type Timer, wall } from '../../src/lib/clock.ts'

/** Sessions to end that the store could not end when it was asked to. */
export interface LateEnd {
  /** The key of one session; undefined for all sessions of a name. */
  readonly key?: string
  /** With a key, whether all sessions of the same user end. */
  readonly everywhere?: boolean
  /** A name that sessions are found by. */
  readonly name?: string
  /** When it was asked for, in milliseconds since 1970: a later log-in stays. */
  readonly at: number
}

// How often the store is tried, in milliseconds, and how many sessions wait for it at most.
const TRY_EVERY = 200
const MOST = 10_000

/** Remembers which sessions are to end while the store is away, and ends them once it is back. */
export class LateEnds {
  readonly #waiting = new Map<string, LateEnd>()
  readonly #isUp: () => boolean
  readonly #end: (late: LateEnd) => Promise<void>
  #timer: Timer | undefined
  #busy = false

  /** Calls `end` for each once `isUp` says yes, again and again until it resolves. */
  constructor(isUp: () => boolean, end: (late: LateEnd) => Promise<void>) {
    this.#isUp = isUp
    this.#end = end
  }

  /** Adds what is to end. */
  add(late: LateEnd): void {
    const id = late.key ?? `name ${late.name}`
    const before = this.#waiting.get(id)
    this.#waiting.set(id, { ...late, everywhere: late.everywhere === true || before?.everywhere === true })
    const [oldest] = this.#waiting.keys()
    if (this.#waiting.size > MOST && oldest !== undefined) this.#waiting.delete(oldest)
    this.#timer ??= startInterval(() => void this.#try(), TRY_EVERY).unref()
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0
  }

  /** Tells whether a session is over already, though the store may still have it. */
  covers(key: string, names: readonly string[], created: number): boolean {
    if (this.#waiting.has(key)) return true
    return names.some((name) => {
      const late = this.#waiting.get(`name ${name}`)
      return late !== undefined && created <= late.at
    })
  }

  /** Forgets all of it. */
  close(): void {
    stopTimer(this.#timer)
    this.#timer = undefined
    this.#waiting.clear()
  }

  async #try(): Promise<void> {
    if (this.#busy || !this.#isUp()) return
    this.#busy = true
    try {
      for (const [id, late] of this.#waiting) {
        await this.#end(late)
        if (this.#waiting.get(id) === late) this.#waiting.delete(id)
      }
    } catch {
      // The store has gone again: the next round goes on with what is left.
    } finally {
      this.#busy = false
    }
    if (this.#waiting.size > 0) return
    stopTimer(this.#timer)
    this.#timer = undefined
  }
}

/** Makes what is to end from what was asked for now. */
export const lateEnd = (late: Omit<LateEnd, 'at'>): LateEnd => ({ ...late, at: wall() })
