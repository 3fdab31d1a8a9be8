import { readFile } from 'node:fs/promises'
import { extname, resolve } from 'node:path'
import { displayPath } from '../lib/display-path.ts'
import { unreadable } from '../lib/unreadable.ts'
import { ConfigError } from './fault.ts'
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
  const extension = extname(path).toLowerCase()
  const text = await readText(path, name, includer)
  if (MODULES.has(extension)) return readModule(path, name)
  // A pipe or a mounted file may have no extension, and is read as JSON.
  if (extension !== '' && !TEXTS.has(extension))
    throw fileError(name, expectation({ wanted: EXTENSIONS, value: extension }))
  if (text.trim() === '')
    throw fileError(name, 'The file is empty; {"routes": []} is the smallest valid config')
  return extension === '.yaml' || extension === '.yml'
    ? readYaml(path, name, text)
    : readJson(path, name, text)
}

async function readText(path: string, name: string, includer?: string): Promise<string> {
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
