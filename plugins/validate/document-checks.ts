import { readFileSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import type { OptionFault } from '../../src/kit/index.ts'
import { metaschemaFaults } from '../../src/lib/body/json-schema/metaschema.ts'
import {
  bundleSchema,
  type SchemaBundle,
  type SchemaFindings
} from '../../src/lib/body/json-schema/references.ts'
import {
  listOperations,
  type Operation,
  parametersOf,
  requestBodyOf,
  securityOf
} from '../../src/lib/openapi/operations.ts'
import { type OpenApiDocument, readOpenApiSync } from '../../src/lib/openapi/read-document.ts'
import { requestSchema } from '../../src/lib/openapi/request-schema.ts'

const expected = 'expected a document of OpenAPI 3.0, 3.1 or 3.2'

/** Returns what is wrong with an OpenAPI document at first sight; the rest is read where it takes nobody's time. */
export function documentFaults(file: string): OptionFault[] {
  const fault = (got: string): OptionFault[] => [{ path: ['openapi'], message: `${expected}, got ${got}` }]
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    return fault(`${basename(file)}, which can't be read`)
  }
  const version = /^\s*(?:\{\s*)?["']?openapi["']?\s*:\s*["']?([\d.]+)/m.exec(text)?.[1]
  if (version === undefined) return fault('one without "openapi"')
  return /^3\.[012](\.|$)/.test(version) ? [] : fault(`version ${version}`)
}

// Read from the text, since a whole document takes too long where its files are listed.
const REFERENCE = /\$ref["']?\s*:\s*["']?([^\s"'#,}]+)/g

const SCHEME = /^[a-z][a-z\d+.-]+:/i

/** Returns the files that an OpenAPI document itself refers to; none where it can't be read. */
export function referredFiles(file: string): string[] {
  try {
    const text = readFileSync(file, 'utf8')
    const names = new Set([...text.matchAll(REFERENCE)].map(([, name = '']) => name))
    return [...names].flatMap((name) => (SCHEME.test(name) ? [] : [resolve(dirname(file), name)]))
  } catch {
    return []
  }
}

/** Returns what `check` warns of in a document; each text goes on from "The route x". */
export function documentWarnings(file: string, isPublic: boolean): string[] {
  const name = basename(file)
  let document: OpenApiDocument
  try {
    document = readOpenApiSync(file)
  } catch (error) {
    return [`can't use ${name}: ${error instanceof Error ? error.message : String(error)}`]
  }
  const warnings = new Set<string>()
  let secured = 0
  for (const operation of listOperations(document)) {
    const place = `${operation.method} ${operation.path} of ${name}`
    if (securityOf(document, operation).some((each) => Object.keys(each as object).length > 0)) secured++
    for (const bundle of schemasOf(document, operation)) {
      const { faults, unknownFormats, nativePatterns } = bundle
      for (const fault of [...faults, ...metaschemaFaults(bundle)])
        warnings.add(`answers ${place} with 500, since a schema there ${fault}`)
      for (const format of unknownFormats)
        warnings.add(`has a format in ${name} that is not known, so that every text is valid: ${format}`)
      for (const pattern of nativePatterns)
        warnings.add(`has a pattern in ${name} that the linear-time engine does not take: ${pattern}`)
    }
  }
  if (secured > 0 && isPublic)
    warnings.add(`is public, and ${secured} operations of ${name} want security; "auth" would give it`)
  return [...warnings]
}

function schemasOf(document: OpenApiDocument, operation: Operation): (SchemaBundle & SchemaFindings)[] {
  const parameters = parametersOf(document, operation).map(({ schema }) => schema)
  const bodies = [...(requestBodyOf(document, operation)?.content.values() ?? [])].map(({ node, uri }) => ({
    value: node['schema'],
    uri
  }))
  return [...parameters, ...bodies].flatMap((schema) =>
    schema?.value === undefined ? [] : [bundleSchema(requestSchema(document, schema.value, schema.uri))]
  )
}
