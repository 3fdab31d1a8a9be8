import { readPath } from '../../config/paths.ts'
import type { Mount, RouteInfo } from '../../kit/route-info.ts'
import type { Condition } from '../../lib/conditions/options.ts'
import { getOrCreate } from '../../lib/memoize.ts'
import { type PathTree, segmentsOf } from '../../lib/path-tree.ts'
import { forEachSliced, yieldIfDue } from '../../lib/time-slicing.ts'
import { type Aliases, findAliases, isSplitByMethod } from './aliases.ts'
import { findCollisions } from './collisions.ts'
import { classifyMethods, type MethodClasses, methodMaps } from './method-classes.ts'
import { METHOD_SYMBOLS } from './methods.ts'
import {
  allowedMethods,
  type Entry,
  entriesFor,
  entryFor,
  hasOneRoute,
  hostPrefix,
  isConditional,
  MARK,
  makeNodes,
  type PatternNode
} from './nodes.ts'
import { makePicker, type Picker } from './picker.ts'
import { makeTrees, type PatternRoutes } from './trees.ts'
import { findVariants, type Variants } from './variants.ts'

export { isPreflight, preflightFor, symbolOf } from './methods.ts'
export { type Entry, MARK } from './nodes.ts'
export type { PatternRoutes } from './trees.ts'
export type { ConditionalEntry } from './variants.ts'

/** A mount whose methods have no route: 405 with `Allow`. */
export interface NotAllowed extends Mount {
  readonly allow: readonly string[]
}

/** The routes of a place, and the conditions that choose among them. */
export interface ConditionalPlace {
  readonly infos: readonly RouteInfo[]
  readonly conditions: readonly Condition[]
}

/** A mount whose methods have routes with conditions only: 404 where none of these holds. */
export interface Unmet extends Mount {
  readonly conditions: readonly Condition[]
}

/** The route of each request, in the form that Fastify's router needs: host before path before method. */
export interface Table {
  readonly mounts: ReadonlyMap<RouteInfo, readonly Mount[]>
  readonly notAllowed: readonly NotAllowed[]
  readonly unmet: readonly Unmet[]
  /** The places of which some routes have conditions. */
  readonly conditional: readonly ConditionalPlace[]
  /** The method under which the router stores each method; methods that all routes treat alike share one. */
  readonly methods: ReadonlyMap<string, string>
  /** The same for preflights, by the method they ask for. */
  readonly preflights: ReadonlyMap<string, string>
  /** The paths that the router gets instead of others, so that each route is registered once, such as "/a" for "/a/". */
  readonly aliases: Readonly<Pick<Aliases, 'get'>>
  /** The hosts of routes, each with its prefix in the router; wildcards by the part after their first label. */
  readonly hosts: ReadonlyMap<string, string>
  readonly wildcards: ReadonlyMap<string, string>
  /** Returns whether the host of a prefix has a route for a path. */
  hasPath(prefix: string, path: string): boolean
  /** Returns the prefix of the route that a request comes to, among patterns that collide and routes with conditions; undefined where there are none. */
  readonly pick: Picker | undefined
  /** Returns the patterns with their routes, by host prefix, which is empty for routes without a host; segments are compared as `fold` returns them. */
  treesOf(fold?: (segment: string) => string): ReadonlyMap<string, PathTree<PatternRoutes>>
}

/** Options of a table besides its routes. */
export interface TableSettings {
  /** The methods of each route that a plugin registers itself. */
  readonly plugins?: readonly (readonly string[])[]
  readonly ignoreCase?: boolean
}

/** Assigns hosts, paths and methods to routes, with as few registrations in the router as possible. */
export async function makeTable(
  entries: readonly Entry[],
  { plugins = [], ignoreCase = false }: TableSettings = {}
): Promise<Table> {
  const nodes = makeNodes(entries, ignoreCase)
  await yieldIfDue()
  const fold = ignoreCase ? lower : undefined
  const collisions = findCollisions(nodes, fold)
  const variants = findVariants(nodes)
  const { hosts, wildcards } = hostMaps(entries)
  const prefixed = collisions.size + variants.size
  // Otherwise no request asks for a tree.
  const trees = prefixed + hosts.size + wildcards.size === 0 ? undefined : makeTrees(nodes, collisions, fold)
  await yieldIfDue()
  const classes = await classifyMethods(nodes, plugins)
  return {
    ...(await mountNodes(nodes, classes, variants)),
    ...methodMaps(classes),
    hosts,
    wildcards,
    hasPath: (prefix, path) => trees?.get(prefix)?.find(segmentsOf(path)) !== undefined,
    pick:
      prefixed === 0 || trees === undefined ? undefined : makePicker({ collisions, variants, trees }, fold),
    treesOf: (own) =>
      makeTrees(
        nodes,
        collisions,
        own === undefined || fold === undefined ? (own ?? fold) : (text) => own(fold(text))
      )
  }
}

const lower = (text: string): string => text.toLowerCase()

