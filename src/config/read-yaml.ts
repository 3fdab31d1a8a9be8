import { dirname } from 'node:path'
import { type Document, isAlias, isMap, isPair, isScalar, isSeq, LineCounter, parseDocument } from 'yaml'
import { onDemand } from '../lib/memoize.ts'
import { ConfigError, type Path, type Place } from './fault.ts'
import { fileError, firstLine, type Source } from './source.ts'

// Limits how far a document full of aliases expands ("billion laughs").
const MAX_ALIASES = 100

/** Reads YAML; throws a ConfigError with all its syntax errors. */
export function readYaml(path: string, name: string, text: string): Source {
  const parsed = onDemand(() => parse(name, text))
  const { document, placeAt } = parsed()
  if (document.errors.length > 0)
    throw new ConfigError(
      document.errors.map(({ message, pos }) => ({
        ...placeAt(pos[0]),
        path: '',
        message: `This is not YAML: ${message.split('\n', 1)[0]?.replace(/ at line.*$/, '')}`
      }))
    )
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES })
  } catch (error) {
    throw fileError(name, firstLine(error))
  }
  return { file: name, folder: dirname(path), value, at: yamlPlaces(parsed) }
}

interface ParsedYaml {
  readonly document: Document
  placeAt(offset: number): Place
}

function parse(name: string, text: string): ParsedYaml {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines })
  return {
    document,
    placeAt(offset) {
      const { line, col } = lines.linePos(offset)
      return { file: name, line, column: col }
    }
  }
}

// Outside of the function that reads, whose scope would keep the document.
const yamlPlaces =
  (parsed: () => ParsedYaml): Source['at'] =>
  (path) => {
    const { document, placeAt } = parsed()
    return placeAt(offsetAt(document, path))
  }

function offsetAt(document: Document, path: Path): number {
  let node: unknown = document.contents
  let offset = offsetOf(node) ?? 0
  for (const key of path) {
    if (isAlias(node)) node = node.resolve(document)
    if (isMap(node)) {
      const pair = node.items.find(
        (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(key)
      )
      if (pair === undefined) break
      offset = offsetOf(pair.key) ?? offset
      node = pair.value
    } else if (isSeq(node)) {
      node = node.items[Number(key)]
      offset = offsetOf(node) ?? offset
    } else break
  }
  return offset
}

const offsetOf = (node: unknown): number | undefined =>
  (node as { range?: [number, number, number] } | undefined)?.range?.[0]
