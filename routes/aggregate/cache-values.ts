import type { FastifyRequest } from 'fastify'
import type { AggregateOptions } from './options.ts'
import { legReferences, referencesIn } from './plan.ts'
import type { ReadValue } from './references.ts'

/** Returns the values of a request that decide what its response is, in an order known at boot. */
export type CacheValues = (request: FastifyRequest) => (string | undefined)[]

/** Compiles which values of a request the legs and the body of the response have. A cached request has no body. */
export function cacheValues({ legs, body }: AggregateOptions): CacheValues {
  const used = [...Object.values(legs).flatMap(legReferences), ...referencesIn(body)]
  const readers = used.flatMap(({ kind, read }) => (kind === 'request' ? [read] : []))
  return (request) => [...readers.map((read) => textOf(read, request)), ...headerValues(request)]
}

/** Returns the values of a request that `headers.request` puts into what goes upstream. */
export const headerValues = (request: FastifyRequest): (string | undefined)[] =>
  (request.headerChanges ?? []).flatMap(({ value }) =>
    value === undefined || value.constant ? [] : [value.renderKey(request)]
  )

function textOf(read: ReadValue, request: FastifyRequest): string | undefined {
  const value = read({ request, results: new Map(), body: undefined })
  return value === undefined || typeof value === 'string' ? value : JSON.stringify(value)
}
