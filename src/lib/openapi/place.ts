import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml'
import { displayPath } from '../display-path.ts'
import { getOrCreate, onDemand } from '../memoize.ts'
import type { OpenApiDocument } from './document.ts'

type Locate = (path: readonly string[]) => string

const locators = new WeakMap<OpenApiDocument, Map<string, Locate>>()

/** Returns the place of something in a file of a document as `file:line:column`, by the object that it is and a JSON Pointer in it. Reads the file anew: for messages only. */
export function placeOf(document: OpenApiDocument, uri: string, node: unknown, pointer = ''): string {
  const byUri = getOrCreate(locators, document, () => new Map<string, Locate>())
  const locate = getOrCreate(byUri, uri, () => locatorOf(fileURLToPath(uri)))
  const path = pathTo(document.file(uri), node) ?? []
  return locate([...path, ...pointer.split('/').slice(1).map(unescapePart)])
}

const unescapePart = (part: string): string => part.replaceAll('~1', '/').replaceAll('~0', '~')

/** Finds the keys that lead to an object; undefined where it is not there. */
function pathTo(root: unknown, wanted: unknown): string[] | undefined {
  if (root === wanted) return []
  if (typeof root !== 'object' || root === null) return undefined
  for (const [key, value] of Object.entries(root)) {
    const path = pathTo(value, wanted)
    if (path !== undefined) return [key, ...path]
  }
  return undefined
}

function locatorOf(file: string): Locate {
  const parsed = onDemand(() => {
    const lines = new LineCounter()
    // JSON is YAML, too.
    return { lines, document: parseDocument(readFileSync(file, 'utf8'), { lineCounter: lines }) }
  })
  return (path) => {
    try {
      const { lines, document } = parsed()
      const { line, col } = lines.linePos(offsetAt(document, path))
      return `${displayPath(file)}:${line}:${col}`
    } catch {
      return displayPath(file)
    }
  }
}

function offsetAt(document: ReturnType<typeof parseDocument>, path: readonly string[]): number {
  let node: unknown = document.contents
  let offset = 0
  for (const key of path) {
    if (isAlias(node)) node = node.resolve(document)
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === key)
      if (pair === undefined) break
      offset = startOf(pair.key) ?? offset
      node = pair.value
    } else if (isSeq(node)) {
      node = node.items[Number(key)]
      offset = startOf(node) ?? offset
    } else break
  }
  return offset
}

const startOf = (node: unknown): number | undefined =>
  (node as { range?: readonly [number, number, number] } | null | undefined)?.range?.[0]
