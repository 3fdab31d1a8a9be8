import type { ErrorObject } from 'ajv'
import { PatternTimeout } from './in-time.ts'
import { pointerPart } from './subschemas.ts'

/** One thing that is wrong with a value: where, by which keyword, and what the schema wants; never the value itself. */
export interface SchemaError {
  /** A JSON Pointer as a URI fragment, such as "#/items/0/price". */
  readonly pointer: string
  readonly keyword: string
  readonly detail: string
}

/** What is wrong with a value. */
export interface Invalid {
  /** At most 20, sorted by pointer and keyword. */
  readonly errors: readonly SchemaError[]
  /** How many others there are. */
  readonly more: number
}

/** How many errors a response lists. */
export const MAX_ERRORS = 20

// A client chooses the names of its keys.
const MAX_POINTER_LENGTH = 200

/** What both engines tell of an error. */
type EngineError = Pick<ErrorObject, 'keyword' | 'instancePath' | 'message'> & { readonly params: object }

/** Describes the errors of an engine, each once. */
export function describeErrors(found: readonly EngineError[]): Invalid {
  const all = new Map<string, SchemaError>()
  for (const error of found) {
    const described = describe(error)
    all.set(`${described.pointer} ${described.keyword} ${described.detail}`, described)
  }
  return firstOf([...all.values()])
}

/** Sorts errors and keeps the first 20. */
export function firstOf<E extends SchemaError>(
  all: readonly E[]
): { readonly errors: readonly E[]; readonly more: number } {
  const errors = all.toSorted((a, b) => compare(a.pointer, b.pointer) || compare(a.keyword, b.keyword))
  return { errors: errors.slice(0, MAX_ERRORS), more: Math.max(0, errors.length - MAX_ERRORS) }
}

function describe({ keyword, instancePath, message = 'is not valid', params }: EngineError): SchemaError {
  const pointer = `#${instancePath}${extraName(params)}`
  return {
    pointer: pointer.length > MAX_POINTER_LENGTH ? `${pointer.slice(0, MAX_POINTER_LENGTH)}…` : pointer,
    keyword: keyword === 'false schema' || keyword === 'boolean' ? 'false' : keyword,
    detail: message
  }
}

/** Names the property that must not be there. */
function extraName(params: object): string {
  const { additionalProperty, unevaluatedProperty } = params as Readonly<Record<string, unknown>>
  const name = additionalProperty ?? unevaluatedProperty
  return typeof name === 'string' ? `/${pointerPart(name)}` : ''
}

/** Compares by code unit, so that the order is the same everywhere; numbers of items by their size. */
function compare(a: string, b: string): number {
  return a === b ? 0 : a.localeCompare(b, 'en', { numeric: true }) || (a < b ? -1 : 1)
}

const TIMEOUT = { pointer: '#', keyword: 'pattern', detail: 'must be matched by its pattern in time' }

/** Refuses a value for which a schema that refers to itself never ends, or a pattern takes too long. */
export function bounded(validate: () => Invalid | undefined): Invalid | undefined {
  try {
    return validate()
  } catch (error) {
    if (error instanceof PatternTimeout) return { errors: [TIMEOUT], more: 0 }
    if (!(error instanceof RangeError)) throw error
    return { errors: [{ pointer: '#', keyword: '$ref', detail: 'must not be nested so deeply' }], more: 0 }
  }
}

/** Validates a value; undefined where it is valid. */
export interface SchemaValidator {
  (value: unknown): Invalid | undefined
  /** Validates and stops at the first error: for values so large that a list of their errors would be, too. */
  first(value: unknown): Invalid | undefined
}
