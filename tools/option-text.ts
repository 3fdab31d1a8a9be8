// How the reference describes the options of a schema.

import { EXPECTED, FILE } from '../src/lib/units.ts'

/** A schema of options, as the concerns and targets have it. */
export interface OptionSchema {
  readonly description?: string
  readonly type?: string
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly default?: unknown
  readonly examples?: readonly unknown[]
  readonly minimum?: number
  readonly maximum?: number
  readonly required?: readonly string[]
  readonly anyOf?: readonly OptionSchema[]
  readonly items?: OptionSchema
  readonly $ref?: string
  readonly properties?: Readonly<Record<string, OptionSchema>>
  readonly patternProperties?: Readonly<Record<string, OptionSchema>>
  readonly [EXPECTED]?: string
  readonly [FILE]?: boolean
}

/** Describes the values that an option takes. */
export function typeText(schema: OptionSchema): string {
  const expected = schema[EXPECTED]
  if (expected !== undefined) return expectedText(expected)
  if (schema[FILE] === true) return 'file name'
  if (schema.$ref !== undefined) return 'object'
  if (schema.const !== undefined) return code(schema.const)
  if (schema.enum !== undefined) return schema.enum.map((value) => code(value)).join(', ')
  if (schema.anyOf !== undefined) return unionText(schema.anyOf)
  if (schema.type === 'boolean') return '`true`, `false`'
  if (schema.type === 'array') return listText(schema.items ?? {})
  if (schema.type === 'object') return objectText(schema)
  if (schema.type === 'integer' || schema.type === 'number') return numberText(schema)
  return schema.type ?? 'any value'
}

// The index of the reference explains durations, sizes, rates and shares.
const expectedText = (expected: string): string =>
  codeQuoted(expected)
    .replace(/^an? /, '')
    .replace(/^(duration|size|rate|share) such as (?:`[^`]+`(?:, | or )?)+/, '[$1](README.md#values)')
    .replace(/(?<=\))(?=above)/, ', ')
    .replace(/(?<=above zero), or false for none$/, ', or `false`')
    .replace(/(?:, )?(?:or )?false for none$/, ' or `false`')

function unionText(branches: readonly OptionSchema[]): string {
  const [single, list] = branches
  if (
    branches.length === 2 &&
    list?.type === 'array' &&
    typeText(list.items ?? {}) === typeText(single ?? {})
  )
    return `${typeText(single ?? {})}; or a list of them`
  const texts = [...new Set(branches.map(typeText))]
  const last = texts.pop() ?? ''
  return texts.length === 0 ? last : `${texts.join(', ')} or ${last}`
}

function listText(items: OptionSchema): string {
  const text = typeText(items)
  return /^(?:string|object|file name)$/.test(text) ? `list of ${text}s` : `list, each: ${text}`
}

function objectText({ properties, patternProperties = {} }: OptionSchema): string {
  const [entry] = Object.values(patternProperties)
  return properties !== undefined || entry === undefined ? 'object' : `object; each value: ${typeText(entry)}`
}

function numberText({ type, minimum, maximum }: OptionSchema): string {
  const kind = type === 'integer' ? 'whole number' : 'number'
  if (minimum === undefined) return maximum === undefined ? kind : `${kind} up to ${maximum}`
  return maximum === undefined ? `${kind} from ${minimum}` : `${kind} from ${minimum} to ${maximum}`
}

/** Describes the default of an option: a value, "required" or "none". */
export function defaultText({ default: given, properties }: OptionSchema, isRequired: boolean): string {
  if (given === undefined) return isRequired ? 'required' : 'none'
  if (typeof given !== 'object' || Object.keys(given ?? {}).length > 0) return code(given)
  return properties === undefined ? 'none' : 'see below'
}

/** Returns the examples of an option, or of one of its forms. */
export const examplesOf = ({ examples, anyOf = [] }: OptionSchema): readonly unknown[] =>
  examples ?? anyOf.map(examplesOf).find((each) => each.length > 0) ?? []

/** Writes a value as code, as it stands in gateway.json. */
export const code = (value: unknown): string =>
  `\`${JSON.stringify(value, null, 1)
    .replaceAll(/\n\s*/g, ' ')
    .replaceAll(/\[ | \]/g, (bracket) => bracket.trim())}\``

const codeQuoted = (text: string): string => text.replaceAll(/"[^"]+"/g, '`$&`')

/** Returns a function that writes a description: what is in quotes as code, names of options and commands without them. */
export function describe(schemas: readonly OptionSchema[]): (description: string | undefined) => string {
  const names = new Set(schemas.flatMap(namesIn))
  const isName = (text: string): boolean =>
    text.startsWith('sallyport ') || text.split('.').every((part) => names.has(part))
  return (description = '') =>
    description.replaceAll(/\{ "[^}]*\}|"\w+": true|"([^"]+)"/g, (quoted, inner?: string) =>
      inner !== undefined && isName(inner) ? `\`${inner}\`` : `\`${quoted}\``
    )
}

const namesIn = ({ properties = {}, patternProperties = {}, items, anyOf = [] }: OptionSchema): string[] => [
  ...Object.keys(properties),
  ...[...Object.values(properties), ...Object.values(patternProperties), ...anyOf].flatMap(namesIn),
  ...(items === undefined ? [] : namesIn(items))
]

/** Escapes a text for a cell of a table. */
export const cell = (text: string): string => text.replaceAll('|', '\\|')
