import findMyWay from 'find-my-way'
import { matchable } from '../lib/http/canonical-path.ts'
import type { PatternEnd, PatternSegment } from '../lib/path-tree.ts'

/** A path of the config, read into its segments. */
export interface PathPattern {
  /** As written, with the prefixes of its groups. */
  readonly text: string
  /** In the router's syntax, without the final `/*`. */
  readonly base: string
  /** Whether it ends in `/*`. */
  readonly wildcard: boolean
  /** The names of its parameters, each with the index of its segment. */
  readonly params: ReadonlyMap<string, number>
  /** Whether an exact path does not match the same path with a trailing slash; absent where it matches both. */
  readonly withoutSlash?: boolean
  /** The number of segments before the `/*`. */
  readonly depth: number
  /** Equal for all patterns that match the same paths. */
  readonly shape: string
  /** Its segments before the end. */
  readonly segments: readonly PatternSegment[]
  readonly end: PatternEnd
}

/** An invalid path; the message says what would work. */
export class PathError extends Error {}

/** Joins the path of a group and a path inside of it. */
export function joinPaths(prefix: string, path: string): string {
  const outer = prefix === '/' ? '' : prefix.replace(/\/$/, '')
  return outer !== '' && path === '/' ? outer : outer + path
}

/** Reads a path such as "/a/*", "/orders/:id(\\d+)"; throws a PathError. */
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
    end: wildcard ? 'rest' : slash ? 'trailingSlash' : 'exact'
  }
}

/** Returns the shape of a pattern for comparison; an expression keeps its case, since "\\D" is not "\\d". */
export function comparedShape({ shape, segments, end }: PathPattern, ignoreCase: boolean): string {
  if (!ignoreCase) return shape
  const folded = segments.map((segment) =>
    'literal' in segment ? segment.literal.toLowerCase() : `:${segment.expression}`
  )
  if (end !== 'exact') folded.push(end === 'rest' ? '*' : '')
  return `/${folded.join('/')}`
}

// Expressions that passed the check; a config of many routes has few different ones.
const safeExpressions = new Set<string>()

/** Throws a PathError for an expression that the router would refuse. */
function checkExpression(text: string, narrowed: string): void {
  if (narrowed === '' || safeExpressions.has(narrowed)) return
  const wrong = (why: string): PathError => new PathError(`The path "${text}" has "${narrowed}", ${why}`)
  try {
    new RegExp(narrowed)
  } catch {
    throw wrong('which is not a valid regular expression')
  }
  if (closingParenthesis(narrowed) !== narrowed.length - 1)
    throw wrong('which is not one pair of parentheses; "(…)" around all of it would work')
  try {
    findMyWay().on('GET', `/:parameter${narrowed}`, () => {})
  } catch {
    throw wrong(
      'which the router refuses as unsafe: a repetition inside a repetition can take very long; a simpler expression such as "([a-z-]+)" would work'
    )
  }
  safeExpressions.add(narrowed)
}

/** Makes the groups inside an expression non-capturing: the router would read captures as parameters. */
function withoutGroups(expression: string): string {
  if (/\\[1-9k]/.test(expression)) return expression
  return expression.replaceAll(/\\.|\[(?:\\.|[^\]\\])*\]|\((?:\?<\w+>|(?!\?))/g, (part, at: number) =>
    part.startsWith('(') && at > 0 ? '(?:' : part
  )
}

/** Returns the index at which the first parenthesis is closed. */
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

/** Says how a part of a segment is written, such as that of "/add*". */
function partOfSegment(segment: string): string {
  const [, before = '', after = ''] = /^([\w.-]*)\*([\w.-]*)$/.exec(segment) ?? []
  if (before === '' && after === '') return ''
  const part = [before, after].map((literal) => literal.replaceAll('.', '\\\\.')).join('.*')
  return `, and ":name(${part})" a part of one`
}

function readLiteral(text: string, segment: string, last: boolean): string {
  if (segment === '' && !last)
    throw new PathError(`The path "${text}" has an empty segment; one "/" would work`)
  if (segment === '.' || segment === '..')
    throw new PathError(`The path "${text}" has a dot segment, which no request can have`)
  if (segment.includes('*'))
    throw new PathError(
      `The path "${text}" has a "*" that is not at its end; "/*" matches everything below, ":name" one segment${partOfSegment(segment)}`
    )
  if (segment.startsWith(':'))
    throw new PathError(
      `The path "${text}" has "${segment}", which is not a parameter; ":id" or ":id(\\\\d+)" would work`
    )
  const name = foreignParameter(segment)
  if (name !== undefined)
    throw new PathError(
      `The path "${text}" has "${segment}", which is not a parameter; ":${name}" would work`
    )
  if (/[?#\\\p{Cc}]/u.test(segment))
    throw new PathError(
      `The path "${text}" has a character that a path can't have; percent-encode it, and leave the query out`
    )
  let literal: string
  try {
    literal = matchable(decodeURI(segment))
  } catch {
    throw new PathError(`The path "${text}" has a "%" that is not percent-encoding`)
  }
  // The router cannot match characters that stay encoded in every request (a slash, a question mark), nor "*".
  const encoded = /%[0-9A-F]{2}/.exec(literal)?.[0] ?? (literal.includes('*') ? '%2A' : undefined)
  if (encoded !== undefined)
    throw new PathError(`The path "${text}" has "${encoded}", which no route can match; use a parameter`)
  return literal
}

/** Returns the name of a parameter in the syntax of OpenAPI, ASP.NET, Flask or Next.js; other braces and brackets are literals. */
function foreignParameter(segment: string): string | undefined {
  const braces = /\{([A-Za-z_][\w-]*)[^{}]*\}/.exec(segment)
  const angles = /<(?:[^<>]*:)?([A-Za-z_]\w*)>/.exec(segment)
  // "filter[id]" is common in paths, so brackets are a parameter only as a whole segment.
  const brackets = /^\[{1,2}(?:\.\.\.)?([A-Za-z_][\w-]*)\]{1,2}$/.exec(segment)
  return (braces ?? angles ?? brackets)?.[1]?.replaceAll('-', '_')
}
