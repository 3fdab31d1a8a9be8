import { isObject } from '../lib/schema.ts'

// A text or a comment, whichever begins first.
const COMMENT = /"(?:[^"\\]|\\.)*"|\/\/[^\n\r]*|\/\*[\s\S]*?\*\//g

// The end of a value with a trailing comma behind it, or a text without one.
const TRAILING_COMMA = /("(?:[^"\\]|\\.)*"|[\w}\]])[ \t\r\n]*,(?=[ \t\r\n]*[}\]])|"(?:[^"\\]|\\.)*"/g

const KEY = /"(?:[^"\\]|\\.)*"(\s*:)?/g

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
  let written = 0
  for (const [, colon] of text.matchAll(KEY)) if (colon !== undefined) written++
  return written > countKeys(value)
}

function countKeys(value: unknown): number {
  let count = 0
  if (Array.isArray(value)) for (const item of value) count += countKeys(item)
  else if (isObject(value)) for (const key of Object.keys(value)) count += 1 + countKeys(value[key])
  return count
}
