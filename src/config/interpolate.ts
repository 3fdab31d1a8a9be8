import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import {
  allowsFalse,
  allowsUserKeys,
  define,
  holdsTemplates,
  isObject,
  isTemplate,
  schemaOf
} from '../lib/schema.ts'
import { TEMPLATE } from '../lib/units.ts'
import { unreadable } from '../lib/unreadable.ts'
import type { Fault, Path } from './fault.ts'
import { faultAt, type Source } from './source.ts'
import type { StandIns } from './stand-ins.ts'
import type { Where } from './where.ts'

/** Where the values of `${…}` come from. */
export interface Variables {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Stands in for values that are missing; without it they are errors. */
  readonly standIns?: StandIns | undefined
}

/** A source with its `${…}` filled in. */
export interface InterpolatedSource extends Source {
  /** The strings with `${…}` as written, by `pathKey`; messages quote these instead of the value. */
  readonly templates: ReadonlyMap<string, string>
  /** The same strings with their values; `/config` does not show them. */
  readonly interpolated: ReadonlySet<string>
  /** The paths of the objects that accept warnings (`x-ok`). */
  readonly accepting: readonly Path[]
  /** The path of the option that added everything in it; undefined for a file. */
  readonly addedBy?: Path
  /** The entry that includes the file; undefined for the main file. */
  readonly includedBy?: Where
}

/** The key under which the config accepts warnings; other keys with "x-" are the user's own. */
export const ACCEPTANCE_KEY = 'x-ok'

/** Returns the key of a path in `templates`. */
export const pathKey = (path: Path): string => path.join('\0')

/** Fills in `${NAME}`, `${NAME:-fallback}` and `${file:path}` in every string of a source; adds an error for each that has no value. */
export function interpolate(
  source: Source,
  { env, standIns }: Variables,
  schema: unknown,
  faults: Fault[]
): InterpolatedSource {
  const templates = new Map<string, string>()
  const interpolated = new Set<string>()
  const accepting: Path[] = []
  const value = mapTexts(
    source.value,
    [],
    (text, where) => {
      if (!text.includes('${') || where[0] === '$schema') return text
      const path = [...where]
      templates.set(pathKey(path), text)
      const fault = (message: string, variable?: string): void =>
        void faults.push({
          ...faultAt(source, path, message),
          ...(variable === undefined ? {} : { variable })
        })
      const wanted = schemaAt(schema, path)
      const missing = (inner: string, message: string): string => {
        if (standIns === undefined) fault(message, inner.startsWith('file:') ? undefined : inner)
        const whole = (value: string): string => text.replace(`\${${inner}}`, () => value)
        return standIns?.textFor({ inner, file: source.file, path, wanted, fill: whole }) ?? ''
      }
      const literal = isTemplate(wanted) ? escapeBraces : (value: string): string => value
      const value = (inner: string): string =>
        insertedText(inner, { env, folder: source.folder }, { fault, missing })
      const filled = fill(text, literal, value, fault)
      interpolated.add(filled)
      return /^\$\{[^{}]*\}$/.test(text) ? convert(filled, wanted) : filled
    },
    (path) => {
      const inner = schemaAt(schema, path)
      if (allowsUserKeys(inner) && schemaOf(inner, ACCEPTANCE_KEY) === undefined) accepting.push([...path])
    }
  )
  return { ...source, value, templates, interpolated, accepting }
}

/** Escapes the braces of an inserted value, so that it is not read as a template of request values. */
const escapeBraces = (value: string): string => value.replaceAll(/[{}]/g, '$&$&')

function fill(
  text: string,
  literal: (value: string) => string,
  value: (inner: string) => string,
  fault: (message: string) => void
): string {
  return text.replaceAll(/\$\$\{|\$\{([^{}]*)\}?/g, (found, inner: string | undefined) => {
    if (inner === undefined) return '${'
    if (found.endsWith('}')) return literal(value(inner))
    fault(`${JSON.stringify(text)} has an unclosed "\${"; "$\${" is a literal "\${"`)
    return ''
  })
}

/** Receives what is wrong with a `${…}`. */
interface InsertionFaults {
  readonly fault: (message: string, variable?: string) => void
  /** Returns what stands in for a value that is missing. */
  readonly missing: (inner: string, message: string) => string
}

function insertedText(
  inner: string,
  { env, folder }: { readonly env: Variables['env']; readonly folder: string },
  { fault, missing }: InsertionFaults
): string {
  if (inner.startsWith('file:')) return fileText(inner, folder, missing)
  const [name = '', ...rest] = inner.split(':-')
  if (!/^[A-Za-z_]\w*$/.test(name)) {
    fault(`expected \${NAME}, \${NAME:-fallback} or \${file:path}, got "\${${inner}}"`)
    return ''
  }
  const value = env[name]
  if (value !== undefined && (value !== '' || rest.length === 0)) return value
  if (rest.length > 0) return rest.join(':-')
  return missing(inner, `The environment variable ${name} is not set; set it, or write \${${name}:-fallback}`)
}

function fileText(inner: string, folder: string, missing: InsertionFaults['missing']): string {
  const name = inner.slice('file:'.length)
  try {
    return readFileSync(resolve(folder, name), 'utf8').replace(/^\uFEFF|\r?\n$/g, '')
  } catch (error) {
    return missing(inner, unreadable(name, error))
  }
}

/** Converts a string that is a single `${…}` to the type that the schema expects. */
function convert(text: string, wanted: unknown): unknown {
  if (wanted === undefined) return text
  if (accepts(wanted, 'integer') || accepts(wanted, 'number'))
    if (text.trim() !== '' && Number.isFinite(Number(text))) return Number(text)
  if (text === 'true' && accepts(wanted, 'boolean')) return true
  if (text === 'false' && (accepts(wanted, 'boolean') || allowsFalse(wanted))) return false
  return text
}

function accepts(schema: unknown, type: string): boolean {
  if (!isObject(schema)) return false
  if (Array.isArray(schema['anyOf'])) return schema['anyOf'].some((branch) => accepts(branch, type))
  return schema['type'] === type || (type === 'boolean' && typeof schema['const'] === 'boolean')
}

/** Returns the schema at a path of the composed schema, through its references. */
function schemaAt(root: unknown, path: Path): unknown {
  let schema = root
  for (const key of path) {
    schema = deref(root, schema)
    if (holdsTemplates(schema)) return TEXT_INSIDE
    if (typeof key === 'number') schema = itemsOf(root, schema)
    else schema = inBranches(root, schema, key)
    if (schema === undefined) return undefined
  }
  return deref(root, schema)
}

// A text inside JSON whose texts are templates.
const TEXT_INSIDE = { type: 'string', [TEMPLATE]: true }

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

/** Copies a value and changes every string in it; `accepts` gets the objects with `x-ok`. The path is reused between calls: copy it to keep it. */
function mapTexts(
  value: unknown,
  path: (string | number)[],
  change: (text: string, path: Path) => unknown,
  accepts: (path: Path) => void
): unknown {
  if (typeof value === 'string') return change(value, path)
  if (typeof value !== 'object' || value === null) return value
  const copy = Array.isArray(value) ? [] : {}
  for (const [key, inner] of Array.isArray(value) ? value.entries() : Object.entries(value)) {
    if (key === ACCEPTANCE_KEY) accepts(path)
    path.push(key)
    const mapped = mapTexts(inner, path, change, accepts)
    if (Array.isArray(copy)) copy.push(mapped)
    else define(copy, String(key), mapped)
    path.pop()
  }
  return copy
}
