import type { FastifyRequest } from 'fastify'
import { isJsonFault, type JsonFault, parsedJson } from '../../src/lib/body/json.ts'
import { QueryError } from '../../src/lib/body/query/run.ts'
import { compileShape } from '../../src/lib/body/shape.ts'
import { isLargerThan } from '../../src/lib/body/value-size.ts'
import type { PartOptions } from './options.ts'
import { compileSet } from './set-values.ts'

/** Tells why a body can't be changed, in a few words and without any of its content. */
export class NotChangeable extends Error {
  /** Whether the body is no JSON that can be changed, or too large. */
  readonly kind: 'format' | 'size'

  constructor(reason: string, kind: 'format' | 'size' = 'format') {
    super(reason)
    this.kind = kind
  }
}

/** Changes the value of a body; throws a NotChangeable. */
export type Change = (value: unknown, request: FastifyRequest) => unknown

// A short body with many items, each of which gets a value, must not become a very long one.
const MAX_GROWTH = 8

/** Compiles how the bodies of one direction are changed; `maxBody` is in bytes. */
export function compileChange(options: PartOptions, maxBody: number): Change {
  const { set, ...others } = options
  const shape = compileShape<FastifyRequest>({
    ...others,
    ...(set === undefined ? {} : { set: compileSet(set) })
  })
  const mayGrow = set !== undefined || options.rename !== undefined || options.query !== undefined
  return (value, request) => {
    const changed = shaped(shape, value, request)
    if (mayGrow && isLargerThan(changed, MAX_GROWTH * maxBody))
      throw new NotChangeable('it becomes too large', 'size')
    return changed
  }
}

function shaped(shape: Change, value: unknown, request: FastifyRequest): unknown {
  try {
    return shape(value, request)
  } catch (error) {
    throw error instanceof QueryError ? new NotChangeable(error.message) : error
  }
}

/** Reads JSON without loss; throws a NotChangeable. */
export function readJson(bytes: Buffer): unknown {
  const parsed = parsedJson(bytes)
  if (isJsonFault(parsed)) throw new NotChangeable(REASONS[parsed.fault])
  return parsed.value
}

const REASONS: Readonly<Record<JsonFault['fault'], string>> = {
  empty: 'it is not JSON',
  syntax: 'it is not JSON',
  utf8: 'it is not UTF-8',
  depth: 'it is nested too deeply'
}
