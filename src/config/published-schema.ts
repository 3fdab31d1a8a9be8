import { isObject } from '../lib/schema.ts'
import { OWN_KEYWORDS } from '../lib/units.ts'
import { hasDefault } from './defaults.ts'

const USER_KEYS = {
  '^x-(?!ok$)': { description: 'Your own; Sallyport does not read it.' },
  '^x-ok$': { $ref: '#/$defs/accepted' }
}

/** The schema of `x-ok`, the one key with "x-" that is read. */
export const ACCEPTED = {
  type: 'object',
  description: 'The warnings of "check" that are accepted here and inside, each code with the reason.',
  patternProperties: { '^SP_WARN_[A-Z0-9_]+$': { type: 'string', minLength: 1 } },
  additionalProperties: false,
  examples: [{ SP_WARN_PUBLIC_BESIDE_PROTECTED: 'the front page is public on purpose' }]
}

/** Leaves out our own keywords, requires only options without a default, and allows x- keys in every object. */
export function publishedSchema(schema: unknown): unknown {
  const published = mapSubschemas(schema, publishedSchema)
  if (!isObject(published)) return published
  const { required, ...rest } = published
  const made: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(rest))
    if (!OWN_KEYWORDS.includes(key) && value !== undefined) made[key] = value
  const { properties } = made
  if (Array.isArray(required)) {
    const needed = required.filter((name: string) => !(isObject(properties) && hasDefault(properties[name])))
    if (needed.length > 0) made['required'] = needed
  }
  return isObject(properties) && made['additionalProperties'] === false
    ? { ...made, patternProperties: { ...patternsOf(made), ...USER_KEYS } }
    : made
}

const patternsOf = ({ patternProperties }: Record<string, unknown>): object =>
  isObject(patternProperties) ? patternProperties : {}

const SCHEMA_MAPS: ReadonlySet<string> = new Set(['properties', 'patternProperties', '$defs'])
const SCHEMAS: ReadonlySet<string> = new Set(['items', 'additionalProperties', 'anyOf'])

/** Copies a schema with every schema directly inside it changed; defaults, examples and enums are left alone. */
export function mapSubschemas(schema: unknown, change: (inner: unknown) => unknown): unknown {
  if (!isObject(schema)) return schema
  return mapValues(schema, (value, key) => {
    if (SCHEMA_MAPS.has(key) && isObject(value)) return mapValues(value, change)
    if (!SCHEMAS.has(key)) return value
    return Array.isArray(value) ? value.map(change) : change(value)
  })
}

/** Copies an object with every value changed. */
export const mapValues = (
  object: Readonly<Record<string, unknown>>,
  change: (value: unknown, key: string) => unknown
): Record<string, unknown> =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value, key)]))
