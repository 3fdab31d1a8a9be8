import { isObject } from '../../schema.ts'
import type { SchemaBundle } from './references.ts'
import { decodeFragment, valueAt } from './subschemas.ts'

/** Reads the texts of a parameter as the value that its schema wants; what does not read as one stays text, for the schema to refuse. */
export interface TextReader {
  readonly isList: boolean
  readonly isObject: boolean
  /** Reads one text as a scalar. */
  scalar(text: string): unknown
  /** Reads each item of a list. */
  item(text: string): unknown
  /** Reads the property of an object. */
  property(name: string, text: string): unknown
  /** Returns whether a property of an object is a list. */
  isListProperty(name: string): boolean
  /** Reads one item of a property that is a list. */
  propertyItem(name: string, text: string): unknown
}

/** Finds the schema that a reference leads to; undefined where there is none. */
type Resolve = (reference: string) => unknown

// The number of JSON (RFC 8259 section 6); what else JavaScript reads as one, another server may not.
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/

// A client chooses the names of what a schema does not name.
const MAX_PROPERTIES = 256

/** Makes the reader of a schema. */
export function textReader(schema: unknown, bundle: SchemaBundle): TextReader {
  const resolve = resolverOf(bundle)
  const types = typesOf(schema, resolve)
  const items = typesIn(schema, resolve, 'items')
  const properties = new Map<
    string,
    { readonly types: ReadonlySet<string>; readonly items: ReadonlySet<string> }
  >()
  const propertyTypes = (name: string) => {
    const known = properties.get(name)
    if (known !== undefined) return known
    const schemas = propertySchemas(schema, resolve, name)
    const made = {
      types: new Set(schemas.flatMap((each) => [...typesOf(each, resolve)])),
      items: new Set(schemas.flatMap((each) => [...typesIn(each, resolve, 'items')]))
    }
    if (properties.size < MAX_PROPERTIES) properties.set(name, made)
    return made
  }
  return {
    isList: types.has('array'),
    isObject: types.has('object'),
    scalar: (text) => scalar(text, types),
    item: (text) => scalar(text, items),
    property: (name, text) => scalar(text, propertyTypes(name).types),
    isListProperty: (name) => propertyTypes(name).types.has('array'),
    propertyItem: (name, text) => scalar(text, propertyTypes(name).items)
  }
}

/** Returns a text that is equal for schemas that read texts as the same values. */
export function readingOf(schema: unknown, bundle: SchemaBundle): string {
  const resolve = resolverOf(bundle)
  return [typesOf(schema, resolve), typesIn(schema, resolve, 'items')]
    .map((types) => [...types].toSorted().join())
    .join(' ')
}

/** Names the properties that a schema of an object declares, through references and `allOf`, each with its schema. */
export function declaredProperties(schema: unknown, bundle: SchemaBundle): ReadonlyMap<string, unknown> {
  const found = new Map<string, unknown>()
  for (const part of partsOf(schema, resolverOf(bundle)))
    if (isObject(part['properties']))
      for (const [name, each] of Object.entries(part['properties']))
        if (!found.has(name)) found.set(name, each)
  return found
}

/** Names the properties that a schema of an object declares, requires or makes conditions of, through references and branches. */
export function namedProperties(schema: unknown, bundle: SchemaBundle): ReadonlySet<string> {
  const names = new Set<string>()
  const seen = new Set<object>()
  const pending: unknown[] = [schema]
  for (const each of pending)
    for (const part of partsOf(each, resolverOf(bundle), seen)) {
      const { properties, required, dependentRequired, dependentSchemas } = part
      const others = isObject(dependentRequired) ? Object.values(dependentRequired) : []
      for (const map of [properties, dependentRequired, dependentSchemas])
        if (isObject(map)) for (const name of Object.keys(map)) names.add(name)
      for (const name of [required, ...others].flat()) if (typeof name === 'string') names.add(name)
      for (const branch of ['not', 'if', 'then', 'else']) pending.push(part[branch])
      if (isObject(dependentSchemas)) pending.push(...Object.values(dependentSchemas))
    }
  return names
}

function scalar(text: string, types: ReadonlySet<string>): unknown {
  if ((types.has('number') || types.has('integer')) && NUMBER.test(text)) {
    const number = Number(text)
    if (Number.isFinite(number)) return number
  }
  if (types.has('boolean') && (text === 'true' || text === 'false')) return text === 'true'
  if (types.has('null') && text === '' && !types.has('string')) return null
  return text
}

const resolverOf =
  ({ uri, documents }: SchemaBundle): Resolve =>
  (reference) => {
    const [document = ''] = reference.split('#', 1)
    return valueAt(
      documents.get(document === '' ? uri : document),
      decodeFragment(`#${reference.split('#')[1] ?? ''}`)
    )
  }

/** Lists a schema and those that it combines, through references, each once: schemas may refer to themselves. */
function partsOf(
  schema: unknown,
  resolve: Resolve,
  seen: Set<object> = new Set()
): Readonly<Record<string, unknown>>[] {
  if (!isObject(schema) || seen.has(schema)) return []
  seen.add(schema)
  const { $ref, allOf, anyOf, oneOf } = schema
  const inner = [allOf, anyOf, oneOf].flatMap((list) => (Array.isArray(list) ? (list as unknown[]) : []))
  if (typeof $ref === 'string') inner.push(resolve($ref))
  return [schema, ...inner.flatMap((each) => partsOf(each, resolve, seen))]
}

/** Collects the types that a schema speaks of; where it names none, from the values and keywords that it has. */
function typesOf(schema: unknown, resolve: Resolve): ReadonlySet<string> {
  const types = new Set<string>()
  for (const part of partsOf(schema, resolve)) {
    const { type } = part
    for (const each of [type].flat()) if (typeof each === 'string') types.add(each)
    if (type !== undefined) continue
    for (const value of [...(Array.isArray(part['enum']) ? (part['enum'] as unknown[]) : []), part['const']])
      if (value !== undefined) types.add(typeOf(value))
    for (const [keyword, implied] of IMPLIED) if (part[keyword] !== undefined) types.add(implied)
  }
  return types
}

const IMPLIED = [
  ['minimum', 'number'],
  ['maximum', 'number'],
  ['exclusiveMinimum', 'number'],
  ['exclusiveMaximum', 'number'],
  ['multipleOf', 'number'],
  ['items', 'array'],
  ['prefixItems', 'array'],
  ['properties', 'object']
] as const

const typeOf = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value

const typesIn = (schema: unknown, resolve: Resolve, keyword: string): ReadonlySet<string> =>
  new Set(
    partsOf(schema, resolve).flatMap((part) =>
      part[keyword] === undefined ? [] : [...typesOf(part[keyword], resolve)]
    )
  )

const propertySchemas = (schema: unknown, resolve: Resolve, name: string): unknown[] =>
  partsOf(schema, resolve).map(({ properties, additionalProperties }) =>
    isObject(properties) && Object.hasOwn(properties, name) ? properties[name] : additionalProperties
  )
