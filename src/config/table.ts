import { METHODS } from 'node:http'
import { eachInSlices, type Mount, ROUTABLE, type RouteInfo, remember } from '../kit/index.ts'
import { type PathPattern, readPath } from './paths.ts'

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
  /** The hosts that routes name, each with the paths it knows; wildcards by what follows their first label. */
  readonly hosts: ReadonlyMap<string, HostPaths>
  readonly wildcards: ReadonlyMap<string, HostPaths>
}

/** The paths that a host has routes for. */
export interface HostPaths {
  /** What stands before the path in the router; no request can have it in its path. */
  readonly prefix: string
  readonly paths: readonly string[]
}

interface Node {
  readonly url: string
  rank: number
  owners: Entry[]
}

const PREFLIGHT = 'preflight '
const symbols = [...METHODS, ...ROUTABLE.map((method) => PREFLIGHT + method)]

/** Names a preflight among the methods, by the one that it asks about. */
export const preflightAbout = (method: string): string => PREFLIGHT + method

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
  await eachInSlices(nodes, ([shape, node]) => {
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
          remember(urls, owner, () => `${node.url}${MARK}${urls.size}`)
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
    ...(await hostMaps(entries, nodes))
  }
}

async function makeNodes(entries: readonly Entry[], ignoreCase: boolean): Promise<Map<string, Node>> {
  const nodes = new Map<string, Node>()
  const claim = (entry: Entry, url: string, written: string, rank: number): void => {
    const shape = ignoreCase ? written.toLowerCase() : written
    const node = nodes.get(shape)
    if (node === undefined) nodes.set(shape, { url, rank, owners: [entry] })
    else if (rank < node.rank) nodes.set(shape, { url, rank, owners: [entry] })
    else if (rank === node.rank && !node.owners.includes(entry)) node.owners.push(entry)
  }
  await eachInSlices(entries, (entry) => {
    for (const host of entry.info.hosts.length === 0 ? [undefined] : entry.info.hosts) {
      const prefix = host === undefined ? '' : hostPrefix(host)
      for (const { base, wildcard, shape } of entry.paths) {
        const bare = wildcard ? shape.slice(0, -2) : shape.replace(/\/$/, '')
        const path = base.replace(/\/$/, '')
        const last = entry.info.kind === 'notFound' ? 3 : 2
        const own = wildcard ? last : shape.endsWith('/') && shape !== '/' ? undefined : 0
        if (path !== '' && own !== undefined) claim(entry, prefix + path, prefix + bare, own)
        claim(
          entry,
          `${prefix}${path}/`,
          `${prefix}${bare}/`,
          wildcard ? last : own === undefined ? 0 : path === '' ? 0 : 1
        )
        if (wildcard) claim(entry, `${prefix}${path}/*`, `${prefix}${bare}/*`, last)
      }
    }
  })
  await leaveEmpty(nodes)
  return nodes
}

/** Leaves the empty segment in the place of a parameter to whoever takes it otherwise, since the router would take it for a parameter. */
async function leaveEmpty(nodes: Map<string, Node>): Promise<void> {
  const ending: (readonly [shape: string, node: Node])[] = []
  await eachInSlices(nodes, ([shape, node]) => {
    if (shape.includes('/:') && !shape.endsWith('/') && !shape.endsWith('/*')) ending.push([shape, node])
  })
  await eachInSlices(ending, ([shape, { url }]) => {
    const empty = shape.slice(0, shape.lastIndexOf('/:') + 1)
    if (nodes.has(empty)) return
    const wider = widerThan(nodes, empty)
    if (wider !== undefined) nodes.set(empty, { ...wider, url: url.slice(0, url.lastIndexOf('/:') + 1) })
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
  await eachInSlices(nodes.keys(), (shape) => {
    if (shape.includes('/:')) parents.add(shape.slice(0, shape.indexOf('/:') + 1))
  })
  const same = (a: Node | undefined, b: Node): a is Node =>
    a !== undefined &&
    a.owners.length === b.owners.length &&
    a.owners.every((owner, i) => owner === b.owners[i])
  await eachInSlices(nodes, ([shape, node]) => {
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
  await eachInSlices(nodes, ([shape, node]) => {
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

async function hostMaps(
  entries: readonly Entry[],
  nodes: ReadonlyMap<string, Node>
): Promise<Pick<Table, 'hosts' | 'wildcards'>> {
  const hosts = new Map<string, HostPaths>()
  const wildcards = new Map<string, HostPaths>()
  const urls = new Map<string, string[]>()
  await eachInSlices(nodes.values(), ({ url }) => {
    if (!url.startsWith(`/${MARK}`)) return
    const end = url.indexOf('/', 2)
    const prefix = end === -1 ? url : url.slice(0, end)
    const known = urls.get(prefix)
    if (known === undefined) urls.set(prefix, [url.slice(prefix.length)])
    else known.push(url.slice(prefix.length))
  })
  for (const host of new Set(entries.flatMap(({ info }) => info.hosts))) {
    const prefix = hostPrefix(host)
    const known = { prefix, paths: urls.get(prefix) ?? [] }
    if (host.startsWith('*.')) wildcards.set(host.slice(1), known)
    else hosts.set(host, known)
  }
  return { hosts, wildcards }
}

/** Makes the entry for a path written in code, as standing routes have it. */
export const entryFor = (info: RouteInfo): Entry => ({
  info,
  paths: [readPath(info.path)],
  preflights: false
})
