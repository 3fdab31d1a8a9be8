import { define, isObject, itemsOf, schemaOf } from '../lib/schema.ts'
import { REPLACED_WHOLE } from '../lib/units.ts'

/** Returns a copy of a value with the defaults of its schema; Ajv's own `useDefaults` ignores those inside a union. */
export function withDefaults(schema: unknown, value: unknown): unknown {
  if (!isObject(schema) || schema[REPLACED_WHOLE] === true) return value
  if (Array.isArray(value)) return value.map((item) => withDefaults(itemsOf(schema), item))
  if (!isObject(value)) return value
  const completed = {}
  for (const key of Object.keys(value))
    define(completed, key, withDefaults(schemaOf(schema, key), value[key]))
  const properties = propertiesOf(schema)
  for (const key of Object.keys(properties)) {
    const option = properties[key]
    if (!Object.hasOwn(completed, key) && isObject(option) && option['default'] !== undefined)
      define(completed, key, withDefaults(option, cloneDefault(option['default'])))
  }
  return completed
}

// structuredClone is slow, even for a scalar.
const cloneDefault = (value: unknown): unknown =>
  typeof value === 'object' && value !== null ? structuredClone(value) : value

/** Returns the properties of an object schema, or of the one object branch of a union. */
export function propertiesOf(schema: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  if (isObject(schema['properties'])) return schema['properties']
  const branch = Array.isArray(schema['anyOf'])
    ? schema['anyOf'].find((one) => isObject(one) && isObject(one['properties']))
    : undefined
  return isObject(branch) && isObject(branch['properties']) ? branch['properties'] : {}
}

/** Returns whether an option has a default. */
export const hasDefault = (option: unknown): boolean => isObject(option) && option['default'] !== undefined
