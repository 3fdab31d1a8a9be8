import { resolve } from 'node:path'
import { interpolate } from '../../config/interpolate.ts'
import { isModule, readSource } from '../../config/read-source.ts'
import type { Source } from '../../config/source.ts'
import { isObject } from '../../lib/schema.ts'

/** Returns the files of a config: itself and those that it includes, without modules. A file that can't be read includes none. */
export async function configFiles(config: string, env: NodeJS.ProcessEnv): Promise<string[]> {
  const found = new Set([config])
  for (const file of found) {
    if (isModule(file)) continue
    const source = await readSource(file).catch(() => undefined)
    if (source === undefined) continue
    for (const name of includesOf(source.value)) {
      const included = resolve(source.folder, filledIn(name, source, env))
      if (!isModule(included)) found.add(included)
    }
  }
  return [...found]
}

/** Returns what a config includes, as it is written. */
function includesOf(value: unknown): string[] {
  if (!isObject(value)) return []
  const { include, routes } = value
  const inside = Array.isArray(routes) ? routes.flatMap(includesOf) : []
  return typeof include === 'string' ? [include, ...inside] : inside
}

const filledIn = (name: string, source: Source, env: NodeJS.ProcessEnv): string =>
  String(interpolate({ ...source, value: name }, { env }, undefined, []).value)
