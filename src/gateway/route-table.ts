import { type IncomingMessage, METHODS } from 'node:http'
import { comparedShape, type PathPattern, readPath } from '../config/paths.ts'
import type { Mount, RouteInfo } from '../kit/index.ts'
import { ROUTABLE } from '../lib/http/methods.ts'
import { getOrCreate } from '../lib/memoize.ts'
import {
  PathTree,
  type PatternEnd,
  type PatternSegment,
  parameterTest,
  segmentsOf
} from '../lib/path-tree.ts'
import { forEachSliced } from '../lib/time-slicing.ts'

/** A route as the table takes it. */
export interface Entry {
  readonly info: RouteInfo
  readonly paths: readonly PathPattern[]
  /** Whether preflights for it are answered here, so that they must find it by the method they ask about. */
  readonly preflights: boolean
}

/** A path that some methods have no route for: 405 with `Allow`. */
export interface Refused extends Mount {
  readonly allow: readonly string[]
}

/** Which route takes which request: host before path before method, as Fastify's router is told. */
export interface Table {
  readonly mounts: ReadonlyMap<RouteInfo, readonly Mount[]>
  readonly refused: readonly Refused[]
  /** The method under which the router knows a method; the same for all that every route treats alike. */
  readonly methods: ReadonlyMap<string, string>
  /** The same for preflights, by the method they ask about. */
  readonly preflights: ReadonlyMap<string, string>
  /** Paths that stand for another one to the router, so that a route is told to it once: "/a" for the "/a/" of "/a/*", "/a/" for an exact "/a"; by methods and preflights where not all have the same route. */
  readonly aliases: ReadonlyMap<string, string | ReadonlyMap<string, string>>
  /** The hosts that routes name, each with what stands before the path in the router; wildcards by what follows their first label. */
  readonly hosts: ReadonlyMap<string, string>
  readonly wildcards: ReadonlyMap<string, string>
  /** Tells whether a host has a route for a path, by its prefix. */
  knows(prefix: string, path: string): boolean
  /** Finds what stands before a path in the router where several routes share its place; undefined where no place has several. */
  readonly pick: ((host: string, path: string, symbol: string) => string) | undefined
  /** Its patterns with the entries that stand at them, compared as `fold` says; by the prefix of their host, which is empty for those without one. */
  treesOf(fold?: (segment: string) => string): Promise<ReadonlyMap<string, PathTree<PatternEntries>>>
}

/** The entries at one pattern of the table. */
export interface PatternEntries {
  readonly segments: readonly PatternSegment[]
  readonly end: PatternEnd
  /** Finds the entry that takes a method, or a preflight; undefined where that would be 405. */
  takes(symbol: string, segments: readonly string[]): RouteInfo | undefined
  /** Finds all that a method, or a preflight, may come to: those that take it, or the whole pattern where it would be 405. */
  entriesFor(symbol: string, segments: readonly string[]): readonly RouteInfo[]
}

interface Node {
  url: string
  /** The prefix of its host; empty where it has none. */
  readonly host: string
  readonly segments: readonly PatternSegment[]
  readonly end: PatternEnd
  rank: number
  owners: Entry[]
}

/** One of several patterns that the router can't tell apart, since they differ by their expressions alone. */
interface Variant {
  readonly node: Node
  /** What stands before the path in the router. */
  readonly prefix: string
  holds(segments: readonly string[]): boolean
}

const PREFLIGHT = 'preflight '
const symbols = [...METHODS, ...ROUTABLE.map((method) => PREFLIGHT + method)]

/** Names a preflight among the methods, by the one that it asks about. */
export const preflightAbout = (method: string): string => PREFLIGHT + method

/** Tells whether an OPTIONS request is a preflight (Fetch Standard, "CORS-preflight request"). */
export const isPreflight = ({ headers }: IncomingMessage): boolean =>
  headers.origin !== undefined && ROUTABLE.includes(headers['access-control-request-method'] ?? '')

/** Names what a request asks for as the table knows it: its method, or a preflight about one. */
export const symbolOf = (method: string, raw: IncomingMessage): string =>
  method === 'OPTIONS' && isPreflight(raw)
    ? preflightAbout(raw.headers['access-control-request-method'] ?? '')
    : method

/** Marks what only the gateway says to its router: a control character, which a path has neither plain nor encoded. */
export const MARK = '\u0001'

/** What a host is called in the router: never a path of a request, nor a parameter, since it has no colons. */
const hostPrefix = (host: string): string =>
  `/${MARK}${(host.startsWith('*.') ? host.slice(1) : host).replaceAll(':', MARK)}`

