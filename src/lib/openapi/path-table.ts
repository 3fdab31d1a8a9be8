import {
  asSent,
  compareTemplates,
  type PathTemplate,
  readTemplate,
  type TemplateSegment
} from './path-template.ts'

/** What a path matches: an entry, and the texts of its parameters, still percent-encoded. */
export interface PathMatch<T> {
  readonly value: T
  readonly params: ReadonlyMap<string, string>
}

interface Template<T> {
  readonly segments: PathTemplate
  readonly value: T
}

/** Finds the entry of a path among templates such as "/a/{x}.{y}"; concrete ones win over others, and earlier ones over later ones. */
export class PathTable<T> {
  readonly #concrete = new Map<string, T>()
  // By the number of segments and the first one, if that is concrete.
  readonly #templates = new Map<string, Template<T>[]>()

  constructor(entries: Iterable<readonly [path: string, value: T]>) {
    const templates: Template<T>[] = []
    for (const [path, value] of entries)
      if (path.includes('{')) templates.push({ segments: readTemplate(path), value })
      else if (!this.#concrete.has(asSent(path))) this.#concrete.set(asSent(path), value)
    for (const template of templates.toSorted((a, b) => compareTemplates(a.segments, b.segments))) {
      const key = keyOf(template.segments.length, concrete(template.segments[0]))
      const known = this.#templates.get(key)
      if (known === undefined) this.#templates.set(key, [template])
      else known.push(template)
    }
  }

  /** Finds the entry of a path, which begins with a slash. */
  find(path: string): PathMatch<T> | undefined {
    const value = this.#concrete.get(path)
    if (value !== undefined) return { value, params: new Map() }
    const segments = path.split('/').slice(1)
    return (
      this.#search(keyOf(segments.length, segments[0]), segments) ??
      this.#search(keyOf(segments.length, undefined), segments)
    )
  }

  #search(key: string, segments: readonly string[]): PathMatch<T> | undefined {
    for (const template of this.#templates.get(key) ?? []) {
      const params = new Map<string, string>()
      if (template.segments.every((segment, i) => matches(segment, segments[i] ?? '', params)))
        return { value: template.value, params }
    }
    return undefined
  }
}

const keyOf = (count: number, first: string | undefined): string => `${count}/${first ?? ''}`

const concrete = (segment: TemplateSegment | undefined): string | undefined =>
  segment?.names.length === 0 ? segment.literals[0] : undefined

/** Matches a segment from left to right, each parameter as short as it can be, in linear time. */
function matches({ literals, names }: TemplateSegment, text: string, params: Map<string, string>): boolean {
  const [first = ''] = literals
  if (names.length === 0) return text === first
  if (!text.startsWith(first)) return false
  let at = first.length
  for (const [i, name] of names.entries()) {
    const literal = literals[i + 1] ?? ''
    const isLast = i === names.length - 1
    // A parameter has at least one character.
    const end = isLast
      ? text.length - literal.length
      : literal === ''
        ? at + 1
        : text.indexOf(literal, at + 1)
    if (end <= at || (isLast && !text.endsWith(literal))) return false
    params.set(name, text.slice(at, end))
    at = end + literal.length
  }
  return at === text.length
}
