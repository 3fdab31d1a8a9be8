import { upgradeFromThreeToThreeOne } from '@scalar/openapi-upgrader/3.0-to-3.1'
import { mapFileReferences } from '../body/json-schema/file-references.ts'
import { mapSubschemas, pointerPart } from '../body/json-schema/subschemas.ts'
import { isObject } from '../schema.ts'
import type { OpenApiDocument } from './document.ts'
import { pathBeside } from './read-document.ts'

/** Whether a schema is for what clients send, or for what they get. */
export type Direction = 'request' | 'response'

/** A schema, and the file of a document that it stands in. */
export interface SchemaAt {
  readonly value: unknown
  readonly uri: string
}

/** Returns a schema of a document as a JSON Schema 2020-12 that stands by itself, with what it refers to in `$defs`. */
export function operationSchema(document: OpenApiDocument, schema: SchemaAt, direction: Direction): unknown {
  const wanted = new Map<string, SchemaAt>()
  const take = ({ value, uri }: SchemaAt): unknown => {
    const own = withoutOthers(document, { value: upgraded(document, value), uri }, UNSENT[direction])
    const local = withReferences(own, (reference) => {
      const target = document.target(reference, uri)
      if (target?.value === undefined) return reference
      const key = `${target.uri === document.uri ? '' : target.uri}#${target.pointer}`
      wanted.set(key, target)
      return `#/$defs/${encodeURIComponent(pointerPart(key))}`
    })
    // What leads nowhere is told with its whole path.
    return mapFileReferences(local, (file) => pathBeside(uri, file))
  }
  const root = take(schema)
  const defs: Record<string, unknown> = {}
  for (const [key, target] of wanted) defs[key] = take(target)
  return isObject(root) && wanted.size > 0
    ? { ...root, $defs: { ...(root['$defs'] as object), ...defs } }
    : root
}

// Only responses have what is readOnly, and only requests what is writeOnly (OpenAPI 3.1, Schema Object).
const UNSENT: Readonly<Record<Direction, string>> = { request: 'readOnly', response: 'writeOnly' }

/** Raises a schema of OpenAPI 3.0, such as one with `nullable`, to JSON Schema. */
export function upgraded({ isBefore31 }: OpenApiDocument, schema: unknown): unknown {
  if (!isBefore31 || !isObject(schema)) return schema
  const carrier = { openapi: '3.0.3', components: { schemas: { Schema: structuredClone(schema) } } }
  const raised = upgradeFromThreeToThreeOne(carrier) as typeof carrier
  return raised.components.schemas.Schema
}

/** Copies a schema with each reference changed. */
export function withReferences(schema: unknown, change: (reference: string) => string): unknown {
  if (!isObject(schema)) return schema
  const copy = mapSubschemas(schema, (inner) => withReferences(inner, change))
  const { $ref } = copy
  return typeof $ref === 'string' ? { ...copy, $ref: change($ref) } : copy
}

/** Takes the properties that are not sent in a direction out of `required`. */
function withoutOthers(document: OpenApiDocument, { value, uri }: SchemaAt, unsent: string): unknown {
  if (!isObject(value)) return value
  const copy = mapSubschemas(value, (inner) => withoutOthers(document, { value: inner, uri }, unsent))
  const { required, properties } = value
  if (!Array.isArray(required) || !isObject(properties)) return copy
  return {
    ...copy,
    required: required.filter((name) => document.follow(properties[String(name)], uri)?.node[unsent] !== true)
  }
}
