import { pathText } from './path-text.ts'

/** A path of the source: a literal one, or with `*` at its end one that more characters may follow. */
export interface Pattern {
  readonly text: string
  /** The path of ours, where it has parameters; and the literal text before the first of them. */
  readonly path?: string
  readonly prefix?: string
}

/** A path of ours, and what the source sees of it: the path up to the `/*`. */
export interface Place {
  readonly path: string
  readonly base: string
  /** Whether anything may follow: with a slash in between, or (`partial`) after more characters. */
  readonly rest: 'none' | 'below' | 'partial'
  /** Whether no pattern names it, but a path of ours would take it. */
  readonly isEdge?: boolean
  /** The pattern with parameters that it is. */
  readonly pattern?: string
}

/** The place of all requests that no other place takes. */
export const EVERYWHERE: Place = { path: '/*', base: '', rest: 'below' }

/** Returns whether a pattern takes all requests of a place, of which it may see a changed path. */
export function covers(pattern: string, base: string, rest: Place['rest']): boolean {
  if (pattern === '*' || pattern === '/*') return true
  const text = base + (rest === 'below' ? '/' : rest === 'partial' ? '\0' : base === '' ? '/' : '')
  if (pattern.endsWith('*')) return text.startsWith(pattern.slice(0, -1))
  return rest === 'none' && text === pattern
}

/** Returns the places that a pattern makes below a prefix, and those where our paths take other requests than it does. */
export function placesOfPattern(prefix: string, pattern: string): Place[] {
  const whole = prefix + pattern
  if (/^\/?\*$/.test(pattern) && prefix === '') return []
  const base = whole.replace(/\/?\*$/, '')
  const segments = base.split('/')
  const last = segments.pop() ?? ''
  const exact: Place[] = [
    { path: base === '' ? '/' : pathText(base), base, rest: 'none', isEdge: whole.endsWith('/*') },
    ...(base === '' || base.endsWith('/')
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

/** Returns the place whose path takes the requests of another one, too. */
export function aroundOf({ base, rest }: Place, kept: readonly Place[]): Place | undefined {
  const bare = base.replace(/\/$/, '')
  return kept
    .filter((each) =>
      each.rest === 'below'
        ? base.startsWith(`${each.base}/`) || (rest !== 'partial' && bare === each.base)
        : each.rest === 'none' && each.base === bare
    )
    .toSorted(
      (a, b) => b.base.length - a.base.length || Number(b.rest === 'none') - Number(a.rest === 'none')
    )[0]
}
