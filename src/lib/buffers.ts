/** The bytes of bodies that a process may hold where "overload.buffers" does not say. */
export const DEFAULT_BUFFERS: number = 256 * 1024 * 1024

/** Counts the bytes of bodies that a process holds in memory, against one limit. */
export class BufferBudget {
  /** The most bytes; Infinity for no limit. */
  limit = DEFAULT_BUFFERS
  #held = 0

  /** The bytes that are held now. */
  get held(): number {
    return this.#held
  }

  /** Counts so many bytes more, if there is room for them; returns whether there was. */
  reserve(bytes: number): boolean {
    if (this.#held + bytes > this.limit) return false
    this.#held += bytes
    return true
  }

  /** Counts so many bytes less. */
  release(bytes: number): void {
    this.#held -= bytes
  }
}

/** A share of a budget that grows and is given back as a whole. */
export class Reservation {
  readonly #budget: BufferBudget
  #bytes = 0

  constructor(budget: BufferBudget) {
    this.#budget = budget
  }

  /** Adds bytes, if there is room for them; returns whether there was. */
  add(bytes: number): boolean {
    if (!this.#budget.reserve(bytes)) return false
    this.#bytes += bytes
    return true
  }

  /** Gives all of it back; it may be used anew. */
  release(): void {
    this.#budget.release(this.#bytes)
    this.#bytes = 0
  }
}
