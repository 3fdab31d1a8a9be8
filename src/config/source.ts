import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { dirname, extname, relative, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type Node, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser'
import { isAlias, isMap, isPair, isScalar, isSeq, LineCounter, parseDocument } from 'yaml'
import { wall } from '../lib/clock.ts'
import { define } from '../lib/schema.ts'
import { runSliced } from '../lib/time-slicing.ts'
import { unreadable } from '../lib/unreadable.ts'
import { ConfigError, type Fault, type Path, type Place, showPath } from './fault.ts'
import { readMarked } from './json-positions.ts'
import { expectation } from './validate.ts'

/** A config file as it was written: its value, and where each part of it stands. */
export interface Source {
  /** The file as messages name it, relative to where the process stands. */
  readonly file: string
  /** The folder that files named in it are relative to. */
  readonly folder: string
  readonly value: unknown
  /** Tells where the key at a path stands (or the value, for list items); the nearest part outside of it where there is none. */
  at(path: Path): Place
}

/** Makes a fault at a path of a source. */
export function faultAt(source: Source, path: Path, message: string): Fault {
  return { ...source.at(path), path: showPath(path), message }
}

const MODULES: ReadonlySet<string> = new Set(['.ts', '.mts', '.js', '.mjs'])
const TEXTS: ReadonlySet<string> = new Set(['.json', '.jsonc', '.json5', '.yaml', '.yml'])
const ENDINGS = 'a file that ends in .json, .jsonc, .yaml, .yml, .ts, .mts, .js or .mjs'

/** Reads a config file by its ending: JSON with comments, YAML, or a module, for the file that includes it, if any; throws a ConfigError where it is missing, empty or malformed. */
export async function readSource(file: string, includer?: string): Promise<Source> {
  const path = resolve(file)
  const name = shownFile(path)
  const ending = extname(path).toLowerCase()
  if (MODULES.has(ending)) return readModule(path, name, includer)
  const text = await readText(path, name, includer)
  // A pipe or a mounted file may have no ending, and is read as JSON.
  if (ending !== '' && !TEXTS.has(ending)) throw whole(name, expectation(ENDINGS, ending))
  if (text.trim() === '') throw whole(name, 'The file is empty; {"routes": []} is the least a config can be')
  return ending === '.yaml' || ending === '.yml' ? readYaml(path, name, text) : readJson(path, name, text)
}

/** Takes a config that is an object already, as an embedding program and tests have it. */
export function objectSource(value: unknown, file = 'config', folder: string = process.cwd()): Source {
  return { file, folder, value, at: () => ({ file }) }
}

const shownFile = (path: string): string => {
  const near = relative(process.cwd(), path)
  return near.startsWith('..') ? path : near
}

const whole = (file: string, message: string): ConfigError => new ConfigError([{ file, path: '', message }])

async function readText(path: string, name: string, includer?: string): Promise<string> {
  try {
    return decoded(await readFile(path), name)
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' && includer === undefined)
      throw whole(
        name,
        'There is no such file; "sallyport init" writes one, and -c or GATEWAY_CONFIG names another'
      )
    throw whole(name, unreadable(name, error))
  }
}

// Editors of Windows save as UTF-16, with a mark in front.
function decoded(bytes: Buffer, name: string): string {
  const [first, second] = bytes
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff) || bytes.includes(0))
    throw whole(name, 'expected UTF-8, got UTF-16 or another encoding; save the file as UTF-8')
  return bytes.toString('utf8').replace(/^\uFEFF/, '')
}

