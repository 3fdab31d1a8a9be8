import type { PatternNode } from '../gateway/route-table/nodes.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { expressionTexts } from './expression-texts.ts'

/** A pattern of one of the two configs. */
export interface SideNode {
  readonly id: number
  readonly node: PatternNode
  /** Whether the config compares paths regardless of case. */
  readonly ignoreCase: boolean
  /** Whether it stands under the host in question, and not under a wider one. */
  readonly isOwn: boolean
  readonly side: 'before' | 'after'
}

/** A path for one way in which paths match some patterns and not others. */
export interface PathCell {
  readonly segments: readonly string[]
  readonly nodes: readonly SideNode[]
  /** Whether it is another spelling of a path, which only matters where case does. */
  readonly isCaseVariant: boolean
  /** Whether no other path matches the same patterns. */
  readonly isExact: boolean
}

/** The paths of a host, and the expressions of parameters that could not be compared. */
export interface PathCells {
  readonly cells: readonly PathCell[]
  readonly undecided: ReadonlySet<string>
}

/** Finds a path for every way in which a path can match patterns of two configs under one host. */
export function pathCells(nodes: readonly SideNode[]): PathCells {
  const walk = new Walk()
  walk.from([], nodes, false)
  return { cells: [...walk.cells.values()], undecided: walk.undecided }
}

class Walk {
  readonly cells = new Map<string, PathCell>()
  readonly undecided = new Set<string>()
  readonly #seen = new Set<string>()

  /** Visits the paths that begin with some segments and may still match some patterns. */
  from(segments: readonly string[], alive: readonly SideNode[], isCaseVariant: boolean): void {
    const depth = segments.length
    const state = `${depth} ${isCaseVariant} ${idsOf(alive)}`
    if (this.#seen.has(state) || !alive.some(({ isOwn }) => isOwn)) return
    this.#seen.add(state)
    if (depth > 0) {
      const ended = alive.filter(({ node }) => matchesEnd(node, depth))
      this.#add(segments, ended, isCaseVariant)
      if (alive.every(({ node }) => isRest(node, depth))) return
    }
    const steps = stepsFrom(alive, depth)
    if (alive.some(({ node }) => node.segments.length === depth && node.end === 'trailingSlash'))
      this.#add(
        [...segments, ''],
        alive.filter(({ node }) => matchesSlash(node, depth)),
        isCaseVariant
      )
    for (const [text, isVariant] of steps.literals())
      this.from([...segments, text], steps.after(text), isCaseVariant || isVariant)
    const { texts, complete } = steps.others()
    if (!complete) for (const expression of steps.onOneSide()) this.undecided.add(expression)
    for (const text of texts) this.from([...segments, text], steps.after(text), isCaseVariant)
  }

  #add(segments: readonly string[], nodes: readonly SideNode[], isCaseVariant: boolean): void {
    if (!nodes.some(({ isOwn }) => isOwn)) return
    const id = `${isCaseVariant} ${idsOf(nodes)}`
    if (!this.cells.has(id))
      this.cells.set(id, { segments, nodes, isCaseVariant, isExact: nodes.some(isOnePath) })
  }
}

/** Returns whether a pattern matches one path only. */
const isOnePath = ({ node: { segments, end }, ignoreCase }: SideNode): boolean =>
  end !== 'rest' && !ignoreCase && segments.every((segment) => 'literal' in segment)

const idsOf = (nodes: readonly SideNode[]): string => nodes.map(({ id }) => id).join()

const isRest = ({ segments, end }: PatternNode, depth: number): boolean =>
  end === 'rest' && segments.length <= depth

/** Returns whether a pattern matches a path that ends after some segments. */
const matchesEnd = ({ segments, end }: PatternNode, depth: number): boolean =>
  end === 'rest' ? segments.length < depth : end === 'exact' && segments.length === depth

const matchesSlash = ({ segments, end }: PatternNode, depth: number): boolean =>
  end === 'rest' ? segments.length <= depth : end === 'trailingSlash' && segments.length === depth

/** The patterns that may match one more segment, by what they want there. */
function stepsFrom(alive: readonly SideNode[], depth: number) {
  const rests = alive.filter(({ node }) => isRest(node, depth))
  const literals = { before: new Map<string, SideNode[]>(), after: new Map<string, SideNode[]>() }
  const written = new Set<string>()
  const params: (readonly [each: SideNode, expression: string, test: RegExp | undefined])[] = []
  for (const each of alive) {
    const segment = each.node.segments[depth]
    if (segment === undefined) continue
    if ('literal' in segment) {
      written.add(segment.literal)
      const text = each.ignoreCase ? segment.literal.toLowerCase() : segment.literal
      getOrCreate(literals[each.side], text, () => [] as SideNode[]).push(each)
    } else
      params.push([
        each,
        segment.expression,
        segment.expression === '' ? undefined : new RegExp(`^${segment.expression}$`)
      ])
  }
  const folds = { before: folding(alive, 'before'), after: folding(alive, 'after') }
  const literalNodes = (text: string): SideNode[] =>
    (['before', 'after'] as const).flatMap(
      (side) => literals[side].get(folds[side] ? text.toLowerCase() : text) ?? []
    )
  const isLiteral = (text: string): boolean => literalNodes(text).length > 0
  const variantOf = (text: string): string | undefined =>
    [text.toUpperCase(), text.toLowerCase(), text.charAt(0).toUpperCase() + text.slice(1)].find(
      (each) => !written.has(each)
    )
  return {
    /** Lists the literals, each with whether it is another spelling of one. */
    *literals(): Generator<readonly [text: string, isCaseVariant: boolean]> {
      for (const text of written) {
        yield [text, false]
        const variant = folds.before || folds.after ? variantOf(text) : undefined
        if (variant !== undefined) yield [variant, true]
      }
    },
    /** Returns texts that are no literals. */
    others: () =>
      params.length + rests.length === 0
        ? { texts: [], complete: true }
        : expressionTexts(
            params.map(([, expression]) => expression),
            isLiteral,
            () => written
          ),
    /** Lists the expressions that only one config has here. */
    onOneSide(): string[] {
      const sides = new Map<string, Set<string>>()
      for (const [{ side }, expression] of params)
        getOrCreate(sides, expression, () => new Set<string>()).add(side)
      return [...sides]
        .filter(([expression, { size }]) => expression !== '' && size === 1)
        .map(([each]) => each)
    },
    /** Returns the patterns that still may match after a segment. */
    after: (text: string): SideNode[] =>
      [
        ...rests,
        ...literalNodes(text),
        ...params.flatMap(([each, , test]) => (test === undefined || test.test(text) ? each : []))
      ].toSorted((a, b) => a.id - b.id)
  }
}

const folding = (alive: readonly SideNode[], side: SideNode['side']): boolean =>
  alive.some((each) => each.side === side && each.ignoreCase)
