import { isDeepStrictEqual } from 'node:util'
import { type Path, showPath } from '../config/fault.ts'
import { refuse } from './close.ts'
import { isJsonObject, type Json, type JsonObject } from './json.ts'
import type { Translation } from './translation.ts'
import type { Flaw } from './validate.ts'

/** Closes what has an error in a translated config, so that the rest is valid and nothing is more open than its source. */
export function mend({ path, others, message }: Flaw, translation: Translation): void {
  const { config } = translation
  const { entry, depth } = entryAt(config, path)
  const inner = path.slice(depth)
  const line = translation.lineOf(...objectsAt(config, path)) ?? translation.top
  if (entry === config && isTuning(inner)) {
    translation.missing(line, `${showPath(inner)}: ${message}; left out`)
    deleteAt(config, inner.slice(0, 3))
    return
  }
  const text = `${inner.length === 0 ? '' : `${showPath(inner)}: `}${message}; closed until you have mended it`
  const shut = (route: JsonObject): void => {
    translation.missing(line, text, route)
    refuse(translation, route)
  }
  if (entry === config) {
    leaveOut(inner, shut, translation)
    return
  }
  const before = structuredClone(entry)
  shut(entry)
  const rivals = others.map((each) => entryAt(config, each).entry).filter((each) => each !== config)
  // It was closed before: the error is in what says which requests it takes.
  if (rivals.length === 0 && isDeepStrictEqual(before, entry)) widen(entry, String(inner[0]))
  // One of them gets the requests of both, and must not have fewer gates than the other.
  for (const rival of rivals) if (!isDeepStrictEqual(optionsOf(before), optionsOf(rival))) shut(rival)
  if (rivals.some((rival) => !isDeepStrictEqual(matchersOf(entry), matchersOf(rival)))) {
    // Closed for all requests of its paths, it is the same as any other route there.
    delete entry['when']
    delete entry['methods']
  } else if (rivals.length > 0) subtract(entry, rivals)
}

/** Leaves out the routes that have no path any more; their comments stay. */
export function prune(group: JsonObject, translation: Translation): void {
  const list = group['routes']
  if (!Array.isArray(list)) return
  for (const entry of list.filter(isJsonObject)) {
    prune(entry, translation)
    if (!Array.isArray(entry['path']) || entry['path'].length > 0) continue
    for (const comment of translation.commentsOf(entry)) translation.comment(list, comment)
    list.splice(list.indexOf(entry), 1)
  }
}

/** Returns the objects and lists on the way to a place, the innermost first. */
export function objectsAt(config: JsonObject, path: Path): object[] {
  const found: object[] = [config]
  let value: unknown = config
  for (const key of path) {
    value = Reflect.get(Object(value), key)
    if (typeof value === 'object' && value !== null) found.unshift(value)
  }
  return found
}

// Without these an upstream is another one, or is trusted without a proof.
const VITAL: ReadonlySet<unknown> = new Set(['url', 'targets', 'discover', 'tls', 'host', 'http2'])

/** Returns whether a path leads to an option that an upstream works without. */
const isTuning = ([key, , option]: Path): boolean =>
  key === 'upstreams' && option !== undefined && !VITAL.has(option)

function deleteAt(config: JsonObject, path: Path): void {
  const [parent] = objectsAt(config, path.slice(0, -1))
  if (parent !== undefined) Reflect.deleteProperty(parent, path.at(-1) ?? '')
}

interface Found {
  readonly entry: JsonObject
  /** How many keys of the path lead to the entry. */
  readonly depth: number
}

/** Returns the innermost group or route on the way to a place; the config itself for an option of the root. */
function entryAt(config: JsonObject, path: Path): Found {
  let found: Found = { entry: config, depth: 0 }
  for (;;) {
    const { entry, depth } = found
    const list = path[depth] === 'routes' ? entry['routes'] : undefined
    const inner: Json | undefined = Array.isArray(list) ? list[Number(path[depth + 1])] : undefined
    if (!isJsonObject(inner)) return found
    found = { entry: inner, depth: depth + 2 }
  }
}

/** Leaves out an option of the root and closes what depends on it: the routes that use an upstream, or all of them. */
function leaveOut([key, name]: Path, shut: (route: JsonObject) => void, { config }: Translation): void {
  const upstreams = config['upstreams']
  if (key === 'upstreams' && name !== undefined && isJsonObject(upstreams)) {
    for (const route of leavesOf(config)) if (uses(route, String(name))) shut(route)
    delete upstreams[String(name)]
  } else if (key !== undefined && key !== 'routes') {
    for (const route of leavesOf(config)) shut(route)
    delete config[String(key)]
  }
}

const leavesOf = (group: JsonObject): JsonObject[] =>
  Array.isArray(group['routes']) ? group['routes'].filter(isJsonObject).flatMap(leavesOf) : [group]

function uses(value: Json, upstream: string): boolean {
  if (typeof value !== 'object' || value === null) return false
  return Object.entries(value).some(
    ([key, inner]) => (key === 'upstream' && inner === upstream) || uses(inner, upstream)
  )
}

/** Makes a closed route take more requests where what it takes can't be said; a host that is none takes no requests. */
function widen(entry: JsonObject, key: string): void {
  if (key === 'host') entry['path'] = []
  else if (key === 'path') {
    const paths = [entry['path'] ?? '/*'].flat().map((path) => widerPath(String(path)))
    entry['path'] = paths.length === 1 ? (paths[0] ?? '/*') : [...new Set(paths)]
  } else delete entry[key]
}

// A segment without an expression.
const PLAIN = /^(?:[\w.~!$&'@,;=+%-]*|:\w+)$/

/** Returns the path of everything below the segments that need no expression; the same path if none does. */
export function widerPath(path: string): string {
  const segments = path.replace(/^\//, '').split('/')
  const end = segments.findIndex((segment) => !PLAIN.test(segment))
  return end === -1 ? path : `/${[...segments.slice(0, end), '*'].join('/')}`
}

/** Takes the paths of other entries from one; what is left has no path of theirs. */
function subtract(entry: JsonObject, rivals: readonly JsonObject[]): void {
  const shapes = new Set(rivals.flatMap(pathsOf).map(shapeOf))
  const left = pathsOf(entry).filter((path) => !shapes.has(shapeOf(path)))
  if (left.length === pathsOf(entry).length) return
  entry['path'] = left.length === 1 ? (left[0] ?? '/*') : left
}

const pathsOf = ({ path }: JsonObject): string[] => [path ?? '/*'].flat().map(String)

const shapeOf = (path: string): string => path.replaceAll(/:\w+/g, ':')

const matchersOf = ({ when, methods }: JsonObject): unknown => [when ?? null, methods ?? null]

const MATCHERS: ReadonlySet<string> = new Set(['name', 'host', 'path', 'methods', 'when'])

const optionsOf = (entry: JsonObject): object =>
  Object.fromEntries(Object.entries(entry).filter(([key]) => !MATCHERS.has(key)))
