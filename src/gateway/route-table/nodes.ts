import { comparedShape, type PathPattern } from '../../config/paths.ts'
import type { RouteInfo } from '../../kit/index.ts'
import { ROUTABLE } from '../../lib/http/methods.ts'
import type { PatternEnd, PatternSegment } from '../../lib/path-tree.ts'
import { isRouted, preflightedMethod } from './methods.ts'

/** A route of the table. */
export interface Entry {
  readonly info: RouteInfo
  readonly paths: readonly PathPattern[]
  /** Whether the gateway answers preflights for it, so that they are routed by the method they ask for. */
  readonly preflights: boolean
}

/** Returns whether a route has conditions. */
export const isConditional = ({ info }: Entry): boolean => info.when.length > 0

/** A pattern in the router, with its routes. */
export interface PatternNode {
  url: string
  /** The prefix of its host; empty where it has none. */
  readonly host: string
  readonly segments: readonly PatternSegment[]
  readonly end: PatternEnd
  /** The precedence at the same place: 0 an exact path, 1 its form with a slash, 2 a wildcard, 3 the handler of unmatched requests. */
  rank: number
  entries: Entry[]
}

/** One of several patterns that collide in the router, because they differ only by their regular expressions. */
export interface CollidingPattern {
  readonly node: PatternNode
  /** Its prefix in the router. */
  readonly prefix: string
  matches(segments: readonly string[]): boolean
}

/** Marks what the gateway adds to a path in the router. A canonical path never contains this control character. */
export const MARK = '\u0001'

/** Returns the prefix of a host in the router. It matches no request path, and has no colon, which begins a parameter. */
export const hostPrefix = (host: string): string =>
  `/${MARK}${(host.startsWith('*.') ? host.slice(1) : host).replaceAll(':', MARK)}`

