import { readFile } from 'node:fs/promises'
import { extname, resolve } from 'node:path'
import { displayPath } from '../lib/display-path.ts'
import { unreadable } from '../lib/unreadable.ts'
import { ConfigError, type Path, type Place, showPath } from './fault.ts'
import { expectation } from './messages.ts'
import { readJson } from './read-json.ts'
import { readModule } from './read-module.ts'
import { readYaml } from './read-yaml.ts'
import { fileError, type Source } from './source.ts'

const MODULES: ReadonlySet<string> = new Set(['.ts', '.mts', '.js', '.mjs'])
const TEXTS: ReadonlySet<string> = new Set(['.json', '.jsonc', '.json5', '.yaml', '.yml'])
const EXTENSIONS = 'a file that ends in .json, .jsonc, .yaml, .yml, .ts, .mts, .js or .mjs'

/** Reads a config file by its extension: JSON with comments, YAML or a module; throws a ConfigError if it is missing, empty or malformed. */
export async function readSource(file: string, includer?: string): Promise<Source> {
  const path = resolve(file)
  const name = displayPath(path)
  const text = await readConfigText(path, includer)
  const source = isModule(path) ? await readModule(path, name) : parseSource(path, name, text)
  checkDepth(source, source.value, [])
  return source
}

// Far more than any config needs, and few enough for functions that call themselves for each level.
const MAX_LEVELS = 500
const SHOWN_LEVELS = 8

/** Throws a ConfigError where a value has too many levels, or contains itself by an alias of YAML or a reference. */
function checkDepth(source: Source, value: unknown, path: (string | number)[]): void {
  if (typeof value !== 'object' || value === null) return
  if (path.length > MAX_LEVELS) {
    const outer = path.slice(0, SHOWN_LEVELS)
    const message = `expected at most ${MAX_LEVELS} levels of lists and objects, got more; does it contain itself?`
    throw new ConfigError([{ ...placeOf(source, outer), path: showPath(outer), message }])
  }
  for (const [key, inner] of Array.isArray(value) ? value.entries() : Object.entries(value))
    if (typeof inner === 'object' && inner !== null) {
      path.push(key)
      checkDepth(source, inner, path)
      path.pop()
    }
}

// The parser that finds places may overflow the stack on such a text.
function placeOf({ file, at }: Source, path: Path): Place {
  try {
    return at(path)
  } catch {
    return { file }
  }
}

/** Returns whether a config file is a program that makes the config. */
export const isModule = (file: string): boolean => MODULES.has(extname(file).toLowerCase())

/** Returns whether a config file is YAML. */
export const isYaml = (file: string): boolean => /\.ya?ml$/i.test(file)

/** Parses the text of a config file, JSON with comments or YAML; throws a ConfigError if it is empty or malformed. */
export function parseSource(path: string, name: string, text: string): Source {
  const extension = extname(path).toLowerCase()
  // A pipe or a mounted file may have no extension, and is read as JSON.
  if (extension !== '' && !TEXTS.has(extension))
    throw fileError(name, expectation({ wanted: EXTENSIONS, value: extension }))
  if (text.trim() === '')
    throw fileError(name, 'The file is empty; {"routes": []} is the smallest valid config')
  return isYaml(path) ? readYaml(path, name, text) : readJson(path, name, text)
}

/** Reads the text of a config file, which is UTF-8, without a byte order mark; throws a ConfigError if it can't be read. */
export async function readConfigText(path: string, includer?: string): Promise<string> {
  const name = displayPath(path)
  try {
    return decode(await readFile(path), name)
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' && includer === undefined)
      throw fileError(
        name,
        'There is no such file; "sallyport init" writes one, and -c or GATEWAY_CONFIG names another'
      )
    throw fileError(name, unreadable(name, error))
  }
}

// Editors on Windows may save as UTF-16, with a byte order mark in front.
function decode(bytes: Buffer, name: string): string {
  const [first, second] = bytes
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff) || bytes.includes(0))
    throw fileError(name, 'expected UTF-8, got UTF-16 or another encoding; save the file as UTF-8')
  return bytes.toString('utf8').replace(/^\uFEFF/, '')
}
