import type { Catalog } from '../config/catalog.ts'
import { ConfigError, type Fault, type Path, showPath } from '../config/fault.ts'
import { planOf } from '../config/load.ts'
import type { Source } from '../config/source.ts'
import { mend, objectsAt, prune } from './mend.ts'
import { ImportError, type SourceText } from './source-text.ts'
import type { Translation } from './translation.ts'

// The files may be on the machine that runs the gateway.
const MISSING_FILE =
  /^There is no (file|folder) |^expected a file, got the folder |^The file .* can't be read/

// An entry that is closed may still have a path or conditions that are wrong, and then one more.
const MAX_ROUNDS = 10

/** An error of a translated config, with the keys that lead to it. */
export interface Flaw {
  readonly message: string
  readonly path: Path
  /** The keys that lead to other entries that the message names. */
  readonly others: readonly Path[]
}

/**
 * Checks a translated config as `check` does, missing files aside, and closes what has an error; throws an ImportError
 * if there are others.
 */
export async function validate(
  translation: Translation,
  source: SourceText,
  catalog: Catalog
): Promise<void> {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const flaws = await flawsOf(translation, source, catalog)
    if (flaws.length === 0) return
    for (const flaw of flaws) mend(flaw, translation)
    prune(translation.config, translation)
  }
  const [left] = await flawsOf(translation, source, catalog)
  if (left !== undefined)
    throw new ImportError(
      `${source.file}: its translation is not a valid config: ${showPath(left.path)}: ${left.message}. Simplify this part of the source, and translate it by hand`
    )
}

async function flawsOf(
  translation: Translation,
  { file, folder }: SourceText,
  catalog: Catalog
): Promise<readonly Flaw[]> {
  const { config, variables } = translation
  // The column stands for the place in the config, since an error that names two routes has no path.
  const places: Path[] = []
  const at: Source['at'] = (path) => ({
    file,
    line: translation.lineOf(...objectsAt(config, path))?.line ?? 1,
    column: places.push(path)
  })
  try {
    await planOf({ file, folder, value: structuredClone(config), at }, catalog, Object.fromEntries(variables))
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.faults
      .filter(({ message }) => !MISSING_FILE.test(message))
      .map((fault) => flawOf(fault, places))
  }
}

function flawOf({ message, file, column }: Fault, places: readonly Path[]): Flaw {
  const others: Path[] = []
  const text = message.replaceAll(
    /(\S+):(\d+):(\d+)/g,
    (whole, name: string, line: string, place: string) => {
      const other = places[Number(place) - 1]
      if (name !== file || other === undefined) return whole
      others.push(other)
      return `${name}:${line}`
    }
  )
  return { message: text, path: places[(column ?? 0) - 1] ?? [], others }
}
