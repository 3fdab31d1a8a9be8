import { type Path, type Place, showPlace } from './fault.ts'
import { pathKey } from './interpolate.ts'
import type { OptionsState } from './merge-options.ts'
import { hasValueAt, type Written } from './written.ts'

/** What the config has of a concern or a target at one place. It keeps the options, and not the rest of the file. */
export interface Origin {
  readonly value: unknown
  placeOf(path: Path): Place
  /** Returns the text with `${…}` at a path; undefined where it has none. */
  templateOf(path: Path): string | undefined
}

/** The origins of each concern and target at one place, by key, from the root inwards. */
export type Origins = ReadonlyMap<string, readonly Origin[]>

/** Returns the origins of states; those that the config does not mention are left out. */
export function originsOf(states: Iterable<readonly [string, OptionsState]>): Origins {
  const origins = new Map<string, readonly Origin[]>()
  for (const [key, { written }] of states) if (written.length > 0) origins.set(key, written.map(toOrigin))
  return origins
}

/** Returns the origin of written options. */
export function toOrigin({ source, path, value }: Written): Origin {
  const { at, templates } = source
  return {
    value,
    placeOf: (inner) => at([...path, ...inner]),
    templateOf: (inner) => templates.get(pathKey([...path, ...inner]))
  }
}

/** Returns where a resolved option comes from: its place, with the variables in it, or "default". */
export function describeOrigin(origins: readonly Origin[], path: Path): string {
  const origin = origins.findLast(({ value }) => hasValueAt(value, path))
  if (origin === undefined) return 'default'
  const variables = origin.templateOf(path)?.match(/\$\{[^{}]*\}/g) ?? []
  // The text after ":-" is a value, and may be a secret.
  const named = variables.map((variable) => variable.replace(/:-.*\}$/, '}'))
  return [showPlace(origin.placeOf(path)), ...named].join(' ')
}

/** Returns where a concern or a target is configured last; undefined where it is not mentioned. */
export function lastPlace(origins: readonly Origin[] | undefined): string | undefined {
  const origin = origins?.at(-1)
  return origin === undefined ? undefined : showPlace(origin.placeOf([]))
}
