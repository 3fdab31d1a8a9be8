import type { Comparison, OptionChange, OptionMeanings } from '../kit/comparison.ts'
import { isSame } from '../lib/compare-options.ts'
import { isObject } from '../lib/schema.ts'

/** Compares options of a module, with files by their content: what `changes` has found, and the options that it does not mention. */
export function withMeanings(
  { options = {}, onOff }: Pick<Comparison, 'options' | 'onOff'>,
  [before, after]: readonly [before: unknown, after: unknown],
  found: readonly OptionChange[]
): readonly OptionChange[] {
  if (isObject(before) && isObject(after)) return [...found, ...changedOptions(options, before, after, found)]
  return found.length > 0 || typeof onOff !== 'object' || isObject(before) === isObject(after)
    ? found
    : [{ ...onOff, path: [] }]
}

function changedOptions(
  meanings: OptionMeanings,
  before: object,
  after: object,
  found: readonly OptionChange[]
): OptionChange[] {
  return Object.entries(meanings).flatMap(([name, meaning]) => {
    const path = name.split('.')
    const isKnown =
      typeof meaning === 'string' ||
      found.some((change) => change.path.length > 0 && change.path.every((key, i) => path[i] === key))
    return isKnown || isSame(valueAt(before, path), valueAt(after, path)) ? [] : [{ ...meaning, path }]
  })
}

/** Returns the value of an option; undefined where it is not set. */
export function valueAt(value: unknown, path: readonly (string | number)[]): unknown {
  let here = value
  for (const key of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, key)) return undefined
    here = (here as Record<string | number, unknown>)[key]
  }
  return here
}
