import type { RouteInfo } from '../../kit/index.ts'
import { hasAmbiguousCharacter, PATH_READERS } from '../../lib/path-readings.ts'
import { type PathTree, segmentsOf } from '../../lib/path-tree.ts'
import type { PatternRoutes, Table } from '../route-table/index.ts'
import { bypassedGates, type RouteAccess } from './access.ts'

/** Returns the route that an upstream may read a path as, bypassing gates of that route; undefined for none. */
export type FindOtherReading = (path: string, host: string, symbol: string) => RouteInfo | undefined

type Trees = ReadonlyMap<string, PathTree<PatternRoutes>>

/** A way in which some servers read a path, with the patterns of the table as these servers compare them. */
interface Reader {
  readonly read: (path: string) => string
  readonly trees: Trees
}

/** The routes of a table, found by a path as the gateway and as other servers read it. */
export class OtherReadings {
  readonly #table: Table
  readonly #trees: Trees
  readonly #readers: readonly Reader[]
  readonly #accesses: ReadonlyMap<RouteInfo, RouteAccess>

  private constructor(
    table: Table,
    trees: Trees,
    readers: readonly Reader[],
    accesses: ReadonlyMap<RouteInfo, RouteAccess>
  ) {
    this.#table = table
    this.#trees = trees
    this.#readers = readers
    this.#accesses = accesses
  }

  /** Makes the trees of a table for each reader; a reader that changes none of the `literals` uses the gateway's own trees. */
  static of(
    table: Table,
    accesses: ReadonlyMap<RouteInfo, RouteAccess>,
    literals: ReadonlySet<string>
  ): OtherReadings {
    const trees = table.treesOf()
    const readers: Reader[] = []
    for (const { read, fold } of PATH_READERS) {
      const changes = fold !== undefined && [...literals].some((literal) => fold(literal) !== literal)
      readers.push({ read, trees: changes ? table.treesOf(fold) : trees })
    }
    return new OtherReadings(table, trees, readers, accesses)
  }

  /** Returns the function that finds another reading of a route's paths; `always` is false where only unusual characters lead to one. */
  finderFor(route: RouteInfo, own: RouteAccess, always: boolean): FindOtherReading {
    return (path, host, symbol) => {
      if (!always && !hasAmbiguousCharacter(path)) return undefined
      const prefixes = this.#prefixesOf(host)
      const written = segmentsOf(path)
      // The routes that match the path unchanged, with or without the host, do not count.
      const known = new Set<RouteInfo>([route])
      for (const each of routesAt(this.#trees, prefixes, written, symbol)) known.add(each)
      for (const { read, trees } of this.#readers)
        for (const each of routesAt(trees, prefixes, read(path).split('/').slice(1), symbol)) {
          const other = known.has(each) ? undefined : this.#accesses.get(each)
          if (other !== undefined && bypassedGates(own, other).length > 0) return each
        }
      return undefined
    }
  }

  /** Returns the route of a path, as the router finds it. */
  routeOf(path: string, host: string, method: string): RouteInfo | undefined {
    const segments = segmentsOf(path)
    for (const prefix of this.#prefixesOf(host)) {
      const found = this.#trees.get(prefix)?.find(segments)
      if (found !== undefined) return found[0]?.routeFor(method, segments)
    }
    return undefined
  }

  /** Returns the prefixes of the hosts that a request's host matches, the most specific first. */
  #prefixesOf(host: string): string[] {
    const { hosts, wildcards } = this.#table
    const dot = host.indexOf('.')
    const wildcard = dot === -1 ? undefined : wildcards.get(host.slice(dot))
    return [hosts.get(host), wildcard, ''].filter((prefix) => prefix !== undefined)
  }
}

function* routesAt(
  trees: Trees,
  prefixes: readonly string[],
  segments: readonly string[],
  symbol: string
): Generator<RouteInfo> {
  for (const prefix of prefixes)
    for (const found of trees.get(prefix)?.find(segments) ?? []) yield* found.routesFor(symbol, segments)
}