/** Returns the URLs and methods under which each route is registered. */
async function mountNodes(
  nodes: ReadonlyMap<string, PatternNode>,
  classes: MethodClasses,
  variants: ReadonlyMap<PatternNode, Variants>
): Promise<Pick<Table, 'mounts' | 'notAllowed' | 'unmet' | 'conditional' | 'aliases'>> {
  const routable = routableClasses(classes)
  const mounts = new Map<RouteInfo, Mount[]>()
  const notAllowed: NotAllowed[] = []
  const unmet: Unmet[] = []
  const conditional: ConditionalPlace[] = []
  const mount = (info: RouteInfo, at: Mount): void =>
    void getOrCreate(mounts, info, (): Mount[] => []).push(at)
  const mountEntry = (entry: Entry | undefined, at: Mount, node: PatternNode): void => {
    if (entry === undefined) notAllowed.push({ ...at, allow: allowedMethods(node) })
    else mount(entry.info, at)
  }
  const { aliases, aliased } = findAliases(nodes)
  await forEachSliced(nodes, ([shape, node]) => {
    if (aliased.has(node)) return
    const [only] = node.entries
    if (only !== undefined && hasOneRoute(node)) {
      mount(only.info, { url: node.url, method: routable })
      return
    }
    if (isSplitByMethod(shape, node)) {
      const { urls, urlBySymbol } = urlPerEntry(node)
      for (const [entry, url] of urls) mountEntry(entry, { url, method: [...routable] }, node)
      aliases.set(shape, urlBySymbol)
      // An alias of this path is one for each method, too.
      if (aliases.get(`${shape}/`) === shape) aliases.set(`${shape}/`, urlBySymbol)
      return
    }
    const ofNode = variants.get(node)
    if (ofNode === undefined)
      for (const [entry, method] of classesPerEntry(node, classes, entryFor))
        mountEntry(entry, { url: node.url, method }, node)
    else {
      const infos = node.entries.map(({ info }) => info)
      const conditions = infos.flatMap(({ when }) => when.flat())
      conditional.push({ infos, conditions })
      for (const [entry, method] of classesPerEntry(node, classes, entryOrUnmet)) {
        const at = { url: node.url, method }
        if (entry === 'unmet') unmet.push({ ...at, conditions })
        else mountEntry(entry, at, node)
      }
      for (const entry of node.entries.filter(isConditional))
        for (const [own, method] of classesPerEntry(node, classes, (_node, symbol) =>
          entriesFor(node, symbol).includes(entry) ? entry : undefined
        ))
          if (own !== undefined) mount(own.info, { url: ofNode.prefixOf(entry) + node.url, method })
    }
  })
  return { mounts, notAllowed, unmet, conditional, aliases }
}

/** Returns the classes of methods that are routed: all but that of TRACE and CONNECT. */
const routableClasses = ({ classOf, nameOf }: MethodClasses): string[] =>
  nameOf.filter((name) => name !== nameOf[classOf[METHOD_SYMBOLS.indexOf('TRACE')] ?? 0])

/** Gives each entry of a node a URL of its own, and each method the URL of its entry. */
function urlPerEntry(node: PatternNode): {
  urls: Map<Entry | undefined, string>
  urlBySymbol: Map<string, string>
} {
  const urls = new Map<Entry | undefined, string>()
  const urlBySymbol = new Map<string, string>()
  for (const symbol of METHOD_SYMBOLS)
    urlBySymbol.set(
      symbol,
      getOrCreate(urls, entryFor(node, symbol), () => `${node.url}${MARK}${urls.size}`)
    )
  return { urls, urlBySymbol }
}

/** Returns the routed classes of methods for each of what `find` returns. */
function classesPerEntry<T>(
  node: PatternNode,
  classes: MethodClasses,
  find: (node: PatternNode, symbol: string) => T
): Map<T, string[]> {
  const { classOf, nameOf } = classes
  const routable = new Set(routableClasses(classes))
  const found = new Map<T, string[]>()
  for (const [i, symbol] of METHOD_SYMBOLS.entries()) {
    const name = nameOf[classOf[i] ?? 0] ?? ''
    const names = routable.has(name) ? getOrCreate(found, find(node, symbol), (): string[] => []) : []
    if (!names.includes(name)) names.push(name)
  }
  return found
}

const entryOrUnmet = (node: PatternNode, symbol: string): Entry | 'unmet' | undefined =>
  entryFor(node, symbol) ?? (entriesFor(node, symbol).length > 0 ? 'unmet' : undefined)

function hostMaps(entries: readonly Entry[]): Pick<Table, 'hosts' | 'wildcards'> {
  const hosts = new Map<string, string>()
  const wildcards = new Map<string, string>()
  for (const host of new Set(entries.flatMap(({ info }) => info.hosts)))
    if (host.startsWith('*.')) wildcards.set(host.slice(1), hostPrefix(host))
    else hosts.set(host, hostPrefix(host))
  return { hosts, wildcards }
}

/** Makes the entry of a route whose path is defined in code, such as a built-in route. */
export const entryForPath = (info: RouteInfo): Entry => ({
  info,
  paths: [readPath(info.path)],
  preflights: false
})
