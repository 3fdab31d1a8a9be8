import { compilePattern } from '../lib/body/json-schema/pattern.ts'
import { isObject } from '../lib/schema.ts'

/** A regular expression that a part of a text has to match. */
export interface MatchPattern {
  readonly match: string
}

/** Returns whether an expected value is a regular expression. */
export const isPattern = (expected: unknown): expected is MatchPattern =>
  isObject(expected) && Object.keys(expected).length === 1 && typeof expected['match'] === 'string'

/** Returns what a message says of a text that is not as expected; undefined where it is. */
export function textMismatch(expected: string | MatchPattern, got: string): string | undefined {
  if (typeof expected === 'string')
    return expected === got ? undefined : `expected ${quoted(expected)}, got ${quoted(got)}`
  const wanted = `expected a text that matches ${quoted(expected.match)}`
  try {
    return compilePattern(expected.match).test(got) ? undefined : `${wanted}, got ${quoted(got)}`
  } catch (error) {
    // A pattern for which only the native engine will do may take exponential time.
    if (error instanceof RangeError) return `${wanted}, but the match takes too long; simplify the pattern`
    throw error
  }
}

// How much of a value a message quotes.
const MAX_QUOTED = 200

/** Writes a value for a message, shortened if it is long; null and undefined are "none". */
export function quoted(value: unknown): string {
  if (value === null || value === undefined) return 'none'
  const text = JSON.stringify(value)
  return text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED - 1)}…` : text
}
