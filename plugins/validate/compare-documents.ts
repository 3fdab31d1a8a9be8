import { pathToFileURL } from 'node:url'
import { readDocument } from '../../src/lib/body/json-schema/references.ts'
import { stableText } from '../../src/lib/compare-options.ts'
import { filesReferredBy } from '../../src/lib/openapi/read-document.ts'
import { define, isObject } from '../../src/lib/schema.ts'

const MAX_FILES = 1000

/** Lists an OpenAPI document and all files that it leads to. */
export function filesOfDocument(file: string): string[] {
  const found = new Set([file])
  for (const each of found) {
    if (found.size > MAX_FILES) break
    for (const other of filesReferredBy(each)) found.add(other)
  }
  return [...found]
}

/** Returns whether two documents, with the files that they lead to, say the same of requests; texts for people don't count. */
export function isSameDocument(before: string, after: string): boolean {
  const [old, next] = [filesOfDocument(before), filesOfDocument(after)]
  return old.length === next.length && old.every((file, i) => textOf(file) === textOf(next[i] ?? ''))
}

function textOf(file: string): string {
  try {
    return stableText(withoutTexts(readDocument(pathToFileURL(file).href), 'document'))
  } catch {
    // What can't be read is like nothing else.
    return file
  }
}

const TEXTS: ReadonlySet<string> = new Set(['title', 'description', 'summary', '$comment'])
const OTHERS: ReadonlySet<string> = new Set(['example', 'examples', 'externalDocs', 'tags'])
const VALUES: ReadonlySet<string> = new Set(['const', 'enum', 'default'])
// The keys of these are names that an author chooses.
const MAPS: ReadonlySet<string> = new Set([
  '$defs',
  'callbacks',
  'content',
  'definitions',
  'dependentRequired',
  'dependentSchemas',
  'encoding',
  'headers',
  'links',
  'mapping',
  'parameters',
  'pathItems',
  'paths',
  'patternProperties',
  'properties',
  'requestBodies',
  'responses',
  'schemas',
  'scopes',
  'securitySchemes',
  'variables',
  'webhooks'
])

/** Copies a part of a document without what is only for people. */
function withoutTexts(value: unknown, kind: 'document' | 'part' | 'map'): unknown {
  if (Array.isArray(value)) return value.map((each) => withoutTexts(each, 'part'))
  if (!isObject(value)) return value
  const copy = {}
  for (const [name, inner] of Object.entries(value)) {
    if (kind !== 'map') {
      if ((TEXTS.has(name) && typeof inner === 'string') || OTHERS.has(name)) continue
      if (kind === 'document' && name === 'info') continue
    }
    if (kind !== 'map' && VALUES.has(name)) define(copy, name, inner)
    else define(copy, name, withoutTexts(inner, kind !== 'map' && MAPS.has(name) ? 'map' : 'part'))
  }
  return copy
}
