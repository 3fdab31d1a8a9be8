import type { Path, Place } from './fault.ts'
import type { InterpolatedSource } from './interpolate.ts'

/** A part of the config: its file and its path in it, and the entry that includes the file. */
export interface Where {
  readonly file: string
  readonly path: Path
  readonly outer: Where | undefined
}

/** A part of the config, and its place in the text of the file. */
export interface Located {
  readonly where: Where
  readonly place: () => Place
}

/** Returns what part of the config a path of a source is. */
export const whereOf = ({ file, addedBy, includedBy }: InterpolatedSource, path: Path): Where => ({
  file,
  path: addedBy ?? path,
  outer: includedBy
})

/** Locates a path of a source; the place is looked up when it is asked for. */
export const locate = (source: InterpolatedSource, path: Path): Located => ({
  where: whereOf(source, path),
  place: () => source.at(path)
})

/** Returns whether a part of the config is another one or inside of it. */
export function isInside(part: Where | undefined, { file, path }: Where): boolean {
  for (let each = part; each !== undefined; each = each.outer)
    if (each.file === file && path.every((key, i) => each.path[i] === key)) return true
  return false
}

/** Locates the whole config: its main file. */
export const wholeConfig = ({ file }: { readonly file: string }): Located => ({
  where: { file, path: [], outer: undefined },
  place: () => ({ file })
})
