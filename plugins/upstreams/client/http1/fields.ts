import { isHeaderName, isHeaderValue } from '../../../../src/lib/http/headers.ts'
import { setBounded } from '../../../../src/lib/memoize.ts'

/** A response that is not valid HTTP/1, or that could be read as more than one (response splitting, RFC 9112 section 11.2). */
export class MalformedResponse extends Error {
  readonly code = 'SP_UPSTREAM_MALFORMED'
}

const SPACE = 32
const TAB = 9
/** The character code of "0". */
export const ZERO = 48
/** The index of the reason phrase in a status line. */
export const REASON_INDEX = 13

const lowerCaseNames = new Map<string, string>()

/** Parses a field line that starts at `from`, appends its lower-case name and its value, and returns where the next line starts. */
export function readField(text: string, from: number, fields: string[]): number {
  const colon = text.indexOf(':', from)
  const end = text.indexOf('\r\n', from)
  if (colon === -1 || colon > end) throw new MalformedResponse('Invalid header: no name')
  const spelled = text.slice(from, colon)
  let name = lowerCaseNames.get(spelled) ?? ''
  if (name === '') {
    // A proxy must remove whitespace before the colon of a response field (RFC 9112 section 5.1).
    const bare = spelled.trimEnd()
    if (!isHeaderName(bare) || /[^\t ]/.test(spelled.slice(bare.length)))
      throw new MalformedResponse('Invalid header name')
    // A substring keeps its whole parent string alive, so the cache gets a copy.
    const copy = Buffer.from(spelled, 'latin1').toString('latin1')
    name = copy.trimEnd().toLowerCase()
    setBounded(lowerCaseNames, copy, name)
  }
  let first = colon + 1
  let last = end
  while (first < last && isBlank(text.charCodeAt(first))) first++
  while (last > first && isBlank(text.charCodeAt(last - 1))) last--
  const value = text.slice(first, last)
  if (!isHeaderValue(value)) throw new MalformedResponse('Invalid header value: control character')
  fields.push(name, value)
  return end + 2
}

/** Parses a line of the trailers like `readField`. Whitespace before the colon is malformed here, as for llhttp. */
export function readTrailer(text: string, from: number, trailers: string[]): number {
  if (isBlank(text.charCodeAt(text.indexOf(':', from) - 1)))
    throw new MalformedResponse('Invalid trailer name')
  return readField(text, from, trailers)
}

const isBlank = (code: number): boolean => code === SPACE || code === TAB

// The rest of the status line is checked when the head is complete.
const VERSION_PREFIX = 'HTTP/1.'

/** Checks a head that is not complete yet: throws MalformedResponse at once if it cannot become HTTP/1 or has a bare line feed. */
export function checkPartialHead(text: string): void {
  if (
    !(text.length < VERSION_PREFIX.length ? VERSION_PREFIX.startsWith(text) : text.startsWith(VERSION_PREFIX))
  )
    throw new MalformedResponse('Invalid status line')
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1))
    if (text.charCodeAt(at - 1) !== 13) throw new MalformedResponse('Bare line feed')
}

/** Parses a status line that ends at `end` (RFC 9112 section 4). */
export function readStatus(text: string, end: number): number {
  const minor = text.charCodeAt(7)
  if (
    end < 12 ||
    !text.startsWith('HTTP/1.') ||
    (minor !== ZERO && minor !== ZERO + 1) ||
    text.charCodeAt(8) !== SPACE ||
    (end > 12 && text.charCodeAt(12) !== SPACE)
  )
    throw new MalformedResponse('Invalid status line')
  if (end > REASON_INDEX && !isHeaderValue(text.slice(REASON_INDEX, end)))
    throw new MalformedResponse('Invalid reason phrase: control character')
  const a = text.charCodeAt(9) - ZERO
  const b = text.charCodeAt(10) - ZERO
  const c = text.charCodeAt(11) - ZERO
  if (!(isDigit(a) && isDigit(b) && isDigit(c)))
    throw new MalformedResponse('Invalid status code: not a number')
  return a * 100 + b * 10 + c
}

const isDigit = (value: number): boolean => value >= 0 && value <= 9

/** Returns the value of a hexadecimal digit, given by its character code; -1 if it is none. */
export function hexDigit(byte: number): number {
  if (byte >= ZERO && byte < ZERO + 10) return byte - ZERO
  const letter = byte | 0x20
  return letter >= 97 && letter <= 102 ? letter - 87 : -1
}