async function readModule(path: string, name: string, includer?: string): Promise<Source> {
  await readText(path, name, includer)
  let value: unknown
  try {
    const loaded = (await import(`${pathToFileURL(path).href}?t=${wall()}`)) as { default?: unknown }
    value = await (typeof loaded.default === 'function'
      ? (loaded.default as () => unknown)()
      : loaded.default)
  } catch (error) {
    const message = `The module does not load: ${firstLine(error)}`
    throw new ConfigError([{ ...(await placeOfError(error, path, name)), path: '', message }])
  }
  if (typeof value !== 'object' || value === null)
    throw whole(
      name,
      'The module has no default export that is a config; `export default defineConfig({ routes: [] })` would do, also as what a function returns or a promise brings'
    )
  return objectSource(copied(value, name), name, dirname(path))
}

/** Finds where a module failed: where its syntax is wrong, or by the stack of what it threw. */
async function placeOfError(error: unknown, path: string, name: string): Promise<Place> {
  const stack = error instanceof Error ? (error.stack ?? '') : ''
  const place = syntaxPlace(stack, path, name) ?? stackPlace(stack)
  if (place !== undefined) return place
  // Node.js checks JavaScript alone; of TypeScript it tells the place at once.
  const found =
    error instanceof SyntaxError && !path.endsWith('ts')
      ? syntaxPlace(await checked(path), path, name)
      : undefined
  return found ?? { file: name }
}

const FRAME = /^\s+at (?:.*\()?(file:\/\/[^()]+?|\/[^()]+?):(\d+):(\d+)\)?$/

/** Finds the innermost frame of a stack that is no package's and not our own. */
function stackPlace(stack: string): Place | undefined {
  for (const frame of stack.split('\n')) {
    const [, file, line, column] = FRAME.exec(frame) ?? []
    if (file === undefined || file.includes('/node_modules/')) continue
    const own = file.startsWith('file:') ? fileURLToPath(file.replace(/\?.*$/, '')) : file
    if (own.startsWith(OWN_FOLDER)) return undefined
    return { file: shownFile(own), line: Number(line), column: Number(column) }
  }
  return undefined
}

// What this package's own code throws is no place in a config.
const OWN_FOLDER = fileURLToPath(new URL('..', import.meta.url))

/** Reads the place out of what Node.js writes of a syntax error: the file and its line, the line itself, and a caret below. */
function syntaxPlace(text: string, path: string, name: string): Place | undefined {
  const lines = text.split('\n')
  const at = lines.findIndex((line) => line.includes(path) && /^\S.*:\d+$/.test(line))
  if (at === -1) return undefined
  const line = Number(lines[at]?.split(':').at(-1))
  const caret = lines.slice(at).find((each) => /^\s*\^+\s*$/.test(each))
  return { file: name, line, column: (caret?.indexOf('^') ?? 0) + 1 }
}

/** Lets Node.js check the syntax of a module, which tells the place that an import does not. */
const checked = (path: string): Promise<string> =>
  new Promise((resolve) => {
    execFile(process.execPath, ['--check', path], (_error, _stdout, stderr) => resolve(stderr))
  })

function copied(value: object, name: string): unknown {
  try {
    return structuredClone(value)
  } catch (error) {
    throw whole(name, `A config is data, without functions: ${firstLine(error)}`)
  }
}

/** Takes the first line of an error's message. */
export const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? ''

async function readJson(path: string, name: string, text: string): Promise<Source> {
  const lines = lineStarts(text)
  const json = await runSliced(readMarked(text))
  if (json === undefined) throw notJson(name, lines, text)
  return {
    file: name,
    folder: dirname(path),
    value: json.value,
    at: (where) => placeAt(name, lines, json.offsetOf(where))
  }
}

/** Tells what is wrong with a text that is no JSON, or says a key twice. */
function notJson(name: string, lines: readonly number[], text: string): ConfigError {
  const errors: ParseError[] = []
  const tree = parseTree(text, errors, { allowTrailingComma: true })
  const faults: Fault[] = errors.slice(0, 1).map(({ error, offset }) => ({
    ...placeAt(name, lines, offset),
    path: '',
    message: `This is not JSON: ${hintAt(text, offset) ?? `${spaced(printParseErrorCode(error))}${near(text, offset)}`}`
  }))
  if (tree === undefined || faults.length > 0)
    return faults.length > 0 ? new ConfigError(faults) : whole(name, 'This is not JSON')
  duplicates(tree, [], (key, at, where) =>
    faults.push({
      ...placeAt(name, lines, at),
      path: showPath(where),
      message: `The key "${key}" stands here twice; one of the two must go`
    })
  )
  return faults.length > 0 ? new ConfigError(faults) : whole(name, 'This is not JSON')
}