/** What a table depends on beside its routes. */
export interface TableSettings {
  /** The methods of each route that a plugin registers by itself. */
  readonly plugins?: readonly (readonly string[])[]
  readonly ignoreCase?: boolean
}

/** Works out which route takes which host, path and method, and tells the router as little as possible: methods that every route treats alike are one method to it. */
export async function makeTable(
  entries: readonly Entry[],
  { plugins = [], ignoreCase = false }: TableSettings = {}
): Promise<Table> {
  const nodes = await makeNodes(entries, ignoreCase)
  const fold = ignoreCase ? lower : undefined
  const shared = await sharedPlaces(nodes, fold)
  const { hosts, wildcards } = hostMaps(entries)
  // A table that no request asks needs no tree.
  const trees =
    shared.size + hosts.size + wildcards.size === 0 ? undefined : await makeTrees(nodes, shared, fold)
  const { classOf, nameOf } = await partition(nodes, plugins)
  const routable = nameOf.filter((name) => name !== nameOf[classOf[symbols.indexOf('TRACE')] ?? 0])
  const mounts = new Map<RouteInfo, Mount[]>()
  const refused: Refused[] = []
  const mount = (info: RouteInfo, made: Mount): void => {
    const known = mounts.get(info)
    if (known === undefined) mounts.set(info, [made])
    else known.push(made)
  }
  const take = (owner: Entry | undefined, made: Mount, node: Node): void => {
    if (owner === undefined) refused.push({ ...made, allow: allowed(node) })
    else mount(owner.info, made)
  }
  const { aliases, folded } = await makeAliases(nodes)
  await forEachSliced(nodes, ([shape, node]) => {
    if (folded.has(node)) return
    const [only] = node.owners
    if (only !== undefined && isAlone(node)) {
      mount(only.info, { url: node.url, method: routable })
      return
    }
    if (isTold(shape, node)) {
      const urls = new Map<Entry | undefined, string>()
      const told = new Map<string, string>()
      for (const symbol of symbols) {
        const owner = ownerOf(node, symbol)
        told.set(
          symbol,
          getOrCreate(urls, owner, () => `${node.url}${MARK}${urls.size}`)
        )
      }
      for (const [owner, url] of urls) take(owner, { url, method: [...routable] }, node)
      aliases.set(shape, told)
      // What stands for it does so for each method.
      if (aliases.get(`${shape}/`) === shape) aliases.set(`${shape}/`, told)
      return
    }
    const owned = new Map<Entry | undefined, Set<string>>()
    for (const [i, symbol] of symbols.entries()) {
      const owner = ownerOf(node, symbol)
      owned.set(owner, (owned.get(owner) ?? new Set()).add(nameOf[classOf[i] ?? 0] ?? ''))
    }
    for (const [owner, names] of owned) {
      const made = { url: node.url, method: [...names].filter((name) => routable.includes(name)) }
      if (made.method.length > 0) take(owner, made, node)
    }
  })
  return {
    mounts,
    refused,
    aliases,
    ...methodMaps(classOf, nameOf),
    hosts,
    wildcards,
    knows: (prefix, path) => trees?.get(prefix)?.find(segmentsOf(path)) !== undefined,
    pick: shared.size === 0 || trees === undefined ? undefined : pickFrom(shared, trees, fold),
    treesOf: (own) =>
      makeTrees(
        nodes,
        shared,
        own === undefined || fold === undefined ? (own ?? fold) : (text) => own(fold(text))
      )
  }
}

const asItIs = (text: string): string => text

const lower = (text: string): string => text.toLowerCase()

/** Finds patterns that differ by their expressions alone, which the router takes for one, and gives each a prefix of its own; in the order in which they are tried: an exact path first, then as in the file. */
async function sharedPlaces(
  nodes: ReadonlyMap<string, Node>,
  fold: ((text: string) => string) | undefined
): Promise<Map<Node, readonly Variant[]>> {
  const places = new Map<string, Node[]>()
  await forEachSliced(nodes.values(), (node) => {
    if (!node.segments.some((segment) => 'parameter' in segment && segment.expression !== '')) return
    const place = node.segments
      .map((segment) =>
        'literal' in segment
          ? (fold?.(segment.literal) ?? segment.literal)
          : segment.expression === ''
            ? ':'
            : ':()'
      )
      .join('/')
    getOrCreate(places, `${node.host}/${place} ${node.end}`, (): Node[] => []).push(node)
  })
  const shared = new Map<Node, readonly Variant[]>()
  let count = 0
  for (const nodesThere of places.values()) {
    if (nodesThere.length === 1) continue
    const variants = nodesThere
      .toSorted((a, b) => a.rank - b.rank)
      .map((node): Variant => {
        const prefix = `/${MARK}${MARK}${count++}`
        node.url = prefix + node.url
        return { node, prefix, holds: parameterTest(node.segments) }
      })
    for (const { node } of variants) shared.set(node, variants)
  }
  return shared
}

