import type { FastifyRequest } from 'fastify'
import type { OptionFault } from '../schema.ts'
import { pathOf, queryOf, queryValue, TemplateError, template, type ValueKind } from '../values.ts'
import { canonicalPath } from './canonical-path.ts'
import { requestHeader } from './headers.ts'

/** What a path pattern tells about the paths it takes. */
interface Shape {
  /** Whether it ends in `/*`. */
  readonly wildcard: boolean
  /** How many segments stand before the `/*`. */
  readonly depth: number
  /** The index of each parameter's segment. */
  readonly params: ReadonlyMap<string, number>
  /** What each segment before the `/*` takes: a text as it is compared, or a pattern for a parameter. */
  readonly segments: readonly (string | RegExp)[]
}

/** Reads the shape of a path as the config writes it. */
export function shapeOf(pattern: string): Shape {
  const wildcard = pattern.endsWith('/*')
  const body = wildcard ? pattern.slice(0, -2) : pattern
  const segments = body === '' ? [] : body.slice(1).split(/\/(?![^(]*\))/)
  const params = new Map<string, number>()
  const taken = segments.map((segment, i) => {
    const [, name, narrowed = '(.+)'] = /^:(\w+)(\(.+\))?$/.exec(segment) ?? []
    if (name === undefined) return plain(segment)
    params.set(name, i)
    return new RegExp(`^${narrowed}$`)
  })
  return { wildcard, depth: segments.length, params, segments: taken }
}

function plain(segment: string): string {
  try {
    return decodeURIComponent(segment).toLowerCase()
  } catch {
    return segment
  }
}

/** The values that a rewrite knows: those whose bytes are the request's own, so that nothing is encoded twice. */
const KNOWN: readonly ValueKind[] = ['params', 'query', 'headers', 'caller', 'requestId', 'host', 'client']

/** Makes the path for the other side out of a canonical path: `to` replaces what the pattern matched before `/*`, or the whole of an exact path (CONFIG "Forwarding"). */
export type Rewrite = (path: string, request: FastifyRequest) => string

/** Compiles a rewrite for a route with these patterns, `{params.x}` being the segment as it came; throws a TemplateError. */
export function makeRewrite(to: string, patterns: readonly string[]): Rewrite {
  const shapes = patterns.map(shapeOf)
  const [first] = shapes
  const made = shapes.map((shape) =>
    template(to, KNOWN, { params: (name) => segmentReader(shape.params.get(name)), ...encoded })
  )
  const base = made[0]
  if (first === undefined || base === undefined) return (path) => path
  const alike = shapes.every(({ wildcard, depth }) => wildcard === first.wildcard && depth === first.depth)
  if (alike && base.constant) {
    const start = base.render(NO_REQUEST)
    if (!first.wildcard) return () => start
    const { depth } = first
    const [before, query] = atQuery(start)
    return (path) => (before + restOf(path, depth) || '/') + query
  }
  const order = shapes.map((_, i) => i).toSorted((a, b) => narrower(shapes[a] ?? first, shapes[b] ?? first))
  return (path, request) => {
    const i = order.length === 1 ? 0 : (order.find((each) => fits(shapes[each] ?? first, path)) ?? 0)
    const start = inPlace(made[i]?.render(request) ?? '')
    const shape = shapes[i]
    if (shape?.wildcard !== true) return start
    const [before, query] = atQuery(start)
    return (before + restOf(path, shape.depth) || '/') + query
  }
}

/** Splits the start of a path where the rest of one goes: before its last slash and its query, where it has these. */
function atQuery(start: string): [before: string, query: string] {
  const query = queryOf(start)
  return [start.slice(0, start.length - query.length).replace(/\/$/, ''), query]
}

// A constant reads nothing of its request.
const NO_REQUEST = {} as FastifyRequest

const encoded = {
  query: (name: string) => (request: FastifyRequest) =>
    encodeURIComponent(queryValue(request.raw.url ?? '', name) ?? ''),
  headers: (name: string) => (request: FastifyRequest) =>
    encodeURIComponent(requestHeader(request, name.toLowerCase()) ?? ''),
  caller: (name: string) => {
    const value = template(`{caller.${name}}`)
    return (request: FastifyRequest) => encodeURIComponent(value.render(request))
  }
}