/** Returns the patterns of all routes, by their shape; routes with the same host and path share one. */
export function makeNodes(entries: readonly Entry[], ignoreCase: boolean): Map<string, PatternNode> {
  const nodes = new Map<string, PatternNode>()
  const claim = (
    entry: Entry,
    shape: string,
    made: Pick<PatternNode, 'url' | 'rank' | 'host' | 'segments' | 'end'>
  ): void => {
    const node = nodes.get(shape)
    if (node === undefined || made.rank < node.rank) nodes.set(shape, { ...made, entries: [entry] })
    else if (made.rank === node.rank && !node.entries.includes(entry)) node.entries.push(entry)
  }
  for (const entry of entries) {
    for (const host of entry.info.hosts.length === 0 ? [undefined] : entry.info.hosts) {
      const prefix = host === undefined ? '' : hostPrefix(host)
      for (const pattern of entry.paths) {
        const { base, wildcard, segments, withoutSlash = false } = pattern
        const shape = prefix + comparedShape(pattern, ignoreCase)
        const bare = wildcard ? shape.slice(0, -2) : shape.replace(/\/$/, '')
        const path = base.replace(/\/$/, '')
        const last = entry.info.kind === 'notFound' ? 3 : 2
        const own = wildcard ? last : pattern.end === 'trailingSlash' && path !== '' ? undefined : 0
        if (path !== '' && own !== undefined)
          claim(entry, bare, { url: prefix + path, rank: own, host: prefix, segments, end: 'exact' })
        if (path === '' || own !== 0 || !withoutSlash)
          claim(entry, `${bare}/`, {
            url: `${prefix}${path}/`,
            rank: wildcard ? last : own === undefined ? 0 : path === '' ? 0 : 1,
            host: prefix,
            segments,
            end: 'trailingSlash'
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
  }
  addEmptySegments(nodes)
  return nodes
}

/** Adds a node for an empty last segment where the router would match a parameter. It has the routes of the next wider pattern. */
function addEmptySegments(nodes: Map<string, PatternNode>): void {
  const ending: (readonly [shape: string, node: PatternNode])[] = []
  for (const [shape, node] of nodes) {
    const last = node.segments.at(-1)
    if (node.end === 'exact' && last !== undefined && 'parameter' in last) ending.push([shape, node])
  }
  for (const [shape, { url, host, segments }] of ending) {
    const last = segments.at(-1)
    if (last === undefined || !('parameter' in last)) continue
    const empty = shape.slice(0, -`:${last.expression}`.length)
    if (nodes.has(empty)) continue
    const wider = widerNode(nodes, empty)
    if (wider !== undefined)
      nodes.set(empty, {
        ...wider,
        url: url.slice(0, -`:${last.parameter}${last.expression}`.length),
        host,
        segments: segments.slice(0, -1),
        end: 'trailingSlash'
      })
  }
}

/** Finds the node that matches a path without a node of its own, in the router's order: text before a parameter, deeper before shallower. */
function widerNode(nodes: ReadonlyMap<string, PatternNode>, path: string): PatternNode | undefined {
  const segments = path.split('/').slice(1, -1)
  const hosted = path.startsWith(`/${MARK}`)
  const findFrom = (at: string, i: number): PatternNode | undefined => {
    const segment = segments[i]
    if (segment !== undefined)
      for (const next of hosted && i === 0 ? [segment] : [segment, ':']) {
        const found = findFrom(`${at}/${next}`, i + 1)
        if (found !== undefined) return found
      }
    else if (at !== '' && nodes.has(`${at}/`)) return nodes.get(`${at}/`)
    return hosted && i === 0 ? undefined : nodes.get(`${at}/*`)
  }
  return findFrom('', 0)
}

/** Returns whether one route has all methods of a node, on no condition. */
export const hasOneRoute = ({ entries: [only, ...others] }: PatternNode): boolean =>
  only !== undefined && others.length === 0 && only.info.methods === undefined && !isConditional(only)

/** Returns the entry without conditions for a method, or a preflight, at a node; undefined where there is none. */
export function entryFor(node: PatternNode, symbol: string): Entry | undefined {
  const [only, ...others] = node.entries
  if (only !== undefined && others.length === 0)
    return accepts(only, symbol) && !isConditional(only) ? only : undefined
  return entriesFor(node, symbol).find((entry) => !isConditional(entry))
}

/** Returns the entries for a method, or a preflight, at a node, by precedence. */
export function entriesFor({ entries }: PatternNode, symbol: string): readonly Entry[] {
  const accepting = entries.filter((entry) => accepts(entry, symbol))
  return accepting.length < 2
    ? accepting
    : accepting.toSorted((a, b) => precedenceOf(a, symbol) - precedenceOf(b, symbol))
}

const BUILTIN = 2
const ORDINARY = 4

/** Returns the place of a route among those of a path and a method: those that answer a preflight, that name the method, then built-in ones; the lowest is first. */
export function precedenceOf(entry: Entry, symbol: string): number {
  const { info } = entry
  const own = info.kind === 'builtin' ? BUILTIN : info.methods === undefined ? 1 : 0
  return answersPreflight(entry, symbol) ? own : own + ORDINARY
}

function answersPreflight(entry: Entry, symbol: string): boolean {
  const preflighted = preflightedMethod(symbol)
  return preflighted !== undefined && entry.preflights && hasMethod(entry, preflighted)
}

const accepts = (entry: Entry, symbol: string): boolean =>
  answersPreflight(entry, symbol) ||
  hasMethod(entry, preflightedMethod(symbol) === undefined ? symbol : 'OPTIONS')

const hasMethod = ({ info }: Entry, method: string): boolean =>
  info.methods === undefined ? isRouted(method) : info.methods.includes(method)

/** Returns the methods that a node has routes for, for an `Allow` header. */
export const allowedMethods = (node: PatternNode): string[] =>
  ROUTABLE.filter((method) => entriesFor(node, method).length > 0)
