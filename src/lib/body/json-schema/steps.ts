import { _ } from 'ajv'
import type { Ajv2020 } from 'ajv/dist/2020.js'
import refKeyword from 'ajv/dist/vocabularies/core/ref.js'

// A schema that refers to itself twice, such as in a oneOf, takes twice the time with each level of a value.
const FEWEST_STEPS = 20_000

// References that a schema may follow for each part of a value.
const STEPS_OF_PART = 4

let left = 0

/** Thrown where a value takes more steps than its size explains. */
export class TooManySteps extends RangeError {}

/** Counts a reference; returns true. */
export function countStep(): true {
  if (--left < 0) throw new TooManySteps('too many references')
  return true
}

/** Makes a schema engine count the references that it follows. */
export function countReferences(ajv: Ajv2020): void {
  const { default: definition } = refKeyword
  ajv.removeKeyword('$ref')
  ajv.addKeyword({
    ...definition,
    code(context) {
      const { gen } = context
      gen.code(_`${gen.scopeValue('func', { key: countStep, ref: countStep })}()`)
      definition.code(context)
    }
  })
}

/** Validates a value in at most as many references as its size explains; throws TooManySteps. */
export function inSteps<T>(value: unknown, validate: (value: unknown) => T): T {
  left = FEWEST_STEPS
  try {
    return validate(value)
  } catch (error) {
    // The size is of interest only here.
    const allowed = STEPS_OF_PART * partsOf(value)
    if (!(error instanceof TooManySteps) || allowed <= FEWEST_STEPS) throw error
    left = allowed
    return validate(value)
  }
}

/** Counts the values in a value, which is nested at most 64 levels deep. */
function partsOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 1
  let parts = 1
  for (const each of Object.values(value)) parts += partsOf(each)
  return parts
}
