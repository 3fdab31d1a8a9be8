import { isObject } from '../../schema.ts'
import type { SchemaBundle } from './references.ts'
import { pointerPart, subschemas } from './subschemas.ts'

// How many faults of a document are worth reading at once.
const MOST = 5

/** Something in a schema that JSON Schema 2020-12 does not allow. */
export interface SchemaFault {
  /** A JSON Pointer. */
  readonly pointer: string
  /** What the value there must be; goes on from "it". */
  readonly message: string
}

/** Returns what is wrong with the documents of a bundle; each text goes on from "the schema". */
export function metaschemaFaults({ documents }: SchemaBundle): string[] {
  return [...documents.values()].flatMap((document) =>
    schemaFaults(document)
      .slice(0, MOST)
      .map(({ pointer, message }) => `is not valid at #${pointer}: it ${message}`)
  )
}

/**
 * Returns what the metaschema of JSON Schema 2020-12 finds wrong with a schema, without following references.
 * A table, since ajv takes 70 ms to compile the metaschema.
 */
export function schemaFaults(schema: unknown): SchemaFault[] {
  const faults: SchemaFault[] = []
  visit(schema, '', faults)
  return faults
}

function visit(schema: unknown, pointer: string, faults: SchemaFault[]): void {
  if (typeof schema === 'boolean') return
  if (!isObject(schema)) {
    faults.push({ pointer, message: 'must be object,boolean' })
    return
  }
  for (const [keyword, value] of Object.entries(schema)) {
    const rule = Object.hasOwn(RULES, keyword) ? RULES[keyword] : undefined
    if (rule !== undefined && !rule.holds(value))
      faults.push({ pointer: `${pointer}/${pointerPart(keyword)}`, message: rule.message })
  }
  for (const [place, inner] of subschemas(schema))
    visit(inner, `${pointer}/${place.map(pointerPart).join('/')}`, faults)
}

interface Rule {
  readonly message: string
  holds(value: unknown): boolean
}

const rule = (message: string, holds: (value: unknown) => boolean): Rule => ({ message, holds })

const isText = (value: unknown): value is string => typeof value === 'string'
const isTextList = (value: unknown): boolean =>
  Array.isArray(value) && value.every(isText) && new Set(value).size === value.length

const TYPES: ReadonlySet<unknown> = new Set([
  'array',
  'boolean',
  'integer',
  'null',
  'number',
  'object',
  'string'
])

const text = rule('must be string', isText)
const anchor = rule(
  'must be a name that begins with a letter or "_"',
  (value) => isText(value) && /^[A-Za-z_][-A-Za-z0-9._]*$/.test(value)
)
const number = rule('must be number', (value) => typeof value === 'number')
const count = rule('must be a whole number >= 0', (value) => Number.isInteger(value) && Number(value) >= 0)
const flag = rule('must be boolean', (value) => typeof value === 'boolean')
const list = rule('must be array', Array.isArray)
const names = rule('must be a list of different strings', isTextList)
const schemaMap = rule('must be object', isObject)
const schemaList = rule(
  'must be a list of at least one schema',
  (value) => Array.isArray(value) && value.length > 0
)
const type = rule(
  `must be one of ${[...TYPES].join(', ')}, or a list of them`,
  (value) =>
    TYPES.has(value) ||
    (isTextList(value) &&
      (value as string[]).length > 0 &&
      (value as string[]).every((each) => TYPES.has(each)))
)

// The keywords that hold one schema are left to the visit of that schema.
const RULES: Readonly<Record<string, Rule>> = {
  $id: rule(
    'must be a URI reference without a fragment',
    (value) => isText(value) && /^[^#]*#?$/.test(value)
  ),
  $schema: text,
  $ref: text,
  $dynamicRef: text,
  $anchor: anchor,
  $dynamicAnchor: anchor,
  $comment: text,
  $vocabulary: rule(
    'must be an object of booleans',
    (value) => isObject(value) && Object.values(value).every((each) => typeof each === 'boolean')
  ),
  $defs: schemaMap,
  definitions: schemaMap,
  properties: schemaMap,
  patternProperties: schemaMap,
  dependentSchemas: schemaMap,
  allOf: schemaList,
  anyOf: schemaList,
  oneOf: schemaList,
  prefixItems: schemaList,
  type,
  enum: list,
  multipleOf: rule('must be > 0', (value) => typeof value === 'number' && value > 0),
  maximum: number,
  exclusiveMaximum: number,
  minimum: number,
  exclusiveMinimum: number,
  maxLength: count,
  minLength: count,
  maxItems: count,
  minItems: count,
  maxContains: count,
  minContains: count,
  maxProperties: count,
  minProperties: count,
  pattern: text,
  format: text,
  uniqueItems: flag,
  required: names,
  dependentRequired: rule(
    'must be an object of lists of different strings',
    (value) => isObject(value) && Object.values(value).every(isTextList)
  ),
  title: text,
  description: text,
  deprecated: flag,
  readOnly: flag,
  writeOnly: flag,
  examples: list,
  contentEncoding: text,
  contentMediaType: text
}