function duplicates(node: Node, path: Path, found: (key: string, offset: number, path: Path) => void): void {
  const seen = new Set<string>()
  for (const [i, child] of (node.children ?? []).entries()) {
    if (node.type === 'array') {
      duplicates(child, [...path, i], found)
      continue
    }
    const [key, value] = child.children ?? []
    if (key === undefined) continue
    const name = String(key.value)
    if (seen.has(name)) found(name, key.offset, [...path, name])
    seen.add(name)
    if (value !== undefined) duplicates(value, [...path, name], found)
  }
}

// What people bring along from YAML, JavaScript and Python.
function hintAt(text: string, offset: number): string | undefined {
  if (text.charAt(offset) === '#') return 'expected "//" in front of a comment, got "#"'
  if (text.charAt(offset) === "'") return `expected a text in double quotes ("), got a single one (')`
  return undefined
}

const spaced = (code: string): string => code.replaceAll(/([a-z])([A-Z])/g, '$1 $2').toLowerCase()

// One character and no more: what stands there may be a secret.
function near(text: string, offset: number): string {
  const char = text.charAt(offset).trim()
  return char === '' ? '' : ` near ${JSON.stringify(char)}`
}

function readYaml(path: string, name: string, text: string): Source {
  const counter = new LineCounter()
  const document = parseDocument(text, { lineCounter: counter })
  if (document.errors.length > 0)
    throw new ConfigError(
      document.errors.map(({ message, pos }) => ({
        ...yamlPlace(name, counter, pos[0]),
        path: '',
        message: `This is not YAML: ${message.split('\n', 1)[0]?.replace(/ at line.*$/, '')}`
      }))
    )
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: 100 })
  } catch (error) {
    throw whole(name, firstLine(error))
  }
  return {
    file: name,
    folder: dirname(path),
    value,
    at(where) {
      let node: unknown = document.contents
      let offset = offsetOf(node) ?? 0
      for (const key of where) {
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
      return yamlPlace(name, counter, offset)
    }
  }
}

const offsetOf = (node: unknown): number | undefined =>
  (node as { range?: [number, number, number] } | undefined)?.range?.[0]

function yamlPlace(file: string, counter: LineCounter, offset: number): Place {
  const { line, col } = counter.linePos(offset)
  return { file, line, column: col }
}

function lineStarts(text: string): number[] {
  const starts = [0]
  for (let i = text.indexOf('\n'); i !== -1; i = text.indexOf('\n', i + 1)) starts.push(i + 1)
  return starts
}

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

/** Copies a value, changing every text in it, one step for each object and list; keys stay as they are. The path is the walker's own: who keeps it copies it. */
export function* mapTexts(
  value: unknown,
  path: (string | number)[],
  change: (text: string, path: Path) => unknown
): Generator<void, unknown> {
  if (typeof value === 'string') return change(value, path)
  if (typeof value !== 'object' || value === null) return value
  yield
  const made = Array.isArray(value) ? [] : {}
  for (const [key, inner] of Array.isArray(value) ? value.entries() : Object.entries(value)) {
    path.push(key)
    const mapped =
      typeof inner === 'object' && inner !== null
        ? yield* mapTexts(inner, path, change)
        : typeof inner === 'string'
          ? change(inner, path)
          : inner
    if (Array.isArray(made)) made.push(mapped)
    else define(made, String(key), mapped)
    path.pop()
  }
  return made
}