/** Orders patterns as the router does: a text before a parameter, the longer one first. */
function narrower(a: Shape, b: Shape): number {
  for (let i = 0; i < Math.min(a.depth, b.depth); i++) {
    const kind = Number(typeof a.segments[i] !== 'string') - Number(typeof b.segments[i] !== 'string')
    if (kind !== 0) return kind
  }
  return b.depth - a.depth || Number(a.wildcard) - Number(b.wildcard)
}

/** Refuses a path that values of the request lead out of its place, or make empty in the middle (CWE-22). */
function inPlace(path: string): string {
  const { refusal } = canonicalPath(path.slice(0, path.length - queryOf(path).length), STRICT)
  if (refusal !== undefined) throw refusal
  return path
}

const STRICT = { encodedSlash: 'keep', doubleSlash: 'reject' } as const

function fits({ wildcard, depth, segments }: Shape, path: string): boolean {
  const parts = (wildcard ? path : path.replace(/(.)\/$/, '$1')).split('/').slice(1)
  if (wildcard ? parts.length < depth : parts.length !== depth) return false
  return segments.every((taken, i) => {
    const part = parts[i] ?? ''
    return typeof taken === 'string' ? taken === plain(part) : taken.test(part)
  })
}

/** Reads one segment of the canonical path as it came, still encoded. */
const segmentReader =
  (index: number | undefined) =>
  (request: FastifyRequest): string =>
    index === undefined ? '' : (pathOf(request).split('/', index + 2)[index + 1] ?? '')

/** What a path has after its first `depth` segments, with the slash. */
export function restOf(path: string, depth: number): string {
  let at = 0
  for (let i = 0; i < depth; i++) {
    at = path.indexOf('/', at + 1)
    if (at === -1) return ''
  }
  return path.slice(at)
}

/** Tells what is wrong with a text that makes a path out of another one. */
export function rewriteFaults(to: string, paths: readonly string[], path: string[]): OptionFault[] {
  const foreign = foreignParameter(to, paths)
  if (foreign !== undefined) return [{ path, message: foreign }]
  // Nothing is read where nothing is referred to.
  if (!to.includes('{')) return []
  try {
    makeRewrite(to, paths)
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error
    return [{ path, message: error.message }]
  }
  return paramFaults(to, paths, path)
}

/** Tells of what stands for a parameter or the rest of a path elsewhere, and would go out as it is here. */
function foreignParameter(to: string, patterns: readonly string[]): string | undefined {
  const known = new Set(patterns.flatMap((pattern) => [...shapeOf(pattern).params.keys()]))
  const [name = 'id'] = known
  const values = `"{params.${name}}" is the value of ":${name}"`
  const rest = 'what follows "/*" in the path of the route goes on by itself'
  const query = queryOf(to)
  const outside = to.slice(0, to.length - query.length)
  for (const segment of outside.split('/')) {
    const colon = /^:([A-Za-z_]\w*)/.exec(segment)?.[1]
    if (colon !== undefined) return `"${segment}" is no value of the request; "{params.${colon}}" would do`
    const dollar = /\$(?:\d+|\{\d+\}|&|<\w+>|[A-Za-z_]\w*)/.exec(segment)?.[0]
    const group = dollar?.replaceAll(/[^\w]/g, '') ?? ''
    if (dollar !== undefined && (/^\d*$/.test(group) || known.has(group)))
      return `"${dollar}" is no value of the request; ${known.has(group) ? `"{params.${group}}" would do` : `${values}, and ${rest}`}`
    const own = /\{:?([A-Za-z_]\w*)\}/.exec(segment.replaceAll('{{', ''))?.[1]
    if (own !== undefined && (known.has(own) || segment.includes('{:')))
      return `No value "{${own}}" here; "{params.${own}}" would do`
    if (segment === '*' || segment === '**') return `"${segment}" is no value of the request; ${rest}`
  }
  return undefined
}

/** Tells which path parameter a text refers to that not every path of its route has, as a list of one fault or none. */
export function paramFaults(text: string, paths: readonly string[], path: string[]): OptionFault[] {
  const known = paths.map((pattern) => [...shapeOf(pattern).params.keys()])
  const missing = [...text.matchAll(/(?<!\{)\{params\.(\w+)\}/g)]
    .map(([, name = '']) => name)
    .find((name) => known.some((params) => !params.includes(name)))
  if (missing === undefined) return []
  const has = new Set(known.flat().map((name) => `:${name}`))
  const list = has.size === 0 ? 'none' : [...has].join(', ')
  return [{ path, message: `The path has no parameter ":${missing}"; it has ${list}` }]
}
