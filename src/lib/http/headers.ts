import { isUtf8 } from 'node:buffer'
import type { FastifyRequest } from 'fastify'
import { setBounded } from '../memoize.ts'

/** The pattern of a field name, which is a token (RFC 9110 section 5.6.2). */
export const NAME = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
const NAME_PATTERN = new RegExp(NAME)
const INVALID = /[^\t\x20-\x7e\x80-\xff]/
const ALL_INVALID = /[^\t\x20-\x7e\x80-\xff]/g

const names = new Map<string, true>()

/** Returns whether a text is a valid header name. */
export function isHeaderName(text: string): boolean {
  if (names.has(text)) return true
  if (!NAME_PATTERN.test(text)) return false
  setBounded(names, text, true)
  return true
}

/** Returns whether a text is a valid header value: one byte a character, no control characters but the tab (RFC 9110 section 5.5, CWE-113). */
export const isHeaderValue = (text: string): boolean => !INVALID.test(text)

/** Removes invalid characters from a header value, which decoded request values may contain. */
export const cleanHeader = (value: string): string =>
  isHeaderValue(value) ? value : value.replaceAll(ALL_INVALID, '')

/** Reads the bytes of a header value, one a character, as UTF-8; as ISO 8859-1 where they are not (RFC 9110 section 5.5). */
export function headerText(value: string): string {
  const bytes = Buffer.from(value, 'latin1')
  return isUtf8(bytes) ? bytes.toString('utf8') : value
}

/** Splits a list of case-insensitive tokens, such as the options of Connection, and lowers their case. */
export const tokensOf = (value: string): string[] => value.toLowerCase().split(',').map(trim)

/** Joins two Vary values without duplicates. */
export function joinVary(one: string, other: string): string {
  if (one === '' || one === other) return other
  if (other === '') return one
  const known = tokensOf(one)
  const more = other
    .split(',')
    .map(trim)
    .filter((name) => !known.includes(name.toLowerCase()))
  return [one, ...more].join(', ')
}

const trim = (text: string): string => text.trim()

/** Returns the name of a header, given in lower case, as CGI, WSGI and Rack servers distinguish it: they map all characters but letters and digits to one. */
export const cgiName = (name: string): string =>
  NOT_CGI.test(name) ? name.replaceAll(ALL_NOT_CGI, '-') : name

/** Returns whether servers may take a header, by its lower-case name and its CGI name, for another one. No header begins with a dash, so a name that begins with an underscore is none of them. */
export const isAmbiguousName = (name: string, plain: string): boolean =>
  name !== plain && !name.startsWith('_')

/** Returns whether a route, by its options, forwards headers with underscores, which CGI servers take for others. */
export function keepsUnderscores(options: Readonly<Record<string, unknown>> | undefined): boolean {
  const headers = options?.['headers'] as { readonly underscores?: unknown } | false | undefined
  return headers !== false && headers?.underscores === 'keep'
}

/** Returns the request headers that a route, by its options, forwards, in lower case; undefined for all. */
export function forwardedNames(
  options: Readonly<Record<string, unknown>> | undefined
): readonly string[] | undefined {
  const headers = options?.['headers'] as { readonly only?: readonly string[] } | false | undefined
  return headers === false ? undefined : headers?.only?.map((name) => name.toLowerCase())
}

const NOT_CGI = /[^a-z0-9-]/
const ALL_NOT_CGI = /[^a-z0-9-]/g

// The headers besides X-Forwarded-* in which a proxy describes the original request.
const FORWARDED_HEADERS = new Set([
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

/** Returns whether a header, given by its CGI name, describes the original request, which only a trusted proxy may do. */
export const isForwardedHeader = (name: string): boolean =>
  name.startsWith('x-forwarded-') || FORWARDED_HEADERS.has(name)

/** Returns a header of a request by its lower-case name, several fields as one list; undefined for none, also for names such as "constructor". */
export function requestHeader(
  { headers, raw }: Pick<FastifyRequest, 'headers' | 'raw'>,
  name: string
): string | undefined {
  if (Object.hasOwn(headers, name)) {
    const value = headers[name]
    return Array.isArray(value) ? value.join(', ') : value
  }
  if (name !== '__proto__') return undefined
  // Node.js omits this name from its object.
  const values = raw.rawHeaders.filter((_, i, all) => i % 2 === 1 && all[i - 1]?.toLowerCase() === name)
  return values.length === 0 ? undefined : values.join(', ')
}

/** Groups a flat list of fields by name, in an object without a prototype, so that "constructor" is a normal name. */
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

/** Returns names and values in turn as pairs. */
export function fieldPairs(fields: readonly string[]): [name: string, value: string][] {
  const pairs: [string, string][] = []
  for (let i = 0; i < fields.length; i += 2) pairs.push([fields[i] ?? '', fields[i + 1] ?? ''])
  return pairs
}

// RFC 9110 sections 8, 13 and 14; "If" is WebDAV's.
const RESOURCE_FIELD = /^(if|if-.*|range|content-.*|digest|repr-digest)$/

/** Returns whether a header, by its lower-case name, is about the body of a request, or makes the request conditional or partial. */
export const isResourceField = (name: string): boolean => RESOURCE_FIELD.test(name)
