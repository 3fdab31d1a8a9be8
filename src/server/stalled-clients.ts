import type { FastifyInstance } from 'fastify'

/** How often the progress of clients is checked, in ms. */
export const CHECK_INTERVAL_MS = 1000

// How many bytes of a response may show as read at once.
const CHUNK_BYTES = 65_536

/** How slowly a client may read its response. */
export type ReaderLimits = Pick<FastifyInstance['socketLimits'], 'idle' | 'responseRate'>

/** What one check finds of a response. */
export interface Progress {
  /** The bytes that are buffered for the client. */
  readonly pending: number
  /** All that the client has read so far, in bytes. */
  readonly read: number
  /** Whether the response is unfinished, where `pending` alone does not tell. */
  readonly unfinished?: boolean
}

/** Measures how fast a client reads a response, while bytes are pending for it. */
export class StallDetector {
  /** How many checks in a row have found pending bytes. */
  #checks = 0
  #readBefore = 0

  /**
   * Records one check. Returns "stalled" where the client read less than `responseRate`, averaged over `idle`, or over a
   * longer time where so much is pending that progress shows later.
   */
  observe(
    { pending, read, unfinished = pending > 0 }: Progress,
    { idle, responseRate }: ReaderLimits
  ): 'stalled' | 'ok' {
    if (!unfinished || this.#checks === 0) {
      this.#readBefore = read
      this.#checks = unfinished ? 1 : 0
      return 'ok'
    }
    this.#checks++
    const time = (this.#checks - 1) * CHECK_INTERVAL_MS
    // Node.js counts a write as done once all of it is, and the kernel accepts more only once much of its own buffer is free.
    const atRate = responseRate === 0 ? Number.POSITIVE_INFINITY : (pending / responseRate) * 1000
    if (idle === 0 || time < Math.max(idle, Math.min(atRate, (idle * pending) / CHUNK_BYTES))) return 'ok'
    const stalled = read - this.#readBefore <= (responseRate * time) / 1000
    this.#checks = 1
    this.#readBefore = read
    return stalled ? 'stalled' : 'ok'
  }
}
