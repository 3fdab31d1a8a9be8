/** What a path matches: an entry, and the texts of its parameters, still percent-encoded. */
export interface PathMatch<T> {
  readonly value: T
  readonly params: ReadonlyMap<string, string>
}

interface Template<T> {
  readonly segments: readonly Segment[]
  readonly value: T
}

/** A segment: texts, and between each two of them a parameter. */
interface Segment {
  readonly literals: readonly string[]
  readonly names: readonly string[]
}

/** Finds the entry of a path among templates such as "/a/{x}.{y}"; concrete ones win over others, and earlier ones over later ones. */
export class PathTable<T> {
  readonly #concrete = new Map<string, T>()
  // By the number of segments and the first one, if that is concrete.
  readonly #templates = new Map<string, Template<T>[]>()

  constructor(entries: Iterable<readonly [path: string, value: T]>) {
    const templates: Template<T>[] = []
    for (const [path, value] of entries)
      if (path.includes('{')) templates.push({ segments: path.split('/').slice(1).map(readSegment), value })
      else if (!this.#concrete.has(asSent(path))) this.#concrete.set(asSent(path), value)
    // A template with a text where another one has a parameter is the more concrete one.
    for (const template of templates.toSorted((a, b) => compareSegments(a.segments, b.segments))) {
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

const concrete = (segment: Segment | undefined): string | undefined =>
  segment?.names.length === 0 ? segment.literals[0] : undefined

/** Encodes a text as it is in requests; documents may have it decoded. */
const asSent = (text: string): string =>
  text.replaceAll(/[^\p{ASCII}]+| /gu, (part) => (part.isWellFormed() ? encodeURIComponent(part) : part))

function readSegment(text: string): Segment {
  const parts = text.split(/\{([^{}]*)\}/)
  return {
    literals: parts.filter((_, i) => i % 2 === 0).map(asSent),
    names: parts.filter((_, i) => i % 2 === 1)
  }
}

/** Matches a segment from left to right, each parameter as short as it can be, in linear time. */
function matches({ literals, names }: Segment, text: string, params: Map<string, string>): boolean {
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

function compareSegments(a: readonly Segment[], b: readonly Segment[]): number {
  for (const [i, segment] of a.entries()) {
    const other = b[i]
    if (other === undefined) return 0
    const difference = weight(segment) - weight(other)
    if (difference !== 0) return difference
  }
  return 0
}

// A text alone, then a text with parameters, then a parameter alone.
const weight = ({ literals, names }: Segment): number =>
  names.length === 0 ? 0 : literals.some((literal) => literal !== '') ? 1 : 2
