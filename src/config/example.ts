import { gate, isObject } from '../lib/schema.ts'
import { EXPECTED } from '../lib/units.ts'
import { hasDefault, propertiesOf } from './defaults.ts'

/** Describes an object by a valid example. */
export function anObject(schema: object, data: unknown, mask: string | undefined): string {
  const example = exampleOf(schema, data, mask)
  return example === undefined ? 'an object' : `an object such as ${example}`
}

/** Writes a valid object: with the given value at an option that accepts it, or else with the required options. */
function exampleOf(schema: object, data: unknown, mask: string | undefined): string | undefined {
  const each = Object.values((schema as { patternProperties?: object }).patternProperties ?? {})[0] as unknown
  if (isObject(each)) {
    const inner = each['type'] === 'object' ? exampleOf(each, data, mask) : JSON.stringify(sampleOf(each))
    return inner === undefined ? undefined : `{ "name": ${inner} }`
  }
  const properties = propertiesOf(schema as Readonly<Record<string, unknown>>)
  const required = (schema as { required?: readonly string[] }).required ?? []
  const needed = required.filter((name) => !hasDefault(properties[name]))
  const others = Object.keys(properties).filter(
    (name) => !needed.includes(name) && !Object.hasOwn(gate, name)
  )
  const names = [...needed, ...others]
  const isPlain = typeof data === 'string' || typeof data === 'number'
  const wraps = Array.isArray(data) ? [data] : isPlain ? [data, [data]] : []
  const [name, value] =
    wraps
      .flatMap((each) =>
        names.filter((name) => accepts(properties[name], each)).map((name) => [name, each] as const)
      )
      .at(0) ?? []
  const written = new Map<string, string>()
  for (const each of needed) written.set(each, JSON.stringify(sampleOf(properties[each])))
  if (name !== undefined) {
    const text = isSecret(mask) ? '"…"' : (mask ?? quoteJson(isPlain ? data : value))
    written.set(name, isPlain && Array.isArray(value) ? `[${text}]` : text)
  }
  if (written.size === 0) {
    const [given] = (schema as { examples?: readonly unknown[] }).examples ?? []
    if (given !== undefined) return spacedJson(given)
    const [first] = names
    if (first === undefined) return undefined
    written.set(first, JSON.stringify(sampleOf(properties[first])))
  }
  return `{ ${[...written].map(([key, text]) => `"${key}": ${text}`).join(', ')} }`
}

const spacedJson = (value: unknown): string => JSON.stringify(value, null, 1).replaceAll(/\n\s*/g, ' ')

/** Returns a valid value of an option: an example, its default, or one from its description. */
function sampleOf(schema: unknown): unknown {
  if (!isObject(schema)) return '…'
  const { default: defaultValue, enum: names, anyOf, type, examples } = schema
  if (Array.isArray(examples)) return examples[0]
  if (defaultValue !== undefined) return defaultValue
  if (Array.isArray(names)) return names[0]
  const [, quoted] =
    /such as "([^"]+)"/.exec(typeof schema[EXPECTED] === 'string' ? schema[EXPECTED] : '') ?? []
  if (quoted !== undefined) return quoted
  if (Array.isArray(anyOf)) return sampleOf(anyOf[0])
  if (type === 'integer' || type === 'number')
    return typeof schema['minimum'] === 'number' ? Math.max(schema['minimum'], 10) : 10
  if (type === 'boolean') return true
  if (type === 'array') return [sampleOf(schema['items'])]
  if (type !== 'object') return '…'
  const properties = propertiesOf(schema)
  const required = Array.isArray(schema['required']) ? schema['required'].map(String) : []
  return Object.fromEntries(required.map((name) => [name, sampleOf(properties[name])]))
}

/** Returns whether a schema accepts a value, by its type and pattern alone. */
export function accepts(schema: unknown, value: unknown): boolean {
  if (!isObject(schema)) return schema === true
  const { type, anyOf, pattern } = schema
  if ('const' in schema) return schema['const'] === value
  if (Array.isArray(schema['enum'])) return schema['enum'].includes(value)
  if (Array.isArray(anyOf)) return anyOf.some((branch) => accepts(branch, value))
  if (type === undefined) return true
  if (
    type === 'integer'
      ? !Number.isInteger(value)
      : type === 'array'
        ? !Array.isArray(value)
        : typeof value !== type
  )
    return false
  if (Array.isArray(value)) return value.every((item) => accepts(schema['items'], item))
  return typeof value !== 'string' || typeof pattern !== 'string' || new RegExp(pattern, 'u').test(value)
}

/** Returns whether a mask hides a secret; the mask of an interpolated value is its template in quotes. */
export const isSecret = (mask: string | undefined): boolean => mask !== undefined && !mask.startsWith('"')

/** Writes a value as JSON, without the user and password of a URL. */
export const quoteJson = (value: unknown): string =>
  (JSON.stringify(value) ?? String(value)).replaceAll(/(\/\/)[^/?#\s"]*@/g, '$1***@')
