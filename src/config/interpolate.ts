import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { allowsFalse, isObject, isTemplate, schemaOf } from '../lib/schema.ts'
import { runSliced } from '../lib/time-slicing.ts'
import { unreadable } from '../lib/unreadable.ts'
import type { Fault, Path } from './fault.ts'
import { faultAt, mapTexts, type Source } from './source.ts'

/** A source with its `${…}` filled in. */
export interface Filled extends Source {
  /** Texts that came from outside, as they were written; messages show these instead of the value. */
  readonly written: ReadonlyMap<string, string>
  /** What they were filled in with; who is shown the config is not shown these. */
  readonly outside: ReadonlySet<string>
}

/** Makes the key under which a path stands in `written`. */
export const pathKey = (path: Path): string => path.join('\0')

/** Fills `${NAME}`, `${NAME:-fallback}` and `${file:path}` in every text of a source; a missing one is a fault that names its place. */
export async function interpolate(
  source: Source,
  env: Readonly<Record<string, string | undefined>>,
  schema: unknown,
  faults: Fault[]
): Promise<Filled> {
  const written = new Map<string, string>()
  const outside = new Set<string>()
  const value = await runSliced(
    mapTexts(source.value, [], (text, where) => {
      if (!text.includes('${') || where[0] === '$schema') return text
      const path = [...where]
      written.set(pathKey(path), text)
      const fault = (message: string): void => void faults.push(faultAt(source, path, message))
      const wanted = schemaAt(schema, path)
      const literal = isTemplate(wanted) ? withoutTemplates : (value: string): string => value
      const filled = fill(text, literal, (inner) => insertedText(inner, env, source.folder, fault), fault)
      outside.add(filled)
      return /^\$\{[^{}]*\}$/.test(text) ? typed(filled, wanted) : filled
    })
  )
  return { ...source, value, written, outside }
}

/** Doubles the braces of a text, which is how a template writes them: what came from outside is no template. */
const withoutTemplates = (value: string): string => value.replaceAll(/[{}]/g, '$&$&')

function fill(
  text: string,
  literal: (value: string) => string,
  value: (inner: string) => string,
  fault: (message: string) => void
): string {
  return text.replaceAll(/\$\$\{|\$\{([^{}]*)\}?/g, (found, inner: string | undefined) => {
    if (inner === undefined) return '${'
    if (found.endsWith('}')) return literal(value(inner))
    fault(`${JSON.stringify(text)} has a "\${" that is never closed; "$\${" stands for the sign itself`)
    return ''
  })
}

function insertedText(
  inner: string,
  env: Readonly<Record<string, string | undefined>>,
  folder: string,
  fault: (message: string) => void
): string {
  if (inner.startsWith('file:')) return fileText(inner.slice(5), folder, fault)
  const [name = '', ...rest] = inner.split(':-')
  if (!/^[A-Za-z_]\w*$/.test(name)) {
    fault(`"\${${inner}}" names no variable; \${NAME}, \${NAME:-fallback} and \${file:path} would do`)
    return ''
  }
  const value = env[name]
  if (value !== undefined && (value !== '' || rest.length === 0)) return value
  if (rest.length > 0) return rest.join(':-')
  fault(`The environment has no ${name}; set it, or write \${${name}:-fallback}`)
  return ''
}

function fileText(name: string, folder: string, fault: (message: string) => void): string {
  try {
    return readFileSync(resolve(folder, name), 'utf8').replace(/^\uFEFF|\r?\n$/g, '')
  } catch (error) {
    fault(unreadable(name, error))
    return ''
  }
}

/** Gives a text that is only one `${…}` the type the schema wants at its place. */
function typed(text: string, wanted: unknown): unknown {
  if (wanted === undefined) return text
  if (takes(wanted, 'integer') || takes(wanted, 'number'))
    if (text.trim() !== '' && Number.isFinite(Number(text))) return Number(text)
  if (text === 'true' && takes(wanted, 'boolean')) return true
  if (text === 'false' && (takes(wanted, 'boolean') || allowsFalse(wanted))) return false
  return text
}

function takes(schema: unknown, type: string): boolean {
  if (!isObject(schema)) return false
  if (Array.isArray(schema['anyOf'])) return schema['anyOf'].some((branch) => takes(branch, type))
  return schema['type'] === type || (type === 'boolean' && typeof schema['const'] === 'boolean')
}

/** Finds the schema at a path of the composed schema, through its references. */
function schemaAt(root: unknown, path: Path): unknown {
  let schema = root
  for (const key of path) {
    schema = deref(root, schema)
    if (typeof key === 'number') schema = itemsOf(root, schema)
    else schema = inBranches(root, schema, key)
    if (schema === undefined) return undefined
  }
  return deref(root, schema)
}

function inBranches(root: unknown, schema: unknown, key: string): unknown {
  const found = schemaOf(schema, key)
  if (found !== undefined || !isObject(schema) || !Array.isArray(schema['anyOf'])) return found
  for (const branch of schema['anyOf']) {
    const inner = schemaOf(deref(root, branch), key)
    if (inner !== undefined) return inner
  }
  return undefined
}

function itemsOf(root: unknown, schema: unknown): unknown {
  if (!isObject(schema)) return undefined
  if (schema['items'] !== undefined) return schema['items']
  if (!Array.isArray(schema['anyOf'])) return undefined
  for (const branch of schema['anyOf']) {
    const items = itemsOf(root, deref(root, branch))
    if (items !== undefined) return items
  }
  return undefined
}

function deref(root: unknown, schema: unknown): unknown {
  if (!isObject(schema) || typeof schema['$ref'] !== 'string') return schema
  const name = schema['$ref'].replace('#/$defs/', '')
  return isObject(root) && isObject(root['$defs']) ? root['$defs'][name] : undefined
}
