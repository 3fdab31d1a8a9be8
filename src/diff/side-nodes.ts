import type { PatternNode } from '../gateway/route-table/nodes.ts'
import { getOrCreate } from '../lib/memoize.ts'
import type { SideNode } from './path-cells.ts'
import type { RouteNodes } from './route-nodes.ts'

type Side = SideNode['side']

/** The patterns of both configs by host, made once for all hosts that share them. */
export class SideNodes {
  readonly #sides: Readonly<Record<Side, RouteNodes>>
  readonly #known = new Map<string, readonly SideNode[]>()
  readonly #byFirst = new Map<string, ReadonlyMap<string, readonly SideNode[]>>()
  readonly #ids = new Map<PatternNode, number>()

  constructor(sides: Readonly<Record<Side, RouteNodes>>) {
    this.#sides = sides
  }

  /** Lists the patterns of a host, and those of wider hosts that match some path of its own ones. */
  of(prefixes: Readonly<Record<Side, readonly string[]>>, own: ReadonlySet<string>): SideNode[] {
    const sides = ['before', 'after'] as const
    const mine = sides.flatMap((side) =>
      prefixes[side].filter((prefix) => own.has(prefix)).flatMap((prefix) => this.#all(side, prefix, 'own'))
    )
    const firsts = new Set(mine.map(({ node }) => firstOf(node)))
    const others = sides.flatMap((side) =>
      prefixes[side]
        .filter((prefix) => !own.has(prefix))
        .flatMap((prefix) =>
          firsts.has(ANY)
            ? this.#all(side, prefix, 'wider')
            : [...firsts, ANY].flatMap((first) => this.#grouped(side, prefix).get(first) ?? [])
        )
    )
    return [...mine, ...others].toSorted((a, b) => a.id - b.id)
  }

  #all(side: Side, prefix: string, kind: 'own' | 'wider'): readonly SideNode[] {
    const { nodes, ignoreCase } = this.#sides[side]
    return getOrCreate(this.#known, `${side} ${kind} ${prefix}`, () =>
      (nodes.get(prefix) ?? []).map((node) => ({
        id: getOrCreate(this.#ids, node, () => this.#ids.size),
        node,
        side,
        ignoreCase,
        isOwn: kind === 'own'
      }))
    )
  }

  #grouped(side: Side, prefix: string): ReadonlyMap<string, readonly SideNode[]> {
    return getOrCreate(this.#byFirst, `${side} ${prefix}`, () =>
      Map.groupBy(this.#all(side, prefix, 'wider'), ({ node }) => firstOf(node))
    )
  }
}

// No literal of a path has this character.
const ANY = '\0'

/** Returns the first segment of a pattern, in lower case. */
function firstOf({ segments: [first], end }: PatternNode): string {
  if (first === undefined) return end === 'rest' ? ANY : ''
  return 'literal' in first ? first.literal.toLowerCase() : ANY
}
