import type { CacheAnswer } from '../../src/lib/contracts/cache.ts'
import { ageOf, type Entry } from './entry.ts'
import type { PresentedRequest } from './presented-request.ts'
import { rangeOf } from './range.ts'
import { isNotModified, matchesIfRange, notModifiedFields } from './validators.ts'

/** Returns the response to a request from a stored one: whole, a 304, or a range of it. */
export function answerFrom(entry: Entry, request: PresentedRequest, cacheStatus: string): CacheAnswer {
  const { status, body, source, encodings } = entry
  const fields = [...entry.fields, 'age', String(Math.floor(ageOf(entry) / 1000))]
  if (status === 200 && isNotModified(request, fields))
    return { status: 304, fields: notModifiedFields(fields), source, body: null, cacheStatus }
  const range =
    status === 200 && !request.isHead && matchesIfRange(request, fields)
      ? rangeOf(request.conditions.range, body.length)
      : undefined
  if (range === 'unsatisfiable')
    return {
      status: 416,
      fields: ['content-range', `bytes */${body.length}`, 'content-length', '0'],
      body: null,
      cacheStatus
    }
  if (range !== undefined) {
    const part = body.subarray(range.start, range.end)
    fields.push('content-range', `bytes ${range.start}-${range.end - 1}/${body.length}`)
    fields.push('content-length', String(part.length))
    return { status: 206, fields, source, body: part, cacheStatus }
  }
  if (status !== 204) fields.push('content-length', String(body.length))
  return { status, fields, source, body: request.isHead ? null : body, encodings, cacheStatus }
}
