import { type Static, Type } from 'typebox'
import { isObject, type OptionFault } from '../schema.ts'
import { EXPECTED, REPLACED_WHOLE } from '../units.ts'
import { refer } from './schema-types.ts'
import { isXmlName, partsOf } from './xml-names.ts'

const FORMATS = ['json', 'xml', 'csv', 'ndjson', 'form'] as const

/** A format that a service may send. */
export type FormatName = (typeof FORMATS)[number]

/** A format that a client may get. */
export type WrittenFormat = 'json' | 'xml'

/** The defaults of the options. */
export const FORMAT_DEFAULTS: {
  readonly from: FormatName
  readonly to: WrittenFormat[]
  readonly lists: string[]
  readonly namespaces: 'drop' | 'keep'
} = { from: 'json', to: ['json'], lists: [], namespaces: 'drop' }

/** The schemas of all options of "format". */
export const formatProperties = {
  from: Type.Unsafe<FormatName>({
    type: 'string',
    enum: [...FORMATS],
    default: FORMAT_DEFAULTS.from,
    description: 'What the service sends: csv has a header row, ndjson a JSON value in each line.'
  }),
  to: Type.Array(Type.Unsafe<WrittenFormat>({ type: 'string', enum: ['json', 'xml'] }), {
    minItems: 1,
    uniqueItems: true,
    default: FORMAT_DEFAULTS.to,
    description:
      'What the client may get, chosen by its Accept header; the first one if it accepts none of them.'
  }),
  lists: Type.Array(Type.String({ minLength: 1 }), {
    maxItems: 256,
    default: FORMAT_DEFAULTS.lists,
    description:
      'Elements of XML that are always a list, such as "shop.item": their names from the root element on; "\\." is a literal dot.',
    examples: [['shop.item']]
  }),
  schema: Type.Optional(
    Type.Unsafe<Readonly<Record<string, unknown>>>({
      type: 'object',
      [REPLACED_WHOLE]: true,
      description:
        'A JSON Schema whose types the texts of xml, csv or form are turned into; without one they stay strings.',
      examples: [{ properties: { count: { type: 'integer' } } }]
    })
  ),
  namespaces: Type.Unsafe<'drop' | 'keep'>({
    type: 'string',
    enum: ['drop', 'keep'],
    default: FORMAT_DEFAULTS.namespaces,
    description: 'Whether the names of XML lose their prefixes (drop) or keep them.'
  }),
  root: Type.Optional(
    Type.String({
      minLength: 1,
      description:
        'The root element of the XML that the client gets; an item of a list without a name is called "item".'
    })
  )
}

const whole = Type.Object(formatProperties, { additionalProperties: false })

/** All options of "format". */
export type FormatOptions = Static<typeof whole>

/** The option "format" as a config contains it: a name, or an object of options. */
export type FormatOption = FormatName | FormatOptions

/** Describes the option "format". */
export const format = Type.Unsafe<FormatOption>({
  anyOf: [{ type: 'string', enum: [...FORMATS] }, whole],
  [EXPECTED]: `${FORMATS.map((name) => `"${name}"`).join(', ')}, or an object with "from"`,
  description: 'The format of a response, and what it is turned into; a name is short for { "from": name }.',
  examples: ['xml']
})

/** Expands the option "format" to all its options. */
export const formatOptionsOf = (option: FormatOption): FormatOptions =>
  typeof option === 'string' ? { ...FORMAT_DEFAULTS, from: option } : { ...FORMAT_DEFAULTS, ...option }

type Path = OptionFault['path']

/** Returns the errors of the option "format" beyond its schema. */
export function formatFaults(option: FormatOption, path: Path): OptionFault[] {
  const { from, to, lists, schema, root } = formatOptionsOf(option)
  const faults: OptionFault[] = lists.flatMap((list, index) => listFaults(list, [...path, 'lists', index]))
  if (lists.length > 0 && from !== 'xml')
    faults.push({ path: [...path, 'lists'], message: `expected "from": "xml" beside it, got "${from}"` })
  if (root === undefined && to.includes('xml'))
    faults.push({
      path: [...path, 'to'],
      message: 'expected the option "root" beside "xml", got none; "root": "answer" would do'
    })
  if (root !== undefined && !isXmlName(root))
    faults.push({ path: [...path, 'root'], message: `expected the name of an element, got "${root}"` })
  if (schema !== undefined) faults.push(...schemaFaults(schema, from, [...path, 'schema']))
  return faults
}

function listFaults(list: string, path: Path): OptionFault[] {
  const wrong = partsOf(list).find((part) => !isXmlName(part))
  if (wrong === undefined) return []
  return [
    { path, message: `expected names of elements with dots between them, such as "shop.item", got "${list}"` }
  ]
}

function schemaFaults(schema: unknown, from: FormatName, path: Path): OptionFault[] {
  if (!isObject(schema)) return [{ path, message: `expected a JSON Schema, got ${JSON.stringify(schema)}` }]
  if (from === 'json' || from === 'ndjson')
    return [{ path, message: `expected "from": "xml", "csv" or "form" beside it, got "${from}"` }]
  return referencesOf(schema)
    .filter((reference) => refer(schema, reference) === undefined)
    .map((reference) => ({
      path,
      message: `expected references inside the schema, such as "#/$defs/item", got "${reference}"`
    }))
}

function referencesOf(schema: unknown): string[] {
  if (Array.isArray(schema)) return schema.flatMap(referencesOf)
  if (!isObject(schema)) return []
  const own = schema['$ref']
  return [...(typeof own === 'string' ? [own] : []), ...Object.values(schema).flatMap(referencesOf)]
}
