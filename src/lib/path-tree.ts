/** One segment of a path pattern: a decoded literal, or a parameter, possibly with an expression such as "(\\d+)". */
export type PatternSegment =
  | { readonly literal: string }
  | { readonly parameter: string; readonly expression: string }

/** How a pattern ends: after its last segment, with a slash, or with a wildcard. */
export type PatternEnd = 'exact' | 'trailingSlash' | 'rest'

interface Branch<T> {
  readonly literals: Map<string, Branch<T>>
  /** Those with an expression in the order in which they were added, then the one without. */
  readonly parameters: ParameterBranch<T>[]
  exact: readonly T[] | undefined
  rest: readonly T[] | undefined
}

interface ParameterBranch<T> {
  readonly expression: string
  readonly pattern: RegExp | undefined
  readonly next: Branch<T>
}

/** Finds the most specific pattern for a path in the order of the router: a literal, a parameter with an expression, one without, "/*". */
export class PathTree<T> {
  readonly #root: Branch<T> = newBranch()
  readonly #fold: ((segment: string) => string) | undefined

  /** Creates an empty tree; literals and segments are compared as `fold` returns them, by default unchanged. */
  constructor(fold?: (segment: string) => string) {
    this.#fold = fold
  }

  /** Adds a value at a pattern, which may have several values. */
  add(segments: readonly PatternSegment[], end: PatternEnd, value: T): void {
    let branch = this.#root
    for (const segment of segments)
      branch =
        'literal' in segment
          ? literalOf(branch, this.#fold?.(segment.literal) ?? segment.literal)
          : parameterOf(branch, segment.expression)
    if (end === 'trailingSlash') branch = literalOf(branch, '')
    if (end === 'rest') branch.rest = [...(branch.rest ?? []), value]
    else branch.exact = [...(branch.exact ?? []), value]
  }

  /** Returns the values at the most specific pattern that matches a path, given as its decoded segments. */
  find(segments: readonly string[]): readonly T[] | undefined {
    return this.#findFrom(this.#root, segments, 0)
  }

  #findFrom(branch: Branch<T>, segments: readonly string[], i: number): readonly T[] | undefined {
    const segment = segments[i]
    if (segment === undefined) return branch.exact
    const literal = branch.literals.get(this.#fold?.(segment) ?? segment)
    if (literal !== undefined) {
      const found = this.#findFrom(literal, segments, i + 1)
      if (found !== undefined) return found
    }
    if (segment !== '')
      for (const { pattern, next } of branch.parameters) {
        if (pattern?.test(segment) === false) continue
        const found = this.#findFrom(next, segments, i + 1)
        if (found !== undefined) return found
      }
    return branch.rest
  }
}

/** Compiles a test of whether the parameters of a pattern match the segments of a path; the literals are not compared. */
export function parameterTest(pattern: readonly PatternSegment[]): (segments: readonly string[]) => boolean {
  const tests = pattern.map((part) => ('literal' in part ? undefined : anchored(part.expression)))
  return (segments) => tests.every((test, i) => test === undefined || test.test(segments[i] ?? ''))
}

/** Splits a path into its segments and decodes each; an encoded slash does not split a segment. */
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
  const made: ParameterBranch<T> = { expression, pattern: anchored(expression), next: newBranch() }
  const plain = parameters.findIndex((one) => one.expression === '')
  parameters.splice(expression === '' || plain === -1 ? parameters.length : plain, 0, made)
  return made.next
}

/** Compiles an expression as the router does; undefined for an empty one. */
const anchored = (expression: string): RegExp | undefined =>
  expression === '' ? undefined : new RegExp(`^${expression}$`)
