import { Type } from 'typebox'
import type { OptionFault } from './concern.ts'

const NAME = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
const NAMED = new RegExp(NAME)
const UNCLEAN = /[^\t\x20-\x7e\x80-\xff]/
const UNCLEAN_ALL = /[^\t\x20-\x7e\x80-\xff]/g

/** Describes the name of a header in a config (RFC 9110 section 5.1). */
export const HeaderName = Type.String({ pattern: NAME })

/** Tells whether a text is the name of a header. */
export const isHeaderName = (text: string): boolean => NAMED.test(text)

/** Tells whether a text is what a header can have, a byte a character (RFC 9110 section 5.5): with one beyond, its line could end where nobody meant it to. */
export const isHeaderValue = (text: string): boolean => !UNCLEAN.test(text)

/** Takes out of a value what no header can have, since values of a request may have been decoded. */
export const cleanHeader = (value: string): string =>
  isHeaderValue(value) ? value : value.replaceAll(UNCLEAN_ALL, '')

/** Reads a list of words that are the same in any case, such as the options of Connection. */
export const wordsIn = (value: string): string[] => value.toLowerCase().split(',').map(trim)

/** Tells what is wrong with a header that a config sets: one that frames the message itself, or a value that would break out of its line (CWE-113). */
export function headerFaults(
  name: string,
  value: unknown,
  path: readonly string[],
  framing: ReadonlySet<string>
): OptionFault[] {
  const found: OptionFault[] = []
  if (framing.has(name.toLowerCase()))
    found.push({ path, message: `"${name}" frames the message itself and can't be changed` })
  if (typeof value === 'string' && /[\r\n\0]/.test(value))
    found.push({ path, message: `The value of "${name}" has a line break, which no header can have` })
  return found
}

/** Joins two lists of what an answer varies by, with nothing twice. */
export function joinVary(one: string, other: string): string {
  if (one === '' || one === other) return other
  if (other === '') return one
  const known = wordsIn(one)
  const more = other
    .split(',')
    .map(trim)
    .filter((name) => !known.includes(name.toLowerCase()))
  return [one, ...more].join(', ')
}

const trim = (text: string): string => text.trim()

/** Names a header, given in lower case, as servers know it that map headers to variables (CGI, WSGI, Rack): all that is no letter and no digit is alike. */
export const plainName = (name: string): string => (ODD.test(name) ? name.replaceAll(ODD_ALL, '-') : name)

const ODD = /[^a-z0-9-]/
const ODD_ALL = /[^a-z0-9-]/g

// What is said of a request before it came here, beside X-Forwarded-*.
const CLAIMS = new Set([
  'client-ip',
  'forwarded',
  'forwarded-for',
  'true-client-ip',
  'x-client-ip',
  'x-forwarded',
  'x-original-host',
  'x-original-method',
  'x-original-uri',
  'x-original-url',
  'x-real-ip',
  'x-rewrite-url'
])

/** Tells whether a header, by its plain name, says what only a trusted proxy may say: where a request came from and what was asked for. */
export const isClaim = (plain: string): boolean => plain.startsWith('x-forwarded-') || CLAIMS.has(plain)
