import { wall } from '../../src/lib/clock.ts'
import { HOP_BY_HOP, nominatedBy } from '../../src/lib/http/hop-by-hop.ts'

/** Reads a field of a flat list by its lower-case name, several as one list; undefined for none. */
export function fieldIn(fields: readonly string[], name: string): string | undefined {
  let found: string | undefined
  for (let i = 0; i < fields.length; i += 2)
    if (fields[i] === name) found = found === undefined ? fields[i + 1] : `${found}, ${fields[i + 1]}`
  return found
}

/** Returns a flat list without the fields of some names. */
export function withoutFields(fields: readonly string[], names: ReadonlySet<string>): string[] {
  const rest: string[] = []
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string
    if (!names.has(name)) rest.push(name, fields[i + 1] as string)
  }
  return rest
}

// Written anew for each response that is served (RFC 9111 section 3.1), or never sent to clients.
const NOT_STORED = ['age', 'content-length', 'trailer', 'set-cookie']

// Clients don't see the tags.
export const NOT_SENT: readonly string[] = ['surrogate-key']

/** Returns the fields of a response that are stored (RFC 9111 section 3.1), without those of `hidden`; a Date is added where there is none. */
export function storedFields(
  fields: readonly string[],
  receivedAt: number,
  hidden: readonly string[] = NOT_SENT
): string[] {
  const names = new Set([
    ...HOP_BY_HOP,
    ...NOT_STORED,
    ...hidden,
    ...(nominatedBy(fieldIn(fields, 'connection')) ?? [])
  ])
  const stored = withoutFields(fields, names)
  if (fieldIn(stored, 'date') === undefined) stored.push('date', new Date(receivedAt).toUTCString())
  return stored
}

// What a 304 says of itself, or of a body that is not the stored one (RFC 9111 section 3.2).
const NOT_UPDATED = new Set([
  'content-encoding',
  'content-type',
  'content-range',
  'content-md5',
  'content-digest',
  'repr-digest',
  'etag',
  'vary'
])

/** Returns stored fields with those of a 304 in place of their namesakes (RFC 9111 sections 3.2 and 4.3.4). */
export function updatedFields(
  stored: readonly string[],
  fresh: readonly string[],
  receivedAt: number
): string[] {
  const updates = withoutFields(storedFields(fresh, receivedAt), NOT_UPDATED)
  const names = new Set(updates.filter((_, i) => i % 2 === 0))
  return [...withoutFields(stored, names), ...updates]
}

/** Parses an HTTP date into ms since 1970 (RFC 9110 section 5.6.7); NaN for anything else. */
export function httpDate(text: string): number {
  const [, imf, rfc850, asctime] = DATE.exec(text) ?? []
  if (imf !== undefined || asctime !== undefined)
    return Date.parse(asctime === undefined ? text : `${text} GMT`)
  if (rfc850 === undefined) return Number.NaN
  const [day = '', month = '', year = '', time = ''] = rfc850.split(/[- ]/)
  const thisYear = new Date(wall()).getUTCFullYear()
  const full = thisYear - (thisYear % 100) + Number(year)
  // A year that seems to be more than 50 years in the future is in the past.
  return Date.parse(`${day} ${month} ${full > thisYear + 50 ? full - 100 : full} ${time} GMT`)
}

const DATE =
  /^(?:[A-Z][a-z]{2}, (\d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2}) GMT|[A-Z][a-z]{5,8}, (\d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2}) GMT|([A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}))$/
