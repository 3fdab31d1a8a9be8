import type { ExpectedHeader } from './expectation-schema.ts'
import type { Mismatch } from './match.ts'
import { quoted, textMismatch } from './match-text.ts'

/** Compares headers: those that are expected have to be there, null ones must be absent, others may be there. */
export function headerMismatches(
  expected: Readonly<Record<string, ExpectedHeader>>,
  fields: readonly (readonly [string, string])[]
): Mismatch[] {
  return Object.entries(expected).flatMap(([name, value]) => {
    const values = fields.filter(([each]) => each === name.toLowerCase()).map(([, text]) => text)
    const problem = valueMismatch(value, values)
    return problem === undefined ? [] : [{ path: [name], message: `header "${name}": ${problem}` }]
  })
}

/** A single value may be that of any of several fields, such as cookies, or all of them joined. */
function valueMismatch(expected: ExpectedHeader, values: readonly string[]): string | undefined {
  if (expected === null)
    return values.length === 0 ? undefined : `expected none, got ${quoted(values.join(', '))}`
  if (Array.isArray(expected))
    return JSON.stringify(expected) === JSON.stringify(values)
      ? undefined
      : `expected ${quoted(expected)}, got ${quoted(values)}`
  const wanted = typeof expected === 'number' ? String(expected) : expected
  if (values.length === 0)
    return `expected ${quoted(typeof wanted === 'string' ? wanted : wanted.match)}, got none`
  const joined = textMismatch(wanted, values.join(', '))
  return values.some((value) => textMismatch(wanted, value) === undefined) ? undefined : joined
}
