/** The default of "overload.buffers": how many bytes of bodies a process may buffer. */
export const DEFAULT_BUFFERS: number = 256 * 1024 * 1024

/** Counts the bytes of bodies that a process buffers, against one limit. */
export class BufferBudget {
  /** The maximum in bytes; Infinity for no limit. */
  limit = DEFAULT_BUFFERS
  #held = 0

  /** The bytes that are reserved now. */
  get held(): number {
    return this.#held
  }

  /** Reserves bytes; returns false where that would exceed the limit. */
  reserve(bytes: number): boolean {
    if (this.#held + bytes > this.limit) return false
    this.#held += bytes
    return true
  }

  /** Releases bytes that were reserved. */
  release(bytes: number): void {
    this.#held -= bytes
  }
}

/** A part of a budget that grows, and is released all at once. */
export class Reservation {
  readonly #budget: BufferBudget
  #bytes = 0

  constructor(budget: BufferBudget) {
    this.#budget = budget
  }

  /** Reserves more bytes; returns false where that would exceed the limit. */
  add(bytes: number): boolean {
    if (!this.#budget.reserve(bytes)) return false
    this.#bytes += bytes
    return true
  }

  /** Releases all of it; the reservation can be used again. */
  release(): void {
    this.#budget.release(this.#bytes)
    this.#bytes = 0
  }
}
