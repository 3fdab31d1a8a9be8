import { stableText } from '../../compare-options.ts'
import { isObject } from '../../schema.ts'
import { entriesOf, type Keywords, type Part, typesIn, valuesIn } from './conjunction.ts'
import { FORMATS } from './formats.ts'
import { characters } from './keywords.ts'
import { compilePattern } from './pattern.ts'

/** What implies a keyword of a schema. */
export interface Rule {
  /** The type of the values that the keyword is about; undefined for all. */
  readonly type: string | undefined
  implies(parts: readonly Part[], keywords: Keywords): boolean
}

const numbersIn = (parts: readonly Part[], keyword: string): number[] =>
  parts.flatMap(({ keywords }) => (typeof keywords[keyword] === 'number' ? [keywords[keyword]] : []))

const atLeast = (keyword: string, type: string): Rule => ({
  type,
  implies: (parts, { [keyword]: bound }) =>
    bound === 0 || numbersIn(parts, keyword).some((own) => own >= Number(bound))
})

const atMost = (keyword: string, type: string): Rule => ({
  type,
  implies: (parts, { [keyword]: bound }) => numbersIn(parts, keyword).some((own) => own <= Number(bound))
})

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])

const everyValue = (parts: readonly Part[], isAllowed: (value: unknown) => boolean): boolean =>
  parts.some(({ keywords }) => valuesIn(keywords)?.every(isAllowed) === true)

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
  minimum: {
    type: 'number',
    implies: (parts, { minimum }) =>
      [...numbersIn(parts, 'minimum'), ...numbersIn(parts, 'exclusiveMinimum')].some(
        (own) => own >= Number(minimum)
      ) || everyValue(parts, (value) => typeof value !== 'number' || value >= Number(minimum))
  },
  maximum: {
    type: 'number',
    implies: (parts, { maximum }) =>
      [...numbersIn(parts, 'maximum'), ...numbersIn(parts, 'exclusiveMaximum')].some(
        (own) => own <= Number(maximum)
      ) || everyValue(parts, (value) => typeof value !== 'number' || value <= Number(maximum))
  },
  exclusiveMinimum: {
    type: 'number',
    implies: (parts, { exclusiveMinimum: bound }) =>
      numbersIn(parts, 'exclusiveMinimum').some((own) => own >= Number(bound)) ||
      numbersIn(parts, 'minimum').some((own) => own > Number(bound))
  },
  exclusiveMaximum: {
    type: 'number',
    implies: (parts, { exclusiveMaximum: bound }) =>
      numbersIn(parts, 'exclusiveMaximum').some((own) => own <= Number(bound)) ||
      numbersIn(parts, 'maximum').some((own) => own < Number(bound))
  },
  multipleOf: {
    type: 'number',
    implies: (parts, { multipleOf: factor }) =>
      numbersIn(parts, 'multipleOf').some(
        (own) =>
          own === factor || (Number.isInteger(own) && Number.isInteger(factor) && own % Number(factor) === 0)
      )
  },
  minLength: {
    type: 'string',
    implies: (parts, keywords) =>
      atLeast('minLength', 'string').implies(parts, keywords) ||
      everyValue(
        parts,
        (value) => typeof value !== 'string' || characters(value) >= Number(keywords['minLength'])
      )
  },
  maxLength: {
    type: 'string',
    implies: (parts, keywords) =>
      atMost('maxLength', 'string').implies(parts, keywords) ||
      everyValue(
        parts,
        (value) => typeof value !== 'string' || characters(value) <= Number(keywords['maxLength'])
      )
  },
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
  minItems: atLeast('minItems', 'array'),
  maxItems: atMost('maxItems', 'array'),
  uniqueItems: {
    type: 'array',
    implies: (parts, { uniqueItems }) =>
      uniqueItems === false || parts.some(({ keywords }) => keywords['uniqueItems'] === true)
  },
  minProperties: atLeast('minProperties', 'object'),
  maxProperties: atMost('maxProperties', 'object'),
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
