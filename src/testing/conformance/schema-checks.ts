import { resolve } from 'node:path'
import { ConfigError, type Fault, type Path, showPath } from '../../config/fault.ts'
import { planOf } from '../../config/load.ts'
import { readJson } from '../../config/read-json.ts'
import { schemaError, validate, validateWithDefaults } from '../../config/validate.ts'
import { isObject } from '../../lib/schema.ts'
import { REPLACED_WHOLE } from '../../lib/units.ts'
import type { TestScope } from '../scope.ts'
import { expect } from './expect.ts'
import { withValueAt } from './options-place.ts'
import { makeProbe } from './probe.ts'
import type { Subject } from './subject.ts'

/** Checks that the key is in camelCase, and the name of the plugin. */
export async function checkKey({ key, module }: Subject): Promise<void> {
  expect(
    /^[a-z][A-Za-z0-9]*$/.test(key),
    `expected a key in camelCase, got "${key}"; letters and digits work, with a small letter first`
  )
  const meta: unknown = Reflect.get(module.default, Symbol.for('plugin-meta'))
  const name = isObject(meta) ? meta['name'] : module.default.name
  expect(
    name === key,
    `expected a plugin with the name of the key, got "${String(name)}"; export default fp(…, { name: key, fastify: '5.x' })`
  )
}

type Schema = Readonly<Record<string, unknown>>

/** Visits the schemas inside a schema, with the path of the option; lists and maps of entries stand as "[]" and "*". */
function visitSchemas(schema: unknown, path: string, visit: (schema: Schema, path: string) => void): void {
  if (!isObject(schema)) return
  visit(schema, path)
  for (const [name, option] of Object.entries(isObject(schema['properties']) ? schema['properties'] : {}))
    visitSchemas(option, `${path}.${name}`, visit)
  for (const entry of Object.values(isObject(schema['patternProperties']) ? schema['patternProperties'] : {}))
    visitSchemas(entry, `${path}.*`, visit)
  if (isObject(schema['additionalProperties']))
    visitSchemas(schema['additionalProperties'], `${path}.*`, visit)
  if (schema['items'] !== undefined) visitSchemas(schema['items'], `${path}[]`, visit)
  for (const branch of Array.isArray(schema['anyOf']) ? schema['anyOf'] : [])
    visitSchemas(branch, path, visit)
}

