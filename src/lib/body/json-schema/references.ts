import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { isObject } from '../../schema.ts'
import { FORMATS } from './formats.ts'
import { compilePattern } from './pattern.ts'
import { decodeFragment, mapSubschemas, valueAt } from './subschemas.ts'

/** A JSON Schema and every document that its references lead to. */
export interface SchemaBundle {
  /** The URI of the document that contains the schema. */
  readonly uri: string
  /** The documents by their URIs, with every reference to another document made absolute. */
  readonly documents: ReadonlyMap<string, unknown>
  /** Whether a reference leads to the metaschema of JSON Schema itself. */
  readonly needsMetaschema: boolean
  /** The same for schemas that mean the same, in every process. */
  readonly hash: string
}

/** The findings in the schemas of a bundle; each text continues "the schema". */
export interface SchemaFindings {
  /** What makes a schema useless: references that lead nowhere, patterns that are not valid. */
  readonly faults: readonly string[]
  /** Formats that are not known, and so hold for every value. */
  readonly unknownFormats: readonly string[]
  /** Patterns that only the native engine takes, in time that may grow exponentially. */
  readonly nativePatterns: readonly string[]
}

/** Reads the document at a URI; throws where it can't. */
export type ReadDocument = (uri: string) => unknown

const METASCHEMA = 'https://json-schema.org/draft/2020-12/'

/** The URI of a schema that is not in a file. */
export const INLINE_URI = 'schema:/inline'

/** Reads a JSON or YAML file by its URL; throws where it is missing or malformed. */
export function readDocument(uri: string): unknown {
  const text = readFileSync(fileURLToPath(uri), 'utf8')
  return uri.endsWith('.json') ? JSON.parse(text) : parse(text, { maxAliasCount: 100 })
}

/** Collects the documents that a schema refers to, and what is wrong with them. */
export function bundleSchema(
  schema: unknown,
  { uri = INLINE_URI, read = readDocument }: { readonly uri?: string; readonly read?: ReadDocument } = {}
): SchemaBundle & SchemaFindings {
  const collector = new Collector(read)
  collector.add(uri, schema)
  collector.follow()
  collector.findMissing()
  const { documents, needsMetaschema, faults, unknownFormats, nativePatterns } = collector
  return {
    uri,
    documents,
    needsMetaschema,
    hash: hashOf(uri, documents),
    faults: [...faults],
    unknownFormats: [...unknownFormats],
    nativePatterns: [...nativePatterns]
  }
}

function hashOf(uri: string, documents: ReadonlyMap<string, unknown>): string {
  const hash = createHash('sha256').update(uri)
  for (const each of documents) hash.update(JSON.stringify(each))
  return hash.digest('base64url')
}

class Collector {
  readonly documents = new Map<string, unknown>()
  readonly faults = new Set<string>()
  readonly unknownFormats = new Set<string>()
  readonly nativePatterns = new Set<string>()
  readonly #read: ReadDocument
  readonly #known = new Set<string>()
  readonly #wanted = new Map<string, string>()
  readonly #targets = new Map<string, string>()
  readonly #anchors = new Set<string>()

  constructor(read: ReadDocument) {
    this.#read = read
  }

  add(uri: string, document: unknown): void {
    this.#known.add(uri)
    this.documents.set(uri, this.#visit(document, uri))
  }

  get needsMetaschema(): boolean {
    return [...this.#wanted.keys()].some((uri) => uri.startsWith(METASCHEMA))
  }

  /** Reads what references lead to, until nothing is missing. */
  follow(): void {
    for (const [uri, written] of this.#wanted) {
      if (this.#known.has(uri) || uri.startsWith(METASCHEMA)) continue
      if (/^https?:/.test(uri) && this.#read === readDocument) {
        this.faults.add(
          `refers to ${written}, and nothing is fetched over HTTP; use a file beside the config`
        )
        continue
      }
      try {
        this.add(uri, this.#read(uri))
      } catch (error) {
        const why = error instanceof Error ? error.message.split('\n', 1)[0] : String(error)
        this.faults.add(`refers to ${written}, which can't be read: ${why}`)
      }
    }
  }

  /** Notes references to places that their documents don't have. */
  findMissing(): void {
    for (const [target, written] of this.#targets) {
      const document = this.documents.get(withoutFragment(target))
      const fragment = decodeFragment(target)
      if (document === undefined || !target.includes('#') || fragment === '') continue
      const isThere = fragment.startsWith('/')
        ? valueAt(document, fragment) !== undefined
        : this.#anchors.has(target)
      if (!isThere) this.faults.add(`refers to ${written}, which is not there`)
    }
  }

  /** Copies a schema with absolute references, and notes what it has. */
  #visit(schema: unknown, outer: string): unknown {
    if (!isObject(schema)) return schema
    const { $id, $anchor, $dynamicAnchor, pattern, format, patternProperties } = schema
    const base = typeof $id === 'string' ? (resolveUri($id, outer) ?? outer) : outer
    if (base !== outer) this.#known.add(withoutFragment(base))
    for (const anchor of [$anchor, $dynamicAnchor])
      if (typeof anchor === 'string') this.#anchors.add(`${withoutFragment(base)}#${anchor}`)
    if (typeof pattern === 'string') this.#notePattern(pattern)
    if (isObject(patternProperties))
      for (const each of Object.keys(patternProperties)) this.#notePattern(each)
    if (typeof format === 'string' && !Object.hasOwn(FORMATS, format)) this.unknownFormats.add(format)
    const copy = mapSubschemas(schema, (inner) => this.#visit(inner, base))
    for (const keyword of ['$ref', '$dynamicRef'])
      if (typeof schema[keyword] === 'string') copy[keyword] = this.#refer(schema[keyword], base)
    return copy
  }

  #notePattern(pattern: string): void {
    try {
      if (!compilePattern(pattern).isLinear) this.nativePatterns.add(pattern)
    } catch {
      this.faults.add(`has a pattern that is no regular expression: ${pattern}`)
    }
  }

  #refer(reference: string, base: string): string {
    const target = resolveUri(reference, base)
    if (target === undefined) {
      this.faults.add(`refers to ${reference}, which is no URI reference`)
      return reference
    }
    const document = withoutFragment(target)
    this.#targets.set(target, reference)
    if (reference.startsWith('#')) return reference
    if (!this.#wanted.has(document)) this.#wanted.set(document, reference)
    // What has an id of its own is found by it; a file is not.
    return document.startsWith('file:') ? target : reference
  }
}

function resolveUri(reference: string, base: string): string | undefined {
  // A URN has no path that a reference could be relative to.
  if (reference.startsWith('#')) return withoutFragment(base) + reference
  return URL.parse(reference, base)?.href ?? URL.parse(reference)?.href
}

const withoutFragment = (uri: string): string => uri.split('#', 1)[0] ?? ''
