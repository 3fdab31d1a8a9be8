import { type Format, isValidId, singleHeader, type TraceHeaders } from './remote-context.ts'

// version "-" trace-id "-" parent-id "-" trace-flags (W3C Trace Context section 3.2.2). Later versions may add fields.
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

// A later version is short as well; more is not read.
const MAX_TRACEPARENT = 256

const SAMPLED = 1
const RANDOM = 2

/** W3C Trace Context: `traceparent`. */
export const w3c: Format = {
  headers: ['traceparent'],
  read(headers) {
    const value = singleHeader(headers, 'traceparent')
    if (value === undefined || value.length > MAX_TRACEPARENT) return undefined
    const [, version, traceId = '', spanId = '', flagDigits = '', more] = TRACEPARENT.exec(value) ?? []
    if (version === undefined || version === 'ff' || (version === '00' && more !== undefined))
      return undefined
    if (!isValidId(traceId) || !isValidId(spanId)) return undefined
    const flags = Number.parseInt(flagDigits, 16)
    return {
      traceId,
      spanId,
      sampled: (flags & SAMPLED) !== 0,
      random: (flags & RANDOM) !== 0,
      hasState: true
    }
  },
  write(headers, { traceId, spanId, sampled, random }) {
    const flags = (sampled ? SAMPLED : 0) | (random ? RANDOM : 0)
    headers.push('traceparent', `00-${traceId}-${spanId}-0${flags}`)
  }
}

// tracestate and baggage are passed on or dropped as a whole: a truncated list could mean something else.
const MAX_LIST_BYTES = 8192
const MAX_STATE_MEMBERS = 32
const MAX_BAGGAGE_MEMBERS = 64

// key "=" value (W3C Trace Context section 3.3.1.3).
const STATE_MEMBER =
  /^[a-z0-9][a-z0-9_\-*/]{0,255}(?:@[a-z][a-z0-9_\-*/]{0,13})?=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/

/** Returns whether a request may keep its `tracestate`: it is valid and within the limits. */
export function isValidState(headers: TraceHeaders): boolean {
  if (headers['tracestate'] === undefined) return true
  const members = membersOf(headers['tracestate'], MAX_STATE_MEMBERS)
  return members?.every((member) => STATE_MEMBER.test(member)) === true
}

/** Returns whether a request may keep its `baggage`: it is within the limits (W3C Baggage section 3.3.2). */
export const isShortBaggage = (headers: TraceHeaders): boolean =>
  headers['baggage'] === undefined || membersOf(headers['baggage'], MAX_BAGGAGE_MEMBERS) !== undefined

/** Splits a list; undefined where it exceeds the limits. Empty members are allowed, but count as bytes only. */
function membersOf(value: string | string[] | undefined, max: number): string[] | undefined {
  const text = Array.isArray(value) ? value.join(',') : (value ?? '')
  if (text.length > MAX_LIST_BYTES) return undefined
  const members = text
    .split(',')
    .map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter((member) => member !== '')
  return members.length > max ? undefined : members
}
