import type { Reservation } from '../buffers.ts'

// The memory of a body of unknown length begins with this, and doubles.
const FIRST_BYTES = 16_384

/** Collects a body in memory of its own: small parts would keep the blocks alive that they were read into. */
export class BodyCollector {
  readonly #maxBody: number
  readonly #reservation: Reservation
  readonly #firstBytes: number
  #memory = Buffer.alloc(0)
  #length = 0

  /** Collects at most `maxBody` bytes, whose memory is counted by a reservation; `length` is that of the body, if known. */
  constructor(maxBody: number, reservation: Reservation, length: number = FIRST_BYTES) {
    this.#maxBody = maxBody
    this.#reservation = reservation
    this.#firstBytes = length
  }

  /** Adds a part; returns why it can't be added: the body is too large, or there is no memory left for it. */
  add(part: Buffer): 'size' | 'memory' | undefined {
    const length = this.#length + part.length
    if (length > this.#maxBody) return 'size'
    if (length > this.#memory.length && !this.#grow(length)) return 'memory'
    part.copy(this.#memory, this.#length)
    this.#length = length
    return undefined
  }

  /** What has been collected. */
  get bytes(): Buffer {
    return this.#memory.subarray(0, this.#length)
  }

  #grow(length: number): boolean {
    const bytes = Math.min(this.#maxBody, Math.max(length, 2 * this.#memory.length, this.#firstBytes))
    if (!this.#reservation.add(bytes - this.#memory.length)) return false
    const memory = Buffer.allocUnsafeSlow(bytes)
    this.#memory.copy(memory, 0, 0, this.#length)
    this.#memory = memory
    return true
  }
}
