import type { FastifyRequest } from 'fastify'
import { queryOf, template, type ValueKind } from './values.ts'

/** What a path pattern tells about the paths it takes. */
interface Shape {
  /** Whether it ends in `/*`. */
  readonly wildcard: boolean
  /** How many segments stand before the `/*`. */
  readonly depth: number
  /** The index of each parameter's segment. */
  readonly params: ReadonlyMap<string, number>
}

/** Reads the shape of a path as the config writes it. */
export function shapeOf(pattern: string): Shape {
  const wildcard = pattern.endsWith('/*')
  const body = wildcard ? pattern.slice(0, -2) : pattern
  const segments = body === '' ? [] : body.slice(1).split(/\/(?![^(]*\))/)
  const params = new Map<string, number>()
  segments.forEach((segment, i) => {
    const name = /^:(\w+)/.exec(segment)?.[1]
    if (name !== undefined) params.set(name, i)
  })
  return { wildcard, depth: segments.length, params }
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
  const one =
    shapes.length === 1 ||
    shapes.every((shape) => shape.wildcard === first?.wildcard && shape.depth === first.depth)
  const base = made[0]
  if (first === undefined || base === undefined) return (path) => path
  if (one && first.wildcard && base.constant) {
    const prefix = base.text.replace(/\/$/, '')
    const { depth } = first
    return (path) => prefix + restOf(path, depth) || '/'
  }
  if (one && !first.wildcard && base.constant) return () => base.text
  return (path, request) => {
    const i = one
      ? 0
      : Math.max(
          0,
          shapes.findIndex((shape) => fits(shape, path))
        )
    const start = made[i]?.render(request) ?? ''
    const shape = shapes[i]
    return shape?.wildcard === true ? start.replace(/\/$/, '') + restOf(path, shape.depth) || '/' : start
  }
}

const encoded = {
  query: (name: string) => (request: FastifyRequest) =>
    encodeURIComponent(new URLSearchParams(queryOf(request.raw.url ?? '')).get(name) ?? ''),
  headers: (name: string) => (request: FastifyRequest) =>
    encodeURIComponent(String(request.headers[name.toLowerCase()] ?? '')),
  caller: (name: string) => (request: FastifyRequest) =>
    encodeURIComponent(template(`{caller.${name}}`).render(request))
}

const fits = ({ wildcard, depth }: Shape, path: string): boolean => {
  const segments = path.split('/').length - 1
  return wildcard ? segments >= depth : segments === depth
}

/** Reads one segment of the canonical path as it came, still encoded. */
const segmentReader =
  (index: number | undefined) =>
  (request: FastifyRequest): string => {
    const url = request.raw.url ?? '/'
    const end = url.indexOf('?')
    return index === undefined
      ? ''
      : ((end === -1 ? url : url.slice(0, end)).split('/', index + 2)[index + 1] ?? '')
  }

/** What a path has after its first `depth` segments, with the slash. */
export function restOf(path: string, depth: number): string {
  let at = 0
  for (let i = 0; i < depth; i++) {
    at = path.indexOf('/', at + 1)
    if (at === -1) return ''
  }
  return path.slice(at)
}
