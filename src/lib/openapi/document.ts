import { pathToFileURL } from 'node:url'
import { readDocument } from '../body/json-schema/references.ts'
import { decodeFragment, valueAt } from '../body/json-schema/subschemas.ts'
import { isObject } from '../schema.ts'

/** An object of an OpenAPI document. */
export type Node = Readonly<Record<string, unknown>>

/** Something in a document, and the file that it stands in. */
export interface Located {
  readonly node: Node
  readonly uri: string
}

/** What a reference leads to. */
export interface ReferenceTarget {
  readonly value: unknown
  readonly uri: string
  /** A JSON Pointer in its file. */
  readonly pointer: string
}

// How often a reference may lead to another one.
const MAX_REFERENCES = 16

/** An OpenAPI document, and the files that it refers to, read as they are needed. */
export class OpenApiDocument {
  readonly uri: string
  readonly root: Node
  /** Whether its schemas are those of OpenAPI 3.0, which are no JSON Schemas yet. */
  readonly isBefore31: boolean
  readonly #files = new Map<string, unknown>()

  /** Throws a TypeError that describes what a value is instead of a document of OpenAPI 3.0, 3.1 or 3.2. */
  constructor(file: string, value: unknown) {
    const version = isObject(value) ? value['openapi'] : undefined
    if (!isObject(value) || typeof version !== 'string' || !/^3\.[012](\.|$)/.test(version))
      throw new TypeError(describe(value))
    this.uri = pathToFileURL(file).href
    this.root = value
    this.isBefore31 = version.startsWith('3.0')
    this.#files.set(this.uri, value)
  }

  /** Returns a file of the document, by its URL; throws where it can't be read. */
  file(uri: string): unknown {
    if (!this.#files.has(uri)) this.#files.set(uri, readDocument(uri))
    return this.#files.get(uri)
  }

  /** Follows the references of something that stands in a file; undefined where they lead nowhere. */
  follow(node: unknown, uri = this.uri): Located | undefined {
    let at = uri
    let value = node
    for (let i = 0; i < MAX_REFERENCES; i++) {
      if (!isObject(value)) return undefined
      const { $ref } = value
      if (typeof $ref !== 'string') return { node: value, uri: at }
      const target = this.target($ref, at)
      if (target === undefined) return undefined
      at = target.uri
      value = target.value
    }
    return undefined
  }

  /** Finds what a reference in a file leads to; undefined where that is not a file, or the reference has no JSON Pointer. */
  target(reference: string, uri: string): ReferenceTarget | undefined {
    const [path = ''] = reference.split('#', 1)
    const at = path === '' ? uri : URL.parse(path, uri)?.href
    const pointer = decodeFragment(`#${reference.split('#')[1] ?? ''}`)
    if (at === undefined || !at.startsWith('file:') || !/^(?:\/|$)/.test(pointer)) return undefined
    try {
      return { value: valueAt(this.file(at), pointer), uri: at, pointer }
    } catch {
      return undefined
    }
  }
}

const describe = (value: unknown): string => {
  if (!isObject(value)) return 'no object'
  const { openapi, swagger } = value
  return openapi === undefined && swagger === undefined
    ? 'one without "openapi"'
    : `version ${String(openapi ?? swagger)}`
}
