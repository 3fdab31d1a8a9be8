import { pathText } from '../path-text.ts'
import { globsOf } from '../regex.ts'
import { pathOfRegex, type REST } from '../segments.ts'
import { errorAt } from '../source-text.ts'
import { literal } from '../values.ts'
import type { Directive } from './parse.ts'

/** Which requests a location takes. */
export interface Match {
  readonly kind: 'exact' | 'prefix' | 'regex' | 'named'
  /** As written, without its modifier. */
  readonly text: string
  /** Whether regular expressions are not tried where this prefix matches. */
  readonly isFinal: boolean
  /** The paths that say it; empty for a regular expression that only `globs` can say. */
  readonly paths: readonly string[]
  readonly globs: readonly string[]
  /** Whether paths or globs match the same requests; else they match more. */
  readonly isExact: boolean
  readonly captures: readonly (string | typeof REST)[]
}

/** Reads the arguments of a location. */
export function matchOf({ args, ...line }: Directive): Match {
  const [first = '', second] = args
  const modifier = second === undefined ? (/^(?:=|\^~|~\*?)/.exec(first)?.[0] ?? '') : first
  const text = second ?? first.slice(modifier.length)
  const none = { text, isFinal: false, paths: [], globs: [], isExact: true, captures: [] }
  if (first.startsWith('@')) return { ...none, kind: 'named' }
  if (modifier === '=') return { ...none, kind: 'exact', paths: [pathText(text)] }
  if (modifier === '' || modifier === '^~')
    return {
      ...none,
      kind: 'prefix',
      isFinal: modifier === '^~',
      paths: [`${pathText(text).replace(/\/$/, '')}/*`]
    }
  if (modifier !== '~' && modifier !== '~*')
    throw errorAt(line, `expected a location with =, ~, ~* or ^~, got "${first}"`)
  return regexMatch(text, modifier === '~*')
}

/** Reads a regular expression: a path if that can say it, else globs. */
export function regexMatch(text: string, ignoresCase: boolean): Match {
  const found = /[A-Za-z]/.test(text) && ignoresCase ? undefined : pathOfRegex(text)
  const globs = globsOf(text, { ignoresCase })
  return {
    kind: 'regex',
    text,
    isFinal: false,
    paths: found === undefined ? [] : [found.path],
    globs: globs?.globs.map(literal) ?? ['*'],
    isExact: globs?.isExact ?? false,
    captures: found?.captures ?? []
  }
}
