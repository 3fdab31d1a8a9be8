import { dirname } from 'node:path'
import { type Node, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser'
import { ConfigError, type Fault, type Path, showPath } from './fault.ts'
import { jsonPlaces, placesIn } from './json-positions.ts'
import { parseConfigJson } from './plain-json.ts'
import { fileError, type Source } from './source.ts'

/** Reads JSON with comments and trailing commas; throws a ConfigError where it is malformed or has a key twice. */
export function readJson(path: string, name: string, text: string): Source {
  const value = parseConfigJson(text)
  if (value === undefined) throw jsonError(name, text)
  return { file: name, folder: dirname(path), value, at: jsonPlaces(name, text) }
}

/** Returns the error of a text that is not JSON, or has a key twice. */
function jsonError(name: string, text: string): ConfigError {
  const placeAt = placesIn(name, text)
  const errors: ParseError[] = []
  const tree = parseTree(text, errors, { allowTrailingComma: true })
  const faults: Fault[] = errors.slice(0, 1).map(({ error, offset }) => ({
    ...placeAt(offset),
    path: '',
    message: `This is not JSON: ${hintAt(text, offset) ?? `${spaced(printParseErrorCode(error))}${near(text, offset)}`}`
  }))
  if (tree === undefined || faults.length > 0)
    return faults.length > 0 ? new ConfigError(faults) : fileError(name, 'This is not JSON')
  findDuplicates(tree, [], (key, at, where) =>
    faults.push({
      ...placeAt(at),
      path: showPath(where),
      message: `expected each key once, got "${key}" again; remove one of the two`
    })
  )
  return faults.length > 0 ? new ConfigError(faults) : fileError(name, 'This is not JSON')
}

function findDuplicates(
  node: Node,
  path: Path,
  found: (key: string, offset: number, path: Path) => void
): void {
  const seen = new Set<string>()
  for (const [i, child] of (node.children ?? []).entries()) {
    if (node.type === 'array') {
      findDuplicates(child, [...path, i], found)
      continue
    }
    const [key, value] = child.children ?? []
    if (key === undefined) continue
    const name = String(key.value)
    if (seen.has(name)) found(name, key.offset, [...path, name])
    seen.add(name)
    if (value !== undefined) findDuplicates(value, [...path, name], found)
  }
}

// Habits from YAML, JavaScript and Python.
function hintAt(text: string, offset: number): string | undefined {
  if (text.charAt(offset) === '#') return 'expected "//" in front of a comment, got "#"'
  if (text.charAt(offset) === "'") return `expected a string in double quotes ("), got a single quote (')`
  return undefined
}

const spaced = (code: string): string => code.replaceAll(/([a-z])([A-Z])/g, '$1 $2').toLowerCase()

// Only one character is quoted: the text may be a secret.
function near(text: string, offset: number): string {
  const char = text.charAt(offset).trim()
  return char === '' ? '' : ` near ${JSON.stringify(char)}`
}
