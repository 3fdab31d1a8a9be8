import type { OptionChange } from '../../src/kit/concern.ts'
import type { SchemaBundle } from '../../src/lib/body/json-schema/references.ts'
import { declaredProperties } from '../../src/lib/body/json-schema/text-values.ts'
import {
  compareBundles,
  isPlainObject,
  propertiesReadAlike,
  type ReadsAlike,
  rootOf,
  takesOthers
} from './compare-bundles.ts'
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
  switch (compareBundles(old, next, READ[name])) {
    case 'same':
      return []
    case 'less':
      return [{ class: 'narrowed-access', path, message: 'accepts fewer values' }]
    case 'more':
      return [{ class: 'widened-access', path, message: 'accepts more values' }]
    case 'maybe':
      return [
        {
          class: 'widened-access',
          path,
          message: "is validated otherwise, and may accept more; it can't be decided"
        }
      ]
  }
}

// The values of a body have their types; parameters are texts.
const READ: Readonly<Record<Name, ReadsAlike | undefined>> = {
  body: undefined,
  params: propertiesReadAlike(takesOthers),
  query: propertiesReadAlike(takesOthers),
  // A header that nothing names is not looked at; one that is required is.
  headers: propertiesReadAlike(
    (schema, name) =>
      isPlainObject(schema) && !(Array.isArray(schema['required']) && schema['required'].includes(name))
  )
}

function bundleIn(options: ValidateOptions, name: Name): SchemaBundle | undefined {
  const schema = options[name]
  if (schema === undefined) return undefined
  return bundleOf(name === 'headers' ? lowerCased(schema) : schema)
}

/** Returns the names of query parameters that only the second of two schemas declares. */
export function declaredAnew(before: ValidateOptions, after: ValidateOptions): string[] {
  const [old, next] = [bundleIn(before, 'query'), bundleIn(after, 'query')]
  if (next === undefined) return []
  const known = old === undefined ? new Map() : declaredProperties(rootOf(old), old)
  return [...declaredProperties(rootOf(next), next).keys()].filter((name) => !known.has(name))
}
