import type { AmbiguousPair } from '../config/lint.ts'
import type { PathPattern } from '../config/paths.ts'
import type { Plan, PlannedRoute } from '../config/plan-types.ts'
import type { RouteInfo } from '../kit/index.ts'
import { canonicalPath, type PathsOptions } from '../lib/http/canonical-path.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { foldSegment, isReadInSeveralWays, PATH_READERS } from '../lib/path-readings.ts'
import { type PathTree, segmentsOf } from '../lib/path-tree.ts'
import { isObject, schemaOf } from '../lib/schema.ts'
import { forEachSliced } from '../lib/time-slicing.ts'
import { originsOf } from './origins.ts'
import type { PatternRoutes, Table } from './route-table/index.ts'

/** Finds the route that an upstream may read a path as, past gates that the route of the path does not have. */
export type FindOtherReading = (path: string, host: string, symbol: string) => RouteInfo | undefined

/** What an upstream may read otherwise than the gateway, worked out at boot. */
export interface Ambiguities {
  /** Undefined for a route that has no neighbour with other gates. */
  readonly finderFor: (route: RouteInfo) => FindOtherReading | undefined
  readonly pairs: () => Promise<readonly AmbiguousPair[]>
}

/** What decides whether one route is a way around the gates of another; routes that are alike share one. */
interface Kind {
  readonly origins: readonly string[]
  readonly hosts: readonly string[]
  /** The gates that are enforced, each with its options. */
  readonly gates: ReadonlyMap<string, string>
  /** Whether readers compare some literal of its paths in another form. */
  readonly folded: boolean
}

type Routes = readonly (readonly [PlannedRoute, RouteInfo])[]
type Trees = ReadonlyMap<string, PathTree<PatternRoutes>>

/** Works out which routes share an upstream with one that has other gates, and how their paths may be read. */
export async function findAmbiguities(plan: Plan, routes: Routes, table: Table): Promise<Ambiguities> {
  const policy = plan.words['paths'] as PathsOptions
  const kinds = await kindsOf(plan, routes, policy.ignoreCase)
  const neighbours = await neighboursOf(routes, kinds)
  if (neighbours.size === 0) return { finderFor: () => undefined, pairs: async () => [] }
  const plain = await table.treesOf()
  const literals = new Set(
    routes.flatMap(([{ paths }]) => paths.flatMap((path) => literalsOf(path, policy.ignoreCase)))
  )
  const readers: { readonly read: (path: string) => string; readonly trees: Trees }[] = []
  for (const { read, fold } of PATH_READERS) {
    const changes = fold !== undefined && [...literals].some((literal) => fold(literal) !== literal)
    readers.push({ read, trees: changes ? await table.treesOf(fold) : plain })
  }

  function prefixesOf(host: string): string[] {
    const dot = host.indexOf('.')
    const wide = dot === -1 ? undefined : table.wildcards.get(host.slice(dot))
    return [table.hosts.get(host), wide, ''].filter((prefix) => prefix !== undefined)
  }

  function finderFor(route: RouteInfo): FindOtherReading | undefined {
    const kind = kinds.get(route)
    const always = neighbours.get(route)
    if (kind === undefined || always === undefined) return undefined
    return (path, host, symbol) => {
      if (!always && !isReadInSeveralWays(path)) return undefined
      const prefixes = prefixesOf(host)
      const written = segmentsOf(path)
      // What the path comes to as it is written, on the host or without one, is no other reading of it.
      const known = new Set<RouteInfo>([route])
      for (const prefix of prefixes)
        for (const found of plain.get(prefix)?.find(written) ?? [])
          for (const entry of found.routesFor(symbol, written)) known.add(entry)
      for (const { read, trees } of readers) {
        const segments = read(path).split('/').slice(1)
        for (const prefix of prefixes)
          for (const found of trees.get(prefix)?.find(segments) ?? [])
            for (const entry of found.routesFor(symbol, segments)) {
              if (known.has(entry)) continue
              const other = kinds.get(entry)
              if (other !== undefined && gatesPast(kind, other).length > 0) return entry
            }
      }
      return undefined
    }
  }

  /** Finds the route that takes a path, as the router would. */
  function routeOf(path: string, host: string, method: string): RouteInfo | undefined {
    const segments = segmentsOf(path)
    for (const prefix of prefixesOf(host)) {
      const found = plain.get(prefix)?.find(segments)
      if (found !== undefined) return found[0]?.routeFor(method, segments)
    }
    return undefined
  }

  async function pairs(): Promise<readonly AmbiguousPair[]> {
    const found = new Map<RouteInfo, Map<RouteInfo, AmbiguousPair>>()
    const hostsOf = hostsByOrigin(kinds.values())
    const finderOf = rememberBy(finderFor)
    await forEachSliced(routes, ([{ paths }, info]) => {
      const own = kinds.get(info)
      if (own === undefined || own.gates.size === 0) return
      const others = own.origins.flatMap((origin) => [...(hostsOf.get(origin) ?? [])])
      const hosts = info.hosts.length > 0 ? info.hosts : ['', ...new Set(others)]
      const methods = new Set([info.methods?.[0] ?? 'GET', 'GET', 'POST'])
      for (const url of paths.flatMap(otherSpellings)) {
        const { path, refusal } = canonicalPath(url, policy)
        if (refusal !== undefined) continue
        for (const host of hosts.map((name) => name.replace('*', 'any')))
          for (const method of methods) {
            const route = routeOf(path, host, method)
            const other = route && finderOf(route)?.(path, host, method)
            const [kind, past] = [route && kinds.get(route), other && kinds.get(other)]
            if (kind === undefined || past === undefined || route === undefined || other === undefined)
              continue
            const those = getOrCreate(found, route, () => new Map<RouteInfo, AmbiguousPair>())
            getOrCreate(those, other, () => ({
              route,
              other,
              gates: gatesPast(kind, past),
              method,
              url: host + url
            }))
          }
      }
    })
    return [...found.values()].flatMap((those) => [...those.values()])
  }

  return { finderFor, pairs }
}

