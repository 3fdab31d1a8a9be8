import { basename } from 'node:path'
import type { OptionFault, Warning } from '../../src/kit/index.ts'
import type { OpenApiDocument } from '../../src/lib/openapi/document.ts'
import type { Direction, SchemaAt } from '../../src/lib/openapi/operation-schema.ts'
import {
  listOperations,
  type Operation,
  parametersOf,
  requestBodyOf,
  responsesOf,
  securityOf
} from '../../src/lib/openapi/operations.ts'
import { readOpenApi, readOpenApiSync } from '../../src/lib/openapi/read-document.ts'
import { type DocumentFindings, findInSchemas, noFindings } from '../../src/lib/openapi/schema-findings.ts'
import { isObject } from '../../src/lib/schema.ts'
import { yieldIfDue } from '../../src/lib/time-slicing.ts'
import { nativePattern, uncheckedResponse, unknownFormat, unsecured } from './warnings.ts'

const EXPECTED = 'expected a document of OpenAPI 3.0, 3.1 or 3.2, got'

/** A document that can be used, or what is wrong with it. */
export interface CheckedDocument {
  readonly document?: OpenApiDocument
  readonly faults: readonly OptionFault[]
}

/** Reads a document and checks the schemas of its requests, in slices; a document is checked once. */
export async function checkDocument(file: string, path: OptionFault['path']): Promise<CheckedDocument> {
  let document: OpenApiDocument
  try {
    document = await readOpenApi(file)
  } catch (error) {
    const got = error instanceof Error ? error.message : String(error)
    return { faults: [{ path, message: `${EXPECTED} ${got}` }] }
  }
  const { faults } = await requestFindings(document)
  return faults.length === 0
    ? { document, faults: [] }
    : {
        faults: faults.map((fault) => ({
          path,
          message: `expected a document with schemas that can be used, got one with a fault: ${fault}`
        }))
      }
}

const checked = new WeakMap<OpenApiDocument, Promise<DocumentFindings>>()

function requestFindings(document: OpenApiDocument): Promise<DocumentFindings> {
  const known = checked.get(document)
  if (known !== undefined) return known
  const made = findSliced(document)
  checked.set(document, made)
  return made
}

async function findSliced(document: OpenApiDocument): Promise<DocumentFindings> {
  const findings = noFindings()
  for (const operation of listOperations(document)) {
    await yieldIfDue()
    for (const _ of findInSchemas(document, schemasOf(document, operation, 'request'), findings))
      await yieldIfDue()
  }
  return findings
}

/** Returns what `check` warns of in a document; each text goes on from "The route x". */
export function documentWarnings(
  file: string,
  { isPublic, response }: { readonly isPublic: boolean; readonly response: boolean }
): Warning[] {
  const name = basename(file)
  let document: OpenApiDocument
  try {
    document = readOpenApiSync(file)
  } catch {
    // Its place is an error already.
    return []
  }
  const operations = listOperations(document)
  const findings = noFindings()
  const ofResponses = noFindings()
  for (const operation of operations) {
    drain(findInSchemas(document, schemasOf(document, operation, 'request'), findings))
    if (response) drain(findInSchemas(document, schemasOf(document, operation, 'response'), ofResponses))
  }
  const secured = operations.filter((operation) => {
    // An empty alternative makes the others optional (OpenAPI 3.1, Security Requirement Object).
    const alternatives = securityOf(document, operation).filter(isObject)
    return alternatives.length > 0 && alternatives.every((each) => Object.keys(each).length > 0)
  })
  return [
    ...ofResponses.faults.map((fault) =>
      uncheckedResponse(`does not validate responses by a schema with a fault: ${fault}`, ['openapi'])
    ),
    ...[findings, ...(response ? [ofResponses] : [])].flatMap(({ unknownFormats, nativePatterns }) => [
      ...[...unknownFormats].map(([format, place]) =>
        unknownFormat(`has a format that is not known, so that every text is valid: ${format} (${place})`, [
          'openapi'
        ])
      ),
      ...[...nativePatterns].map(([pattern, place]) =>
        nativePattern(`has a pattern that the linear-time engine does not take: ${pattern} (${place})`, [
          'openapi'
        ])
      )
    ]),
    ...(secured.length > 0 && isPublic
      ? [
          unsecured(
            `is public, and ${secured.length} operations of ${name} want security; "auth" would give it`,
            ['openapi']
          )
        ]
      : [])
  ]
}

function drain(steps: Iterable<void>): void {
  for (const _ of steps);
}

function schemasOf(document: OpenApiDocument, operation: Operation, direction: Direction): SchemaAt[] {
  const bodies =
    direction === 'request'
      ? [requestBodyOf(document, operation)]
      : [...responsesOf(document, operation).values()]
  const parameters =
    direction === 'request' ? parametersOf(document, operation).map(({ schema }) => schema) : []
  return [
    ...parameters.filter((schema) => schema !== undefined),
    ...bodies.flatMap((body) =>
      [...(body?.content.values() ?? [])].map(({ node, uri }) => ({ value: node['schema'], uri }))
    )
  ].filter(({ value }) => value !== undefined)
}
