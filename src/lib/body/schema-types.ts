import { isObject } from '../schema.ts'
import { FormatError } from './format-errors.ts'
import { parseJson } from './json.ts'

type Data = { readonly [key: string]: unknown }

/** The schemas that apply to one value, with references and unions resolved; a union allows the types of all its parts. */
type Shapes = readonly Data[]

/** Converts the strings of a value to the types of a schema; throws a FormatError where one doesn't fit. */
export type TypeReader = (value: unknown) => unknown

/** Compiles a JSON Schema into a TypeReader: only "type", "properties", "additionalProperties", "items", references inside of it and unions are looked at. */
export function compileTypes(schema: Data): TypeReader {
  const known = new WeakMap<Data, Shapes>()
  const shapesOf = (of: unknown): Shapes => {
    if (!isObject(of)) return []
    const found = known.get(of) ?? flatten(of, schema, new Set())
    known.set(of, found)
    return found
  }
  const below = (shapes: Shapes, find: (shape: Data) => unknown): Shapes =>
    shapes.length === 1 && shapes[0] !== undefined
      ? shapesOf(find(shapes[0]))
      : shapes.flatMap((shape) => shapesOf(find(shape)))

  const read = (value: unknown, shapes: Shapes): unknown => {
    if (shapes.length === 0) return value
    const types = typesOf(shapes)
    if (Array.isArray(value)) {
      check(types, 'array')
      return readList(value, shapes)
    }
    if (types.length > 0 && types.every((type) => type === 'array')) return readList([value], shapes)
    if (typeof value === 'string') return readText(value, types, shapes)
    if (!isObject(value)) return value
    if (types.includes('null') && isNil(value)) return null
    check(types, 'object')
    return readObject(value, shapes)
  }
  const readList = (list: readonly unknown[], shapes: Shapes): unknown[] => {
    const items = below(shapes, (shape) => shape['items'])
    return items.length === 0 ? [...list] : list.map((item) => read(item, items))
  }
  const readObject = (value: Data, shapes: Shapes): Data => {
    const made: Record<string, unknown> = Object.create(null)
    for (const key of Object.keys(value))
      made[key] = read(
        value[key],
        below(shapes, (shape) => propertyOf(shape, key))
      )
    return made
  }
  // An element without attributes is a string, where others of its name are objects.
  const readText = (text: string, types: readonly string[], shapes: Shapes): unknown => {
    if (types.length === 0 || types.includes('string')) return text
    const scalar = scalarOf(text, types)
    if (scalar !== undefined) return scalar
    if (!types.includes('object')) throw unfit()
    if (text === '') return Object.create(null)
    if (shapes.some((shape) => propertyOf(shape, '#text') !== undefined))
      return readObject({ '#text': text }, shapes)
    throw unfit()
  }
  const root = shapesOf(schema)
  return (value) => read(value, root)
}

const unfit = (): FormatError => new FormatError('a value is not of the type in the schema')

function check(types: readonly string[], type: string): void {
  if (types.length > 0 && !types.includes(type)) throw unfit()
}

const typesOf = (shapes: Shapes): string[] =>
  shapes.flatMap(({ type }) =>
    Array.isArray(type) ? type.map(String) : typeof type === 'string' ? type : []
  )

function scalarOf(text: string, types: readonly string[]): unknown {
  if (text === '') return types.includes('null') ? null : undefined
  if (types.includes('integer') && /^[+-]?\d+$/.test(text)) return numberOf(text)
  if (types.includes('number') && /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/.test(text))
    return numberOf(text)
  // Both forms are a boolean in XML Schema (part 2 section 3.2.2).
  if (!types.includes('boolean')) return undefined
  if (text === 'true' || text === '1') return true
  return text === 'false' || text === '0' ? false : undefined
}

const DECIMAL = /^([+-]?)0*(\d*)\.?(\d*)(.*)$/

// As JSON writes it, so that digits that a double can't carry survive.
function numberOf(text: string): unknown {
  const [, sign, whole, fraction, exponent] = DECIMAL.exec(text) ?? []
  return parseJson(
    `${sign === '-' ? '-' : ''}${whole === '' ? '0' : whole}${fraction === '' ? '' : `.${fraction}`}${exponent}`
  )
}

const isNil = (value: Data): boolean => {
  const [key, ...others] = Object.keys(value)
  return (
    others.length === 0 && (key === '@nil' || key === '@xsi:nil') && /^(?:true|1)$/.test(String(value[key]))
  )
}

function propertyOf({ properties, additionalProperties }: Data, key: string): unknown {
  return isObject(properties) && Object.hasOwn(properties, key) ? properties[key] : additionalProperties
}

const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value)

function flatten(schema: unknown, root: Data, seen: Set<unknown>): Shapes {
  if (!isObject(schema) || seen.has(schema)) return []
  seen.add(schema)
  const { $ref, anyOf, oneOf, allOf, ...own } = schema
  const inner = [anyOf, oneOf].filter(isList).flat().map(typed)
  if (isList(allOf)) inner.push(...allOf)
  if (typeof $ref === 'string') inner.push(refer(root, $ref))
  return [own, ...inner.flatMap((each) => flatten(each, root, seen))]
}

/** A part of a union without a type allows all types, so that a string is not converted. */
function typed(branch: unknown): unknown {
  if (!isObject(branch)) return { type: ['string', 'object', 'array'] }
  if (['type', '$ref', 'anyOf', 'oneOf', 'allOf'].some((key) => Object.hasOwn(branch, key))) return branch
  return { ...branch, type: isObject(branch['properties']) ? 'object' : ['string', 'object', 'array'] }
}

/** Resolves a reference inside a schema (RFC 6901); undefined for none. */
export function refer(root: Data, reference: string): unknown {
  if (reference !== '#' && !reference.startsWith('#/')) return undefined
  let at: unknown = root
  for (const part of reference.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined
    at = (at as Data)[key]
  }
  return at
}
