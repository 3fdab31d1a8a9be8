import { isRawNumber } from '../../src/lib/body/json.ts'
import { canonicalPath } from '../../src/lib/http/canonical-path.ts'
import { templateParts } from '../../src/lib/template-parts.ts'
import { type ReadValue, reference, type Values } from './references.ts'

/** Returns the path and query of a leg; undefined where a value is missing or unsafe. */
export type LegPath = (values: Values) => string | undefined

/** Compiles the path of a leg: each value becomes one encoded segment, or one encoded value of the query (CWE-22, CWE-918). */
export function legPath(text: string): LegPath {
  const parts = templateParts(text).map((part) =>
    typeof part === 'string' ? part : reference(part.reference).read
  )
  return (values) => {
    let path = ''
    for (const part of parts) {
      const added = typeof part === 'string' ? part : encoded(part, values)
      if (added === undefined) return undefined
      path += added
    }
    return isSafePath(path) ? path : undefined
  }
}

const STRICT = { encodedSlash: 'keep', doubleSlash: 'reject' } as const

/** Returns whether no upstream reads a path as another one: it has no dot segments, also none that are encoded, and no empty segments. */
export const isSafePath = (path: string): boolean =>
  canonicalPath(path.split('?', 1)[0] ?? '', STRICT).refusal === undefined

function encoded(read: ReadValue, values: Values): string | undefined {
  const text = scalarText(read(values))
  // An empty or a dot segment would be another path.
  if (text === undefined || text === '' || text === '.' || text === '..') return undefined
  try {
    return encodeURIComponent(text)
  } catch {
    // A lone surrogate has no UTF-8.
    return undefined
  }
}

/** Returns the text of a string, a number or a boolean; undefined for anything else. */
export function scalarText(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  return isRawNumber(value) ? value.rawJSON : undefined
}
