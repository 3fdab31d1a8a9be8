import { stableText } from '../../compare-options.ts'
import { isObject } from '../../schema.ts'
import { entriesOf, typesIn, valuesIn } from './conjunction.ts'
import { FORMATS } from './formats.ts'
import { compilePattern } from './pattern.ts'
import {
  ARRAY,
  above,
  atLeast,
  atMost,
  below,
  bound,
  everyValue,
  minimumSize,
  NUMBER,
  numbersIn,
  OBJECT,
  type Rule,
  STRING
} from './subset-bounds.ts'

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])

const oneOfValues: Rule = {
  type: undefined,
  implies(parts, keywords) {
    const allowed = new Set((valuesIn(keywords) ?? []).map(stableText))
    return everyValue(parts, (value) => allowed.has(stableText(value)))
  }
}

/** What implies each keyword; the others are looked at by their place, or refuse nothing. */
export const RULES: Readonly<Record<string, Rule>> = {
  type: {
    type: undefined,
    implies(parts, { type }) {
      const allowed = new Set([type].flat())
      return [...typesIn(parts)].every(
        (each) => allowed.has(each) || (each === 'integer' && allowed.has('number'))
      )
    }
  },
  enum: oneOfValues,
  const: oneOfValues,
  minimum: bound(NUMBER, 'minimum', atLeast, { minimum: atLeast, exclusiveMinimum: atLeast }),
  maximum: bound(NUMBER, 'maximum', atMost, { maximum: atMost, exclusiveMaximum: atMost }),
  exclusiveMinimum: bound(NUMBER, 'exclusiveMinimum', above, { exclusiveMinimum: atLeast, minimum: above }),
  exclusiveMaximum: bound(NUMBER, 'exclusiveMaximum', below, { exclusiveMaximum: atMost, maximum: below }),
  multipleOf: {
    type: 'number',
    implies: (parts, { multipleOf: factor }) =>
      numbersIn(parts, 'multipleOf').some(
        (own) =>
          own === factor || (Number.isInteger(own) && Number.isInteger(factor) && own % Number(factor) === 0)
      )
  },
  minLength: minimumSize(STRING, 'minLength'),
  maxLength: bound(STRING, 'maxLength', atMost),
  pattern: {
    type: 'string',
    implies: (parts, { pattern }) =>
      parts.some(({ keywords }) => keywords['pattern'] === pattern) ||
      everyValue(parts, (value) => typeof value !== 'string' || compilePattern(String(pattern)).test(value))
  },
  format: {
    type: undefined,
    implies: (parts, { format }) =>
      !Object.hasOwn(FORMATS, String(format)) || parts.some(({ keywords }) => keywords['format'] === format)
  },
  minItems: minimumSize(ARRAY, 'minItems'),
  maxItems: bound(ARRAY, 'maxItems', atMost),
  uniqueItems: {
    type: 'array',
    implies: (parts, { uniqueItems }) =>
      uniqueItems === false || parts.some(({ keywords }) => keywords['uniqueItems'] === true)
  },
  minProperties: minimumSize(OBJECT, 'minProperties'),
  maxProperties: bound(OBJECT, 'maxProperties', atMost),
  required: {
    type: 'object',
    implies(parts, { required }) {
      const own = new Set(parts.flatMap(({ keywords }) => listOf(keywords['required'])))
      return listOf(required).every((name) => own.has(name))
    }
  },
  dependentRequired: {
    type: 'object',
    implies: (parts, { dependentRequired }) =>
      entriesOf(dependentRequired).every(([name, wanted]) => {
        const own = new Set(
          parts.flatMap(({ keywords }) => [
            ...listOf(keywords['required']),
            ...listOf(isObject(keywords['dependentRequired']) ? keywords['dependentRequired'][name] : [])
          ])
        )
        return listOf(wanted).every((each) => own.has(each))
      })
  }
}
