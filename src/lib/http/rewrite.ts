import type { FastifyRequest } from 'fastify'
import type { OptionFault } from '../schema.ts'
import { type Reader, TemplateError, template, type ValueKind } from '../values.ts'
import { canonicalPath } from './canonical-path.ts'
import { encodeValue, pathOf, queryOf } from './url-parts.ts'

/** A path pattern, parsed. */
interface Shape {
  /** Whether it ends in `/*`. */
  readonly wildcard: boolean
  /** The number of segments before the `/*`. */
  readonly depth: number
  /** The index of each parameter's segment. */
  readonly params: ReadonlyMap<string, number>
  /** What each segment before the `/*` matches: a literal in its compared form, or the expression of a parameter. */
  readonly segments: readonly (string | RegExp)[]
}

/** Parses a path pattern of the config. */
export function shapeOf(pattern: string): Shape {
  const wildcard = pattern.endsWith('/*')
  const body = wildcard ? pattern.slice(0, -2) : pattern
  const segments = body === '' ? [] : body.slice(1).split(/\/(?![^(]*\))/)
  const params = new Map<string, number>()
  const matchers = segments.map((segment, i) => {
    const [, name, expression = '(.+)'] = /^:(\w+)(\(.+\))?$/.exec(segment) ?? []
    if (name === undefined) return comparedForm(segment)
    params.set(name, i)
    return new RegExp(`^${expression}$`)
  })
  return { wildcard, depth: segments.length, params, segments: matchers }
}

function comparedForm(segment: string): string {
  try {
    return decodeURIComponent(segment).toLowerCase()
  } catch {
    return segment
  }
}

/** The values that a rewrite may use. */
const KNOWN: readonly ValueKind[] = [
  'params',
  'query',
  'headers',
  'cookies',
  'caller',
  'requestId',
  'host',
  'client',
  'url',
  'method',
  'scheme'
]

/** Returns the path for the upstream: `to` replaces what the pattern matched before `/*`, or the whole of an exact path. */
export type Rewrite = (path: string, request: FastifyRequest) => string

interface RewriteOptions {
  /** Whether what `/*` matches is appended; true by default. */
  readonly rest?: boolean
}

/** Compiles a rewrite for a route with these patterns; `{params.x}` is the encoded segment of the request. Throws a TemplateError. */
export function makeRewrite(
  to: string,
  patterns: readonly string[],
  { rest = true }: RewriteOptions = {}
): Rewrite {
  const shapes = patterns.map(shapeOf)
  const [first] = shapes
  const templates = shapes.map((shape) =>
    template(to, KNOWN, { params: (name) => segmentReader(shape.params.get(name)), ...encodedReaders })
  )
  const base = templates[0]
  if (first === undefined || base === undefined) return (path) => path
  const alike = shapes.every(({ wildcard, depth }) => wildcard === first.wildcard && depth === first.depth)
  if (alike && base.constant) {
    const start = base.render(NO_REQUEST)
    if (!first.wildcard || !rest) return () => start
    const { depth } = first
    const [before, query] = splitAtRest(start)
    return (path) => (before + restOf(path, depth) || '/') + query
  }
  const order = shapes
    .map((_, i) => i)
    .toSorted((a, b) => compareSpecificity(shapes[a] ?? first, shapes[b] ?? first))
  return (path, request) => {
    const i = order.length === 1 ? 0 : (order.find((each) => matches(shapes[each] ?? first, path)) ?? 0)
    const start = checked(templates[i]?.render(request) ?? '')
    const shape = shapes[i]
    if (shape?.wildcard !== true || !rest) return start
    const [before, query] = splitAtRest(start)
    return (before + restOf(path, shape.depth) || '/') + query
  }
}

/** Splits a rewritten path where the rest of the path is inserted: before a final slash and the query. */
function splitAtRest(start: string): [before: string, query: string] {
  const query = queryOf(start)
  return [start.slice(0, start.length - query.length).replace(/\/$/, ''), query]
}

// A constant template does not use the request.
const NO_REQUEST = {} as FastifyRequest

const encoded =
  (kind: ValueKind) =>
  (name: string): Reader => {
    const value = template(name === '' ? `{${kind}}` : `{${kind}.${name}}`)
    return (request) => encodeValue(value.render(request))
  }

const encodedReaders = {
  query: encoded('query'),
  headers: encoded('headers'),
  cookies: encoded('cookies'),
  caller: encoded('caller'),
  url: encoded('url'),
  method: encoded('method')
}

