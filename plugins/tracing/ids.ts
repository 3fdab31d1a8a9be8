import { randomFillSync } from 'node:crypto'

// Random bytes are made in bulk: one call for each id would cost more than the rest of an unsampled request.
const pool = Buffer.allocUnsafe(8192)
let used = pool.length

function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += bytes
  return pool.toString('hex', used - bytes, used)
}

/** Returns a new trace id: 32 hexadecimal digits. */
export const newTraceId = (): string => randomHex(16)

/** Returns a new span id: 16 hexadecimal digits. */
export const newSpanId = (): string => randomHex(8)

// The last 56 bits of a trace id are random (W3C Trace Context Level 2). Numbers hold 52 bits exactly.
const RANDOM_FROM = 18
const RANDOM_DIGITS = 13
const RANGE = 16 ** RANDOM_DIGITS

/** Compiles a share of traces into a test of trace ids. All services that sample by the same bits take the same traces, and a larger share includes a smaller one. */
export function makeSampler(ratio: number): (traceId: string) => boolean {
  if (ratio >= 1) return () => true
  if (ratio <= 0) return () => false
  const threshold = (1 - ratio) * RANGE
  return (traceId) =>
    Number.parseInt(traceId.slice(RANDOM_FROM, RANDOM_FROM + RANDOM_DIGITS), 16) >= threshold
}
