import type { FastifyInstance } from 'fastify'

/** How often what clients take is looked at, in milliseconds. */
export const LOOK_EVERY = 1000

// How much of an answer may show as taken at once, in bytes.
const CHUNK = 65_536

/** How slowly a client may take its answer. */
export type ReaderLimits = Pick<FastifyInstance['socketLimits'], 'idle' | 'responseRate'>

/** Watches how fast a client takes an answer, while bytes wait for it. */
export class ReaderWatch {
  /** How many looks in a row have found bytes that wait. */
  looks = 0
  #took = 0

  /**
   * Notes one look: the bytes that wait for the client, and all that it has taken so far. Returns whether it took less than
   * `responseRate`, averaged over `idle`; over longer where so much waits that its taking shows later.
   */
  isTooSlow(
    waiting: number,
    taken: number,
    { idle, responseRate }: ReaderLimits,
    waits = waiting > 0
  ): boolean {
    if (!waits || this.looks === 0) {
      this.#took = taken
      this.looks = waits ? 1 : 0
      return false
    }
    this.looks++
    const time = (this.looks - 1) * LOOK_EVERY
    // Node.js counts a write as taken once all of it is, and the kernel takes more only once much of its own buffer is free.
    const atRate = responseRate === 0 ? Number.POSITIVE_INFINITY : (waiting / responseRate) * 1000
    if (idle === 0 || time < Math.max(idle, Math.min(atRate, (idle * waiting) / CHUNK))) return false
    const slow = taken - this.#took <= (responseRate * time) / 1000
    this.looks = 1
    this.#took = taken
    return slow
  }
}