/** Picks among the patterns of a shared place: the first that holds and takes the method, else the first that holds; an exact path never falls to a wider one. */
function pickFrom(
  shared: ReadonlyMap<Node, readonly Variant[]>,
  trees: ReadonlyMap<string, PathTree<NodeEntries>>,
  fold: (text: string) => string = asItIs
): (host: string, path: string, symbol: string) => string {
  const starts = new Map<string, Set<string>>()
  for (const { host, segments } of shared.keys())
    getOrCreate(starts, host, () => new Set<string>()).add(fold(literalStart(segments)))
  return (host, path, symbol) => {
    const known = starts.get(host)
    if (known === undefined) return ''
    const compared = fold(path)
    let begins = false
    for (const start of known) begins ||= compared.startsWith(start)
    if (!begins) return ''
    const segments = segmentsOf(path)
    const [found] = trees.get(host)?.find(segments) ?? []
    const variants = found === undefined ? undefined : shared.get(found.node)
    if (variants === undefined) return ''
    const holding = variants.filter((variant) => variant.holds(segments))
    const exact = holding.filter(({ node }) => node.rank === holding[0]?.node.rank)
    const picked = exact.find(({ node }) => ownerOf(node, symbol) !== undefined) ?? exact[0]
    return picked?.prefix ?? ''
  }
}

/** What every path that a pattern takes begins with, where that is written in one way alone. */
function literalStart(segments: readonly PatternSegment[]): string {
  let start = ''
  for (const segment of segments) {
    if (!('literal' in segment) || !PLAIN.test(segment.literal)) break
    start += `/${segment.literal}`
  }
  return `${start}/`
}

interface NodeEntries extends PatternEntries {
  readonly node: Node
}

async function makeTrees(
  nodes: ReadonlyMap<string, Node>,
  shared: ReadonlyMap<Node, readonly Variant[]>,
  fold: ((segment: string) => string) | undefined
): Promise<Map<string, PathTree<NodeEntries>>> {
  const trees = new Map<string, PathTree<NodeEntries>>()
  await forEachSliced(nodes.values(), (node) => {
    const { host, segments, end } = node
    const tree = getOrCreate(trees, host, () => new PathTree<NodeEntries>(fold))
    const variants = shared.get(node)
    const those = (path: readonly string[]): readonly Node[] =>
      variants?.filter(({ holds }) => holds(path)).map((variant) => variant.node) ?? [node]
    tree.add(segments, end, {
      node,
      segments,
      end,
      takes: (symbol, path) =>
        those(path)
          .map((one) => ownerOf(one, symbol)?.info)
          .find((owner) => owner !== undefined),
      entriesFor: (symbol, path) =>
        those(path).flatMap((one) => {
          const owner = ownerOf(one, symbol)
          return (owner === undefined ? one.owners : [owner]).map(({ info }) => info)
        })
    })
  })
  return trees
}

async function makeNodes(entries: readonly Entry[], ignoreCase: boolean): Promise<Map<string, Node>> {
  const nodes = new Map<string, Node>()
  const claim = (
    entry: Entry,
    shape: string,
    made: Pick<Node, 'url' | 'rank' | 'host' | 'segments' | 'end'>
  ): void => {
    const node = nodes.get(shape)
    if (node === undefined || made.rank < node.rank) nodes.set(shape, { ...made, owners: [entry] })
    else if (made.rank === node.rank && !node.owners.includes(entry)) node.owners.push(entry)
  }
  await forEachSliced(entries, (entry) => {
    for (const host of entry.info.hosts.length === 0 ? [undefined] : entry.info.hosts) {
      const prefix = host === undefined ? '' : hostPrefix(host)
      for (const pattern of entry.paths) {
        const { base, wildcard, segments, withoutSlash = false } = pattern
        const shape = prefix + comparedShape(pattern, ignoreCase)
        const bare = wildcard ? shape.slice(0, -2) : shape.replace(/\/$/, '')
        const path = base.replace(/\/$/, '')
        const last = entry.info.kind === 'notFound' ? 3 : 2
        const own = wildcard ? last : pattern.end === 'slash' && path !== '' ? undefined : 0
        if (path !== '' && own !== undefined)
          claim(entry, bare, { url: prefix + path, rank: own, host: prefix, segments, end: 'exact' })
        if (path === '' || own !== 0 || !withoutSlash)
          claim(entry, `${bare}/`, {
            url: `${prefix}${path}/`,
            rank: wildcard ? last : own === undefined ? 0 : path === '' ? 0 : 1,
            host: prefix,
            segments,
            end: 'slash'
          })
        if (wildcard)
          claim(entry, `${bare}/*`, {
            url: `${prefix}${path}/*`,
            rank: last,
            host: prefix,
            segments,
            end: 'rest'
          })
      }
    }
  })
  await leaveEmpty(nodes)
  return nodes
}

