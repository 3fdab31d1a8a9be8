import { SchemaCompiler } from '../../src/lib/body/json-schema/compiler.ts'
import { bundleSchema } from '../../src/lib/body/json-schema/references.ts'
import type { SchemaValidator } from '../../src/lib/body/json-schema/schema-errors.ts'
import {
  declaredProperties,
  type TextReader,
  textReader
} from '../../src/lib/body/json-schema/text-values.ts'
import type { OpenApiDocument } from '../../src/lib/openapi/document.ts'
import { type Direction, operationSchema, type SchemaAt } from '../../src/lib/openapi/operation-schema.ts'

/** A schema of a document, ready for use. */
export interface CompiledSchema {
  readonly reader: TextReader
  readonly properties: readonly string[]
  readonly validate: SchemaValidator
}

/** Compiles a schema that stands in a file of a document; throws an Error where it is not valid. */
export function compileSchema(
  document: OpenApiDocument,
  schema: SchemaAt | undefined,
  direction: Direction = 'request'
): CompiledSchema {
  const bundle = bundleSchema(plainSchema(document, schema, direction))
  const [fault] = bundle.faults
  if (fault !== undefined) throw new Error(`the schema ${fault}`)
  const root = bundle.documents.get(bundle.uri)
  const compiler = new SchemaCompiler(bundle)
  return {
    reader: textReader(root, bundle),
    properties: [...declaredProperties(root, bundle).keys()],
    validate: compiler.at()
  }
}

/** Returns a schema of a document as a JSON Schema; one that accepts everything where there is none. */
export const plainSchema = (
  document: OpenApiDocument,
  schema: SchemaAt | undefined,
  direction: Direction
): unknown =>
  operationSchema(document, { value: schema?.value ?? true, uri: schema?.uri ?? document.uri }, direction)
