import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import addFormats from 'ajv-formats'
import { getOrCreate } from '../lib/memoize.ts'
import { isObject } from '../lib/schema.ts'
import { OWN_KEYWORDS } from '../lib/units.ts'
import { withDefaults } from './defaults.ts'
import { describeError, type Mask, type ValueFault } from './messages.ts'
import { isSurelyValid } from './quick-validation.ts'

const ajvOptions = {
  allErrors: true,
  strict: true,
  strictTypes: false,
  allowUnionTypes: true,
  verbose: true,
  coerceTypes: false,
  // Most schemas validate a few values, and the optimization takes longer than they do.
  code: { optimize: false }
} as const

/** Makes the validator on first need: most configs are valid, and never need it. */
function makeAjv(): Ajv {
  const ajv = new Ajv(ajvOptions)
  ajv.addVocabulary([...OWN_KEYWORDS])
  addFormats.default(ajv)
  return ajv
}

let ajv: Ajv | undefined

const compiled = new WeakMap<object, ValidateFunction>()

function validatorOf(schema: object): ValidateFunction {
  return getOrCreate(compiled, schema, () => {
    ajv ??= makeAjv()
    return ajv.compile(schema)
  })
}

/** Returns the error of a schema that is not valid JSON Schema; otherwise undefined. */
export function schemaError(schema: object): string | undefined {
  try {
    validatorOf(schema)
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** Validates a value as written; messages show a value that must not be quoted as `mask` says. */
export function validate(schema: object, value: unknown, mask: Mask): ValueFault[] {
  return run(schema, value, mask)
}

/** Validates a copy of a value with the defaults of its schema. */
export function validateWithDefaults(
  schema: object,
  value: unknown,
  mask: Mask
): { value: unknown; faults: ValueFault[] } {
  const completed = withDefaults(schema, value)
  return { value: completed, faults: run(schema, completed, mask) }
}

function run(schema: object, value: unknown, mask: Mask): ValueFault[] {
  if (isSurelyValid(schema, value)) return []
  const validator = validatorOf(schema)
  if (validator(value)) return []
  const errors = validator.errors ?? []
  return errors
    .filter((error) => !isRedundant(error, errors))
    .map((error) => describeError(error, value, mask))
}

// The errors of a union's branches are noise, except those of the branch for this type of value.
function isRedundant(error: ErrorObject, errors: readonly ErrorObject[]): boolean {
  if (error.keyword === 'anyOf' && hasMeantBranch(error, errors)) return true
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

// The union's own error is dropped if that of the matching branch says more.
const hasMeantBranch = (union: ErrorObject, errors: readonly ErrorObject[]): boolean =>
  errors.some(
    (other) =>
      other !== union && other.schemaPath.startsWith(`${union.schemaPath}/`) && !isRedundant(other, errors)
  )
