import type { FastifyRequest } from 'fastify'
import { pointerPart } from '../../src/lib/body/json-schema/subschemas.ts'
import { oneError, type RequestErrors } from './errors.ts'
import { keepNamed, type ReadQuery } from './query-text.ts'

/** What happens to parameters that are not known. */
interface UnknownPolicy {
  isKnown(name: string): boolean
  readonly drop: boolean
}

// A client chooses the names.
const MAX_NAME_LENGTH = 64

/** Rejects the query parameters that no schema names, or takes them out of what goes to the upstream. */
export function settleUnknown(
  request: FastifyRequest,
  query: ReadQuery,
  { isKnown, drop }: UnknownPolicy,
  errors: RequestErrors
): void {
  const others = [...query.values.keys()].filter((name) => !isKnown(name))
  if (others.length === 0) return
  if (drop) {
    const change = request.changeQuery
    request.changeQuery = (text) => {
      const kept = keepNamed(text, isKnown)
      return change === null ? kept : change(kept)
    }
    return
  }
  for (const name of others)
    errors.add(
      'query',
      oneError('unknown', 'must not be sent', `#/${pointerPart(name.slice(0, MAX_NAME_LENGTH))}`)
    )
}
