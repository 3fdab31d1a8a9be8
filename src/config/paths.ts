import { matchable } from '../kit/index.ts'

/** A path of the config, read into its segments. */
export interface PathPattern {
  /** As people wrote it, with the prefixes of its groups. */
  readonly text: string
  /** As the router takes it, without the final `/*`. */
  readonly base: string
  /** Whether it takes all below. */
  readonly wildcard: boolean
  /** The names of its parameters, each with the index of its segment. */
  readonly params: ReadonlyMap<string, number>
  /** How many segments stand before the `/*`. */
  readonly depth: number
  /** The same for all patterns that match the same paths. */
  readonly shape: string
}

/** What is wrong with a path; its message says what would do. */
export class PathError extends Error {}

/** Joins the path of a group and a path inside of it. */
export function joinPaths(prefix: string, path: string): string {
  const outer = prefix === '/' ? '' : prefix.replace(/\/$/, '')
  return outer !== '' && path === '/' ? outer : outer + path
}

/** Reads a path such as "/a/*", "/orders/:id(\\d+)"; throws a PathError that says what would do. */
export function readPath(text: string): PathPattern {
  const wildcard = text === '/*' || text.endsWith('/*')
  const body = wildcard ? text.slice(0, -2) : text
  const params = new Map<string, number>()
  const segments = body === '' ? [] : splitSegments(body)
  const made: string[] = []
  const shape: string[] = []
  segments.forEach((segment, i) => {
    const param = /^:([A-Za-z_]\w*)(\(.+\))?$/.exec(segment)
    if (param !== null) {
      const [, name = '', narrowed = ''] = param
      if (params.has(name))
        throw new PathError(`The path "${text}" has the parameter ":${name}" twice; give one another name`)
      checkPattern(text, narrowed)
      params.set(name, i)
      made.push(segment)
      shape.push(`:${narrowed}`)
    } else {
      const literal = readLiteral(text, segment, i === segments.length - 1)
      made.push(literal.replaceAll(':', '::'))
      shape.push(literal)
    }
  })
  const base = made.length === 0 ? '' : `/${made.join('/')}`
  return {
    text,
    base,
    wildcard,
    params,
    depth: segments.length,
    shape: `${base === '' && wildcard ? '' : '/'}${shape.join('/')}${wildcard ? '/*' : ''}`
  }
}

function checkPattern(text: string, narrowed: string): void {
  if (narrowed === '') return
  try {
    new RegExp(narrowed)
  } catch {
    throw new PathError(`The path "${text}" has "${narrowed}", which is no regular expression`)
  }
}

// A slash inside the parentheses of a narrowed parameter does not end a segment.
function splitSegments(path: string): string[] {
  const segments: string[] = []
  let depth = 0
  let from = 1
  for (let i = 1; i < path.length; i++) {
    if (path[i] === '\\') i++
    else if (path[i] === '(') depth++
    else if (path[i] === ')') depth--
    else if (path[i] === '/' && depth === 0) {
      segments.push(path.slice(from, i))
      from = i + 1
    }
  }
  segments.push(path.slice(from))
  return segments
}

function readLiteral(text: string, segment: string, last: boolean): string {
  if (segment === '' && !last)
    throw new PathError(`The path "${text}" has an empty segment; one "/" would do`)
  if (segment === '.' || segment === '..')
    throw new PathError(`The path "${text}" has a dot segment, which no request can have`)
  if (segment.includes('*'))
    throw new PathError(
      `The path "${text}" has a "*" that is not its end; "/*" takes all below, ":name" is one segment`
    )
  if (segment.startsWith(':'))
    throw new PathError(
      `The path "${text}" has "${segment}", which is no parameter; ":id" or ":id(\\\\d+)" would do`
    )
  if (/[?#\s\\]/.test(segment))
    throw new PathError(
      `The path "${text}" has a character that a path can't have; percent-encode it, and leave the query out`
    )
  let literal: string
  try {
    literal = matchable(decodeURI(segment))
  } catch {
    throw new PathError(`The path "${text}" has a "%" that is no percent-encoding`)
  }
  // What stays encoded in every request (a slash, a question mark) is no separator there, and no name the router has.
  const encoded = /%[0-9A-F]{2}/.exec(literal)?.[0]
  if (encoded !== undefined)
    throw new PathError(`The path "${text}" has "${encoded}", which no route can name; a parameter takes it`)
  return literal
}
