/** The path of an operation, read into its segments. */
export type PathTemplate = readonly TemplateSegment[]

/** A segment: texts, and between each two of them a parameter. */
export interface TemplateSegment {
  readonly literals: readonly string[]
  readonly names: readonly string[]
}

/** Reads a path such as "/a/{x}.{y}". */
export const readTemplate = (path: string): PathTemplate => path.split('/').slice(1).map(readSegment)

function readSegment(text: string): TemplateSegment {
  const parts = text.split(/\{([^{}]*)\}/)
  return {
    literals: parts.filter((_, i) => i % 2 === 0).map(asSent),
    names: parts.filter((_, i) => i % 2 === 1)
  }
}

/** Encodes a text as it is in requests; documents may have it decoded. */
export const asSent = (text: string): string =>
  text.replaceAll(/[^\p{ASCII}]+| /gu, (part) => (part.isWellFormed() ? encodeURIComponent(part) : part))

/** Compares templates for a sort: of as many segments, one with a text where another one has a parameter comes first. */
export function compareTemplates(a: PathTemplate, b: PathTemplate): number {
  if (a.length !== b.length) return a.length - b.length
  for (const [i, segment] of a.entries()) {
    const difference = weight(segment) - weight(b[i] ?? segment)
    if (difference !== 0) return difference
  }
  return 0
}

// A text alone, then a text with parameters, then a parameter alone.
const weight = (segment: TemplateSegment): number =>
  segment.names.length === 0 ? 0 : isBare(segment) ? 2 : 1

/** Returns a text that is equal for templates that match the same paths. */
export const templateKey = (template: PathTemplate): string =>
  template.map(({ literals }) => `/${literals.join('{}')}`).join('')

/** Returns false if no path matches both of two templates, and true otherwise or if it is unknown. */
export const mayOverlap = (one: PathTemplate, other: PathTemplate): boolean =>
  one.length === other.length && one.every((segment, i) => mayMatchBoth(segment, other[i] ?? segment))

function mayMatchBoth(one: TemplateSegment, other: TemplateSegment): boolean {
  const [start = '', otherStart = ''] = [one.literals[0], other.literals[0]]
  const [end = '', otherEnd = ''] = [one.literals.at(-1), other.literals.at(-1)]
  if (one.names.length === 0 && other.names.length === 0) return start === otherStart
  // A parameter has at least one character.
  if (one.names.length === 0) return start.length > lengthOf(other) && fits(start, other)
  if (other.names.length === 0) return otherStart.length > lengthOf(one) && fits(otherStart, one)
  return (
    (start.startsWith(otherStart) || otherStart.startsWith(start)) &&
    (end.endsWith(otherEnd) || otherEnd.endsWith(end))
  )
}

const lengthOf = ({ literals }: TemplateSegment): number =>
  literals.reduce((sum, each) => sum + each.length, 0)

const fits = (text: string, { literals }: TemplateSegment): boolean =>
  text.startsWith(literals[0] ?? '') && text.endsWith(literals.at(-1) ?? '')

/** Returns whether a template is known to match every path that another one matches. */
export const covers = (wide: PathTemplate, narrow: PathTemplate): boolean =>
  wide.length === narrow.length &&
  wide.every((segment, i) => {
    const other = narrow[i] ?? segment
    if (segmentKey(segment) === segmentKey(other)) return true
    return isBare(segment) && (other.names.length > 0 || other.literals[0] !== '')
  })

const segmentKey = ({ literals }: TemplateSegment): string => literals.join('{}')

/** Returns whether a segment is one parameter and nothing else. */
const isBare = ({ literals, names }: TemplateSegment): boolean =>
  names.length === 1 && literals.every((literal) => literal === '')
