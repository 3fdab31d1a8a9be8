import { type Static, type TObject, type TSchema, Type } from 'typebox'
import { mapFileReferences } from './body/json-schema/file-references.ts'
import { ADDRESSES, FILE, JSON_SCHEMA, REPLACED_WHOLE, TEMPLATE, TEMPLATES } from './units.ts'

/** An error in an option. */
export interface OptionFault {
  readonly path: readonly (string | number)[]
  readonly message: string
}

/** The options that every gate has. */
export const gate = {
  global: Type.Boolean({
    default: true,
    description: 'Whether it is on for routes that do not mention it; if false, only for those that do.'
  }),
  mode: Type.Unsafe<'enforce' | 'report'>({
    type: 'string',
    enum: ['enforce', 'report'],
    default: 'enforce',
    description: 'Whether a refusal stops the request (enforce) or is only counted and logged (report).'
  })
}

type Data = { readonly [key: string]: unknown }

/** What a route may set of an option object: any part of it; `false` unsets an option. */
export type Override<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { readonly [K in keyof T]?: Override<T[K]> | false }
    : T

/** Returns whether a value is an object and not an array. */
export const isObject = (value: unknown): value is Data =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Derives the schema of a route from that of the root: all options optional, `false` to unset, and no defaults, which would override the root. */
export function overrideOf(options: TSchema): TSchema {
  return partial(options) as TSchema
}

function partial(schema: unknown): unknown {
  if (!isObject(schema) || schema[REPLACED_WHOLE] === true) return schema
  const { default: given, required: _required, ...rest } = schema
  return within({
    // The default of the root is an example for a route.
    ...(isExample(given) ? { examples: [given] } : {}),
    ...rest,
    ...options(schema, (option) => orFalse(partial(option), option))
  })
}

const isExample = (value: unknown): boolean =>
  typeof value === 'string' || typeof value === 'number' || (Array.isArray(value) && value.length > 0)

/** Returns the schema of an entry of a list or a map, which is not merged: only options with a default may be missing. */
function entrySchema(schema: unknown): unknown {
  if (!isObject(schema) || schema[REPLACED_WHOLE] === true) return schema
  const { default: _default, required, ...rest } = schema
  const properties = isObject(schema['properties']) ? schema['properties'] : {}
  const missing = Array.isArray(required)
    ? required.filter((name) => !hasDefault(properties[String(name)]))
    : []
  return within({
    ...rest,
    ...(missing.length === 0 ? {} : { required: missing }),
    ...options(schema, entrySchema)
  })
}

const hasDefault = (option: unknown): boolean => isObject(option) && option['default'] !== undefined

const options = ({ properties }: Data, change: (option: unknown) => unknown): object =>
  isObject(properties)
    ? {
        properties: Object.fromEntries(
          Object.entries(properties).map(([name, option]) => [name, change(option)])
        )
      }
    : {}

function within(schema: Data): Data {
  const { items, patternProperties, anyOf } = schema
  return {
    ...schema,
    ...(items === undefined ? {} : { items: entrySchema(items) }),
    ...(isObject(patternProperties)
      ? {
          patternProperties: Object.fromEntries(
            Object.entries(patternProperties).map(([name, each]) => [name, entrySchema(each)])
          )
        }
      : {}),
    ...(Array.isArray(anyOf) ? { anyOf: anyOf.map(entrySchema) } : {})
  }
}

function orFalse(schema: unknown, asWritten: unknown): unknown {
  if (!isObject(schema) || allowsFalse(asWritten)) return schema
  const { description, ...rest } = schema
  return { ...(description === undefined ? {} : { description }), anyOf: [rest, { const: false }] }
}

/** Returns whether `false` is a value of a schema, so that it does not unset the option. */
export function allowsFalse(schema: unknown): boolean {
  if (!isObject(schema)) return schema === true
  if (schema['const'] === false || schema['type'] === 'boolean') return true
  if (Array.isArray(schema['enum'])) return schema['enum'].includes(false)
  if (Array.isArray(schema['anyOf'])) return schema['anyOf'].some(allowsFalse)
  return schema['type'] === undefined && schema['const'] === undefined && schema['anyOf'] === undefined
}

/** Returns the schema of a key inside a schema; undefined where it has none. */
export function schemaOf(schema: unknown, key: string): unknown {
  if (!isObject(schema)) return undefined
  const properties = schema['properties']
  if (isObject(properties) && Object.hasOwn(properties, key)) return properties[key]
  const patterns = schema['patternProperties']
  if (isObject(patterns))
    for (const [pattern, found] of Object.entries(patterns))
      if (new RegExp(pattern, 'u').test(key)) return found
  const more = schema['additionalProperties']
  if (isObject(more)) return more
  if (Array.isArray(schema['anyOf']))
    for (const branch of schema['anyOf']) {
      const found = schemaOf(branch, key)
      if (found !== undefined) return found
    }
  return undefined
}

/** Merges inner options over outer ones: objects by key; lists and scalars replace; `false` unsets. */
export function merge(schema: unknown, outer: unknown, inner: unknown): unknown {
  if (!isObject(outer) || !isObject(inner) || (isObject(schema) && schema[REPLACED_WHOLE] === true))
    return inner
  const merged: Record<string, unknown> = { ...outer }
  for (const [key, value] of Object.entries(inner)) {
    const below = schemaOf(schema, key)
    if (value === false && !allowsFalse(below)) delete merged[key]
    else define(merged, key, merge(below, Object.hasOwn(merged, key) ? merged[key] : undefined, value))
  }
  return merged
}

