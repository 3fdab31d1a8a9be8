import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import addFormats from 'ajv-formats'
import {
  define,
  FILE,
  isObject,
  itemsOf,
  nearest,
  remember,
  SAYS,
  schemaOf,
  TEMPLATE,
  WHOLE
} from '../kit/index.ts'
import type { Path } from './fault.ts'

/** One thing that is wrong with a value, by its path inside the value. */
export interface Wrong {
  readonly path: Path
  readonly message: string
  /** Whether the path is that of a key that should not be there. */
  readonly key?: boolean
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
ajv.addVocabulary([SAYS, WHOLE, FILE, TEMPLATE])
addFormats.default(ajv)

const compiled = new WeakMap<object, ValidateFunction>()

function validator(schema: object): ValidateFunction {
  return remember(compiled, schema, () => ajv.compile(schema))
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
  if (!isObject(schema) || schema[WHOLE] === true) return value
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
    const near = nearest(key, known)
    const hint = near === undefined ? `known here: ${known.join(', ')}` : `did you mean "${near}"?`
    return { path: [...path, key], message: `Unknown word "${key}"; ${hint}`, key: true }
  }
  if (error.keyword === 'required') {
    const key = String(params['missingProperty'])
    const about = (schema['properties'] as Record<string, { description?: string }> | undefined)?.[key]
      ?.description
    return { path, message: `"${key}" is missing${about === undefined ? '' : `: ${lower(about)}`}` }
  }
  const stands = shown(path) ?? short(error.data)
  if (typeof schema[SAYS] === 'string')
    return { path, message: `${stands} will not do; it takes ${schema[SAYS]}` }
  if (error.keyword === 'enum') {
    const known = (params['allowedValues'] as unknown[]).map(String)
    const near = typeof error.data === 'string' ? nearest(error.data, known) : undefined
    const list =
      known.length > 12
        ? 'see the docs for the list'
        : `it takes ${known.map((k) => JSON.stringify(k)).join(', ')}`
    return {
      path,
      message: `${stands} will not do; ${near === undefined ? list : `did you mean "${near}"?`}`
    }
  }
  if (error.keyword === 'type')
    return { path, message: `${stands} will not do; it takes ${article(String(schema['type']))}` }
  if (error.keyword === 'anyOf')
    return { path, message: `${stands} will not do; it takes ${kinds(error.schema as unknown[])}` }
  return { path, message: `${stands} will not do; it ${error.message ?? 'is wrong'}` }
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

const kinds = (branches: readonly unknown[]): string =>
  [
    ...new Set(
      branches.map((branch) => {
        if (!isObject(branch)) return 'anything'
        if (typeof branch[SAYS] === 'string') return branch[SAYS]
        if (branch['const'] !== undefined) return JSON.stringify(branch['const'])
        if (Array.isArray(branch['enum']))
          return branch['enum'].map((value) => JSON.stringify(value)).join(', ')
        if (branch['type'] === 'integer' && branch['minimum'] !== undefined)
          return `a whole number from ${String(branch['minimum'])} ${branch['maximum'] === undefined ? 'on' : `to ${String(branch['maximum'])}`}`
        return branch['minItems'] === 1 ? 'a list of one or more' : article(String(branch['type']))
      })
    )
  ].join(' or ')

function short(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
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
