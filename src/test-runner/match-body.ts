import type { Path } from '../config/fault.ts'
import { showPath } from '../config/fault.ts'
import { isObject } from '../lib/schema.ts'
import type { Mismatch } from './match.ts'
import { isPattern, quoted, textMismatch } from './match-text.ts'

/** Compares a body: with a text as it is, or else as JSON, in which an object may have other members and a list may not. */
export function bodyMismatches(expected: unknown, body: Buffer): Mismatch[] {
  const text = body.toString('utf8')
  if (expected === null)
    return text === '' || text === 'null'
      ? []
      : [{ path: [], message: `body: expected none, got ${quoted(text)}` }]
  if (typeof expected === 'string' || isPattern(expected)) {
    const problem = textMismatch(expected, text)
    const isJsonText = problem !== undefined && typeof expected === 'string' && parsed(text) === expected
    return problem === undefined || isJsonText ? [] : [{ path: [], message: `body: ${problem}` }]
  }
  const got = parsed(text)
  if (got === undefined)
    return [{ path: [], message: `body: expected JSON such as ${quoted(expected)}, got ${quoted(text)}` }]
  return valueMismatches(expected, got, [])
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

function valueMismatches(expected: unknown, got: unknown, path: Path): Mismatch[] {
  const mismatch = (problem: string): Mismatch[] => [{ path, message: `${placeOf(path)}: ${problem}` }]
  if (isPattern(expected) && !isObject(got)) {
    const problem = textMismatch(expected, typeof got === 'string' ? got : JSON.stringify(got))
    return problem === undefined ? [] : mismatch(problem)
  }
  if (Array.isArray(expected)) {
    if (!Array.isArray(got)) return mismatch(`expected a list, got ${json(got)}`)
    return got.length === expected.length
      ? expected.flatMap((item, i) => valueMismatches(item, got[i], [...path, i]))
      : mismatch(`expected ${expected.length} items, got ${got.length}: ${json(got)}`)
  }
  if (isObject(expected) && isObject(got))
    return Object.entries(expected).flatMap(([key, value]) =>
      Object.hasOwn(got, key)
        ? valueMismatches(value, got[key], [...path, key])
        : [{ path: [...path, key], message: `${placeOf([...path, key])}: expected ${json(value)}, got none` }]
    )
  return expected === got ? [] : mismatch(`expected ${json(expected)}, got ${json(got)}`)
}

const placeOf = (path: Path): string =>
  path.length === 0 ? 'body' : `body.${showPath(path)}`.replace('.[', '[')

const json = (value: unknown): string => (value === null ? 'null' : quoted(value))
