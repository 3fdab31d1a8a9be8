import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Concern, Target } from '../kit/index.ts'
import { isObject, nearest } from '../lib/schema.ts'
import { type Catalog, expansionsOf } from './catalog.ts'
import type { Fault } from './fault.ts'
import { coreOptions, ROOT_ONLY_KEYS, routeOptions } from './schema.ts'
import { faultAt, firstLine, type Source } from './source.ts'
import { schemaError } from './validate.ts'

/** Imports the extensions of a config, and returns the catalog with their concerns and targets. */
export async function loadExtensions(catalog: Catalog, source: Source, faults: Fault[]): Promise<Catalog> {
  const listed = isObject(source.value) ? source.value['extensions'] : undefined
  if (!Array.isArray(listed)) return catalog
  let { concerns, targets } = catalog
  const extensionKeys = new Set(catalog.extensionKeys)
  const extensionFiles = new Map<string, string>()
  for (const [i, entry] of listed.entries()) {
    if (!isObject(entry) || typeof entry['module'] !== 'string') continue
    const report = (message: string, key = 'module'): void =>
      void faults.push(faultAt(source, ['extensions', i, key], message))
    const loaded = await importModule(entry['module'], source.folder, report)
    if (loaded === undefined) continue
    if (isKeyTaken(loaded.key, concerns, targets)) {
      report(
        `expected a key of its own from ${entry['module']}, got "${loaded.key}", which is taken; export another "key"`
      )
      continue
    }
    extensionKeys.add(loaded.key)
    extensionFiles.set(loaded.key, resolve(source.folder, entry['module']))
    if ('target' in loaded) targets = [...targets, loaded]
    else concerns = insertConcern(concerns, loaded, entry, report)
  }
  return { ...catalog, concerns, targets, extensionKeys, extensionFiles }
}

const RESERVED_KEYS = new Set([
  ...Object.keys(coreOptions),
  ...Object.keys(routeOptions),
  ...ROOT_ONLY_KEYS,
  'routes'
])

const isKeyTaken = (key: string, concerns: readonly Concern[], targets: readonly Target[]): boolean =>
  RESERVED_KEYS.has(key) ||
  [...concerns, ...targets, ...expansionsOf({ concerns })].some((module) => module.key === key)

async function importModule(
  name: string,
  folder: string,
  report: (message: string) => void
): Promise<Concern | Target | undefined> {
  const isFile = name.startsWith('.') || isAbsolute(name)
  if (isFile && !existsSync(resolve(folder, name))) {
    report(`There is no file ${name} beside the config; files are relative to the config that names them`)
    return undefined
  }
  try {
    const url = isFile
      ? resolve(folder, name)
      : createRequire(join(resolve(folder), 'gateway.json')).resolve(name)
    const module: unknown = await import(pathToFileURL(url).href)
    return moduleOf(name, module, report)
  } catch (error) {
    report(`${name} does not load: ${firstLine(error)}`)
    return undefined
  }
}

/** Checks that a module exports what an extension needs. */
function moduleOf(
  name: string,
  module: unknown,
  report: (message: string) => void
): Concern | Target | undefined {
  const { key, options, override, default: plugin } = module as Partial<Concern>
  const missing: string[] = []
  if (typeof key !== 'string' || !/^[a-z][A-Za-z0-9]*$/.test(key)) missing.push('key (a name in camelCase)')
  if (!isObject(options)) missing.push('options (a schema)')
  if (typeof plugin !== 'function') missing.push('default (a Fastify plugin)')
  if (missing.length > 0) {
    report(`${name} is not an extension: it does not export ${missing.join(', ')}`)
    return undefined
  }
  for (const schema of [options, override])
    if (isObject(schema)) {
      const error = schemaError(schema)
      if (error === undefined) continue
      report(`${name} is not an extension: its options are not a valid JSON Schema (${error})`)
      return undefined
    }
  return module as Concern | Target
}

/** Inserts a concern before or after another one, or at the end but before those that stay last. */
function insertConcern(
  concerns: readonly Concern[],
  concern: Concern,
  entry: Readonly<Record<string, unknown>>,
  report: (message: string, key?: string) => void
): readonly Concern[] {
  const { before, after } = entry
  const neighbour = before ?? after
  if (neighbour === undefined) return concerns.toSpliced(endOf(concerns), 0, concern)
  const at = concerns.findIndex(({ key }) => key === neighbour)
  if (at === -1) {
    const known = concerns.map(({ key }) => key)
    const near = nearest(String(neighbour), known)
    report(
      `expected a concern, got "${String(neighbour)}"; ${near === undefined ? `known here: ${known.join(', ')}` : `did you mean "${near}"?`}`,
      before === undefined ? 'after' : 'before'
    )
    return [...concerns, concern]
  }
  return concerns.toSpliced(before === undefined ? at + 1 : at, 0, concern)
}

function endOf(concerns: readonly Concern[]): number {
  const firstOfLast = concerns.findIndex(({ last }) => last === true)
  return firstOfLast === -1 ? concerns.length : firstOfLast
}
