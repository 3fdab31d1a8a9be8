import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Script } from 'node:vm'
import { coreOptions, ROOT_ONLY_KEYS, routeOptions } from '../config/schema.ts'
import { CommandError, UsageError } from './outcome.ts'
import { writeNew } from './replace-file.ts'

/** What kind of plugin is written. */
export type PluginKind = 'concern' | 'target'

// npm allows 214 characters (validate-npm-package-name); a shorter limit keeps messages readable.
const MAX_NAME_LENGTH = 50

/** Writes the package of a plugin into a folder, by default that of the package's name; returns the files. */
export async function initPlugin(
  name: string,
  kind: PluginKind,
  { folder, version }: { folder: string | undefined; version: string }
): Promise<{ files: string[]; folder: string }> {
  const names = await namesOf(name)
  const into = folder ?? names['sallyport-plugin-name']
  const entries = await readdir(into).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw new CommandError(`${into} can't be used as a folder (${error.code})`)
  })
  // A fresh repository has a folder of its own.
  if (entries.some((each) => each !== '.git'))
    throw new CommandError(
      `There are files in ${into} already; nothing was written. Name another folder: sallyport init my-plugin --plugin ${name}`
    )
  const files: string[] = []
  for (const [file, text] of await readTemplate(kind, names, version)) {
    const path = join(into, file)
    await writeNew(path, text, 0o644)
    files.push(relative('.', path))
  }
  return { files, folder: into }
}

type Names = Awaited<ReturnType<typeof namesOf>>

/** Returns the forms of a name, by those that the template has in their place; throws for a name that can't be used. */
async function namesOf(written: string) {
  const name = written.replace(/^sallyport-/, '')
  if (!/^[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*$/.test(name) || name.length > MAX_NAME_LENGTH)
    throw new UsageError(
      `--plugin: expected a name in small letters and digits, with hyphens between words, such as "geo-block", got "${written}"`
    )
  const camel = name.replaceAll(/-(.)/g, (_hyphen, letter: string) => letter.toUpperCase())
  if (await isTaken(camel))
    throw new UsageError(
      `--plugin: expected a name of its own, got "${written}"; "${camel}" is a key of Sallyport itself`
    )
  if (!isIdentifier(camel))
    throw new UsageError(
      `--plugin: expected a name that JavaScript allows, got "${written}"; "${name}-gate" would work`
    )
  return {
    'sallyport-plugin-name': `sallyport-${name}`,
    'plugin-name': name,
    pluginName: camel,
    PluginName: camel.replace(/^./, (letter) => letter.toUpperCase()),
    PLUGIN_NAME: name.replaceAll('-', '_').toUpperCase()
  } as const
}

/** Returns whether a name is a key of the config already. */
async function isTaken(key: string): Promise<boolean> {
  const { concerns, targets } = (await import('../gateway/catalog.ts')).catalog
  return (
    [...concerns, ...targets].some((module) => module.key === key) ||
    Object.hasOwn(coreOptions, key) ||
    Object.hasOwn(routeOptions, key) ||
    ROOT_ONLY_KEYS.has(key) ||
    key === 'routes'
  )
}

/** Returns whether a name can be that of a variable; reserved words such as "delete" can't. */
function isIdentifier(name: string): boolean {
  try {
    return new Script(`'use strict'; async () => { let ${name} }`) instanceof Script
  } catch {
    return false
  }
}

/** Returns the files of a template by their paths, with the names filled in. */
async function readTemplate(kind: PluginKind, names: Names, version: string): Promise<Map<string, string>> {
  const root = join(dirname(fileURLToPath(import.meta.resolve('sallyport/package.json'))), 'templates/plugin')
  const filled = (text: string): string =>
    Object.entries(names).reduce(
      (filling, [placeholder, name]) => filling.replaceAll(placeholder, name),
      text
    )
  const manifest = await readFile(join(root, 'package.json'), 'utf8')
  const files = new Map([
    [
      'package.json',
      filled(manifest).replace('DESCRIPTION', `A ${kind} for Sallyport`).replace('VERSION', version)
    ]
  ])
  for (const file of (await readdir(join(root, kind))).toSorted())
    files.set(
      filled(FOLDERS[extensionOf(file)] ?? '') + filled(file),
      filled(await readFile(join(root, kind, file), 'utf8'))
    )
  return files.set('.gitignore', 'node_modules/\n')
}

// The folder of each kind of source.
const FOLDERS: Readonly<Record<string, string>> = { '.test.js': 'test/', '.js': 'src/', '.d.ts': 'src/' }

const extensionOf = (file: string): string => /\.[^/]*$/.exec(file)?.[0] ?? ''
