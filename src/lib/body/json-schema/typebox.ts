import { Compile } from 'typebox/schema'
import { Settings } from 'typebox/system'
import { isObject } from '../../schema.ts'
import { shareFormats } from './formats.ts'
import { inTime } from './in-time.ts'
import { compilePattern, isPlainPattern } from './pattern.ts'
import type { SchemaBundle } from './references.ts'
import { bounded, describeErrors, type Invalid, type SchemaValidator } from './schema-errors.ts'
import { countStep, inSteps } from './steps.ts'
import { decodeFragment, subschemas, valueAt } from './subschemas.ts'

// What ajv gets wrong (the required tests of JSON Schema 2020-12 tell), TypeBox gets right.
const FOR_TYPEBOX = [
  '$id',
  '$anchor',
  '$dynamicAnchor',
  '$dynamicRef',
  '$vocabulary',
  'unevaluatedItems',
  'unevaluatedProperties'
]

/** Returns whether the schema at a place, or one that it refers to, has what ajv gets wrong. */
export function needsTypeBox({ uri, documents }: SchemaBundle, pointer: string): boolean {
  const document = documents.get(uri)
  if (hasHardKeyword(valueAt(document, pointer), document, new Set())) return true
  return [...documents].some(([each, other]) => each !== uri && hasHardKeyword(other, other, new Set()))
}

/** Returns whether a schema, or one that it refers to within its document, has what ajv gets wrong. */
function hasHardKeyword(schema: unknown, document: unknown, seen: Set<unknown>): boolean {
  if (!isObject(schema) || seen.has(schema)) return false
  seen.add(schema)
  if (FOR_TYPEBOX.some((keyword) => Object.hasOwn(schema, keyword))) return true
  if (Array.isArray(schema['enum']) && schema['enum'].length === 0) return true
  if (Array.isArray(schema['required']) && schema['required'].includes('__proto__')) return true
  const { $ref } = schema
  if (typeof $ref === 'string' && $ref.startsWith('#/'))
    if (hasHardKeyword(valueAt(document, decodeFragment($ref)), document, seen)) return true
  for (const [place, inner] of subschemas(schema))
    if (place[1] === '__proto__' || hasHardKeyword(inner, document, seen)) return true
  return false
}

let isPrepared = false

/** Validates by TypeBox. */
export function typeBoxValidator({ uri, documents }: SchemaBundle, pointer: string): SchemaValidator {
  if (!isPrepared) {
    isPrepared = true
    shareFormats()
    Settings.Set({ maxErrors: 200 })
  }
  const context = Object.fromEntries(
    [...documents].map(([each, document]) => [each, forTypeBox(document)] as const)
  )
  const root = context[uri]
  const schema = pointer === '' ? root : { $ref: `${uri}#${encodeURI(pointer)}` }
  const validator = Compile(context as Record<string, object>, schema as object)
  const judge = (value: unknown): Invalid | undefined => {
    if (inSteps(value, (each) => validator.Check(each))) return undefined
    const [, errors] = inSteps(value, (each) => validator.Errors(each))
    return describeErrors(errors)
  }
  // TypeBox compiles the patterns of names itself.
  const isTimed = [...documents.values()].some(hasSlowName)
  const validate = (value: unknown): Invalid | undefined =>
    bounded(() => (isTimed ? inTime(() => judge(value)) : judge(value)))
  return Object.assign(validate, { first: validate })
}

/** Returns whether a pattern of names anywhere in a document, which references may lead to, takes the native engine more than linear time. */
function hasSlowName(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const patterns = (value as { readonly patternProperties?: unknown }).patternProperties
  if (isObject(patterns) && !Object.keys(patterns).every(isPlainPattern)) return true
  return Object.values(value).some(hasSlowName)
}

// TypeBox asks formats about texts only.
const NUMBER_FORMATS: Readonly<Record<string, object>> = {
  int32: { minimum: -(2 ** 31), maximum: 2 ** 31 - 1, multipleOf: 1 },
  int64: { multipleOf: 1 }
}

/** Copies a schema with compiled patterns, which TypeBox takes as RegExp objects, and the formats of numbers spelled out. */
function forTypeBox(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(forTypeBox)
  if (!isObject(schema)) return schema
  const copy: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(schema))
    Object.defineProperty(copy, key, {
      value:
        key === 'pattern' && typeof value === 'string'
          ? asRegExp(value)
          : key === 'const' || key === 'enum'
            ? value
            : forTypeBox(value),
      writable: true,
      enumerable: true,
      configurable: true
    })
  const numbers = typeof schema['format'] === 'string' ? NUMBER_FORMATS[schema['format']] : undefined
  const { allOf = [], ...rest } = copy
  if (!Array.isArray(allOf)) return copy
  const added = [...(numbers === undefined ? [] : [numbers]), ...countedReferences(rest)]
  return added.length === 0 ? copy : { ...rest, allOf: [...allOf, ...added] }
}

// TypeBox calls it in the place of a keyword.
const COUNTED = { '~refine': [{ check: countStep, error: () => '' }] }

/** Takes the references out of a schema, and returns them as schemas of their own, each behind one that counts it. */
function countedReferences(schema: Record<string, unknown>): object[] {
  return ['$ref', '$dynamicRef'].flatMap((keyword) => {
    const reference = schema[keyword]
    if (typeof reference !== 'string') return []
    delete schema[keyword]
    return [COUNTED, { [keyword]: reference }]
  })
}

function asRegExp(source: string): RegExp {
  const { test } = compilePattern(source)
  return Object.defineProperty(/(?:)/, 'test', { value: test })
}
