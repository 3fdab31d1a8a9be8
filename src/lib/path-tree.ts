/** One segment of a path pattern: a literal, decoded, or a parameter that an expression such as "(\\d+)" may narrow. */
export type PatternSegment =
  | { readonly literal: string }
  | { readonly parameter: string; readonly expression: string }

/** How a pattern ends: behind its last segment, with a slash, or with anything below. */
export type PatternEnd = 'exact' | 'slash' | 'rest'

interface Branch<T> {
  readonly literals: Map<string, Branch<T>>
  /** Narrowed ones in the order in which they were added, then the plain one. */
  readonly parameters: ParameterBranch<T>[]
  exact: readonly T[] | undefined
  rest: readonly T[] | undefined
}

interface ParameterBranch<T> {
  readonly expression: string
  readonly holds: RegExp | undefined
  readonly next: Branch<T>
}

/** Finds the most specific pattern of a path, as the router does: a literal before a narrowed parameter, that before a plain one, and "/*" last. */
export class PathTree<T> {
  readonly #root: Branch<T> = newBranch()
  readonly #fold: ((segment: string) => string) | undefined

  /** Literals and segments are compared in the form that `fold` gives them; by default as they are. */
  constructor(fold?: (segment: string) => string) {
    this.#fold = fold
  }

  /** Adds a value at a pattern; several may stand at one. */
  add(segments: readonly PatternSegment[], end: PatternEnd, value: T): void {
    let branch = this.#root
    for (const segment of segments)
      branch =
        'literal' in segment
          ? literalOf(branch, this.#fold?.(segment.literal) ?? segment.literal)
          : parameterOf(branch, segment.expression)
    if (end === 'slash') branch = literalOf(branch, '')
    if (end === 'rest') branch.rest = [...(branch.rest ?? []), value]
    else branch.exact = [...(branch.exact ?? []), value]
  }

  /** Finds the values at the most specific pattern that takes a path, given as its segments, decoded. */
  find(segments: readonly string[]): readonly T[] | undefined {
    return this.#look(this.#root, segments, 0)
  }

  #look(branch: Branch<T>, segments: readonly string[], i: number): readonly T[] | undefined {
    const segment = segments[i]
    if (segment === undefined) return branch.exact
    const literal = branch.literals.get(this.#fold?.(segment) ?? segment)
    if (literal !== undefined) {
      const found = this.#look(literal, segments, i + 1)
      if (found !== undefined) return found
    }
    if (segment !== '')
      for (const { holds, next } of branch.parameters) {
        if (holds?.test(segment) === false) continue
        const found = this.#look(next, segments, i + 1)
        if (found !== undefined) return found
      }
    return branch.rest
  }
}

/** Makes a test of whether the parameters of a pattern take the segments of a path; its literals are taken for granted. */
export function parameterTest(pattern: readonly PatternSegment[]): (segments: readonly string[]) => boolean {
  const tests = pattern.map((part) => ('literal' in part ? undefined : anchored(part.expression)))
  return (segments) => tests.every((test, i) => test === undefined || test.test(segments[i] ?? ''))
}

/** Splits a path as it was sent into its segments, each decoded; an encoded slash stays within its segment. */
export function segmentsOf(path: string): string[] {
  const segments = path.split('/')
  segments.shift()
  if (!path.includes('%')) return segments
  return segments.map((segment) => {
    try {
      return decodeURIComponent(segment)
    } catch {
      return segment
    }
  })
}

const newBranch = <T>(): Branch<T> => ({
  literals: new Map(),
  parameters: [],
  exact: undefined,
  rest: undefined
})

function literalOf<T>({ literals }: Branch<T>, literal: string): Branch<T> {
  const known = literals.get(literal)
  if (known !== undefined) return known
  const made = newBranch<T>()
  literals.set(literal, made)
  return made
}

function parameterOf<T>({ parameters }: Branch<T>, expression: string): Branch<T> {
  const known = parameters.find((one) => one.expression === expression)
  if (known !== undefined) return known.next
  const made: ParameterBranch<T> = { expression, holds: anchored(expression), next: newBranch() }
  const plain = parameters.findIndex((one) => one.expression === '')
  parameters.splice(expression === '' || plain === -1 ? parameters.length : plain, 0, made)
  return made.next
}

/** Compiles an expression as the router does; undefined where there is none. */
const anchored = (expression: string): RegExp | undefined =>
  expression === '' ? undefined : new RegExp(`^${expression}$`)
