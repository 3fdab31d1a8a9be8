import { schemaFaults } from '../body/json-schema/metaschema.ts'
import { bundleSchema } from '../body/json-schema/references.ts'
import { mapSubschemas } from '../body/json-schema/subschemas.ts'
import { isObject } from '../schema.ts'
import type { OpenApiDocument } from './document.ts'
import { type SchemaAt, upgraded } from './operation-schema.ts'
import { placeOf } from './place.ts'

/** What is wrong with the schemas of a document, and what deserves a warning. */
export interface DocumentFindings {
  /** What makes operations unusable, each with its place in the document. */
  readonly faults: string[]
  /** Formats that are not known, each with its place. */
  readonly unknownFormats: Map<string, string>
  /** Patterns that only the native engine takes, each with its place. */
  readonly nativePatterns: Map<string, string>
  /** The schemas that have been looked at. */
  readonly seen: Set<unknown>
}

/** Returns findings to begin with. */
export const noFindings = (): DocumentFindings => ({
  faults: [],
  unknownFormats: new Map(),
  nativePatterns: new Map(),
  seen: new Set()
})

// How many faults are worth reading at once.
const MOST = 10

/** Looks at each schema once, with all that it refers to; yields after each, so that the work can be sliced. */
export function* findInSchemas(
  document: OpenApiDocument,
  roots: Iterable<SchemaAt>,
  findings: DocumentFindings
): Generator<void> {
  for (const root of roots) {
    const waiting = [root]
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      if (findings.faults.length >= MOST) return
      if (typeof next.value === 'boolean' || findings.seen.has(next.value)) continue
      findings.seen.add(next.value)
      waiting.push(...findInSchema(document, next, findings))
      yield
    }
  }
}

/** Looks at one schema, and returns those that it refers to. */
function findInSchema(
  document: OpenApiDocument,
  { value, uri }: SchemaAt,
  { faults, unknownFormats, nativePatterns }: DocumentFindings
): SchemaAt[] {
  const placeAt = (pointer = ''): string => placeOf(document, uri, value, pointer)
  const own = upgraded(document, value)
  const targets: SchemaAt[] = []
  const alone = withoutReferences(own, (reference) => {
    const target = document.target(reference, uri)
    if (target?.value !== undefined) targets.push(target)
    else
      faults.push(
        /^https?:/.test(reference)
          ? `${placeAt()} refers to ${reference}, and nothing is fetched over HTTP; use a file beside the document`
          : `${placeAt()} refers to ${reference}, which is not there`
      )
  })
  for (const { pointer, message } of schemaFaults(own)) faults.push(`${placeAt(pointer)} ${message}`)
  const bundle = bundleSchema(alone)
  for (const fault of bundle.faults) faults.push(`${placeAt()} ${fault}`)
  for (const format of bundle.unknownFormats)
    if (!unknownFormats.has(format)) unknownFormats.set(format, placeAt())
  for (const pattern of bundle.nativePatterns)
    if (!nativePatterns.has(pattern)) nativePatterns.set(pattern, placeAt())
  return targets
}

/** Copies a schema without its references, which are named to `visit`. */
function withoutReferences(schema: unknown, visit: (reference: string) => void): unknown {
  if (!isObject(schema)) return schema
  const { $ref, ...rest } = mapSubschemas(schema, (inner) => withoutReferences(inner, visit))
  delete rest['$dynamicRef']
  // An anchor is found by its name when the schema is compiled.
  if (typeof $ref === 'string' && !/^#(?!\/|$)/.test($ref)) visit($ref)
  return rest
}
