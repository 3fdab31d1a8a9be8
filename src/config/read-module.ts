import { execFile } from 'node:child_process'
import { dirname } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { displayPath } from '../lib/display-path.ts'
import { ConfigError, type Place } from './fault.ts'
import { fileError, firstLine, objectSource, type Source } from './source.ts'

/** Imports a module whose default export is the config, a function that returns it, or a promise of it. */
export async function readModule(path: string, name: string): Promise<Source> {
  let value: unknown
  try {
    // The query makes Node.js load the file again after a change.
    const loaded = (await import(
      `${pathToFileURL(path).href}?t=${performance.timeOrigin + performance.now()}`
    )) as { default?: unknown }
    value = await (typeof loaded.default === 'function'
      ? (loaded.default as () => unknown)()
      : loaded.default)
  } catch (error) {
    const message = `The module does not load: ${firstLine(error)}`
    throw new ConfigError([{ ...(await placeOfError(error, path, name)), path: '', message }])
  }
  if (typeof value !== 'object' || value === null)
    throw fileError(
      name,
      'expected a config as the default export; `export default defineConfig({ routes: [] })` would work, also as the result of a function or a promise'
    )
  return objectSource(clone(value, name), name, dirname(path))
}

function clone(value: object, name: string): unknown {
  try {
    return structuredClone(value)
  } catch (error) {
    throw fileError(name, `A config can't contain functions: ${firstLine(error)}`)
  }
}

/** Returns the place where a module failed: of its syntax error, or of the innermost frame of the stack. */
async function placeOfError(error: unknown, path: string, name: string): Promise<Place> {
  const stack = error instanceof Error ? (error.stack ?? '') : ''
  const place = syntaxPlace(stack, path, name) ?? stackPlace(stack)
  if (place !== undefined) return place
  // "node --check" reads JavaScript only; errors in TypeScript have their place in the stack.
  const checked =
    error instanceof SyntaxError && !path.endsWith('ts')
      ? syntaxPlace(await syntaxCheck(path), path, name)
      : undefined
  return checked ?? { file: name }
}

const FRAME = /^\s+at (?:.*\()?(file:\/\/[^()]+?|\/[^()]+?):(\d+):(\d+)\)?$/

// The code of this package; an error thrown there has no place in a config.
const PACKAGE_FOLDER = fileURLToPath(new URL('..', import.meta.url))

/** Returns the innermost frame of a stack outside of packages. */
function stackPlace(stack: string): Place | undefined {
  for (const frame of stack.split('\n')) {
    const [, file, line, column] = FRAME.exec(frame) ?? []
    if (file === undefined || file.includes('/node_modules/')) continue
    const path = file.startsWith('file:') ? fileURLToPath(file.replace(/\?.*$/, '')) : file
    if (path.startsWith(PACKAGE_FOLDER)) return undefined
    return { file: displayPath(path), line: Number(line), column: Number(column) }
  }
  return undefined
}

/** Parses how Node.js prints a syntax error: the file and its line, the line itself, and a caret below. */
function syntaxPlace(text: string, path: string, name: string): Place | undefined {
  const lines = text.split('\n')
  const at = lines.findIndex((line) => line.includes(path) && /^\S.*:\d+$/.test(line))
  if (at === -1) return undefined
  const line = Number(lines[at]?.split(':').at(-1))
  const caret = lines.slice(at).find((each) => /^\s*\^+\s*$/.test(each))
  return { file: name, line, column: (caret?.indexOf('^') ?? 0) + 1 }
}

/** Returns the output of "node --check", which has the place that the error of an import lacks. */
const syntaxCheck = (path: string): Promise<string> =>
  new Promise((resolve) => {
    execFile(process.execPath, ['--check', path], (_error, _stdout, stderr) => resolve(stderr))
  })
