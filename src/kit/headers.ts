import { Type } from 'typebox'
import type { OptionFault } from './concern.ts'

/** Describes the name of a header in a config (RFC 9110 section 5.1). */
export const HeaderName = Type.String({ pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" })

/** Tells what is wrong with a header that a config sets: one that frames the message itself, or a value that would break out of its line (CWE-113). */
export function headerFaults(
  name: string,
  value: unknown,
  path: readonly string[],
  framing: ReadonlySet<string>
): OptionFault[] {
  const found: OptionFault[] = []
  if (framing.has(name.toLowerCase()))
    found.push({ path, message: `"${name}" frames the message itself and can't be changed` })
  if (typeof value === 'string' && /[\r\n\0]/.test(value))
    found.push({ path, message: `The value of "${name}" has a line break, which no header can have` })
  return found
}

/** Joins two lists of what an answer varies by, with nothing twice. */
export function joinVary(one: string, other: string): string {
  if (one === '' || one === other) return other
  if (other === '') return one
  const known = one.toLowerCase().split(',').map(trim)
  const more = other
    .split(',')
    .map(trim)
    .filter((name) => !known.includes(name.toLowerCase()))
  return [one, ...more].join(', ')
}

const trim = (text: string): string => text.trim()
