/** A regular expression of a path as a path of ours. */
export interface RegexPath {
  readonly path: string
  /** What `$1` and so on are: a parameter, or the rest of the path. */
  readonly captures: readonly (string | typeof REST)[]
}

/** Stands for what follows a path's `/*`. */
export const REST = Symbol('rest')

/** Translates an anchored regular expression, segment by segment, such as `^/orders/(\d+)$`; undefined if a path can't say it. */
export function pathOfRegex(written: string): RegexPath | undefined {
  // A slash needs no backslash, but many write one.
  const pattern = written.replaceAll(/(?<!\\)\\\//g, '/')
  if (!pattern.startsWith('^/')) return undefined
  const isEnded = /(?:^|[^\\])\$$/.test(pattern)
  const body = isEnded ? pattern.slice(2, -1) : pattern.slice(2)
  const segments = splitSegments(body)
  if (segments === undefined) return undefined
  const made: string[] = []
  const captures: (string | typeof REST)[] = []
  for (const [i, segment] of segments.entries()) {
    const isLast = i === segments.length - 1
    if (isLast && /^\(?\.\*\)?$/.test(segment)) {
      if (segment.startsWith('(')) captures.push(REST)
      return { path: `/${[...made, '*'].join('/')}`, captures }
    }
    if (isLast && segment === '' && !isEnded) return { path: `/${[...made, '*'].join('/')}`, captures }
    const { text, isOpen, isCapture } = readSegment(segment, isLast && !isEnded, made.length + 1)
    if (text === undefined) return undefined
    made.push(text)
    if (isCapture) captures.push(`p${made.length}`)
    else if (/(?:^|[^\\])\((?!\?)/.test(segment)) return undefined
    if (isOpen) return { path: `/${made.join('/')}/*`, captures }
  }
  return { path: `/${made.join('/')}`, captures }
}

interface Segment {
  readonly text?: string
  /** Whether anything may follow. */
  readonly isOpen: boolean
  readonly isCapture: boolean
}

// "(/|$)" at the end: the segment ends here, and anything may follow.
const BOUNDARY = /\((?:\?:)?(?:\/\|\$|\$\|\/|\/\.\*\|\$|\/\.\*)\)\??$/

function readSegment(segment: string, isUnended: boolean, index: number): Segment {
  const isBounded = BOUNDARY.test(segment)
  const text = segment.replace(BOUNDARY, '')
  const isCapture = /^\((?!\?)[^()]*\)$/.test(text)
  const literal = literalOf(text)
  if (literal !== undefined && !isUnended) return { text: literal, isOpen: false, isCapture: false }
  if (literal !== undefined && isBounded) return { text: literal, isOpen: true, isCapture: false }
  const inner = isCapture ? text.slice(1, -1) : text
  if (inner === '' || /\(\?[!=<]|\\[bBAZz1-9]|[\^$]/.test(inner.replaceAll(/\[\^/g, '[')))
    return { isOpen: false, isCapture }
  const expression = noSlash(inner)
  const isOpen = isUnended || isBounded
  return {
    text: `:p${index}(${isUnended && !isBounded ? `(?:${expression}).*` : expression})`,
    isOpen,
    isCapture
  }
}

// A segment has no slash, so that a negated class need not name it.
const noSlash = (expression: string): string => expression.replaceAll('[^/]', '.').replaceAll('\\/', '/')

/** Returns the literal text of an expression without any special character. */
function literalOf(text: string): string | undefined {
  const plain = text.replaceAll(/\\([^A-Za-z0-9])/g, '')
  if (/[\\^$.|?*+()[\]{}]/.test(plain)) return undefined
  const literal = text.replaceAll(/\\(.)/g, '$1')
  // A colon would begin a parameter, and these are not taken literally.
  return /^[\w.~!$&'@-]*$/.test(literal) ? literal : undefined
}

/** Splits at the slashes outside of groups and classes; undefined if one is inside. */
function splitSegments(body: string): string[] | undefined {
  const segments = ['']
  let depth = 0
  for (let i = 0; i < body.length; i++) {
    const char = body.charAt(i)
    if (char === '\\') {
      segments.push((segments.pop() ?? '') + char + body.charAt(++i))
      continue
    }
    if (char === '[') {
      const end = /^\[\^?\]?(?:\\.|[^\]\\])*\]/.exec(body.slice(i))?.[0]
      if (end === undefined) return undefined
      segments.push((segments.pop() ?? '') + end)
      i += end.length - 1
      continue
    }
    if (char === '(') depth++
    if (char === ')') depth--
    if (char === '/' && depth === 0) segments.push('')
    else if (char === '/' && !BOUNDARY.test(body.slice(body.lastIndexOf('(', i)))) return undefined
    else segments.push((segments.pop() ?? '') + char)
  }
  return depth === 0 ? segments : undefined
}