/** Checks that the schema describes every option in one sentence, and that unknown options are errors. */
export async function checkDescriptions({ key, module: { options } }: Subject): Promise<void> {
  const error = schemaError(options)
  expect(error === undefined, `expected options that are a JSON Schema, got an error: ${error}`)
  const bare: string[] = []
  const open: string[] = []
  const isSentence = (schema: unknown): boolean =>
    isObject(schema) && /^["A-Z].*\.$/s.test(String(schema['description'] ?? ''))
  if (!isSentence(options)) bare.push(key)
  visitSchemas(options, key, (schema, path) => {
    if (isOpenMap(schema)) open.push(path)
    const { properties } = schema
    if (!isObject(properties)) return
    for (const [name, option] of Object.entries(properties))
      if (!isSentence(option)) bare.push(`${path}.${name}`)
    if (schema[REPLACED_WHOLE] !== true && schema['additionalProperties'] === undefined) open.push(path)
  })
  expect(
    bare.length === 0,
    `expected a description of every option, got none or no sentence for ${bare.join(', ')}; begin with a capital letter and end with a full stop`
  )
  expect(
    open.length === 0,
    `expected unknown options to be errors, got a schema that allows them at ${open.join(', ')}; add additionalProperties: false`
  )
}

/** Returns whether a schema checks the entries of some names, and allows anything under others. */
const isOpenMap = ({ patternProperties, additionalProperties }: Schema): boolean =>
  isObject(patternProperties) &&
  additionalProperties === undefined &&
  !Object.keys(patternProperties).some((pattern) => new RegExp(pattern, 'u').test(''))

/** Checks that defaults and examples are valid themselves. */
export async function checkDefaults({ key, module: { options } }: Subject): Promise<void> {
  const wrong: string[] = []
  visitSchemas(options, key, (schema, path) => {
    const { default: given, examples } = schema
    const asExamples = Array.isArray(examples) ? (examples as unknown[]) : []
    // A part of an object is a default, too: what it lacks has defaults of its own.
    const values = [...(given === undefined || isObject(given) ? [] : [given]), ...asExamples]
    for (const value of values)
      if (
        schemaError(schema) === undefined &&
        validateWithDefaults(schema, value, asWritten).faults.length > 0
      )
        wrong.push(`${path} ${JSON.stringify(value)}`)
  })
  expect(
    wrong.length === 0,
    `expected defaults and examples that the schema allows, got ${wrong.join(', ')}; change the value or the schema`
  )
}

const asWritten = (value: unknown): string => JSON.stringify(value)

/** Checks that a route overrides any part of the options, and no default of its own hides those of the root. */
export async function checkOverride({ key, module }: Subject): Promise<void> {
  const override = 'override' in module ? module.override : undefined
  if (override === undefined || override === false) return
  const error = schemaError(override)
  expect(error === undefined, `expected an override that is a JSON Schema, got an error: ${error}`)
  const withDefault: string[] = []
  const visit = (schema: unknown, path: string): void => {
    if (!isObject(schema)) return
    if ('default' in schema) withDefault.push(path)
    for (const [name, option] of Object.entries(isObject(schema['properties']) ? schema['properties'] : {}))
      visit(option, `${path}.${name}`)
    for (const branch of Array.isArray(schema['anyOf']) ? schema['anyOf'] : []) visit(branch, path)
  }
  visit(override, key)
  expect(
    withDefault.length === 0,
    `expected an override without defaults, got some for ${withDefault.join(', ')}; export const override = overrideOf(options)`
  )
  const { required } = override as { required?: readonly string[] }
  expect(
    (required ?? []).length === 0,
    `expected an override in which every option may be missing, got required ${required?.join(', ')}; export const override = overrideOf(options)`
  )
}

// No option takes all of these.
const UNLIKELY: readonly unknown[] = [
  { 'no such option': 1 },
  ['\u0000', 0, null],
  -1.5,
  'no such value',
  true,
  null
]

/** Checks that a wrong value of each option, and an unknown option, is an error with its line. */
export async function checkWrongOptions(subject: Subject, t: TestScope): Promise<void> {
  const { key, module } = subject
  const config = await subject.config(t)
  const { path, value } = subject.optionsIn(config)
  const { properties } = module.options as { properties?: Readonly<Record<string, object>> }
  const cases: [path: Path, value: unknown][] = []
  for (const [name, schema] of Object.entries(properties ?? {})) {
    const wrong = UNLIKELY.find((each) => validate(schema, each, asWritten).length > 0)
    if (wrong !== undefined) cases.push([[...path, name], wrong])
  }
  if (properties !== undefined) cases.push([[...path, 'noSuchOption'], 1])
  else cases.push([path, 3])
  for (const [at, wrong] of cases) {
    const options =
      at.length > path.length
        ? withValueAt(isObject(value) ? value : {}, at.slice(path.length), wrong)
        : wrong
    const faults = await faultsOf(subject, withValueAt(config, path, options))
    const wanted = showPath(at)
    const found = faults.find(
      ({ path: each }) => each === wanted || each.startsWith(`${wanted}.`) || each.startsWith(`${wanted}[`)
    )
    expect(
      found?.line !== undefined && found.message.length > 0,
      `expected an error at ${wanted} for the value ${JSON.stringify(wrong)}, got ${
        faults.map((fault) => `"${fault.path}: ${fault.message}"`).join(', ') || 'none'
      }; let the schema of "${key}" refuse it, or return it from "faults" with its path`
    )
  }
}

/** Reads a config as from a file; returns its errors. */
async function faultsOf(subject: Subject, config: unknown): Promise<readonly Fault[]> {
  const source = readJson(resolve('gateway.json'), 'gateway.json', JSON.stringify(config, null, 2))
  try {
    await planOf(source, subject.catalogFor(config as object, makeProbe()), subject.env)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
}
