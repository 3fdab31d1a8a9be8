import { type Path, type Place, showPlace } from './fault.ts'
import { pathKey } from './interpolate.ts'
import type { OptionsState } from './merge-options.ts'
import { type Located, type Where, whereOf } from './where.ts'
import { hasValueAt, type PlacedWritten } from './written.ts'

/** What the config has of a concern or a target at one place. It keeps the options, and not the rest of the file. */
export class Origin {
  readonly value: unknown
  /** The paths of the group or route; empty for the root. */
  readonly paths: readonly string[]
  readonly level: PlacedWritten['level']
  readonly #path: Path
  readonly #at: (path: Path) => Place
  readonly #templates: ReadonlyMap<string, string>
  readonly #where: Where

  constructor({ source, path, value, paths, level }: PlacedWritten) {
    this.value = value
    this.paths = paths
    this.level = level
    this.#path = path
    this.#at = source.at
    this.#templates = source.templates
    this.#where = whereOf(source, path)
  }

  /** Returns the place of an option. */
  placeOf(path: Path): Place {
    return this.#at([...this.#path, ...path])
  }

  /** Locates an option. */
  locate(path: Path): Located {
    const { file, path: own, outer } = this.#where
    return { where: { file, path: [...own, ...path], outer }, place: () => this.placeOf(path) }
  }

  /** Returns the text with `${…}` at a path; undefined where it has none. */
  templateOf(path: Path): string | undefined {
    return this.#templates.get(pathKey([...this.#path, ...path]))
  }
}

/** The origins of each concern and target at one place, by key, from the root inwards. */
export type Origins = ReadonlyMap<string, readonly Origin[]>

/** Returns the origins of states; those that the config does not mention are left out. */
export function originsOf(states: Iterable<readonly [string, OptionsState]>): Origins {
  const origins = new Map<string, readonly Origin[]>()
  for (const [key, { written }] of states)
    if (written.length > 0)
      origins.set(
        key,
        written.map((each) => new Origin(each))
      )
  return origins
}

/** Finds where a resolved option comes from; undefined for a default. */
export const originOf = (origins: readonly Origin[], path: Path): Origin | undefined =>
  origins.findLast(({ value }) => hasValueAt(value, path))

/** Returns where a resolved option comes from: its place, with the variables in it, or "default". */
export function describeOrigin(origins: readonly Origin[], path: Path): string {
  const origin = originOf(origins, path)
  if (origin === undefined) return 'default'
  const variables = origin.templateOf(path)?.match(/\$\{[^{}]*\}/g) ?? []
  // The text after ":-" is a value, and may be a secret.
  const named = variables.map((variable) => variable.replace(/:-.*\}$/, '}'))
  return [showPlace(origin.placeOf(path)), ...named].join(' ')
}

/** Returns the paths of the group or route that sets an option last; empty for the root. */
export const pathsSetting = (origins: readonly Origin[] | undefined, path: Path): readonly string[] =>
  origins?.findLast(({ value }) => hasValueAt(value, path))?.paths ?? []

/** Returns where a concern or a target is configured last; undefined where it is not mentioned. */
export function lastPlace(origins: readonly Origin[] | undefined): string | undefined {
  const origin = origins?.at(-1)
  return origin === undefined ? undefined : showPlace(origin.placeOf([]))
}
