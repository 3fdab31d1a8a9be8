import { dirname } from 'node:path'
import { type Node, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser'
import { runSliced } from '../lib/time-slicing.ts'
import { ConfigError, type Fault, type Path, type Place, showPath } from './fault.ts'
import { readPositioned } from './json-positions.ts'
import { fileError, type Source } from './source.ts'

/** Reads JSON with comments and trailing commas; throws a ConfigError where it is malformed or has a key twice. */
export async function readJson(path: string, name: string, text: string): Promise<Source> {
  const lines = lineStarts(text)
  const json = await runSliced(readPositioned(text))
  if (json === undefined) throw jsonError(name, lines, text)
  return {
    file: name,
    folder: dirname(path),
    value: json.value,
    at: (where) => placeAt(name, lines, json.offsetOf(where))
  }
}

/** Returns the error of a text that is not JSON, or has a key twice. */
function jsonError(name: string, lines: readonly number[], text: string): ConfigError {
  const errors: ParseError[] = []
  const tree = parseTree(text, errors, { allowTrailingComma: true })
  const faults: Fault[] = errors.slice(0, 1).map(({ error, offset }) => ({
    ...placeAt(name, lines, offset),
    path: '',
    message: `This is not JSON: ${hintAt(text, offset) ?? `${spaced(printParseErrorCode(error))}${near(text, offset)}`}`
  }))
  if (tree === undefined || faults.length > 0)
    return faults.length > 0 ? new ConfigError(faults) : fileError(name, 'This is not JSON')
  findDuplicates(tree, [], (key, at, where) =>
    faults.push({
      ...placeAt(name, lines, at),
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
  if (text.charAt(offset) === "'") return `expected a text in double quotes ("), got a single quote (')`
  return undefined
}

const spaced = (code: string): string => code.replaceAll(/([a-z])([A-Z])/g, '$1 $2').toLowerCase()

// Only one character is quoted: the text may be a secret.
function near(text: string, offset: number): string {
  const char = text.charAt(offset).trim()
  return char === '' ? '' : ` near ${JSON.stringify(char)}`
}

/** Returns the offset of each line. */
function lineStarts(text: string): number[] {
  const starts = [0]
  for (let i = text.indexOf('\n'); i !== -1; i = text.indexOf('\n', i + 1)) starts.push(i + 1)
  return starts
}

/** Returns the place of an offset by binary search. */
function placeAt(file: string, starts: readonly number[], offset: number): Place {
  let low = 0
  let high = starts.length - 1
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if ((starts[middle] ?? 0) <= offset) low = middle
    else high = middle - 1
  }
  return { file, line: low + 1, column: offset - (starts[low] ?? 0) + 1 }
}
