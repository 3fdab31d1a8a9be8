/** How some servers read a path, and how they compare a literal segment of a pattern. */
export interface PathReader {
  readonly name: string
  /** Returns the path as these servers read it; the result is not decoded again. */
  read(path: string): string
  /** Returns the form in which a segment is compared; undefined where it is compared as it is. */
  readonly fold: ((segment: string) => string) | undefined
}

const lower = (text: string): string => text.toLowerCase()

// "/a;b=c/d" is "/a/d" to a servlet container.
const withoutParameters = (path: string): string => path.replaceAll(/;[^/]*/g, '')

const mergeSlashes = (path: string): string => path.replaceAll(/\/{2,}/g, '/')

// Windows and some frameworks drop dots and white space at the end of a name.
const trimSegments = (path: string): string => path.split('/').map(trimEnd).join('/')

// A regular expression would take quadratic time for a long run of dots.
function trimEnd(segment: string): string {
  let end = segment.length
  while (end > 0 && DOT_OR_BLANK.test(segment.charAt(end - 1))) end--
  return segment.slice(0, end)
}

const DOT_OR_BLANK = /[.\s]/

function decode(path: string): string {
  if (!path.includes('%')) return path
  const bytes = path.replaceAll(/%[0-9a-f]{2}|[^%]+|%/gi, (part) =>
    part.length === 3 && part.startsWith('%')
      ? String.fromCharCode(Number.parseInt(part.slice(1), 16))
      : Buffer.from(part, 'utf8').toString('latin1')
  )
  return Buffer.from(bytes, 'latin1').toString('utf8')
}

/** Decodes everything but slashes, as a server does that splits a path before it decodes. */
const decodeSegments = (path: string): string =>
  path.includes('%') ? decode(path.replaceAll(/%2f/gi, '%252F')) : path

/** Returns the form of a segment with all readings applied. */
export const foldSegment = (segment: string): string => trimSegments(withoutParameters(segment)).toLowerCase()

/** The common readings of a path, each alone and all together. */
export const PATH_READERS: readonly PathReader[] = [
  { name: 'decoded', fold: undefined, read: decode },
  { name: 'in lower case', fold: lower, read: (path) => lower(decodeSegments(path)) },
  {
    name: 'without ";" parameters',
    fold: withoutParameters,
    read: (path) => decode(withoutParameters(path))
  },
  { name: 'with "//" merged', fold: undefined, read: (path) => mergeSlashes(decodeSegments(path)) },
  {
    name: 'without dots and blanks at the end of a segment',
    fold: trimSegments,
    read: (path) => trimSegments(decodeSegments(path))
  },
  { name: 'decoded twice', fold: undefined, read: (path) => decode(decode(path)) },
  {
    name: 'all together',
    fold: foldSegment,
    read: (path) =>
      mergeSlashes(
        trimSegments(lower(withoutParameters(decode(withoutParameters(decode(withoutParameters(path)))))))
      )
  }
]

/** Returns whether a path has a character that servers read differently. */
export const hasAmbiguousCharacter = (path: string): boolean => AMBIGUOUS.test(path)

const AMBIGUOUS = /[%;A-Z]|\/\/|\.(?=\/|$)/
