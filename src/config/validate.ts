import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import addFormats from 'ajv-formats'
import { getOrCreate } from '../lib/memoize.ts'
import { define, gate, isObject, itemsOf, nearest, schemaOf } from '../lib/schema.ts'
import { EXPECTED, FILE, REPLACED_WHOLE, TEMPLATE } from '../lib/units.ts'
import type { Path } from './fault.ts'

/** One thing that is wrong with a value, by its path inside the value. */
export interface Wrong {
  readonly path: Path
  readonly message: string
  /** The options that are known where the path names one that is not; absent for any other error. */
  readonly known?: readonly string[]
}

const settings = {
  allErrors: true,
  strict: true,
  strictTypes: false,
  allowUnionTypes: true,
  verbose: true,
  coerceTypes: false
} as const
const ajv = new Ajv(settings)
ajv.addVocabulary([EXPECTED, REPLACED_WHOLE, FILE, TEMPLATE])
addFormats.default(ajv)

const compiled = new WeakMap<object, ValidateFunction>()

function validator(schema: object): ValidateFunction {
  return getOrCreate(compiled, schema, () => ajv.compile(schema))
}

/** Tells what is wrong with a schema itself, or undefined where nothing is. */
export function schemaFault(schema: object): string | undefined {
  try {
    validator(schema)
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** Checks a value as it was written against a schema; a text that came from outside is shown as `shown` has it. */
export function check(schema: object, value: unknown, shown: (path: Path) => string | undefined): Wrong[] {
  return run(validator(schema), value, shown)
}

/** Fills the defaults of a schema into a copy of a value, and checks it whole. */
export function complete(
  schema: object,
  value: unknown,
  shown: (path: Path) => string | undefined
): { value: unknown; wrong: Wrong[] } {
  const whole = withDefaults(schema, value)
  return { value: whole, wrong: run(validator(schema), whole, shown) }
}

/** Copies a value with the defaults of its schema filled in; Ajv's own way ignores those inside a union. */
export function withDefaults(schema: unknown, value: unknown): unknown {
  if (!isObject(schema) || schema[REPLACED_WHOLE] === true) return value
  if (Array.isArray(value)) return value.map((item) => withDefaults(itemsOf(schema), item))
  if (!isObject(value)) return value
  const made = {}
  for (const key of Object.keys(value)) define(made, key, withDefaults(schemaOf(schema, key), value[key]))
  const properties = propertiesOf(schema)
  for (const key of Object.keys(properties)) {
    const option = properties[key]
    if (!Object.hasOwn(made, key) && isObject(option) && option['default'] !== undefined)
      define(made, key, withDefaults(option, ownDefault(option['default'])))
  }
  return made
}

// Cloning takes its time, even for a text.
const ownDefault = (value: unknown): unknown =>
  typeof value === 'object' && value !== null ? structuredClone(value) : value

// Of a union, the branch for objects is meant where an object stands; no word of ours has two.
function propertiesOf(schema: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  if (isObject(schema['properties'])) return schema['properties']
  const branch = Array.isArray(schema['anyOf'])
    ? schema['anyOf'].find((one) => isObject(one) && isObject(one['properties']))
    : undefined
  return isObject(branch) && isObject(branch['properties']) ? branch['properties'] : {}
}

function run(validate: ValidateFunction, value: unknown, shown: (path: Path) => string | undefined): Wrong[] {
  if (validate(value)) return []
  const errors = validate.errors ?? []
  return errors.filter((error) => !inside(error, errors)).map((error) => say(error, value, shown))
}

// What a branch of a union says is noise, unless the branch is the one for the kind of value that stands there.
function inside(error: ErrorObject, errors: readonly ErrorObject[]): boolean {
  if (error.keyword === 'anyOf' && meant(error, errors)) return true
  return errors.some(
    (union) =>
      union.keyword === 'anyOf' &&
      error !== union &&
      error.schemaPath.startsWith(`${union.schemaPath}/`) &&
      isNoise(error, union)
  )
}

function isNoise(error: ErrorObject, union: ErrorObject): boolean {
  if (!isObject(union.data) && !Array.isArray(union.data)) return true
  return (
    error.instancePath === union.instancePath &&
    error.keyword !== 'additionalProperties' &&
    error.keyword !== 'required'
  )
}

// A union's own error is dropped where one of its branches was meant and says more.
const meant = (union: ErrorObject, errors: readonly ErrorObject[]): boolean =>
  errors.some(
    (other) =>
      other !== union && other.schemaPath.startsWith(`${union.schemaPath}/`) && !inside(other, errors)
  )

function say(error: ErrorObject, value: unknown, shown: (path: Path) => string | undefined): Wrong {
  const path = pathOf(error.instancePath, value)
  const schema = error.parentSchema as Record<string, unknown>
  const params = error.params as Record<string, unknown>
  if (error.keyword === 'additionalProperties') {
    const key = String(params['additionalProperty'])
    const known = Object.keys((schema['properties'] ?? {}) as object)
    return { path: [...path, key], message: unknownOption(key, known), known }
  }
  if (error.keyword === 'required') {
    const key = String(params['missingProperty'])
    const about = (schema['properties'] as Record<string, { description?: string }> | undefined)?.[key]
      ?.description
    return { path, message: `"${key}" is missing${about === undefined ? '' : `: ${lower(about)}`}` }
  }
  const hidden = shown(path)
  const wanted = wantedBy(error, schema, hidden)
  const asked = error.keyword === 'anyOf' ? { anyOf: error.schema } : schema
  return { path, message: expectation(wanted, error.data, whatWorks(asked, error.data, hidden), hidden) }
}

/** Says what was expected and what stands there, and what would work; a value that is not shown is written as `hidden`. */
export const expectation = (wanted: string, data: unknown, work?: string, hidden?: string): string =>
  `expected ${wanted}, got ${hidden ?? short(data)}${work === undefined ? '' : `; ${work}`}`

/** Says that an option is unknown, and which one may be meant. */
export function unknownOption(key: string, known: readonly string[], hint?: string): string {
  const near = nearest(key, known)
  const meant = near === undefined ? hint : `${hint === undefined ? '' : `${hint}; `}did you mean "${near}"?`
  return `Unknown option "${key}"; ${meant ?? `known here: ${known.join(', ')}`}`
}

function wantedBy(
  { keyword, params, schema, data, message = '' }: ErrorObject,
  parent: Record<string, unknown>,
  hidden: string | undefined
): string {
  if (typeof parent[EXPECTED] === 'string') return parent[EXPECTED]
  if (keyword === 'enum') return oneOf((params as { allowedValues: unknown[] }).allowedValues)
  if (keyword === 'type') return kindOf({ ...parent, minimum: undefined, minItems: undefined }, data, hidden)
  if (keyword === 'anyOf') return kinds(schema as unknown[], data, hidden)
  const { limit } = params as { limit?: number }
  if (keyword === 'minItems') return limit === 1 ? 'a list of one or more' : `a list of ${limit} or more`
  if (keyword === 'maxItems') return `a list of ${limit} at most`
  if (keyword === 'minLength')
    return limit === 1 ? 'a text that is not empty' : `a text of ${limit} characters or more`
  if (keyword === 'maxLength') return `a text of ${limit} characters at most`
  if (keyword === 'minimum' || keyword === 'maximum') return kindOf(parent, data, hidden)
  if (keyword === 'uniqueItems') return 'a list in which nothing stands twice'
  return `a value that ${message.replace(/^must /, '')}`
}

function oneOf(values: readonly unknown[]): string {
  const written = values.map((value) => JSON.stringify(value))
  const last = written.pop() ?? ''
  return written.length === 0 ? last : `${written.join(', ')} or ${last}`
}

/** Says what would work in the place of a value: itself without its quotes, in a list or in an object, or a name that is near. */
function whatWorks(schema: unknown, data: unknown, hidden: string | undefined): string | undefined {
  if (typeof data === 'string') {
    const names = namesIn(schema)
    const near = nearest(data, names)
    if (near !== undefined && hidden === undefined) return `did you mean "${near}"?`
    const bare = /^(true|false|-?\d+(\.\d+)?)$/.test(data) ? (JSON.parse(data) as unknown) : undefined
    if (bare !== undefined && accepts(schema, bare)) return `${data} without quotes would work`
  }
  const items = isObject(schema) ? itemsOf(schema) : undefined
  if (isObject(data) && isObject(items) && items['type'] === 'object')
    return '"[" and "]" around it would work'
  if (data === null || typeof data === 'object' || isSecret(hidden)) return undefined
  const written = hidden ?? quoted(data)
  if (items !== undefined && accepts(items, data)) return `[${written}] would work`
  return undefined
}

// What came from outside is quoted as it is written, and a secret not at all.
const isSecret = (hidden: string | undefined): boolean => hidden !== undefined && !hidden.startsWith('"')

function namesIn(schema: unknown): string[] {
  if (!isObject(schema)) return []
  const { enum: names, anyOf } = schema
  if (Array.isArray(names)) return names.filter((name) => typeof name === 'string')
  return Array.isArray(anyOf) ? anyOf.flatMap(namesIn) : []
}

/** Tells whether a schema takes a value, by its type and its pattern. */
function accepts(schema: unknown, value: unknown): boolean {
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

/** Writes an object that a schema takes and that says what stands in its place, where some option takes that; else an object of the options that are needed. */
function exampleOf(schema: object, data: unknown, hidden: string | undefined): string | undefined {
  const each = Object.values((schema as { patternProperties?: object }).patternProperties ?? {})[0] as unknown
  if (isObject(each)) {
    const inner = each['type'] === 'object' ? exampleOf(each, data, hidden) : JSON.stringify(sampleOf(each))
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
    const text = isSecret(hidden) ? '"…"' : (hidden ?? quoted(isPlain ? data : value))
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

const hasDefault = (option: unknown): boolean => isObject(option) && option['default'] !== undefined

const spacedJson = (value: unknown): string => JSON.stringify(value, null, 1).replaceAll(/\n\s*/g, ' ')

/** Makes a value that an option takes: its default, or what its own words give as an example. */
function sampleOf(schema: unknown): unknown {
  if (!isObject(schema)) return '…'
  const { default: usual, enum: names, anyOf, type, examples } = schema
  if (Array.isArray(examples)) return examples[0]
  if (usual !== undefined) return usual
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

const lower = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1).replace(/\.$/, '')

const article = (type: string): string =>
  ({
    object: 'an object',
    array: 'a list',
    integer: 'a whole number',
    string: 'a text',
    boolean: 'true or false',
    number: 'a number'
  })[type] ?? type

function kinds(branches: readonly unknown[], data: unknown, hidden: string | undefined): string {
  const said = [...new Set(branches.map((branch) => kindOf(branch, data, hidden)))]
  const last = said.pop() ?? 'anything'
  return said.length === 0 ? last : `${said.join(', ')} or ${last}`
}

function kindOf(branch: unknown, data: unknown, hidden: string | undefined): string {
  if (!isObject(branch)) return 'anything'
  const { enum: names, type, minimum, maximum } = branch
  if (typeof branch[EXPECTED] === 'string') return branch[EXPECTED]
  if (branch['const'] !== undefined) return JSON.stringify(branch['const'])
  if (Array.isArray(names)) return names.map((value) => JSON.stringify(value)).join(', ')
  if (type === 'integer' && minimum !== undefined)
    return `a whole number from ${String(minimum)} ${maximum === undefined ? 'on' : `to ${String(maximum)}`}`
  if (type === 'object' && !isObject(data)) return anObject(branch, data, hidden)
  return branch['minItems'] === 1 ? 'a list of one or more' : article(String(type))
}

/** Names an object by an example of it. */
export function anObject(schema: object, data: unknown, hidden: string | undefined): string {
  const example = exampleOf(schema, data, hidden)
  return example === undefined ? 'an object' : `an object such as ${example}`
}

/** Writes a value as JSON, without the user of a URL. */
const quoted = (value: unknown): string =>
  (JSON.stringify(value) ?? String(value)).replaceAll(/(\/\/)[^/?#\s"]*@/g, '$1***@')

/** Writes a value as a message quotes it. */
function short(value: unknown): string {
  const text = quoted(value)
  return text.length > 60 ? `${text.slice(0, 57)}…` : text
}

function pathOf(pointer: string, value: unknown): Path {
  let here = value
  return pointer
    .split('/')
    .slice(1)
    .map((part) => {
      const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
      const index = Array.isArray(here) ? Number(key) : key
      here = (here as Record<string | number, unknown> | undefined)?.[index]
      return index
    })
}