/** Gives each route that sends requests to an upstream its kind; those whose upstreams compare bytes have none. */
async function kindsOf(
  { catalog, words }: Plan,
  routes: Routes,
  ignoreCase: boolean
): Promise<Map<RouteInfo, Kind>> {
  const kinds = new Map<RouteInfo, Kind>()
  const known = new Map<string, Kind>()
  const guards = catalog.concerns.filter(
    ({ override, options, gate, guardsAccess }) =>
      override !== false && (guardsAccess ?? gate ?? schemaOf(options, 'mode') !== undefined)
  )
  const write = optionWriter()
  await forEachSliced(routes, ([planned, info]) => {
    const target = catalog.targets.find(({ key }) => key === planned.target)
    const names = target?.upstreams?.(planned.options as never) ?? []
    const origins = [...new Set(names.flatMap((name) => originsOf(name, words['upstreams'])))].toSorted()
    if (origins.length === 0) return
    const gates = new Map<string, string>()
    for (const { key } of guards) {
      const options = planned.words[key]
      // A gate that only reports keeps nobody out.
      if (isObject(options) && options['mode'] !== 'report') gates.set(key, write(options))
    }
    const folded = planned.paths.some((path) =>
      literalsOf(path, ignoreCase).some((literal) => foldSegment(literal) !== literal)
    )
    const text = JSON.stringify([origins, info.hosts, [...gates], folded])
    let kind = known.get(text)
    if (kind === undefined) {
      kind = { origins, hosts: info.hosts, gates, folded }
      known.set(text, kind)
    }
    kinds.set(info, kind)
  })
  return kinds
}

/** Names options by a text that is the same for the same options; each set of options is looked at once. */
function optionWriter(): (options: object) => string {
  const written = new WeakMap<object, string>()
  const short = new Map<string, string>()
  const functions = new Map<unknown, number>()
  const plain = (key: string, value: unknown): unknown => {
    if (key === 'global') return undefined
    if (typeof value === 'function') {
      if (!functions.has(value)) functions.set(value, functions.size)
      return `function ${functions.get(value)}`
    }
    return isObject(value)
      ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : value
  }
  return (options) => {
    const known = written.get(options)
    if (known !== undefined) return known
    const made = JSON.stringify(options, plain)
    const name = getOrCreate(short, made, () => String(short.size))
    written.set(options, name)
    return name
  }
}

/** Lists the gates of `other` that a request which comes to `kind` does not meet, where the two share an upstream and a host. */
function gatesPast(kind: Kind, other: Kind): readonly string[] {
  if (kind === other || !kind.origins.some((origin) => other.origins.includes(origin))) return []
  if (!shareHost(kind.hosts, other.hosts)) return []
  return [...other.gates].filter(([key, options]) => kind.gates.get(key) !== options).map(([key]) => key)
}

const shareHost = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === 0 ||
  b.length === 0 ||
  a.some((one) => b.some((other) => one === other || hostIsWithin(one, other) || hostIsWithin(other, one)))

const hostIsWithin = (host: string, wildcard: string): boolean =>
  wildcard.startsWith('*.') && host.slice(host.indexOf('.')) === wildcard.slice(1)

// A route without a host is looked at on so many hosts that others of its upstream name.
const MAX_HOSTS = 16

/** Gathers some hosts of the routes to each origin. */
function hostsByOrigin(kinds: Iterable<Kind>): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>()
  for (const { origins, hosts } of kinds)
    for (const origin of origins) {
      const known = getOrCreate(found, origin, () => new Set<string>())
      if (known.size < MAX_HOSTS && hosts[0] !== undefined) known.add(hosts[0])
    }
  return found
}

