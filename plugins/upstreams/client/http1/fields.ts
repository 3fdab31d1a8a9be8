import { isHeaderName, isHeaderValue } from '../../../../src/lib/http/headers.ts'
import { setBounded } from '../../../../src/lib/memoize.ts'

/** What came is no answer, or could be read as more than one (RFC 9112 section 11.2). */
export class MalformedResponse extends Error {
  readonly code = 'SP_UPSTREAM_MALFORMED'
}

const SPACE = 32
const TAB = 9
/** The character of the digit 0. */
export const ZERO = 48
/** Where the reason stands in a status line. */
export const REASON_INDEX = 13

const lowerCaseNames = new Map<string, string>()

/** Reads a field that begins at a place, and adds its name in lower case and its value; tells where the next one begins. */
export function readField(text: string, from: number, fields: string[]): number {
  const colon = text.indexOf(':', from)
  const end = text.indexOf('\r\n', from)
  if (colon === -1 || colon > end) throw new MalformedResponse('a field without a name')
  const spelled = text.slice(from, colon)
  let name = lowerCaseNames.get(spelled) ?? ''
  if (name === '') {
    // A proxy takes blanks before the colon of an answer's field away (RFC 9112 section 5.1).
    const bare = spelled.trimEnd()
    if (!isHeaderName(bare) || /[^\t ]/.test(spelled.slice(bare.length)))
      throw new MalformedResponse('a field whose name is none')
    // A part of a text keeps all of it: what is remembered is a copy.
    const copy = Buffer.from(spelled, 'latin1').toString('latin1')
    name = copy.trimEnd().toLowerCase()
    setBounded(lowerCaseNames, copy, name)
  }
  let first = colon + 1
  let last = end
  while (first < last && isBlank(text.charCodeAt(first))) first++
  while (last > first && isBlank(text.charCodeAt(last - 1))) last--
  const value = text.slice(first, last)
  if (!isHeaderValue(value)) throw new MalformedResponse('a value with a control character')
  fields.push(name, value)
  return end + 2
}

const isBlank = (code: number): boolean => code === SPACE || code === TAB

// A status line begins with this; the rest of the version and the status are checked when the head is complete.
const VERSION_PREFIX = 'HTTP/1.'

/** Checks the beginning of a head that is not complete yet: throws Malformed at once for what will never be HTTP/1, or has a bare line feed. */
export function checkPartialHead(text: string): void {
  if (
    !(text.length < VERSION_PREFIX.length ? VERSION_PREFIX.startsWith(text) : text.startsWith(VERSION_PREFIX))
  )
    throw new MalformedResponse('no status line of HTTP/1.1')
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1))
    if (text.charCodeAt(at - 1) !== 13) throw new MalformedResponse('a bare line feed')
}

/** Reads a status line that ends at a place (RFC 9112 section 4). */
export function readStatus(text: string, end: number): number {
  const minor = text.charCodeAt(7)
  if (
    end < 12 ||
    !text.startsWith('HTTP/1.') ||
    (minor !== ZERO && minor !== ZERO + 1) ||
    text.charCodeAt(8) !== SPACE ||
    (end > 12 && text.charCodeAt(12) !== SPACE)
  )
    throw new MalformedResponse('no status line of HTTP/1.1')
  if (end > REASON_INDEX && !isHeaderValue(text.slice(REASON_INDEX, end)))
    throw new MalformedResponse('a reason with a control character')
  const a = text.charCodeAt(9) - ZERO
  const b = text.charCodeAt(10) - ZERO
  const c = text.charCodeAt(11) - ZERO
  if (!(isDigit(a) && isDigit(b) && isDigit(c))) throw new MalformedResponse('a status that is no number')
  return a * 100 + b * 10 + c
}

const isDigit = (value: number): boolean => value >= 0 && value <= 9
