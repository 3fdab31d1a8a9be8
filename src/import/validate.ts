import type { Catalog } from '../config/catalog.ts'
import { ConfigError, type Fault } from '../config/fault.ts'
import { planOf } from '../config/load.ts'
import { objectSource } from '../config/source.ts'
import { refuse } from './close.ts'
import { isJsonObject, type Json, type JsonObject } from './json.ts'
import { ImportError, type SourceText } from './source-text.ts'
import type { Translation } from './translation.ts'

// The files may be on the machine that runs the gateway.
const MISSING_FILE =
  /^There is no (file|folder) |^expected a file, got the folder |^The file .* can't be read/

/**
 * Checks a translated config as `check` does, missing files aside. Closes the routes that have an error; throws an
 * ImportError if there are others.
 */
export async function validate(
  translation: Translation,
  source: SourceText,
  catalog: Catalog
): Promise<void> {
  for (const fault of await faultsOf(translation, source, catalog)) {
    const entry = entryAt(translation.config, fault.path)
    if (entry === undefined) throw invalid(source, fault)
    const text = `${fault.path.replace(/^.*\]\.?/, '')}: ${fault.message}; closed until you have mended it`
    translation.missing({ file: source.file, line: 1 }, text, entry)
    refuse(translation, entry)
  }
  const [left] = await faultsOf(translation, source, catalog)
  if (left !== undefined) throw invalid(source, left)
}

const invalid = ({ file }: SourceText, { path, message }: Fault): ImportError =>
  new ImportError(
    `${file}: its translation is not a valid config: ${path}: ${message}. Simplify this part of the source, and translate it by hand`
  )

async function faultsOf(
  { config, variables }: Translation,
  { folder }: SourceText,
  catalog: Catalog
): Promise<readonly Fault[]> {
  try {
    const copy: unknown = structuredClone(config)
    await planOf(objectSource(copy, 'gateway.json', folder), catalog, Object.fromEntries(variables))
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.faults.filter(({ message }) => !MISSING_FILE.test(message))
  }
}

/** Returns the route, or the group without routes of its own options, that a path such as `routes[1].routes[0].proxy` leads to. */
function entryAt(config: JsonObject, path: string): JsonObject | undefined {
  let entry: JsonObject = config
  for (const [, index] of (/^(?:routes\[\d+\]\.?)+/.exec(path)?.[0] ?? '').matchAll(/\[(\d+)\]/g)) {
    const inner: Json | undefined = Array.isArray(entry['routes'])
      ? entry['routes'][Number(index)]
      : undefined
    if (!isJsonObject(inner)) return undefined
    entry = inner
  }
  return entry === config ? undefined : entry
}
