import { fileURLToPath, pathToFileURL } from 'node:url'
import { mapSubschemas } from './subschemas.ts'

// A scheme, a fragment alone, or nothing: no file beside the config.
const NOT_A_PATH = /^(?:#|$|[a-z][a-z\d+.-]*:)/i

/** Copies a JSON Schema with every reference to a file as a URL, after `change` has made its path absolute. */
export function mapFileReferences(schema: unknown, change: (file: string) => string): unknown {
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) return schema
  // With an id of its own, a schema says itself what its references are relative to.
  if (typeof (schema as { $id?: unknown }).$id === 'string') return schema
  const copy = mapSubschemas(schema, (inner) => mapFileReferences(inner, change))
  for (const keyword of ['$ref', '$dynamicRef']) {
    const reference = copy[keyword]
    if (typeof reference !== 'string') continue
    const [path = '', ...fragment] = reference.split('#')
    if (path.startsWith('file:') || !NOT_A_PATH.test(reference))
      copy[keyword] = [pathToFileURL(change(pathOf(path))).href, ...fragment].join('#')
  }
  return copy
}

function pathOf(reference: string): string {
  try {
    return reference.startsWith('file:') ? fileURLToPath(reference) : decodeURIComponent(reference)
  } catch {
    return reference
  }
}