/** Orders patterns as the router does: a literal before a parameter, the longer one first. */
function compareSpecificity(a: Shape, b: Shape): number {
  for (let i = 0; i < Math.min(a.depth, b.depth); i++) {
    const kind = Number(typeof a.segments[i] !== 'string') - Number(typeof b.segments[i] !== 'string')
    if (kind !== 0) return kind
  }
  return b.depth - a.depth || Number(a.wildcard) - Number(b.wildcard)
}

/** Returns a path; throws a refusal where values of the request have added dot segments or empty segments (CWE-22). */
function checked(path: string): string {
  const { refusal } = canonicalPath(path.slice(0, path.length - queryOf(path).length), STRICT)
  if (refusal !== undefined) throw refusal
  return path
}

const STRICT = { encodedSlash: 'keep', doubleSlash: 'reject' } as const

function matches({ wildcard, depth, segments }: Shape, path: string): boolean {
  const parts = (wildcard ? path : path.replace(/(.)\/$/, '$1')).split('/').slice(1)
  if (wildcard ? parts.length < depth : parts.length !== depth) return false
  return segments.every((matcher, i) => {
    const part = parts[i] ?? ''
    return typeof matcher === 'string' ? matcher === comparedForm(part) : matcher.test(part)
  })
}

/** Returns one segment of the canonical path, still encoded. */
const segmentReader =
  (index: number | undefined) =>
  (request: FastifyRequest): string =>
    index === undefined ? '' : (pathOf(request).split('/', index + 2)[index + 1] ?? '')

/** Returns the rest of a path after its first `depth` segments, with its slash. */
export function restOf(path: string, depth: number): string {
  let at = 0
  for (let i = 0; i < depth; i++) {
    at = path.indexOf('/', at + 1)
    if (at === -1) return ''
  }
  return path.slice(at)
}

/** Returns the errors of a rewrite in the config. */
export function rewriteFaults(to: string, paths: readonly string[], path: string[]): OptionFault[] {
  const foreign = foreignSyntax(to, paths)
  if (foreign !== undefined) return [{ path, message: foreign }]
  // Without a value there is nothing to compile.
  if (!to.includes('{')) return []
  try {
    makeRewrite(to, paths)
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error
    return [{ path, message: error.message }]
  }
  return paramFaults(to, paths, path)
}

/** Returns the error for the parameter syntax of other routers and proxies, which would be sent literally. */
function foreignSyntax(to: string, patterns: readonly string[]): string | undefined {
  const known = new Set(patterns.flatMap((pattern) => [...shapeOf(pattern).params.keys()]))
  const [name = 'id'] = known
  const values = `"{params.${name}}" is the value of ":${name}"`
  const rest = 'what "/*" matches is appended automatically'
  const query = queryOf(to)
  const outside = to.slice(0, to.length - query.length)
  for (const segment of outside.split('/')) {
    const colon = /^:([A-Za-z_]\w*)/.exec(segment)?.[1]
    if (colon !== undefined) return `expected "{params.${colon}}", got "${segment}"`
    const dollar = /\$(?:\d+|\{\d+\}|&|<\w+>|[A-Za-z_]\w*)/.exec(segment)?.[0]
    const group = dollar?.replaceAll(/[^\w]/g, '') ?? ''
    if (dollar !== undefined && (/^\d*$/.test(group) || known.has(group)))
      return known.has(group)
        ? `expected "{params.${group}}", got "${dollar}"`
        : `expected a value of the request, got "${dollar}"; ${values}, and ${rest}`
    const own = /\{:?([A-Za-z_]\w*)\}/.exec(segment.replaceAll('{{', ''))?.[1]
    if (own !== undefined && (known.has(own) || segment.includes('{:')))
      return `expected "{params.${own}}", got "{${own}}"`
    if (segment === '*' || segment === '**') return `expected a path, got "${segment}"; ${rest}`
  }
  return undefined
}

/** Returns the error of a text with a path parameter that not every path of the route has, as a list of one fault or none. */
export function paramFaults(
  text: string,
  paths: readonly string[],
  path: OptionFault['path']
): OptionFault[] {
  const known = paths.map((pattern) => [...shapeOf(pattern).params.keys()])
  const missing = [...text.matchAll(/(?<!\{)\{params\.(\w+)\}/g)]
    .map(([, name = '']) => name)
    .find((name) => known.some((params) => !params.includes(name)))
  if (missing === undefined) return []
  const has = new Set(known.flat().map((name) => `:${name}`))
  const list = has.size === 0 ? 'none' : [...has].join(', ')
  return [
    { path, message: `expected a parameter of the path, got "{params.${missing}}"; the path has ${list}` }
  ]
}
