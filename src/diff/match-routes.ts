import type { ConditionalEntry } from '../gateway/route-table/index.ts'
import type { RouteInfo } from '../kit/index.ts'
import { conditionCells, describeValues, holdFor, secretConditions, type Values } from './condition-cells.ts'
import { type PathCell, pathCells, type SideNode } from './path-cells.ts'
import type { RouteNodes } from './route-nodes.ts'
import { SideNodes } from './side-nodes.ts'

/** The routes that the same requests come to in two configs; undefined for 404 and 405. */
export interface RouteMatch {
  readonly before: RouteInfo | undefined
  readonly after: RouteInfo | undefined
  /** One of the requests, such as "GET api.example.com/orders/x". */
  readonly request: string
  readonly isCaseVariant: boolean
}

/** The routes of two configs, matched by the requests that they answer. */
export interface RouteMatches {
  readonly matches: readonly RouteMatch[]
  /** The expressions of parameters that could not be compared. */
  readonly undecided: ReadonlySet<string>
}

/** A host, for one way in which the configs tell hosts apart. */
export interface HostCell {
  readonly host: string
  /** Whether it stands for all hosts of a wildcard. */
  readonly isWildcard: boolean
  /** The prefixes of the host in each config, the most specific first. */
  readonly prefixes: { readonly before: readonly string[]; readonly after: readonly string[] }
  /** The first of them that a wider host has, too; paths without patterns before it are those of the wider host. */
  readonly own: ReadonlySet<string>
}

/** Matches the routes of two configs: by host, path, method and conditions. */
export function matchRoutes(before: RouteNodes, after: RouteNodes): RouteMatches {
  const found = new Map<RouteInfo | undefined, Map<RouteInfo | undefined, RouteMatch>>()
  const undecided = new Set<string>()
  const add = (match: RouteMatch): void => {
    const ofBefore = found.get(match.before) ?? new Map<RouteInfo | undefined, RouteMatch>()
    found.set(match.before, ofBefore)
    const known = ofBefore.get(match.after)
    if (known === undefined || (known.isCaseVariant && !match.isCaseVariant)) ofBefore.set(match.after, match)
  }
  const nodes = new SideNodes({ before, after })
  const secret = secretConditions([before.plan, after.plan])
  for (const host of hostCells(before, after)) {
    const { cells, undecided: notCompared } = pathCells(nodes.of(host.prefixes, host.own))
    for (const expression of notCompared) undecided.add(expression)
    for (const cell of cells)
      for (const symbol of methodsOf(cell)) {
        const [old, next] = [
          entriesAt(before, host.prefixes.before, cell.segments, symbol),
          entriesAt(after, host.prefixes.after, cell.segments, symbol)
        ]
        for (const { values, ...pair } of pairsOf(old, next, cell))
          add({
            ...pair,
            request: describe(host.host, cell, symbol, describeValues(values, secret)),
            isCaseVariant: cell.isCaseVariant
          })
      }
  }
  return { matches: [...found.values()].flatMap((ofBefore) => [...ofBefore.values()]), undecided }
}

/** Lists a host for every way in which the configs tell hosts apart. */
export function* hostCells(before: RouteNodes, after: RouteNodes): Generator<HostCell> {
  const tables = { before: before.table, after: after.table }
  const hosts = new Set([...before.table.hosts.keys(), ...after.table.hosts.keys()])
  const wildcards = new Set([...before.table.wildcards.keys(), ...after.table.wildcards.keys()])
  yield { host: '', isWildcard: false, prefixes: { before: [''], after: [''] }, own: new Set(['']) }
  const prefixesOf = (host: string, side: SideNode['side']): string[] => {
    const { hosts: exact, wildcards: wild } = tables[side]
    return [exact.get(host), wild.get(host.slice(host.indexOf('.'))), ''].filter((each) => each !== undefined)
  }
  for (const wildcard of wildcards) {
    let label = 'any'
    while (hosts.has(label + wildcard)) label += 'x'
    const host = label + wildcard
    const prefixes = { before: prefixesOf(host, 'before'), after: prefixesOf(host, 'after') }
    yield { host, isWildcard: true, prefixes, own: prefixSet(tables, 'wildcards', wildcard) }
  }
  for (const host of hosts) {
    const prefixes = { before: prefixesOf(host, 'before'), after: prefixesOf(host, 'after') }
    yield { host, isWildcard: false, prefixes, own: prefixSet(tables, 'hosts', host) }
  }
}

const prefixSet = (
  tables: Readonly<Record<SideNode['side'], RouteNodes['table']>>,
  kind: 'hosts' | 'wildcards',
  name: string
): Set<string> =>
  new Set([tables.before[kind].get(name), tables.after[kind].get(name)].filter((each) => each !== undefined))

// The first that no route names stands for all others.
const OTHER_METHODS = ['GET', 'POST', 'PUT', 'PROPFIND', 'MKCALENDAR', 'UNBIND']

/** Lists the methods that the routes of a path tell apart. */
function methodsOf({ nodes }: PathCell): string[] {
  const named = new Set(nodes.flatMap(({ node }) => node.entries.flatMap(({ info }) => info.methods ?? [])))
  const other = OTHER_METHODS.find((method) => !named.has(method))
  return other === undefined ? [...named] : [...named, other]
}

/** Lists the routes that requests may come to, in the order in which they are tried; empty for 404 and 405. */
export function entriesAt(
  { trees }: RouteNodes,
  prefixes: readonly string[],
  segments: readonly string[],
  symbol: string
): readonly ConditionalEntry[] {
  for (const prefix of prefixes) {
    const found = trees.get(prefix)?.find(segments)
    if (found !== undefined)
      return (found[0]?.conditionalEntries(symbol, segments) ?? []).filter(
        ({ entry }) => entry.info.kind !== 'notFound'
      )
  }
  return []
}

interface Pair extends Pick<RouteMatch, 'before' | 'after'> {
  readonly values: Values
}

const NO_VALUES: Values = new Map()

/** Lists the routes that requests come to in both configs, for every way in which their conditions may hold. */
function pairsOf(
  old: readonly ConditionalEntry[],
  next: readonly ConditionalEntry[],
  { segments, isExact }: PathCell
): Pair[] {
  const conditions = [...old, ...next].flatMap(({ set }) => set)
  if (conditions.length === 0)
    return [{ before: old[0]?.entry.info, after: next[0]?.entry.info, values: NO_VALUES }]
  const path = isExact ? `/${segments.map(encodeURIComponent).join('/')}` : undefined
  const cells = conditionCells(conditions, path)
  // Too many to list: any may be combined.
  if (cells === undefined)
    return [...old, undefined].flatMap((one) =>
      [...next, undefined].map((other) => ({
        before: one?.entry.info,
        after: other?.entry.info,
        values: NO_VALUES
      }))
    )
  const first = (entries: readonly ConditionalEntry[], values: Values): RouteInfo | undefined =>
    entries.find(({ set }) => holdFor(set, values))?.entry.info
  return cells.map((values) => ({ before: first(old, values), after: first(next, values), values }))
}

function describe(
  host: string,
  { segments }: PathCell,
  symbol: string,
  conditions: string | undefined
): string {
  const request = `${symbol} ${host}/${segments.map(encodeURIComponent).join('/')}`
  return conditions === undefined ? request : `${request} with ${conditions}`
}
