import { type Place, placesOfPattern } from '../places.ts'
import { type Matcher, matcherOf, namedMatchers } from './matchers.ts'
import type { Line } from './parse.ts'

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