/** Leaves the empty segment in the place of a parameter to whoever takes it otherwise, since the router would take it for a parameter. */
async function leaveEmpty(nodes: Map<string, Node>): Promise<void> {
  const ending: (readonly [shape: string, node: Node])[] = []
  await forEachSliced(nodes, ([shape, node]) => {
    const last = node.segments.at(-1)
    if (node.end === 'exact' && last !== undefined && 'parameter' in last) ending.push([shape, node])
  })
  await forEachSliced(ending, ([shape, { url, host, segments }]) => {
    const last = segments.at(-1)
    if (last === undefined || !('parameter' in last)) return
    const empty = shape.slice(0, -`:${last.expression}`.length)
    if (nodes.has(empty)) return
    const wider = widerThan(nodes, empty)
    if (wider !== undefined)
      nodes.set(empty, {
        ...wider,
        url: url.slice(0, -`:${last.parameter}${last.expression}`.length),
        host,
        segments: segments.slice(0, -1),
        end: 'slash'
      })
  })
}

/** Finds what takes a path that has no node of its own, as the router would: a text before a parameter, and what is deeper first. */
function widerThan(nodes: ReadonlyMap<string, Node>, path: string): Node | undefined {
  const segments = path.split('/').slice(1, -1)
  const hosted = path.startsWith(`/${MARK}`)
  const look = (at: string, i: number): Node | undefined => {
    const segment = segments[i]
    if (segment !== undefined)
      for (const next of hosted && i === 0 ? [segment] : [segment, ':']) {
        const found = look(`${at}/${next}`, i + 1)
        if (found !== undefined) return found
      }
    else if (at !== '' && nodes.has(`${at}/`)) return nodes.get(`${at}/`)
    return hosted && i === 0 ? undefined : nodes.get(`${at}/*`)
  }
  return look('', 0)
}

// Characters that a canonical path never has encoded, so that one text is the only way to write the path; the mark is that of a host.
const PLAIN = new RegExp(`^[\\w.~/${MARK}-]*$`)
const PLAIN_OR_ALL = new RegExp(`^[\\w.~/${MARK}-]*\\*?$`)

/** Finds the paths that need no registration of their own; Fastify's boot takes the square of their number. */
async function makeAliases(
  nodes: ReadonlyMap<string, Node>
): Promise<{ aliases: Map<string, string | Map<string, string>>; folded: Set<Node> }> {
  const aliases = new Map<string, string | Map<string, string>>()
  const folded = new Set<Node>()
  // Beside a parameter, "/a/" would be taken for an empty one.
  const parents = new Set<string>()
  await forEachSliced(nodes.keys(), (shape) => {
    if (shape.includes('/:')) parents.add(shape.slice(0, shape.indexOf('/:') + 1))
  })
  const same = (a: Node | undefined, b: Node): a is Node =>
    a !== undefined &&
    a.owners.length === b.owners.length &&
    a.owners.every((owner, i) => owner === b.owners[i])
  await forEachSliced(nodes, ([shape, node]) => {
    if (!PLAIN_OR_ALL.test(shape)) return
    const base = shape.endsWith('/*') ? shape.slice(0, -2) : shape
    const bare = nodes.get(base)
    const slash = nodes.get(`${base}/`)
    if (shape.endsWith('/*')) {
      if (parents.has(`${base}/`) || !same(slash, node)) return
      folded.add(slash)
      if (base === '' || !same(bare, node)) return
      folded.add(bare)
      aliases.set(base, `${base}/`)
    } else if (!shape.endsWith('/') && slash?.rank === 1 && same(slash, node)) {
      folded.add(slash)
      aliases.set(`${base}/`, base)
    }
  })
  return { aliases, folded }
}

