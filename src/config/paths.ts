import findMyWay from 'find-my-way'
import { matchable } from '../lib/http/canonical-path.ts'
import type { PatternEnd, PatternSegment } from '../lib/path-tree.ts'

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
  /** Whether an exact path takes only itself, and not the same with a slash behind it; absent where it takes both. */
  readonly withoutSlash?: boolean
  /** How many segments stand before the `/*`. */
  readonly depth: number
  /** The same for all patterns that match the same paths. */
  readonly shape: string
  /** Its segments before the end. */
  readonly segments: readonly PatternSegment[]
  readonly end: PatternEnd
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
  const read: PatternSegment[] = []
  segments.forEach((segment, i) => {
    const param = /^:([A-Za-z_]\w*)(\(.+\))?$/.exec(segment)
    if (param !== null) {
      const [, name = '', written = ''] = param
      if (params.has(name))
        throw new PathError(`The path "${text}" has the parameter ":${name}" twice; give one another name`)
      checkExpression(text, written)
      const narrowed = withoutGroups(written)
      params.set(name, i)
      made.push(`:${name}${narrowed}`)
      shape.push(`:${narrowed}`)
      read.push({ parameter: name, expression: narrowed })
    } else {
      const literal = readLiteral(text, segment, i === segments.length - 1)
      made.push(literal.replaceAll(':', '::'))
      shape.push(literal)
      read.push({ literal })
    }
  })
  const base = made.length === 0 ? '' : `/${made.join('/')}`
  const slash = !wildcard && segments.at(-1) === ''
  if (slash) read.pop()
  return {
    text,
    base,
    wildcard,
    params,
    depth: segments.length,
    shape: `${base === '' && wildcard ? '' : '/'}${shape.join('/')}${wildcard ? '/*' : ''}`,
    segments: read,
    end: wildcard ? 'rest' : slash ? 'slash' : 'exact'
  }
}

/** The shape of a pattern as paths are compared; an expression keeps its case, since "\\D" is not "\\d". */
export function comparedShape({ shape, segments, end }: PathPattern, ignoreCase: boolean): string {
  if (!ignoreCase) return shape
  const folded = segments.map((segment) =>
    'literal' in segment ? segment.literal.toLowerCase() : `:${segment.expression}`
  )
  if (end !== 'exact') folded.push(end === 'rest' ? '*' : '')
  return `/${folded.join('/')}`
}

// An expression that passed once; a config of many routes has few of them.
const safe = new Set<string>()

/** Refuses an expression that the router would not take; throws a PathError. */
function checkExpression(text: string, narrowed: string): void {
  if (narrowed === '' || safe.has(narrowed)) return
  const wrong = (why: string): PathError => new PathError(`The path "${text}" has "${narrowed}", ${why}`)
  try {
    new RegExp(narrowed)
  } catch {
    throw wrong('which is not a valid regular expression')
  }
  if (closingParenthesis(narrowed) !== narrowed.length - 1)
    throw wrong('which is not one pair of parentheses; "(…)" around all of it would do')
  try {
    findMyWay().on('GET', `/:parameter${narrowed}`, () => {})
  } catch {
    throw wrong(
      'which the router refuses as unsafe: a repetition inside a repetition can take very long; a simpler expression such as "([a-z-]+)" would do'
    )
  }
  safe.add(narrowed)
}

/** Makes the groups inside an expression capture nothing: the router would take what they capture for further parameters. */
function withoutGroups(expression: string): string {
  if (/\\[1-9k]/.test(expression)) return expression
  return expression.replaceAll(/\\.|\[(?:\\.|[^\]\\])*\]|\((?:\?<\w+>|(?!\?))/g, (part, at: number) =>
    part.startsWith('(') && at > 0 ? '(?:' : part
  )
}

/** Finds where the first parenthesis is closed. */
function closingParenthesis(expression: string): number {
  let depth = 0
  for (let i = 0; i < expression.length; i++) {
    if (expression[i] === '\\') i++
    else if (expression[i] === '(') depth++
    else if (expression[i] === ')' && --depth === 0) return i
  }
  return -1
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
  const name = foreignParameter(segment)
  if (name !== undefined)
    throw new PathError(`The path "${text}" has "${segment}", which is no parameter; ":${name}" would do`)
  if (/[?#\\\p{Cc}]/u.test(segment))
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
  // An encoded "*" is not one of the router's either.
  const encoded = /%[0-9A-F]{2}/.exec(literal)?.[0] ?? (literal.includes('*') ? '%2A' : undefined)
  if (encoded !== undefined)
    throw new PathError(`The path "${text}" has "${encoded}", which no route can name; a parameter takes it`)
  return literal
}

/** Finds the name of what OpenAPI, ASP.NET, Flask or Next.js would take for a parameter; other braces and brackets are literals. */
function foreignParameter(segment: string): string | undefined {
  const braces = /\{([A-Za-z_][\w-]*)[^{}]*\}/.exec(segment)
  const angles = /<(?:[^<>]*:)?([A-Za-z_]\w*)>/.exec(segment)
  // "filter[id]" is common in paths, so brackets are a parameter as a whole segment alone.
  const brackets = /^\[{1,2}(?:\.\.\.)?([A-Za-z_][\w-]*)\]{1,2}$/.exec(segment)
  return (braces ?? angles ?? brackets)?.[1]?.replaceAll('-', '_')
}
