import { type PathPattern, readPath } from '../config/paths.ts'

/** A parameter of a path. */
export interface PathParameter {
  readonly name: string
  /** The name in the config, by which schemas know it; undefined for what `/*` matches. */
  readonly configName: string | undefined
  /** The regular expression that narrows it. */
  readonly pattern?: string
  readonly description?: string
}

/** A path of the config as OpenAPI writes it. */
export interface TemplatedPath {
  readonly text: string
  readonly parameters: readonly PathParameter[]
}

interface Segment {
  readonly literal?: string
  readonly parameter?: PathParameter
}

const OF_WILDCARD = ['path', 'rest']

/**
 * Turns paths of the config into those of OpenAPI. Two paths that differ by the names of their parameters alone are the
 * same to OpenAPI, so both get the names of the first. A `/*` becomes one parameter at its end, a segment further down
 * if another path is there already: no parameter of OpenAPI matches several segments.
 */
export class PathTemplates {
  /** The paths by what remains of them without the names of their parameters. */
  readonly #taken = new Map<string, readonly string[]>()
  readonly #wildcards = new Map<string, readonly Segment[]>()

  /** Adds a path; those without a wildcard are to be added first, then the deepest. */
  add(pattern: PathPattern): TemplatedPath {
    const segments = pattern.segments.map(segmentOf)
    if (!pattern.wildcard) return this.#name(segments, pattern)
    const known = this.#wildcards.get(pattern.shape) ?? this.#placeWildcard(segments, pattern)
    this.#wildcards.set(pattern.shape, known)
    return this.#name([...segments, ...known.slice(segments.length)], pattern)
  }

  /** Adds a path of a document below one of the config; undefined if another path there has parameters of other names. */
  addBelow(pattern: PathPattern, path: string): TemplatedPath | undefined {
    const segments = pattern.segments.map(segmentOf)
    const parameters = segments.flatMap(({ parameter }) => parameter ?? [])
    const before = segments.map(({ literal, parameter }) => `/${literal ?? `{${parameter?.name}}`}`).join('')
    const text = path === '/' && before !== '' ? before : before + path
    const names = [...text.matchAll(/\{([^}]*)\}/g)].map(([, name = '']) => name)
    const key = text.slice(1).replaceAll(/\{[^}]*\}/g, '{}')
    const taken = this.#taken.get(key)
    if (new Set(names).size < names.length || (taken !== undefined && taken.join() !== names.join()))
      return undefined
    this.#taken.set(key, names)
    return { text, parameters }
  }

  #placeWildcard(before: readonly Segment[], { text, params }: PathPattern): readonly Segment[] {
    const names = new Set(params.keys())
    const name = OF_WILDCARD.find((each) => !names.has(each)) ?? 'wildcard'
    const description = `The rest of the path, with its slashes: the route "${text}" matches ${text.slice(0, -2) || '/'} and all paths below.`
    const rest: Segment = { parameter: { name, configName: undefined, description } }
    const segments = [...before]
    for (;;) {
      const taken = this.#taken.get(keyOf([...segments, rest]))
      if (taken === undefined) return [...segments, rest]
      segments.push({ parameter: { name: taken.at(-1) ?? name, configName: undefined } })
    }
  }

  /** Gives the parameters the names that the path has already. */
  #name(segments: readonly Segment[], { end }: PathPattern): TemplatedPath {
    const key = keyOf(segments, end)
    const own = segments.flatMap(({ parameter }) => parameter ?? [])
    const names = this.#taken.get(key) ?? uniqueNames(own.map(({ name }) => name))
    this.#taken.set(key, names)
    const parameters = own.map((parameter, i) => ({ ...parameter, name: names[i] ?? parameter.name }))
    let i = 0
    const text = segments.map(({ literal }) => literal ?? `{${names[i++]}}`).join('/')
    return { text: `/${text}${end === 'trailingSlash' && text !== '' ? '/' : ''}`, parameters }
  }
}

/** Finds the base below which a path of a document is that of a route; undefined if there is none. */
export function baseOf(
  bases: readonly string[],
  pattern: PathPattern,
  path: string
): PathPattern | undefined {
  const below = path.split('/').filter((segment) => segment !== '')
  return bases.map(readPath).find(({ segments }) => {
    const all = [...segments.map((each) => ('literal' in each ? each.literal : '{}')), ...below]
    const isSame = pattern.segments.every((each, i) =>
      // What is plain text in the document is another route.
      'literal' in each ? all[i] === each.literal : /[^\w.~-]/.test(all[i] ?? '')
    )
    return isSame && (pattern.wildcard || all.length === pattern.segments.length)
  })
}

function segmentOf(segment: PathPattern['segments'][number]): Segment {
  if ('literal' in segment) return { literal: encodeURI(segment.literal) }
  const { parameter: name, expression } = segment
  return {
    parameter: { name, configName: name, ...(expression === '' ? {} : { pattern: `^${expression}$` }) }
  }
}

const keyOf = (segments: readonly Segment[], end?: PathPattern['end']): string =>
  segments.map(({ literal }) => literal ?? '{}').join('/') + (end === 'trailingSlash' ? '/' : '')

function uniqueNames(names: readonly string[]): string[] {
  const unique: string[] = []
  for (const name of names) {
    let free = name
    for (let i = 2; unique.includes(free); i++) free = `${name}${i}`
    unique.push(free)
  }
  return unique
}
