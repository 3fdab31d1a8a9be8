import type { SchemaBundle } from '../../src/lib/body/json-schema/references.ts'
import { mapSubschemas } from '../../src/lib/body/json-schema/subschemas.ts'
import { isSubset } from '../../src/lib/body/json-schema/subset.ts'
import { declaredProperties, readingOf, textReader } from '../../src/lib/body/json-schema/text-values.ts'
import { stableText } from '../../src/lib/compare-options.ts'
import { isObject } from '../../src/lib/schema.ts'

/** Which values are accepted after a change: the same, fewer, more, or possibly more. */
export type Acceptance = 'same' | 'less' | 'more' | 'maybe'

/** Returns whether what one schema accepts is the same value to another one. */
export type ReadsAlike = (one: SchemaBundle, other: SchemaBundle) => boolean

/** Compares two schemas by the values that they accept; values of JSON have their types, and texts are read. */
export function compareBundles(
  old: SchemaBundle,
  next: SchemaBundle,
  readsAlike: ReadsAlike = () => true
): Acceptance {
  if (old.hash === next.hash || meaningOf(old) === meaningOf(next)) return 'same'
  const isNarrower = isSubset(next, old) && readsAlike(next, old)
  const isWider = isSubset(old, next) && readsAlike(old, next)
  if (isNarrower) return isWider ? 'same' : 'less'
  return isWider ? 'more' : 'maybe'
}

// What stands at the top of another file may be no schema.
const meaningOf = ({ documents, uri }: SchemaBundle): string =>
  stableText([...documents].map(([own, each]) => (own === uri ? withoutAnnotations(each) : each)))

// What says nothing about which values are valid; the schemas of 3.0 have some more.
const ANNOTATIONS = [
  '$comment',
  'default',
  'deprecated',
  'description',
  'discriminator',
  'example',
  'examples',
  'externalDocs',
  'readOnly',
  'title',
  'writeOnly',
  'xml'
]

function withoutAnnotations(schema: unknown): unknown {
  if (!isObject(schema)) return schema
  const copy = mapSubschemas(schema, withoutAnnotations)
  for (const keyword of ANNOTATIONS) delete copy[keyword]
  return copy
}

/** Returns the schema that a bundle is made of. */
export const rootOf = ({ documents, uri }: SchemaBundle): unknown => documents.get(uri)

/** Returns `readsAlike` for the properties of an object that are texts; `acceptsAny` tells of those that only the first schema declares. */
export const propertiesReadAlike =
  (acceptsAny: (schema: unknown, name: string) => boolean): ReadsAlike =>
  (one, other) => {
    const own = declaredProperties(rootOf(one), one)
    const others = declaredProperties(rootOf(other), other)
    return [...new Set([...own.keys(), ...others.keys()])].every((name) => {
      const [schema, wanted] = [own.get(name), others.get(name)]
      if (schema !== undefined && wanted !== undefined)
        return readingOf(schema, one) === readingOf(wanted, other)
      return wanted === undefined && acceptsAny(rootOf(other), name)
    })
  }

const PLAIN = ['type', 'properties', 'required', 'additionalProperties', 'title', 'description', '$defs']

/** Returns whether a schema is of an object, with properties and nothing else. */
export const isPlainObject = (schema: unknown): schema is Readonly<Record<string, unknown>> =>
  isObject(schema) && Object.keys(schema).every((keyword) => PLAIN.includes(keyword))

/** Returns whether an object takes every value of a property that it does not name. */
export const takesOthers = (schema: unknown): boolean =>
  isPlainObject(schema) && (schema['additionalProperties'] ?? true) === true

const readsProperties = propertiesReadAlike(takesOthers)

/** Returns whether what an object accepts as fields that are texts, also those that nothing names, is the same value to another one. */
export const fieldsReadAlike: ReadsAlike = (one, other) =>
  readsProperties(one, other) && readingOfOthers(one) === readingOfOthers(other)

const NO_NAME = '\0'
const TEXTS = ['1', 'true', '', 'a']

function readingOfOthers(bundle: SchemaBundle): string {
  const reader = textReader(rootOf(bundle), bundle)
  return JSON.stringify([
    reader.isListProperty(NO_NAME),
    ...TEXTS.map((text) => [reader.property(NO_NAME, text), reader.propertyItem(NO_NAME, text)])
  ])
}
