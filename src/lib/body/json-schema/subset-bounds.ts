import { isObject } from '../../schema.ts'
import { type Keywords, type Part, valuesIn } from './conjunction.ts'
import { characters } from './keywords.ts'

/** What implies a keyword of a schema. */
export interface Rule {
  /** The type of the values that the keyword is about; undefined for all. */
  readonly type: string | undefined
  implies(parts: readonly Part[], keywords: Keywords): boolean
}

/** Lists the numbers that a keyword has in some parts. */
export const numbersIn = (parts: readonly Part[], keyword: string): number[] =>
  parts.flatMap(({ keywords }) => (typeof keywords[keyword] === 'number' ? [keywords[keyword]] : []))

/** Returns whether some parts list their values, and all of them are allowed. */
export const everyValue = (parts: readonly Part[], isAllowed: (value: unknown) => boolean): boolean =>
  parts.some(({ keywords }) => valuesIn(keywords)?.every(isAllowed) === true)

/** What a bound is about: the type of values, and what of them is compared; undefined for values of other types. */
export interface Measure {
  readonly type: string
  readonly of: (value: unknown) => number | undefined
}

/** Numbers, compared as they are. */
export const NUMBER: Measure = {
  type: 'number',
  of: (value) => (typeof value === 'number' ? value : undefined)
}
/** Texts, by their characters. */
export const STRING: Measure = {
  type: 'string',
  of: (value) => (typeof value === 'string' ? characters(value) : undefined)
}
/** Lists, by their items. */
export const ARRAY: Measure = {
  type: 'array',
  of: (value) => (Array.isArray(value) ? value.length : undefined)
}
/** Objects, by their properties. */
export const OBJECT: Measure = {
  type: 'object',
  of: (value) => (isObject(value) ? Object.keys(value).length : undefined)
}

/** Compares a number with a bound. */
export type Compare = (one: number, bound: number) => boolean

/** Returns whether a number is not less than a bound. */
export const atLeast: Compare = (one, bound) => one >= bound
/** Returns whether a number is not more than a bound. */
export const atMost: Compare = (one, bound) => one <= bound
/** Returns whether a number is more than a bound. */
export const above: Compare = (one, bound) => one > bound
/** Returns whether a number is less than a bound. */
export const below: Compare = (one, bound) => one < bound

/** Makes the rule of a bound: keywords imply it whose own bounds compare so, and values that all do. */
export const bound = (
  { type, of }: Measure,
  keyword: string,
  isMet: Compare,
  implying: Readonly<Record<string, Compare>> = { [keyword]: isMet }
): Rule => ({
  type,
  implies(parts, { [keyword]: wanted }) {
    const limit = Number(wanted)
    return (
      Object.entries(implying).some(([name, compare]) =>
        numbersIn(parts, name).some((own) => compare(own, limit))
      ) ||
      everyValue(parts, (value) => {
        const own = of(value)
        return own === undefined || isMet(own, limit)
      })
    )
  }
})

/** Makes the rule of a size, which is at least 0. */
export function minimumSize(measure: Measure, keyword: string): Rule {
  const rule = bound(measure, keyword, atLeast)
  return {
    ...rule,
    implies: (parts, keywords) => Number(keywords[keyword]) <= 0 || rule.implies(parts, keywords)
  }
}
