import { monotonic } from './clock.ts'

interface Held {
  readonly holder: number
  readonly ends: number
}

/** Locks by name, each with a time after which it is free again. */
export class Locks {
  readonly #held = new Map<string, Held>()

  /** Takes a lock for at most `ms` milliseconds; tells whether it was free. */
  take(name: string, holder: number, ms: number): boolean {
    const now = monotonic()
    const held = this.#held.get(name)
    if (held !== undefined && held.ends > now) return false
    for (const [other, { ends }] of this.#held) if (ends <= now) this.#held.delete(other)
    this.#held.set(name, { holder, ends: now + ms })
    return true
  }

  /** Frees a lock of this holder. */
  free(name: string, holder: number): void {
    if (this.#held.get(name)?.holder === holder) this.#held.delete(name)
  }

  /** Frees all locks of a holder that is gone. */
  freeAll(holder: number): void {
    for (const [name, held] of this.#held) if (held.holder === holder) this.#held.delete(name)
  }
}
