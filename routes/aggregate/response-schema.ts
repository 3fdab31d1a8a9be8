import type { JsonSchema } from '../../src/kit/index.ts'
import { formatOptionsOf } from '../../src/lib/body/format-options.ts'
import { EVERY, type Path, parsePath } from '../../src/lib/body/paths.ts'
import { define, isObject } from '../../src/lib/schema.ts'
import { templateParts } from '../../src/lib/template-parts.ts'
import type { AggregateOptions, LegOptions } from './options.ts'
import { reference } from './references.ts'

type Legs = AggregateOptions['legs']

/** Derives the schema of the response from what it is made of: the keys that are known, and nothing of the values of legs that pass as they are. */
export function responseSchema({ body, merge, legs, partial }: AggregateOptions): JsonSchema {
  const schema =
    merge !== undefined
      ? mergedSchema(merge, legs)
      : body === undefined
        ? underNames(legs)
        : valueSchema(body, legs)
  if (partial === 'header' || schema['type'] !== 'object') return schema
  const properties = isObject(schema['properties']) ? schema['properties'] : {}
  return { ...schema, properties: { ...properties, _partial: PARTIAL } }
}

const PARTIAL = {
  type: 'array',
  description: 'The parts that are missing; absent if none is.',
  items: { type: 'object' }
}

type SchemaObject = Readonly<Record<string, unknown>>

function mergedSchema(names: readonly string[], legs: Legs): SchemaObject {
  const properties: Record<string, unknown> = {}
  for (const name of names) {
    const leg = legs[name]
    const schema = leg === undefined ? {} : shapeSchema(leg)
    if (isObject(schema['properties'])) Object.assign(properties, schema['properties'])
  }
  return { type: 'object', properties }
}

const underNames = (legs: Legs): SchemaObject =>
  objectSchema(
    Object.entries(legs).map(([name, { as = name }]) => [as, `{legs.${name}}`]),
    legs
  )

/** Returns the schema of a part of `body`. */
function valueSchema(value: unknown, legs: Legs): SchemaObject {
  if (typeof value === 'string') return textSchema(value, legs)
  if (Array.isArray(value)) return { type: 'array', items: {} }
  return isObject(value) ? objectSchema(Object.entries(value), legs) : { const: value }
}

function objectSchema(entries: readonly (readonly [string, unknown])[], legs: Legs): SchemaObject {
  const properties = {}
  for (const [key, value] of entries) define(properties, key, valueSchema(value, legs))
  const required = entries.filter(([, value]) => isAlwaysThere(value, legs)).map(([key]) => key)
  return { type: 'object', properties, ...(required.length === 0 ? {} : { required }) }
}

function textSchema(text: string, legs: Legs): SchemaObject {
  const [only, ...others] = templateParts(text)
  if (only === undefined || others.length > 0) return { type: 'string' }
  if (typeof only === 'string') return { const: only }
  const { kind, leg, reaches } = reference(only.reference)
  const options = kind === 'leg' && !reaches && leg !== undefined ? legs[leg] : undefined
  return options === undefined ? {} : legSchema(options)
}

/** Returns whether a value is in every response: not what a missing value leaves out. */
function isAlwaysThere(value: unknown, legs: Legs): boolean {
  if (typeof value !== 'string') return true
  return templateParts(value).every((part) => {
    if (typeof part === 'string') return true
    const { kind, leg, reaches } = reference(part.reference)
    const options = leg === undefined ? undefined : legs[leg]
    return kind === 'leg' && !reaches && (options?.required ?? true)
  })
}

/** Returns the schema of the result of a leg. */
function legSchema(leg: LegOptions): SchemaObject {
  const whole = shapeSchema(leg)
  if (leg.each !== undefined) return { type: 'array', items: orFallback(whole, leg.fallback ?? null) }
  return leg.fallback === undefined ? whole : orFallback(whole, leg.fallback)
}

const orFallback = (schema: SchemaObject, fallback: unknown): SchemaObject =>
  Object.keys(schema).length === 0 ? schema : { anyOf: [schema, { const: fallback }] }

/** Returns what `pick` and `rename` tell of a result, or the schema of its format. */
function shapeSchema({ first, flatten, pick, omit, rename, format }: LegOptions): SchemaObject {
  const isShaped = [first, flatten, pick, omit, rename].some((word) => word !== undefined)
  const schema = format === undefined ? undefined : formatOptionsOf(format).schema
  if (!isShaped) return isObject(schema) ? schema : {}
  const renamed = new Map(Object.entries(rename ?? {}))
  const paths = (pick ?? []).map((path) => renamed.get(path) ?? path)
  const known = [...new Set([...paths, ...renamed.values()])].map(parsePath)
  const kept = known.filter((path) => !(omit ?? []).some((other) => same(path, parsePath(other))))
  const made = schemaOfPaths(kept)
  return flatten === undefined ? made : { type: 'array', items: made }
}

const same = (a: Path, b: Path): boolean => a.length === b.length && a.every((step, i) => step === b[i])

/** Returns the schema of a value that has these paths; in a list, its items have them. */
function schemaOfPaths(paths: readonly Path[]): SchemaObject {
  if (paths.length === 0 || paths.some((path) => path.length === 0)) return {}
  const byStep = Map.groupBy(paths, ([step]) => step)
  const properties = {}
  for (const [step, below] of byStep)
    if (typeof step === 'string') define(properties, step, schemaOfPaths(below.map((path) => path.slice(1))))
  const every = byStep.get(EVERY)
  return {
    ...(Object.keys(properties).length === 0 ? {} : { properties }),
    ...(every === undefined ? {} : { items: schemaOfPaths(every.map((path) => path.slice(1))) })
  }
}
