import type { FastifyRequest } from 'fastify'
import { setBounded } from '../memoize.ts'

/** Matches the name of a field, which is a token (RFC 9110 section 5.6.2). */
export const NAME = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
const NAMED = new RegExp(NAME)
const UNCLEAN = /[^\t\x20-\x7e\x80-\xff]/
const UNCLEAN_ALL = /[^\t\x20-\x7e\x80-\xff]/g

const names = new Map<string, true>()

/** Tells whether a text is the name of a header; a name that was seen before costs a look-up. */
export function isHeaderName(text: string): boolean {
  if (names.has(text)) return true
  if (!NAMED.test(text)) return false
  setBounded(names, text, true)
  return true
}

/** Tells whether a text is what a header can have, a byte a character (RFC 9110 section 5.5): with one beyond, its line could end where nobody meant it to. */
export const isHeaderValue = (text: string): boolean => !UNCLEAN.test(text)

/** Takes out of a value what no header can have, since values of a request may have been decoded. */
export const cleanHeader = (value: string): string =>
  isHeaderValue(value) ? value : value.replaceAll(UNCLEAN_ALL, '')

/** Reads a list of words that are the same in any case, such as the options of Connection. */
export const wordsIn = (value: string): string[] => value.toLowerCase().split(',').map(trim)

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
export const cgiName = (name: string): string => (ODD.test(name) ? name.replaceAll(ODD_ALL, '-') : name)

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
export const isForwardedHeader = (plain: string): boolean =>
  plain.startsWith('x-forwarded-') || CLAIMS.has(plain)

/** Reads a header of a request by its name in lower case, several fields as one; undefined for none, also where every object has something of the name. */
export function requestHeader({ headers, raw }: FastifyRequest, name: string): string | undefined {
  if (Object.hasOwn(headers, name)) {
    const value = headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }
  if (name !== '__proto__') return undefined
  // Node.js leaves this one out of its object.
  const values = raw.rawHeaders.filter((_, i, all) => i % 2 === 1 && all[i - 1]?.toLowerCase() === name)
  return values.length === 0 ? undefined : values.join(', ')
}

/** Groups a flat list of fields by name; the object has no prototype, so that "constructor" is a name like any other. */
export function fieldsByName(fields: readonly string[]): Record<string, string | string[]> {
  const byName: Record<string, string | string[]> = Object.create(null)
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string
    const value = fields[i + 1] as string
    const before = byName[name]
    byName[name] = before === undefined ? value : [before, value].flat()
  }
  return byName
}
