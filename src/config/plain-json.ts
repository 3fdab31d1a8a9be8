import { isObject } from '../lib/schema.ts'

// A text or a comment, whichever begins first.
const COMMENT = /"[^"\\]*(?:\\.[^"\\]*)*"|\/\/[^\n\r]*|\/\*[\s\S]*?\*\//g

// The end of a value with a trailing comma behind it, or a text without one.
const TRAILING_COMMA =
  /("[^"\\]*(?:\\.[^"\\]*)*"|[\w}\]])[ \t\r\n]*,(?=[ \t\r\n]*[}\]])|"[^"\\]*(?:\\.[^"\\]*)*"/g

/** Parses JSON with comments and trailing commas; returns undefined where it is malformed or has a key twice. */
export function parseConfigJson(text: string): unknown {
  const strict = parse(text)
  if (strict !== undefined) return hasKeyTwice(text, strict) ? undefined : strict
  const plain = text
    .replaceAll(COMMENT, (found) => (found.startsWith('"') ? found : ' '))
    .replaceAll(TRAILING_COMMA, (found, value: string | undefined) => value ?? found)
  const value = parse(plain)
  return hasKeyTwice(plain, value) ? undefined : value
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Returns whether a JSON text has more keys than its value, which has the last of equal ones. */
function hasKeyTwice(text: string, value: unknown): boolean {
  if (value === undefined) return false
  return countWrittenKeys(text) > countKeys(value)
}

// No regular expression: on a text of megabytes it would overflow the stack.
function countWrittenKeys(text: string): number {
  let count = 0
  for (let start = text.indexOf('"'); start !== -1; ) {
    let end = text.indexOf('"', start + 1)
    while (end !== -1 && isEscaped(text, end)) end = text.indexOf('"', end + 1)
    if (end === -1) break
    let next = end + 1
    while (text.charCodeAt(next) <= SPACE) next++
    if (text.charCodeAt(next) === COLON) count++
    start = text.indexOf('"', next)
  }
  return count
}

const SPACE = 32
const COLON = 58
const BACKSLASH = 92

function isEscaped(text: string, at: number): boolean {
  let first = at
  while (text.charCodeAt(first - 1) === BACKSLASH) first--
  return (at - first) % 2 === 1
}

// A list of what is left to do: a text may have more levels than the stack.
function countKeys(value: unknown): number {
  let count = 0
  const left: unknown[] = [value]
  while (left.length > 0) {
    const next = left.pop()
    if (!Array.isArray(next) && !isObject(next)) continue
    const inner: unknown[] = Object.values(next)
    if (!Array.isArray(next)) count += inner.length
    for (const each of inner) if (typeof each === 'object' && each !== null) left.push(each)
  }
  return count
}
