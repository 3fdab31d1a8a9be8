import { FormatError } from './format-errors.ts'
import { MAX_LEVELS, parseJson } from './json.ts'
import { isDeeperThan } from './scan-json.ts'

/** Reads a JSON value a line into a list; blank lines are skipped; throws a FormatError. */
export function readNdjson(text: string): unknown[] {
  const values: unknown[] = []
  for (let start = 0; start < text.length; ) {
    const found = text.indexOf('\n', start)
    const end = found === -1 ? text.length : found
    const line = text.slice(start, end)
    if (!isBlank(line)) values.push(parseLine(line))
    start = end + 1
  }
  return values
}

function parseLine(line: string): unknown {
  if (isDeeperThan(line, MAX_LEVELS)) throw new FormatError('nested too deeply')
  try {
    return parseJson(line)
  } catch {
    throw new FormatError('malformed JSON in a line')
  }
}

// The white space of JSON (RFC 8259 section 2).
const isBlank = (line: string): boolean => /^[ \t\r]*$/.test(line)
