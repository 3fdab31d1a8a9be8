import { isObject } from '../schema.ts'
import { DATA_FIELDS, KEYED_FIELDS } from './keyed-fields.ts'

/** Copies a part of an OpenAPI document with every reference in it changed. */
export function mapDocumentReferences(value: unknown, change: (reference: string) => string): unknown {
  if (Array.isArray(value)) return value.map((each) => mapDocumentReferences(each, change))
  if (!isObject(value)) return value
  return mapValues(value, (inner, key) => {
    if (key === '$ref' && typeof inner === 'string') return change(inner)
    // The examples of a schema are a list of values.
    if (DATA_FIELDS.has(key) || (key === 'examples' && Array.isArray(inner))) return inner
    // The mapping of a discriminator has references, or names of schemas.
    if (key === 'mapping' && isObject(inner))
      return mapValues(inner, (to) => (typeof to === 'string' && /[#/]/.test(to) ? change(to) : to))
    if (KEYED_FIELDS.has(key) && isObject(inner))
      return mapValues(inner, (each) => mapDocumentReferences(each, change))
    return mapDocumentReferences(inner, change)
  })
}

const mapValues = (
  object: Readonly<Record<string, unknown>>,
  change: (value: unknown, key: string) => unknown
): Record<string, unknown> =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value, key)]))
