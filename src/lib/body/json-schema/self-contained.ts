import { isObject } from '../../schema.ts'
import type { SchemaBundle } from './references.ts'
import { mapSubschemas, pointerPart } from './subschemas.ts'

/** Copies a schema, with the files that it refers to among its definitions, so that no reference leads out of it. */
export function selfContained({ uri, documents }: SchemaBundle): boolean | Record<string, unknown> {
  const root = documents.get(uri)
  if (!isObject(root)) return root === true
  const others = [...documents].filter(([other]) => other !== uri)
  if (others.length === 0) return { ...root }
  const names = new Map<string, string>()
  for (const [other] of others) names.set(other, freeName(other, root['$defs'], names))
  const place = (other: string): string => `#/$defs/${pointerPart(names.get(other) ?? '')}`
  const relocate = (reference: string, home: string | undefined): string => {
    const [document = '', fragment = ''] = reference.split('#')
    const target = document === '' ? home : document
    return target === undefined || !names.has(target) ? reference : place(target) + fragment
  }
  const moved = Object.fromEntries(
    others.map(([other, schema]) => [
      names.get(other) ?? '',
      mapReferences(schema, (ref) => relocate(ref, other))
    ])
  )
  const copy = mapReferences(root, (ref) => relocate(ref, undefined)) as Record<string, unknown>
  return { ...copy, $defs: { ...(isObject(copy['$defs']) ? copy['$defs'] : {}), ...moved } }
}

/** Copies a schema with its references changed; a schema with an id of its own stays as it is. */
export function mapReferences(schema: unknown, change: (reference: string) => string): unknown {
  if (!isObject(schema) || typeof schema['$id'] === 'string') return schema
  const copy = mapSubschemas(schema, (inner) => mapReferences(inner, change))
  if (typeof copy['$ref'] === 'string') copy['$ref'] = change(copy['$ref'])
  return copy
}

/** Names a file by its last segment, with a number where that is taken. */
function freeName(uri: string, definitions: unknown, names: ReadonlyMap<string, string>): string {
  const last = decodeURIComponent(uri.split('/').at(-1) ?? 'schema').replace(/\.(json|ya?ml)$/, '')
  const taken = new Set([...names.values(), ...(isObject(definitions) ? Object.keys(definitions) : [])])
  let name = last
  for (let i = 2; taken.has(name); i++) name = `${last}${i}`
  return name
}
