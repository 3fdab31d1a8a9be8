// The applicators of JSON Schema 2020-12, by what they hold.
const ONE: ReadonlySet<string> = new Set([
  'additionalProperties',
  'contains',
  'contentSchema',
  'else',
  'if',
  'items',
  'not',
  'propertyNames',
  'then',
  'unevaluatedItems',
  'unevaluatedProperties'
])
const LISTS: ReadonlySet<string> = new Set(['allOf', 'anyOf', 'oneOf', 'prefixItems'])
const MAPS: ReadonlySet<string> = new Set([
  '$defs',
  'definitions',
  'dependentSchemas',
  'patternProperties',
  'properties'
])

/** Lists the schemas directly inside a schema, each with its place in it. */
export function* subschemas(schema: object): Generator<readonly [place: readonly string[], schema: unknown]> {
  for (const [keyword, value] of Object.entries(schema)) {
    if (ONE.has(keyword)) yield [[keyword], value]
    else if (LISTS.has(keyword) && Array.isArray(value))
      for (const [i, each] of value.entries()) yield [[keyword, String(i)], each]
    else if (MAPS.has(keyword) && isObject(value))
      for (const [name, each] of Object.entries(value)) yield [[keyword, name], each]
  }
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Copies a schema with each schema directly inside it changed. */
export function mapSubschemas(schema: object, change: (inner: unknown) => unknown): Record<string, unknown> {
  const own = schema as Readonly<Record<string, unknown>>
  const copy: Record<string, unknown> = { ...own }
  for (const [[keyword = '', name], inner] of subschemas(schema)) {
    const value = change(inner)
    if (name === undefined) copy[keyword] = value
    else {
      const held = own[keyword] as object
      if (copy[keyword] === held) copy[keyword] = Array.isArray(held) ? [...held] : { ...held }
      Object.defineProperty(copy[keyword], name, {
        value,
        writable: true,
        enumerable: true,
        configurable: true
      })
    }
  }
  return copy
}

/** Finds a value by a JSON Pointer (RFC 6901); undefined where there is none. */
export function valueAt(document: unknown, pointer: string): unknown {
  let value = document
  for (const part of pointer.split('/').slice(1)) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
    value = (value as Record<string, unknown>)[name]
  }
  return value
}

/** Escapes a name for a JSON Pointer (RFC 6901 section 3). */
export const pointerPart = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1')

/** Reads the JSON Pointer of a reference within a document, such as "#/$defs/a%20b"; what is not encoded well stays as it is. */
export function decodeFragment(reference: string): string {
  const fragment = reference.slice(reference.indexOf('#') + 1)
  try {
    return decodeURIComponent(fragment)
  } catch {
    return fragment
  }
}
