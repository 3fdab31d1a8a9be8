import type { Failure } from './problem.ts'

/** What readers of a media type want: JSON of any kind, text, a page, or XML. */
export type BodyKind = 'problem+json' | 'text' | 'html' | 'xml'

/** A body that an error may have. */
export interface ErrorBody {
  /** Undefined for a media type that is asked for by its name only. */
  readonly kind: BodyKind | undefined
  /** The Content-Type. */
  readonly type: string
  /** A Content-Security-Policy of its own. */
  readonly policy?: string
  render(failure: Failure): string
}

/** Returns the kind of a media type, in lower case and without parameters; undefined if it has none. */
export function kindOf(type: string): BodyKind | undefined {
  if (type.endsWith('json')) return 'problem+json'
  if (type === 'text/html') return 'html'
  if (type === 'text/plain') return 'text'
  return /[/+]xml$/.test(type) && type !== 'application/xhtml+xml' ? 'xml' : undefined
}

/** Returns the media type of a Content-Type. */
export const mediaTypeOf = ({ type }: ErrorBody): string => type.split(';', 1)[0] ?? type
