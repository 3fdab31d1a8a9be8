import type { ErrorObject } from 'ajv'
import { isObject, itemsOf, nearest } from '../lib/schema.ts'
import { EXPECTED, EXPECTED_NAME } from '../lib/units.ts'
import { accepts, anObject, isSecret, quoteJson } from './example.ts'
import type { Path } from './fault.ts'

/** One error of a value, by its path inside the value. */
export interface ValueFault {
  readonly path: Path
  readonly message: string
  /** The valid options, if the error is about an unknown one. */
  readonly known?: readonly string[]
}

/** Returns how a message writes the value at a path; undefined for a value that may be quoted. */
export type Mask = (path: Path) => string | undefined

/** Copies a list or an object for a message, without the values inside that must not be quoted. */
export function withoutSecrets(value: unknown, path: Path, maskOf: Mask): unknown {
  if (typeof value !== 'object' || value === null) return value
  const shown = (each: unknown, key: string | number): unknown => {
    const mask = maskOf([...path, key])
    if (mask === undefined) return withoutSecrets(each, [...path, key], maskOf)
    return isSecret(mask) ? '***' : JSON.parse(mask)
  }
  if (Array.isArray(value)) return value.map(shown)
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, shown(each, key)]))
}

/** Describes a validation error: what was expected, what it got, and what would work. */
export function describeError(found: ErrorObject, value: unknown, maskOf: Mask): ValueFault {
  const path = pathOf(found.instancePath, value)
  const error = { ...found, data: withoutSecrets(found.data, path, maskOf) }
  const schema = error.parentSchema as Record<string, unknown>
  const params = error.params as Record<string, unknown>
  if (error.keyword === 'additionalProperties') {
    const key = String(params['additionalProperty'])
    const known = Object.keys((schema['properties'] ?? {}) as object)
    const [pattern] = Object.keys((schema['patternProperties'] ?? {}) as object)
    if (known.length === 0 && pattern !== undefined)
      return { path: [...path, key], message: invalidName(key, pattern, schema[EXPECTED_NAME]) }
    return { path: [...path, key], message: unknownOption(key, known), known }
  }
  if (error.keyword === 'required') {
    const key = String(params['missingProperty'])
    const description = (schema['properties'] as Record<string, { description?: string }> | undefined)?.[key]
      ?.description
    return {
      path,
      message: `"${key}" is missing${description === undefined ? '' : `: ${lowerFirst(description)}`}`
    }
  }
  const mask = maskOf(path)
  const wanted = expectedBy(error, schema, mask)
  const expected = error.keyword === 'anyOf' ? { anyOf: error.schema } : schema
  const suggestion = suggestionFor(expected, error.data, mask)
  return { path, message: expectation({ wanted, value: error.data, suggestion, mask }) }
}

/** The parts of a message. */
export interface Expectation {
  readonly wanted: string
  readonly value: unknown
  /** What would work in place of the value. */
  readonly suggestion?: string | undefined
  /** The text in place of a value that must not be quoted. */
  readonly mask?: string | undefined
}

/** Returns `expected …, got …`, followed by what would work. */
export const expectation = ({ wanted, value, suggestion, mask }: Expectation): string =>
  `expected ${wanted}, got ${mask ?? quote(value)}${suggestion === undefined ? '' : `; ${suggestion}`}`

/** Returns the message for the name of an entry that users name, such as an upstream, with a similar one that is valid. */
function invalidName(
  key: string,
  pattern: string,
  wanted: unknown = `a name that matches ${pattern}`
): string {
  const valid = new RegExp(pattern, 'u')
  const dashed = key.replaceAll(/[^\w.-]+/g, '-').replaceAll(/^-+|-+$/g, '')
  const similar = [dashed, dashed.toUpperCase(), dashed.toLowerCase()].find((name) => valid.test(name))
  const suggestion = similar === undefined ? '' : `; "${similar}" would work`
  return `expected ${String(wanted)}, got "${key}"${suggestion}`
}

/** Returns the message for an unknown option, with the nearest valid one. */
export function unknownOption(key: string, known: readonly string[], hint?: string): string {
  const near = nearest(key, known)
  const suggestion =
    near === undefined ? hint : `${hint === undefined ? '' : `${hint}; `}did you mean "${near}"?`
  return `Unknown option "${key}"; ${suggestion ?? `known here: ${known.join(', ')}`}`
}

