import { wall } from '../../src/lib/clock.ts'

/** Returns a Retry-After field as milliseconds from now (RFC 9110 section 10.2.3); 0 if absent or invalid. */
export function retryAfterIn(fields: readonly string[]): number {
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== 'retry-after') continue
    const text = fields[i + 1] ?? ''
    const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - wall()
    return Number.isFinite(ms) ? Math.max(0, ms) : 0
  }
  return 0
}
