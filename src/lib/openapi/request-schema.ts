import { upgradeFromThreeToThreeOne } from '@scalar/openapi-upgrader/3.0-to-3.1'
import { mapFileReferences } from '../body/json-schema/file-references.ts'
import { mapSubschemas, pointerPart } from '../body/json-schema/subschemas.ts'
import { isObject } from '../schema.ts'
import { type OpenApiDocument, pathBeside } from './read-document.ts'

/** Returns a schema of a document as a JSON Schema 2020-12 for requests that stands by itself, with what it refers to in `$defs`. */
export function requestSchema(document: OpenApiDocument, schema: unknown, uri: string): unknown {
  const defs: Record<string, unknown> = {}
  const wanted = new Map<string, string>()
  // What is in another file stays there, and so do its own references.
  const take = (value: unknown): unknown =>
    withReferences(forRequests(document, upgraded(document, value), uri), (reference) => {
      if (!reference.startsWith('#/')) return reference
      wanted.set(reference, reference)
      return `#/$defs/${encodeURIComponent(pointerPart(reference))}`
    })
  const root = take(schema)
  for (const reference of wanted.keys()) {
    const target = document.target(reference, uri)
    if (target?.value !== undefined) defs[reference] = take(target.value)
  }
  const whole =
    isObject(root) && wanted.size > 0 ? { ...root, $defs: { ...(root['$defs'] as object), ...defs } } : root
  return mapFileReferences(whole, (file) => pathBeside(uri, file))
}

/** Raises a schema of OpenAPI 3.0, such as one with `nullable`, to JSON Schema. */
function upgraded({ isBefore31 }: OpenApiDocument, schema: unknown): unknown {
  if (!isBefore31 || !isObject(schema)) return schema
  const carrier = { openapi: '3.0.3', components: { schemas: { Schema: structuredClone(schema) } } }
  const raised = upgradeFromThreeToThreeOne(carrier) as typeof carrier
  return raised.components.schemas.Schema
}

function withReferences(schema: unknown, change: (reference: string) => string): unknown {
  if (!isObject(schema)) return schema
  const copy = mapSubschemas(schema, (inner) => withReferences(inner, change))
  const { $ref } = copy
  return typeof $ref === 'string' ? { ...copy, $ref: change($ref) } : copy
}

/** Takes what only responses have out of `required` (OpenAPI 3.0, `readOnly`). */
function forRequests(document: OpenApiDocument, schema: unknown, uri: string): unknown {
  if (!isObject(schema)) return schema
  const copy = mapSubschemas(schema, (inner) => forRequests(document, inner, uri))
  const { required, properties } = schema
  if (!Array.isArray(required) || !isObject(properties)) return copy
  return {
    ...copy,
    required: required.filter(
      (name) => document.follow(properties[String(name)], uri)?.node['readOnly'] !== true
    )
  }
}