/** Tells whether one route takes all methods. */
const isAlone = ({ owners }: Node): boolean => owners.length === 1 && owners[0]?.info.methods === undefined

/** Tells whether the methods of a path are told apart before the router, which is where they have different routes and the path has one spelling: the router would keep all routes once for each class of methods. */
const isTold = (shape: string, node: Node): boolean => PLAIN.test(shape) && !isAlone(node)

/** The entry that takes a method, or a preflight about one, at a path. */
function ownerOf(node: Node, symbol: string): Entry | undefined {
  if (!symbol.startsWith(PREFLIGHT))
    return (
      node.owners.find((entry) => taken(entry, symbol) && entry.info.kind !== 'standing') ??
      node.owners.find((entry) => taken(entry, symbol))
    )
  const about = symbol.slice(PREFLIGHT.length)
  return node.owners.find((entry) => entry.preflights && taken(entry, about)) ?? ownerOf(node, 'OPTIONS')
}

const taken = ({ info }: Entry, method: string): boolean =>
  info.methods === undefined ? method !== 'CONNECT' && method !== 'TRACE' : info.methods.includes(method)

const allowed = (node: Node): string[] => ROUTABLE.filter((method) => ownerOf(node, method) !== undefined)

/** Splits the methods into classes that every path treats alike; each class goes by the name of one method. */
async function partition(
  nodes: ReadonlyMap<string, Node>,
  plugins: readonly (readonly string[])[]
): Promise<{ classOf: number[]; nameOf: string[] }> {
  let classOf = symbols.map(() => 0)
  await forEachSliced(nodes, ([shape, node]) => {
    if (isAlone(node) || isTold(shape, node)) return
    classOf = refine(
      classOf,
      symbols.map((symbol) => {
        const owner = ownerOf(node, symbol)
        return owner === undefined ? -1 : node.owners.indexOf(owner)
      })
    )
  })
  for (const methods of plugins)
    classOf = refine(
      classOf,
      symbols.map((symbol) => (methods.includes(symbol) ? 1 : 0))
    )
  // TRACE and CONNECT are never routed, so they keep a class apart from all that is.
  classOf = refine(
    classOf,
    symbols.map((symbol) => (symbol === 'TRACE' || symbol === 'CONNECT' ? 1 : 0))
  )
  const free = METHODS.toReversed().filter((method) => method !== 'CONNECT' && method !== 'TRACE')
  const nameOf: string[] = []
  for (const name of ['GET', ...symbols]) {
    const own = classOf[symbols.indexOf(name)] ?? 0
    if (!name.startsWith(PREFLIGHT)) nameOf[own] ??= name
  }
  for (const own of new Set(classOf))
    nameOf[own] ??= free.find((method) => !nameOf.includes(method)) ?? 'OPTIONS'
  return { classOf, nameOf }
}

function refine(classOf: readonly number[], by: readonly number[]): number[] {
  const known = new Map<string, number>()
  return classOf.map((own, i) => {
    const signature = `${own} ${by[i]}`
    const made = known.get(signature) ?? known.size
    known.set(signature, made)
    return made
  })
}

function methodMaps(
  classOf: readonly number[],
  nameOf: readonly string[]
): Pick<Table, 'methods' | 'preflights'> {
  const methods = new Map<string, string>()
  const preflights = new Map<string, string>()
  for (const [i, symbol] of symbols.entries()) {
    const name = nameOf[classOf[i] ?? 0] ?? symbol
    if (symbol.startsWith(PREFLIGHT)) preflights.set(symbol.slice(PREFLIGHT.length), name)
    else if (symbol !== 'TRACE' && symbol !== 'CONNECT') methods.set(symbol, name)
  }
  return { methods, preflights }
}

function hostMaps(entries: readonly Entry[]): Pick<Table, 'hosts' | 'wildcards'> {
  const hosts = new Map<string, string>()
  const wildcards = new Map<string, string>()
  for (const host of new Set(entries.flatMap(({ info }) => info.hosts)))
    if (host.startsWith('*.')) wildcards.set(host.slice(1), hostPrefix(host))
    else hosts.set(host, hostPrefix(host))
  return { hosts, wildcards }
}

/** Makes the entry for a path written in code, as standing routes have it. */
export const entryFor = (info: RouteInfo): Entry => ({
  info,
  paths: [readPath(info.path)],
  preflights: false
})
