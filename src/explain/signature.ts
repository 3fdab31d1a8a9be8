import { createHmac, timingSafeEqual } from 'node:crypto'
import { wall } from '../lib/clock.ts'

// A signature is for the request of a person at a terminal.
const MAX_AGE_SECONDS = 60
// The clock of the client may be a little ahead.
const MAX_AHEAD_SECONDS = 5

/** Returns the value of `Sallyport-Explain` for a time in seconds since 1970: the time, and its HMAC (RFC 2104, SHA-256) in hex. */
export const signExplain = (key: string, seconds: number): string =>
  `${seconds}.${createHmac('sha256', key).update(String(seconds)).digest('hex')}`

/** Returns whether a value of `Sallyport-Explain` is signed with a key, and at most a minute old. */
export function isSigned(value: string, key: string): boolean {
  const seconds = /^([1-9]\d{0,14})\.[0-9a-f]{64}$/.exec(value)?.[1]
  if (seconds === undefined) return false
  const age = wall() / 1000 - Number(seconds)
  if (age > MAX_AGE_SECONDS || age < -MAX_AHEAD_SECONDS) return false
  return timingSafeEqual(Buffer.from(value), Buffer.from(signExplain(key, Number(seconds))))
}
