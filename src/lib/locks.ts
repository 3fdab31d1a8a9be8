import { monotonic } from './clock.ts'

interface Lock {
  readonly holder: number
  readonly expiresAt: number
}

/** Locks by name; each expires after a time. */
export class Locks {
  readonly #held = new Map<string, Lock>()

  /** Acquires a lock for at most `ms` milliseconds; returns whether it was free. */
  acquire(name: string, holder: number, ms: number): boolean {
    const now = monotonic()
    const held = this.#held.get(name)
    if (held !== undefined && held.expiresAt > now) return false
    for (const [other, { expiresAt }] of this.#held) if (expiresAt <= now) this.#held.delete(other)
    this.#held.set(name, { holder, expiresAt: now + ms })
    return true
  }

  /** Releases a lock of this holder. */
  release(name: string, holder: number): void {
    if (this.#held.get(name)?.holder === holder) this.#held.delete(name)
  }

  /** Releases all locks of a holder that has exited. */
  releaseAll(holder: number): void {
    for (const [name, held] of this.#held) if (held.holder === holder) this.#held.delete(name)
  }
}
