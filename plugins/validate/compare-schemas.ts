import type { OptionChange } from '../../src/kit/concern.ts'
import type { SchemaBundle } from '../../src/lib/body/json-schema/references.ts'
import { isSubset } from '../../src/lib/body/json-schema/subset.ts'
import { declaredProperties, readingOf } from '../../src/lib/body/json-schema/text-values.ts'
import { isObject } from '../../src/lib/schema.ts'
import { bundleOf, type SCHEMAS, type ValidateOptions } from './options.ts'
import { lowerCased } from './values.ts'

type Name = (typeof SCHEMAS)[number]

/** Compares the schemas of one part of requests, and what they read texts as. */
export function schemaChanges(name: Name, before: ValidateOptions, after: ValidateOptions): OptionChange[] {
  const [old, next] = [bundleIn(before, name), bundleIn(after, name)]
  const path = [name]
  if (old === undefined || next === undefined) {
    if (old === next) return []
    return next === undefined
      ? [{ class: 'widened-access', path, message: 'is no longer validated' }]
      : [{ class: 'narrowed-access', path, message: 'is validated' }]
  }
  if (old.hash === next.hash) return []
  const isNarrower = isSubset(next, old) && readsAlike(next, old, name)
  const isWider = isSubset(old, next) && readsAlike(old, next, name)
  if (isNarrower) return isWider ? [] : [{ class: 'narrowed-access', path, message: 'accepts fewer values' }]
  return [
    {
      class: 'widened-access',
      path,
      message: isWider
        ? 'accepts more values'
        : "is validated otherwise, and may accept more; it can't be decided"
    }
  ]
}

function bundleIn(options: ValidateOptions, name: Name): SchemaBundle | undefined {
  const schema = options[name]
  if (schema === undefined) return undefined
  return bundleOf(name === 'headers' ? lowerCased(schema) : schema)
}

/** Returns whether what a schema accepts as texts is the same value to another one, or one that it accepts in any case. */
function readsAlike(one: SchemaBundle, other: SchemaBundle, name: Name): boolean {
  // The values of a body have their types.
  if (name === 'body') return true
  const [own, others] = [one, other].map((bundle) => declaredProperties(rootOf(bundle), bundle)) as [
    ReadonlyMap<string, unknown>,
    ReadonlyMap<string, unknown>
  ]
  return [...new Set([...own.keys(), ...others.keys()])].every((each) => {
    const [schema, wanted] = [own.get(each), others.get(each)]
    if (schema !== undefined && wanted !== undefined)
      return readingOf(schema, one) === readingOf(wanted, other)
    return wanted === undefined && acceptsAny(rootOf(other), each, name)
  })
}

const rootOf = ({ documents, uri }: SchemaBundle): unknown => documents.get(uri)

const PLAIN = ['type', 'properties', 'required', 'additionalProperties', 'title', 'description', '$defs']

/** Returns whether a schema takes every value of a parameter that it does not name. */
function acceptsAny(schema: unknown, name: string, part: Name): boolean {
  if (!isObject(schema) || !Object.keys(schema).every((keyword) => PLAIN.includes(keyword))) return false
  const { additionalProperties = true, required } = schema
  // A header that is not named is not looked at, so that one that is required is missing.
  if (part === 'headers') return !Array.isArray(required) || !required.includes(name)
  return additionalProperties === true
}

/** Returns the names of query parameters that only the second of two schemas declares. */
export function declaredAnew(before: ValidateOptions, after: ValidateOptions): string[] {
  const [old, next] = [bundleIn(before, 'query'), bundleIn(after, 'query')]
  if (next === undefined) return []
  const known = old === undefined ? new Map() : declaredProperties(rootOf(old), old)
  return [...declaredProperties(rootOf(next), next).keys()].filter((name) => !known.has(name))
}
