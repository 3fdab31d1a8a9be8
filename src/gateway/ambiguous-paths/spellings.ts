import type { PathPattern } from '../../config/paths.ts'

// Values that a parameter's expression may match, in the order in which they are tried.
const SAMPLES = ['x', '1', 'a', '12', '2024', 'abc', 'A', 'a-b', 'a1', '00000000-0000-4000-8000-000000000000']

/** Returns a path of a pattern in spellings that some servers read as that path, the most common first. */
export function otherSpellings(pattern: PathPattern): string[] {
  const plain = sampleSegments(pattern)
  const joined = (change: (text: string, i: number) => string): string[] =>
    plain.map((_, at) => plain.map((text, i) => (i === at ? change(text, i) : `/${text}`)).join(''))
  return [
    ...joined((text, i) => (i === 0 ? `/${text}` : `%2F${text}`)),
    ...joined((text) => `/${text.charAt(0).toUpperCase()}${text.slice(1)}`),
    ...joined((text) => `/${text.toLowerCase()}`),
    ...joined((text) => `/${text};x`),
    ...joined((text) => `/${text}.`),
    ...joined((text) => `/${text}%20`),
    ...joined((text) => `//${text}`),
    ...joined((text, i) => (i === 0 ? `/${text}` : `%252F${text}`))
  ]
}

/** Returns a path of a pattern; undefined where none is found for an expression. */
export function samplePath(pattern: Pick<PathPattern, 'segments' | 'end'>): string | undefined {
  const segments = sampleSegments(pattern)
  return segments.length < pattern.segments.length ? undefined : `/${segments.join('/')}`
}

/** Returns the segments of a path of a pattern; none where an expression matches no sample. */
function sampleSegments({ segments, end }: Pick<PathPattern, 'segments' | 'end'>): string[] {
  const plain: string[] = []
  for (const segment of segments) {
    const text =
      'literal' in segment
        ? encodeURI(segment.literal)
        : SAMPLES.find(
            (sample) => segment.expression === '' || new RegExp(`^${segment.expression}$`).test(sample)
          )
    if (text === undefined) return []
    plain.push(text)
  }
  return end === 'rest' ? [...plain, 'x'] : plain
}
