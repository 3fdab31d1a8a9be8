import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { readDocument } from '../body/json-schema/references.ts'
import { displayPath } from '../display-path.ts'
import { OpenApiDocument } from './document.ts'
import { yamlToJson } from './yaml-thread.ts'

// Read from the text, since a whole document takes too long where its files are listed.
const REFERENCE = /\$ref["']?\s*:\s*["']?([^\s"'#,}]+)/g

const SCHEME = /^[a-z][a-z\d+.-]+:/i

// What was read last, for the checks of a config and for its build, which follows.
const recent = new Map<string, WeakRef<OpenApiDocument>>()
const reading = new Map<string, Promise<OpenApiDocument>>()

/** Reads an OpenAPI document in JSON or YAML; the same text gives the same document. Rejects with an Error that describes what is there instead, with its place. */
export async function readOpenApi(file: string): Promise<OpenApiDocument> {
  const text = await readText(file)
  const key = documentKey(file, text)
  // What refers to other files may have changed with them.
  if (key === undefined) return parse(file, text)
  const known = recent.get(key)?.deref()
  if (known !== undefined) return known
  let promise = reading.get(key)
  if (promise === undefined) {
    promise = parse(file, text).finally(() => reading.delete(key))
    reading.set(key, promise)
    promise.then(
      (document) => keep(key, document),
      () => {}
    )
  }
  return promise
}

/** Reads an OpenAPI document at once, for commands. */
export function readOpenApiSync(file: string): OpenApiDocument {
  const key = documentKey(file, readFileSync(file, 'utf8'))
  const known = key === undefined ? undefined : recent.get(key)?.deref()
  return known ?? new OpenApiDocument(file, readDocument(pathToFileURL(file).href))
}

const MAX_RECENT = 100

function keep(key: string, document: OpenApiDocument): void {
  if (recent.size >= MAX_RECENT) recent.clear()
  recent.set(key, new WeakRef(document))
}

/** Returns what tells a document from every other one; undefined where it refers to other files, which may change. */
export function documentKey(file: string, text: string): string | undefined {
  return referredNames(text).length > 0
    ? undefined
    : createHash('sha256').update(file).update('\0').update(text).digest('base64url')
}

/** Returns the files that a document itself refers to; none where it can't be read. */
export function filesReferredBy(file: string): string[] {
  try {
    return referredNames(readFileSync(file, 'utf8')).map((name) => resolve(dirname(file), name))
  } catch {
    return []
  }
}

const referredNames = (text: string): string[] =>
  [...new Set([...text.matchAll(REFERENCE)].map(([, name = '']) => name))].filter(
    (name) => !SCHEME.test(name)
  )

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch {
    throw new Error(`${basename(file)}, which can't be read`)
  }
}

async function parse(file: string, text: string): Promise<OpenApiDocument> {
  return new OpenApiDocument(file, await readValue(file, text))
}

async function readValue(file: string, text: string): Promise<unknown> {
  const isJson = /^\s*[{[]/.test(text)
  try {
    if (isJson) return JSON.parse(text)
  } catch (error) {
    if (file.endsWith('.json')) throw notJson(file, error)
  }
  const read = await yamlToJson(text)
  if ('json' in read) return JSON.parse(read.json)
  const { line, column = 1 } = read
  throw new Error(
    `no YAML: ${displayPath(file)}${line === undefined ? '' : `:${line}:${column}`} ${read.error}`
  )
}

function notJson(file: string, error: unknown): Error {
  const message = error instanceof Error ? error.message : String(error)
  const [, line, column] = /\(line (\d+) column (\d+)\)/.exec(message) ?? []
  const place = `${displayPath(file)}${line === undefined ? '' : `:${line}:${column}`}`
  // The rest quotes the text.
  return new Error(`no JSON: ${place} ${message.split(/,? (?:in JSON|".*" is)/, 1)[0] ?? message}`)
}

/** Returns the path of a file that something in a document names. */
export const pathBeside = (uri: string, name: string): string => resolve(dirname(fileURLToPath(uri)), name)
