import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
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

// How often a reference may lead to another one.
const MAX_REFERENCES = 16

/** An OpenAPI document, and the files that it refers to, read as they are needed. */
export class OpenApiDocument {
  readonly uri: string
  readonly root: Node
  /** Whether its schemas are those of OpenAPI 3.0, which are no JSON Schemas yet. */
  readonly isBefore31: boolean
  readonly #files = new Map<string, unknown>()

  /** Throws a TypeError where a value is no document of OpenAPI 3.0, 3.1 or 3.2. */
  constructor(file: string, value: unknown) {
    const version = isObject(value) ? value['openapi'] : undefined
    if (!isObject(value) || typeof version !== 'string' || !/^3\.[012](\.|$)/.test(version))
      throw new TypeError(`expected a document of OpenAPI 3.0, 3.1 or 3.2, got ${describe(value)}`)
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

  /** Finds what a reference in a file leads to; undefined where that is not a file or not there. */
  target(reference: string, uri: string): { readonly value: unknown; readonly uri: string } | undefined {
    const [path = ''] = reference.split('#', 1)
    const at = path === '' ? uri : URL.parse(path, uri)?.href
    if (at === undefined || !at.startsWith('file:')) return undefined
    try {
      return { value: valueAt(this.file(at), decodeFragment(`#${reference.split('#')[1] ?? ''}`)), uri: at }
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

/** Reads an OpenAPI document in JSON or YAML; YAML in a thread of its own, since it takes longer than requests should wait. */
export async function readOpenApi(file: string): Promise<OpenApiDocument> {
  const text = await readFile(file, 'utf8')
  const json = /^\s*\{/.test(text) ? text : await yamlToJson(text)
  return new OpenApiDocument(file, JSON.parse(json))
}

/** Reads an OpenAPI document at once, for commands. */
export const readOpenApiSync = (file: string): OpenApiDocument =>
  new OpenApiDocument(file, readDocument(pathToFileURL(file).href))

/** Returns the path of a file that something in a document names. */
export const pathBeside = (uri: string, name: string): string => resolve(dirname(fileURLToPath(uri)), name)

const MAX_PARSE_TIME = 30_000

// js-yaml takes a fifth of the time that the YAML parser of the config takes, which knows positions.
const PROGRAM = `
const { parentPort, workerData } = require('node:worker_threads')
import(workerData.parser).then(({ load, default: all, CORE_SCHEMA }) => {
  const value = (load ?? all.load)(workerData.text, { schema: CORE_SCHEMA ?? all.CORE_SCHEMA })
  parentPort.postMessage({ json: JSON.stringify(value) })
}).catch((error) => parentPort.postMessage({ error: String(error.message ?? error) }))
`

function yamlToJson(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(PROGRAM, {
      eval: true,
      execArgv: [],
      workerData: { text, parser: import.meta.resolve('js-yaml') },
      resourceLimits: { maxOldGenerationSizeMb: 512 }
    })
    const timer = setTimeout(() => settle({ error: 'it takes too long to read' }), MAX_PARSE_TIME)
    const settle = ({ json, error }: { json?: string; error?: string }): void => {
      clearTimeout(timer)
      void worker.terminate()
      if (json === undefined) reject(new SyntaxError(error?.split('\n', 1)[0] ?? 'it is empty'))
      else resolve(json)
    }
    worker.once('message', settle)
    worker.once('error', ({ message }: Error) => settle({ error: message }))
  })
}