function rememberBy<K, V>(make: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>()
  return (key) => getOrCreate(known, key, () => make(key))
}

const literalsOf = ({ segments }: PathPattern, ignoreCase: boolean): string[] =>
  segments.flatMap((segment) =>
    'parameter' in segment ? [] : ignoreCase ? segment.literal.toLowerCase() : segment.literal
  )

/** Finds the routes some path of which may be read as one of a neighbour with other gates; for each, whether that holds for paths without an unusual character, too. It may name too many, never too few. */
async function neighboursOf(
  routes: Routes,
  kinds: ReadonlyMap<RouteInfo, Kind>
): Promise<Map<RouteInfo, boolean>> {
  const found = new Map<RouteInfo, boolean>()
  if (new Set(kinds.values()).size < 2) return found
  // What stands below a start of literals, what may take any segment behind one, and what is just that.
  const below = new Map<string, Set<Kind>>()
  const open = new Map<string, Set<Kind>>()
  const exact = new Map<string, Map<string, Set<Kind>>>()
  const add = <K>(to: Map<K, Set<Kind>>, key: K, kind: Kind): void => {
    const known = to.get(key)
    if (known === undefined) to.set(key, new Set([kind]))
    else known.add(kind)
  }
  const starts = new Map<PathPattern, Start>()
  await forEachSliced(routes, ([{ paths }, info]) => {
    const kind = kinds.get(info)
    if (kind === undefined) return
    for (const path of paths) {
      const start = startOf(path)
      starts.set(path, start)
      for (const each of start.prefixes) add(below, each, kind)
      const last = start.prefixes.at(-1) ?? ''
      if (start.open || path.wildcard) add(open, last, kind)
      if (start.open) continue
      const those = exact.get(last) ?? new Map<string, Set<Kind>>()
      exact.set(last, those)
      add(those, start.written, kind)
    }
  })
  await forEachSliced(routes, ([{ paths }, info]) => {
    const kind = kinds.get(info)
    if (kind === undefined) return
    for (const path of paths) {
      const start = starts.get(path)
      if (start === undefined) continue
      const last = start.prefixes.at(-1) ?? ''
      // A path that is literals alone has one spelling; another entry may be compared as the same by some readers.
      const others: Iterable<Kind>[] =
        start.open || path.wildcard
          ? [below.get(last) ?? []]
          : [...(exact.get(last) ?? [])]
              .filter(([written]) => written !== start.written)
              .map(([, those]) => those)
      if (start.open) for (const each of start.prefixes) others.push(open.get(each) ?? [])
      for (const those of others)
        for (const other of those)
          if (gatesPast(kind, other).length > 0)
            found.set(info, found.get(info) === true || other.folded || kind.folded)
    }
  })
  return found
}

interface Start {
  /** Each start of the literals before the first parameter, in the form that all readers together compare. */
  readonly prefixes: readonly string[]
  /** The literals as the config writes them. */
  readonly written: string
  /** Whether a parameter follows. */
  readonly open: boolean
}

function startOf({ segments }: PathPattern): Start {
  const prefixes = ['']
  let written = ''
  for (const segment of segments) {
    const folded = 'literal' in segment ? foldSegment(segment.literal) : ''
    if (folded === '' || !('literal' in segment)) return { prefixes, written, open: true }
    prefixes.push(`${prefixes.at(-1)}/${folded}`)
    written += `/${segment.literal}`
  }
  return { prefixes, written, open: false }
}

// What an expression may ask for, in the order in which it is tried.
const SAMPLES = ['x', '1', 'a', '12', '2024', 'abc', 'A', 'a-b', 'a1', '00000000-0000-4000-8000-000000000000']

/** Spells a path of a pattern in ways that some servers read as that path; what is most common comes first. */
function otherSpellings({ segments, end }: PathPattern): string[] {
  const plain: string[] = []
  for (const segment of segments) {
    const text =
      'literal' in segment
        ? encodeURI(segment.literal)
        : SAMPLES.find(
            (sample) => segment.expression === '' || new RegExp(`^${segment.expression}$`).test(sample)
          )
    if (text === undefined) return []
    plain.push(text)
  }
  if (end === 'rest') plain.push('x')
  const joined = (change: (text: string, i: number) => string): string[] =>
    plain.map((_, at) => plain.map((text, i) => (i === at ? change(text, i) : `/${text}`)).join(''))
  return [
    ...joined((text, i) => (i === 0 ? `/${text}` : `%2F${text}`)),
    ...joined((text) => `/${text.charAt(0).toUpperCase()}${text.slice(1)}`),
    ...joined((text) => `/${text.toLowerCase()}`),
    ...joined((text) => `/${text};x`),
    ...joined((text) => `/${text}.`),
    ...joined((text) => `/${text}%20`),
    ...joined((text) => `//${text}`),
    ...joined((text, i) => (i === 0 ? `/${text}` : `%252F${text}`))
  ]
}
