import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Concern, Target } from '../kit/index.ts'
import { isObject, nearest } from '../lib/schema.ts'
import type { Catalog } from './catalog.ts'
import type { Fault } from './fault.ts'
import { coreWords, ROOT_ONLY, routeWords } from './schema.ts'
import { faultAt, firstLine, type Source } from './source.ts'
import { schemaFault } from './validate.ts'

/** Imports the extensions that a config names and puts their words into the catalog, before validation needs them. */
export async function extend(catalog: Catalog, source: Source, faults: Fault[]): Promise<Catalog> {
  const listed = isObject(source.value) ? source.value['extensions'] : undefined
  if (!Array.isArray(listed)) return catalog
  let { concerns, targets } = catalog
  for (const [i, entry] of listed.entries()) {
    if (!isObject(entry) || typeof entry['module'] !== 'string') continue
    const fault = (message: string, key = 'module'): void =>
      void faults.push(faultAt(source, ['extensions', i, key], message))
    const loaded = await load(entry['module'], source.folder, fault)
    if (loaded === undefined) continue
    if (wordTaken(loaded.key, concerns, targets)) {
      fault(`The word "${loaded.key}" of ${entry['module']} is taken; an extension needs a word of its own`)
      continue
    }
    if ('target' in loaded) targets = [...targets, loaded]
    else concerns = placed(concerns, loaded, entry, fault)
  }
  return { ...catalog, concerns, targets }
}

const OWN_WORDS = new Set([...Object.keys(coreWords), ...Object.keys(routeWords), ...ROOT_ONLY, 'routes'])

const wordTaken = (key: string, concerns: readonly Concern[], targets: readonly Target[]): boolean =>
  OWN_WORDS.has(key) || [...concerns, ...targets].some((module) => module.key === key)

async function load(
  name: string,
  folder: string,
  fault: (message: string) => void
): Promise<Concern | Target | undefined> {
  const file = name.startsWith('.') || isAbsolute(name)
  if (file && !existsSync(resolve(folder, name))) {
    fault(`There is no file ${name} beside the config; files are relative to the config that names them`)
    return undefined
  }
  try {
    const url = file
      ? resolve(folder, name)
      : createRequire(join(resolve(folder), 'gateway.json')).resolve(name)
    const module: unknown = await import(pathToFileURL(url).href)
    return shaped(name, module, fault)
  } catch (error) {
    fault(`${name} does not load: ${firstLine(error)}`)
    return undefined
  }
}

function shaped(
  name: string,
  module: unknown,
  fault: (message: string) => void
): Concern | Target | undefined {
  const { key, options, override, default: plugin } = module as Partial<Concern>
  const lacks: string[] = []
  if (typeof key !== 'string' || !/^[a-z][A-Za-z0-9]*$/.test(key)) lacks.push('key (a word in camelCase)')
  if (!isObject(options)) lacks.push('options (a schema)')
  if (typeof plugin !== 'function') lacks.push('default (a Fastify plugin)')
  if (lacks.length > 0) {
    fault(`${name} is no extension: it does not export ${lacks.join(', ')}`)
    return undefined
  }
  for (const schema of [options, override])
    if (isObject(schema)) {
      const wrong = schemaFault(schema)
      if (wrong === undefined) continue
      fault(`${name} is no extension: what it exports as options is no JSON Schema (${wrong})`)
      return undefined
    }
  return module as Concern | Target
}

function placed(
  concerns: readonly Concern[],
  concern: Concern,
  entry: Readonly<Record<string, unknown>>,
  fault: (message: string, key?: string) => void
): readonly Concern[] {
  const { before, after } = entry
  const word = before ?? after
  if (word === undefined) return [...concerns, concern]
  const at = concerns.findIndex(({ key }) => key === word)
  if (at === -1) {
    const known = concerns.map(({ key }) => key)
    const near = nearest(String(word), known)
    fault(
      `No word "${String(word)}" to stand beside; ${near === undefined ? `the order is ${known.join(', ')}` : `did you mean "${near}"?`}`,
      before === undefined ? 'after' : 'before'
    )
    return [...concerns, concern]
  }
  return concerns.toSpliced(before === undefined ? at + 1 : at, 0, concern)
}
