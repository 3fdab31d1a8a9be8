import { readdirSync, realpathSync } from 'node:fs'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { matchesGlob } from '../lib/glob.ts'

/** Returns the files that a pattern names, in order; none that is outside of the folder, also by a link. */
export function filesInside(pattern: string, folder: string): string[] {
  const path = resolve(folder, pattern)
  try {
    const parent = realpathSync(dirname(path))
    const names = basename(path).includes('*')
      ? readdirSync(parent)
          .filter((name) => matchesGlob(basename(path), name))
          .toSorted()
      : [basename(path)]
    return names
      .map((name) => realpathSync(join(parent, name)))
      .filter((file) => file.startsWith(folder + sep))
  } catch {
    return []
  }
}

/** Returns whether the folder that a pattern is about is in another folder, or that folder itself, also by a link. */
export function isFolderInside(pattern: string, folder: string): boolean {
  try {
    const parent = realpathSync(dirname(resolve(folder, pattern)))
    return parent === folder || parent.startsWith(folder + sep)
  } catch {
    return false
  }
}
