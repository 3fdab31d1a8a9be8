import type { OptionFault } from '../schema.ts'
import { isJsonObject } from './json.ts'

/** Every item of a list, or every value of an object. */
export const EVERY = Symbol('*')

/** A dotted path, step by step: a key of an object, or every item. */
export type Path = readonly (string | typeof EVERY)[]

/** A path is invalid; the message says what was expected. */
export class PathError extends Error {}

/** Parses a dotted path: `a.b`, `items.*.id`; `\.`, `\*` and `\\` are the characters themselves; throws a PathError. */
export function parsePath(text: string): Path {
  const steps: (string | typeof EVERY)[] = []
  let name = ''
  let isEvery = false
  for (let at = 0; at <= text.length; at++) {
    const char = text[at]
    if (char === undefined || char === '.') {
      if (name === '' && !isEvery) throw expected('a name or "*" at each dot', text)
      if (name !== '' && isEvery) throw expected('"*" alone between dots ("\\*" is the character)', text)
      steps.push(isEvery ? EVERY : name)
      name = ''
      isEvery = false
    } else if (char === '*') {
      if (isEvery) throw expected('one "*" between dots', text)
      isEvery = true
    } else if (char === '\\') {
      const literal = text[++at]
      if (literal !== '.' && literal !== '*' && literal !== '\\')
        throw expected('".", "*" or "\\" behind each "\\"', text)
      name += literal
    } else name += char
  }
  return steps
}

const expected = (what: string, got: string): PathError =>
  new PathError(`expected a path such as "address.city" or "items.*.id", with ${what}, got "${got}"`)

/** Returns the error of a dotted path, as a list of one fault or none. */
export function pathFaults(text: string, path: OptionFault['path']): OptionFault[] {
  try {
    parsePath(text)
    return []
  } catch (error) {
    if (!(error instanceof PathError)) throw error
    return [{ path, message: error.message }]
  }
}

/** Finds all values at a path, in their order. */
export function valuesAt(value: unknown, path: Path): unknown[] {
  let found: unknown[] = [value]
  for (const step of path) found = found.flatMap((each) => inner(each, step))
  return found
}

function inner(value: unknown, step: string | typeof EVERY): readonly unknown[] {
  if (step === EVERY) return Array.isArray(value) ? value : isJsonObject(value) ? Object.values(value) : []
  return isJsonObject(value) && Object.hasOwn(value, step) ? [value[step]] : []
}

/** Returns the value at a path; undefined for none. A number is the index of a list, and a `*` returns a list of all matches. */
export function valueAt(value: unknown, path: Path): unknown {
  let found = value
  for (const [at, step] of path.entries()) {
    if (step === EVERY)
      return inner(found, EVERY)
        .map((each) => valueAt(each, path.slice(at + 1)))
        .filter((each) => each !== undefined)
    if (Array.isArray(found)) found = /^(?:0|[1-9]\d*)$/.test(step) ? found[Number(step)] : undefined
    else found = isJsonObject(found) && Object.hasOwn(found, step) ? found[step] : undefined
    if (found === undefined) return undefined
  }
  return found
}
