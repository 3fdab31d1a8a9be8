import { isJsonObject, isRawNumber } from '../json.ts'

// Expressions are the operator's, values are not: `items[?contains($.ids, id)]` is quadratic in what a client sends.
// A step takes 5 to 90 ns, so the slowest expression takes at most 0.1 s.
const MAX_STEPS = 1_000_000

/** The most characters that an expression may make, about as they are written as JSON. */
export const MAX_OUTPUT = 8 * 1024 * 1024

/** What a value did not allow an expression to do; its message has no value in it. */
export class QueryError extends Error {}

/** One run of an expression. */
export class Run {
  readonly root: unknown
  readonly variables = new Map<string, unknown>()
  #steps = MAX_STEPS

  constructor(root: unknown) {
    this.root = root
  }

  /** Counts work; throws a QueryError once there is too much of it. */
  spend(steps: number): void {
    this.#steps -= steps
    if (!(this.#steps >= 0)) throw new QueryError('the query takes too many steps')
  }

  /** Counts a look for a text in another one; V8's search is quadratic at its worst. */
  spendSearch(text: string, part: string): void {
    this.spend(1 + text.length / 16 + (text.length * part.length) / 256)
  }

  /** Counts the making of a text, before it is made. */
  spendText(length: number): void {
    if (length > MAX_OUTPUT) throw new QueryError('the query makes too much')
    this.spend(1 + length / 16)
  }
}

/** Throws a QueryError where a result is too large; shared parts count each time. */
export function checkSize(value: unknown, run: Run): void {
  let left = MAX_OUTPUT
  const measure = (each: unknown): void => {
    run.spend(1)
    left -= typeof each === 'string' ? each.length + 2 : isRawNumber(each) ? each.rawJSON.length : 4
    if (left < 0) throw new QueryError('the query makes too much')
    if (Array.isArray(each)) for (const item of each) measure(item)
    else if (isJsonObject(each))
      for (const name of Object.keys(each)) {
        left -= name.length
        measure(each[name])
      }
  }
  measure(value)
}

/** The types of JMESPath. */
export type TypeName = 'number' | 'string' | 'boolean' | 'array' | 'object' | 'null' | 'expression'

/** Names the type of a value; a RawNumber is a number. */
export function typeOf(value: unknown): TypeName {
  if (value === null || value === undefined) return 'null'
  if (Array.isArray(value)) return 'array'
  const type = typeof value
  if (type === 'string' || type === 'number' || type === 'boolean') return type
  if (type === 'function') return 'expression'
  return isRawNumber(value) ? 'number' : 'object'
}

/** Reads a number as a double, to compute or compare with it; NaN where it is none. */
export const double = (value: unknown): number =>
  typeof value === 'number' ? value : isRawNumber(value) ? Number(value.rawJSON) : Number.NaN

/** Returns whether a value is true in JMESPath: all but null, false, and empty values. */
export function isTrue(value: unknown, run: Run): boolean {
  if (value === null || value === undefined || value === false || value === '') return false
  if (Array.isArray(value)) return value.length > 0
  return !isJsonObject(value) || keyCount(value, run) > 0
}

/** Counts the keys of an object. */
export function keyCount(value: object, run: Run): number {
  const { length } = Object.keys(value)
  run.spend(length)
  return length
}

/** Returns whether two values are deeply equal. */
export function isEqual(a: unknown, b: unknown, run: Run): boolean {
  run.spend(typeof a === 'string' ? 1 + a.length / 64 : 1)
  if (a === b) return true
  if (typeof a === 'string' || typeof b === 'string') return false
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((item, i) => isEqual(item, b[i], run))
  if (isRawNumber(a) && isRawNumber(b)) return a.rawJSON === b.rawJSON
  if (isRawNumber(a) || isRawNumber(b)) return double(a) === double(b)
  if (!isJsonObject(a) || !isJsonObject(b)) return false
  const names = Object.keys(a)
  run.spend(names.length)
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && isEqual(a[name], b[name], run))
  )
}
