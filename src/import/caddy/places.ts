import { pathText } from '../path-text.ts'
import { type Matcher, matcherOf, namedMatchers } from './matchers.ts'
import type { Line } from './parse.ts'

/** A path of ours, and what Caddy sees of it: the path up to the `/*`. */
export interface Place {
  readonly path: string
  readonly base: string
  /** Whether anything may follow: with a slash in between, or (`partial`) after more characters. */
  readonly rest: 'none' | 'below' | 'partial'
  /** Whether no pattern names it, but a path of ours would take it. */
  readonly isEdge?: boolean
}

export const EVERYWHERE: Place = { path: '/*', base: '', rest: 'below' }

/** Returns whether a pattern of Caddy takes all requests of a place, of which it may see a changed path. */
export function covers(pattern: string, base: string, rest: Place['rest']): boolean {
  if (pattern === '*' || pattern === '/*') return true
  const text =
    base.toLowerCase() + (rest === 'below' ? '/' : rest === 'partial' ? '\0' : base === '' ? '/' : '')
  if (pattern.endsWith('*')) return text.startsWith(pattern.slice(0, -1))
  return rest === 'none' && text === pattern
}

/** Returns the places that the patterns of a block make, and those where ours and Caddy's paths differ. */
export function placesOf(
  lines: readonly Line[],
  prefixes: readonly string[],
  outer: ReadonlyMap<string, Matcher>
): Place[] {
  const named = namedMatchers(lines, outer)
  const stripped = lines.flatMap(({ words }) => {
    const at = words.indexOf('strip_prefix')
    return words[0] === 'uri' && at !== -1 ? [words[at + 1] ?? ''] : []
  })
  const own = [...prefixes, ...stripped.flatMap((strip) => prefixes.map((prefix) => prefix + strip))]
  return lines.flatMap((line): Place[] => {
    const [name = '', ...words] = line.words
    if (name.startsWith('@')) return []
    const { matcher } = matcherOf(words, named)
    const patterns = [...(matcher.paths ?? []), ...matcher.notPaths]
    const inner = name === 'handle_path' ? own.map((prefix) => prefix + stripOf(matcher)) : own
    const nested =
      line.block !== undefined && /^(?:handle|handle_path|route)$/.test(name)
        ? placesOf(line.block, inner, named)
        : []
    return [
      ...own.flatMap((prefix) => patterns.flatMap((pattern) => placesOfPattern(prefix, pattern))),
      ...nested
    ]
  })
}

/** Returns the prefix that `handle_path` strips. */
export const stripOf = ({ paths = [] }: Pick<Matcher, 'paths'>): string =>
  (paths[0] ?? '').replace(/\/?\*$/, '')

function placesOfPattern(prefix: string, pattern: string): Place[] {
  const whole = prefix + pattern
  if (/^\/?\*$/.test(pattern) && prefix === '') return []
  const base = whole.replace(/\/?\*$/, '')
  const segments = base.split('/')
  const last = segments.pop() ?? ''
  const exact: Place[] = [
    { path: base === '' ? '/' : pathText(base), base, rest: 'none', isEdge: whole.endsWith('/*') },
    ...(base === ''
      ? []
      : [
          {
            path: `${pathText(base)}/`,
            base: `${base}/`,
            rest: 'none',
            isEdge: !whole.endsWith('/*')
          } as const
        ])
  ]
  if (!whole.endsWith('*')) return exact
  const below: Place = { path: base === '' ? '/*' : `${pathText(base)}/*`, base, rest: 'below' }
  if (whole.endsWith('/*')) return [below, ...exact]
  const start = last.replaceAll(/[\\^$.|?*+()[\]{}]/g, '\\$&')
  return [
    below,
    ...exact,
    {
      path: `${segments.join('/') === '' ? '' : pathText(segments.join('/'))}/:p1(${start}.+)/*`,
      base,
      rest: 'partial'
    }
  ]
}