function expectedBy(
  { keyword, params, schema, data, message = '' }: ErrorObject,
  parent: Record<string, unknown>,
  mask: string | undefined
): string {
  if (typeof parent[EXPECTED] === 'string') return parent[EXPECTED]
  if (keyword === 'enum') return oneOf((params as { allowedValues: unknown[] }).allowedValues)
  if (keyword === 'type') return kindOf({ ...parent, minimum: undefined, minItems: undefined }, data, mask)
  if (keyword === 'anyOf') return kindsOf(schema as unknown[], data, mask)
  const { limit } = params as { limit?: number }
  if (keyword === 'minItems') return limit === 1 ? 'a list of one or more' : `a list of ${limit} or more`
  if (keyword === 'maxItems') return `a list of ${limit} at most`
  if (keyword === 'minLength')
    return limit === 1 ? 'a string that is not empty' : `a string of ${limit} characters or more`
  if (keyword === 'maxLength') return `a string of ${limit} characters at most`
  if (keyword === 'minimum' || keyword === 'maximum') return kindOf(parent, data, mask)
  if (keyword === 'uniqueItems') return 'a list without duplicates'
  return `a value that ${message.replace(/^must /, '')}`
}

function oneOf(values: readonly unknown[]): string {
  const written = values.map((value) => JSON.stringify(value))
  const last = written.pop() ?? ''
  return written.length === 0 ? last : `${written.join(', ')} or ${last}`
}

/** Returns what would work in place of a value: the value without quotes or in a list, or a similar name. */
function suggestionFor(schema: unknown, data: unknown, mask: string | undefined): string | undefined {
  if (typeof data === 'string') {
    const names = namesIn(schema)
    const near = nearest(data, names)
    if (near !== undefined && mask === undefined) return `did you mean "${near}"?`
    const bare = /^(true|false|-?\d+(\.\d+)?)$/.test(data) ? (JSON.parse(data) as unknown) : undefined
    if (bare !== undefined && accepts(schema, bare)) return `${data} without quotes would work`
  }
  const items = isObject(schema) ? itemsOf(schema) : undefined
  if (isObject(data) && isObject(items) && items['type'] === 'object')
    return '"[" and "]" around it would work'
  if (data === null || typeof data === 'object' || isSecret(mask)) return undefined
  const written = mask ?? quoteJson(data)
  if (items !== undefined && accepts(items, data)) return `[${written}] would work`
  return undefined
}

function namesIn(schema: unknown): string[] {
  if (!isObject(schema)) return []
  const { enum: names, anyOf } = schema
  if (Array.isArray(names)) return names.filter((name) => typeof name === 'string')
  return Array.isArray(anyOf) ? anyOf.flatMap(namesIn) : []
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1).replace(/\.$/, '')

const article = (type: string): string =>
  ({
    object: 'an object',
    array: 'a list',
    integer: 'a whole number',
    string: 'a string',
    boolean: 'true or false',
    number: 'a number'
  })[type] ?? type

function kindsOf(branches: readonly unknown[], data: unknown, mask: string | undefined): string {
  const kinds = [...new Set(branches.map((branch) => kindOf(branch, data, mask)))]
  const last = kinds.pop() ?? 'anything'
  return kinds.length === 0 ? last : `${kinds.join(', ')} or ${last}`
}

function kindOf(branch: unknown, data: unknown, mask: string | undefined): string {
  if (!isObject(branch)) return 'anything'
  const { enum: names, type, minimum, maximum } = branch
  if (typeof branch[EXPECTED] === 'string') return branch[EXPECTED]
  if (branch['const'] !== undefined) return JSON.stringify(branch['const'])
  if (Array.isArray(names)) return names.map((value) => JSON.stringify(value)).join(', ')
  if (type === 'integer' && minimum !== undefined)
    return `a whole number from ${String(minimum)} ${maximum === undefined ? 'on' : `to ${String(maximum)}`}`
  if (type === 'object' && !isObject(data)) return anObject(branch, data, mask)
  return branch['minItems'] === 1 ? 'a list of one or more' : article(String(type))
}

/** Writes a value for a message, shortened if it is long. */
function quote(value: unknown): string {
  const text = quoteJson(value)
  return text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED - 3)}…` : text
}

// How many characters of a value a message quotes.
const MAX_QUOTED = 60

/** Converts a JSON pointer to a path. */
function pathOf(pointer: string, value: unknown): Path {
  let here = value
  return pointer
    .split('/')
    .slice(1)
    .map((part) => {
      const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
      const index = Array.isArray(here) ? Number(key) : key
      here = (here as Record<string | number, unknown> | undefined)?.[index]
      return index
    })
}