/** Removes every `false` that only unsets an option, and the user's `x-` keys. A `false` for an option that `known` lacks stays, so that validation reports it. */
export function prune(schema: unknown, value: unknown, known: unknown = schema): unknown {
  if (isObject(schema) && schema[REPLACED_WHOLE] === true) return value
  if (Array.isArray(value)) {
    const items = isObject(schema) ? itemsOf(schema) : undefined
    return value.map((item) => prune(items, item))
  }
  if (!isObject(value) || !allowsObject(schema)) return value
  const made = {}
  for (const key of Object.keys(value)) {
    const inner = value[key]
    const below = schemaOf(schema, key)
    const knownBelow = known === schema ? below : schemaOf(known, key)
    if (below === undefined && key.startsWith('x-')) continue
    if (inner === false && knownBelow !== undefined && !allowsFalse(below)) continue
    define(made, key, prune(below, inner, knownBelow))
  }
  return made
}

/** Returns whether a schema allows an object with options; where it does not, the object stays as it is for the error. */
const allowsObject = (schema: unknown): boolean =>
  isObject(schema) &&
  (['properties', 'patternProperties', 'additionalProperties'].some((key) => isObject(schema[key])) ||
    (Array.isArray(schema['anyOf']) && schema['anyOf'].some(allowsObject)))

/** Returns whether the objects of a schema may have `x-` keys of the user; data that is replaced whole is the user's in any case. */
export const allowsUserKeys = (schema: unknown): boolean =>
  isObject(schema) &&
  schema[REPLACED_WHOLE] !== true &&
  (isObject(schema['properties']) || (Array.isArray(schema['anyOf']) && schema['anyOf'].some(allowsUserKeys)))

/** Changes the name of a file; `kind` says whether an option is a file, or an entry of an address list. */
export type ChangeFile = (file: string, kind: 'file' | 'addresses') => string

/** Copies a value with every file name, as marked by its schema, changed by `change`. */
export function mapFiles(schema: unknown, value: unknown, change: ChangeFile): unknown {
  if (typeof value === 'string') {
    if (isMarked(schema, FILE)) return change(value, 'file')
    return value.startsWith('file:') && isMarked(schema, ADDRESSES)
      ? `file:${change(value.slice(5), 'addresses')}`
      : value
  }
  if (isObject(schema) && schema[JSON_SCHEMA] === true)
    return mapFileReferences(value, (file) => change(file, 'file'))
  if (Array.isArray(value)) {
    const items = isObject(schema) ? itemsOf(schema) : undefined
    return value.map((item) => mapFiles(items, item, change))
  }
  if (!isObject(value)) return value
  const made = {}
  for (const key of Object.keys(value)) define(made, key, mapFiles(schemaOf(schema, key), value[key], change))
  return made
}

/** Returns whether a schema marks a template. */
export const isTemplate = (schema: unknown): boolean => isMarked(schema, TEMPLATE) || holdsTemplates(schema)

/** Returns whether a schema marks JSON whose texts are templates. */
export const holdsTemplates = (schema: unknown): boolean => isMarked(schema, TEMPLATES)

const isMarked = (schema: unknown, mark: string): boolean =>
  isObject(schema) &&
  (schema[mark] === true ||
    (Array.isArray(schema['anyOf']) && schema['anyOf'].some((branch) => isMarked(branch, mark))))

/** Returns the schema of a list's items; undefined where it has none. */
export function itemsOf(schema: Data): unknown {
  if (schema['items'] !== undefined) return schema['items']
  return Array.isArray(schema['anyOf'])
    ? schema['anyOf']
        .map((branch) => (isObject(branch) ? branch['items'] : undefined))
        .find((items) => items !== undefined)
    : undefined
}

/** Sets a key as an own property, `__proto__` included. */
export function define(target: object, key: string, value: unknown): void {
  if (key === '__proto__')
    Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true })
  else (target as Record<string, unknown>)[key] = value
}

/** Freezes a value deeply. */
export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const inner of Object.values(value)) deepFreeze(inner)
  }
  return value
}

/** Returns the known name that is closest to a typed one, for "did you mean"; undefined where none is close enough. */
export function nearest(typed: string, known: Iterable<string>): string | undefined {
  let best: string | undefined
  let least = maxTypos(typed.length) + 1
  const lower = typed.toLowerCase()
  for (const name of known) {
    const far = distance(lower, name.toLowerCase())
    if (far < least && (typed.length > 3 || far === 0 || isTypoOf(lower, name.toLowerCase())))
      [best, least] = [name, far]
  }
  return best
}

// How many typing errors a name of this length may have.
const maxTypos = (length: number): number => (length < 3 ? 0 : length < 8 ? 1 : 2)

// In a short name a changed letter makes another name; only missing or transposed letters count.
const isTypoOf = (typed: string, name: string): boolean =>
  name.length > typed.length || Array.from(typed).toSorted().join('') === Array.from(name).toSorted().join('')

/** Returns the Damerau-Levenshtein distance: letters missing, added, changed, or transposed. */
function distance(a: string, b: string): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      next[j] = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        next[j] = Math.min(next[j] ?? 0, (before[j - 2] ?? 0) + 1)
    }
    before = row
    row = next
  }
  return row[b.length] ?? 0
}

export type { Static, TObject, TSchema }
