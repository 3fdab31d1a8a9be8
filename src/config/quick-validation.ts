import { getOrCreate } from '../lib/memoize.ts'
import { isObject } from '../lib/schema.ts'

type Check = (value: unknown) => boolean
type Schema = Readonly<Record<string, unknown>>

const checks = new WeakMap<object, Check>()

/**
 * Returns whether a value is valid by the keywords that schemas of options mostly have. Of what it returns false for, ajv
 * decides: it is exact, but takes milliseconds to compile each schema, half a second for the options of a config.
 */
export const isSurelyValid = (schema: unknown, value: unknown): boolean => checkOf(schema)(value)

const ACCEPT: Check = () => true
const LEAVE: Check = () => false

function checkOf(schema: unknown): Check {
  if (!isObject(schema)) return schema === true ? ACCEPT : LEAVE
  return getOrCreate(checks, schema, () => makeCheck(schema))
}

function makeCheck(schema: Schema): Check {
  const all: Check[] = []
  for (const [keyword, operand] of Object.entries(schema)) {
    if (ANNOTATION.test(keyword)) continue
    const make = KEYWORDS.get(keyword)
    if (make === undefined) return LEAVE
    all.push(make(operand, schema))
  }
  return (value) => all.every((check) => check(value))
}

const ANNOTATION = /^(?:title|description|default|examples|x-.*)$/

/** A keyword of JSON Schema: makes the check of its operand. */
type Keyword = (operand: unknown, schema: Schema) => Check

const isPrimitive = (value: unknown): boolean =>
  value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'

/** Returns whether a value is an object as JSON has them, whose own properties are all of them. */
function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  if (!isObject(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

const TYPES: Readonly<Record<string, Check>> = {
  string: (value) => typeof value === 'string',
  number: Number.isFinite,
  integer: Number.isInteger,
  boolean: (value) => typeof value === 'boolean',
  null: (value) => value === null,
  array: Array.isArray,
  object: isPlain
}

// A keyword says nothing of values of other types.
const ofNumbers =
  (test: (value: number, operand: number) => boolean): Keyword =>
  (operand) =>
    typeof operand === 'number' ? (value) => typeof value !== 'number' || test(value, operand) : LEAVE

const ofTexts =
  (test: (length: number, operand: number) => boolean): Keyword =>
  (operand) =>
    typeof operand === 'number'
      ? (value) => typeof value !== 'string' || test(Array.from(value).length, operand)
      : LEAVE

const ofLists =
  (test: (length: number, operand: number) => boolean): Keyword =>
  (operand) =>
    typeof operand === 'number' ? (value) => !Array.isArray(value) || test(value.length, operand) : LEAVE

const ofObjects =
  (check: (value: Readonly<Record<string, unknown>>) => boolean): Check =>
  (value) =>
    !isObject(value) || (isPlain(value) && check(value))

const counted =
  (test: (count: number, operand: number) => boolean): Keyword =>
  (operand) =>
    typeof operand === 'number' ? ofObjects((value) => test(Object.keys(value).length, operand)) : LEAVE

const atLeast = (value: number, operand: number): boolean => value >= operand
const atMost = (value: number, operand: number): boolean => value <= operand

const KEYWORDS: ReadonlyMap<string, Keyword> = new Map<string, Keyword>([
  [
    'type',
    (type) => (typeof type === 'string' && Object.hasOwn(TYPES, type) ? (TYPES[type] as Check) : LEAVE)
  ],
  ['const', (operand) => (isPrimitive(operand) ? (value) => value === operand : LEAVE)],
  [
    'enum',
    (operand) => (Array.isArray(operand) ? (value) => isPrimitive(value) && operand.includes(value) : LEAVE)
  ],
  [
    'anyOf',
    (branches) =>
      Array.isArray(branches) ? (value) => branches.some((branch) => isSurelyValid(branch, value)) : LEAVE
  ],
  ['minimum', ofNumbers(atLeast)],
  ['maximum', ofNumbers(atMost)],
  ['minLength', ofTexts(atLeast)],
  ['maxLength', ofTexts(atMost)],
  ['pattern', (pattern) => ofPattern(pattern)],
  ['minItems', ofLists(atLeast)],
  ['maxItems', ofLists(atMost)],
  [
    'uniqueItems',
    (unique) => (value) =>
      unique !== true ||
      !Array.isArray(value) ||
      (value.every(isPrimitive) && new Set(value).size === value.length)
  ],
  ['items', (items) => (value) => !Array.isArray(value) || value.every((item) => isSurelyValid(items, item))],
  ['minProperties', counted(atLeast)],
  ['maxProperties', counted(atMost)],
  [
    'required',
    (names) =>
      Array.isArray(names)
        ? ofObjects((value) =>
            names.every((name: string) => Object.hasOwn(value, name) && value[name] !== undefined)
          )
        : LEAVE
  ],
  [
    'properties',
    (properties) => (isObject(properties) ? ofObjects((value) => ownAreValid(properties, value)) : LEAVE)
  ],
  ['patternProperties', (patterns) => (isObject(patterns) ? ofNames(patterns) : LEAVE)],
  ['additionalProperties', (additional, schema) => ofOthers(additional, schema)]
])

const ownAreValid = (properties: Schema, value: Schema): boolean =>
  Object.keys(properties).every(
    (name) =>
      value[name] === undefined ||
      (Object.hasOwn(value, name) && isSurelyValid(properties[name], value[name]))
  )

const toRegExp = (pattern: string): RegExp => new RegExp(pattern, 'u')

function ofPattern(pattern: unknown): Check {
  if (typeof pattern !== 'string') return LEAVE
  const compiled = toRegExp(pattern)
  return (value) => typeof value !== 'string' || compiled.test(value)
}

function ofNames(patterns: Schema): Check {
  const compiled = Object.entries(patterns).map(([pattern, schema]) => [toRegExp(pattern), schema] as const)
  return ofObjects((value) =>
    Object.keys(value).every((name) =>
      compiled.every(([pattern, schema]) => !pattern.test(name) || isSurelyValid(schema, value[name]))
    )
  )
}

/** Makes the check of the properties that neither "properties" nor "patternProperties" names. */
function ofOthers(additional: unknown, { properties = {}, patternProperties = {} }: Schema): Check {
  if (!isObject(properties) || !isObject(patternProperties)) return LEAVE
  const patterns = Object.keys(patternProperties).map(toRegExp)
  return ofObjects((value) =>
    Object.keys(value).every(
      (name) =>
        Object.hasOwn(properties, name) ||
        patterns.some((pattern) => pattern.test(name)) ||
        isSurelyValid(additional, value[name])
    )
  )
}
