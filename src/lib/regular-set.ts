/** Inclusive ranges of UTF-16 code units, sorted and disjoint. */
export type CharRanges = readonly (readonly [first: number, last: number])[]

/** A regular set of texts, in a form that can be read one character at a time; equal sets mostly have equal keys. */
export type RegularSet = { readonly key: string } & (
  | { readonly kind: 'none' | 'empty' }
  | { readonly kind: 'chars'; readonly ranges: CharRanges }
  | { readonly kind: 'sequence'; readonly first: RegularSet; readonly rest: RegularSet }
  | { readonly kind: 'choice'; readonly options: readonly RegularSet[] }
  | { readonly kind: 'repeat'; readonly inner: RegularSet; readonly min: number; readonly max: number }
)

const LAST_CHAR = 0xffff

/** Any single character. */
export const ANY_CHAR: CharRanges = [[0, LAST_CHAR]]

/** The set without a text. */
export const NONE: RegularSet = { kind: 'none', key: '0' }
/** The set of the empty text alone. */
export const EMPTY: RegularSet = { kind: 'empty', key: '1' }

/** Returns the set of single characters in ranges. */
export const chars = (ranges: CharRanges): RegularSet =>
  ranges.length === 0 ? NONE : { kind: 'chars', ranges, key: `[${ranges.join(';')}]` }

/** Returns the set of texts of one set followed by texts of another. */
export function sequence(first: RegularSet, rest: RegularSet): RegularSet {
  if (first.kind === 'none' || rest.kind === 'none') return NONE
  if (first.kind === 'empty') return rest
  if (rest.kind === 'empty') return first
  if (first.kind === 'sequence') return sequence(first.first, sequence(first.rest, rest))
  return { kind: 'sequence', first, rest, key: `(${first.key}.${rest.key})` }
}

/** Returns the set of texts that are in any of some sets. */
export function choice(sets: readonly RegularSet[]): RegularSet {
  const options = new Map<string, RegularSet>()
  for (const set of sets)
    for (const option of set.kind === 'choice' ? set.options : [set])
      if (option.kind !== 'none') options.set(option.key, option)
  const [only, ...others] = [...options.values()].toSorted((a, b) => (a.key < b.key ? -1 : 1))
  if (only === undefined) return NONE
  if (others.length === 0) return only
  return { kind: 'choice', options: [only, ...others], key: `{${[...options.keys()].toSorted().join('|')}}` }
}

/** Returns the set of `min` to `max` texts of a set, one after another. */
export function repeat(inner: RegularSet, min: number, max: number): RegularSet {
  if (max === 0 || inner.kind === 'empty') return EMPTY
  if (min === 1 && max === 1) return inner
  return { kind: 'repeat', inner, min, max, key: `${inner.key}*${min},${max}` }
}

/** Returns the set of one text. */
export const literal = (text: string): RegularSet =>
  Array.from({ length: text.length }, (_, i) => text.charCodeAt(i))
    .map((code) => chars([[code, code]]))
    .reduceRight((rest, char) => sequence(char, rest), EMPTY)

/** Returns the ranges of all characters that are not in some ranges. */
export function complement(ranges: CharRanges): CharRanges {
  const made: [number, number][] = []
  let from = 0
  for (const [first, last] of merged(ranges)) {
    if (first > from) made.push([from, first - 1])
    from = last + 1
  }
  if (from <= LAST_CHAR) made.push([from, LAST_CHAR])
  return made
}

/** Returns ranges sorted, with those that overlap joined. */
export function merged(ranges: CharRanges): CharRanges {
  const made: [number, number][] = []
  for (const [first, last] of ranges.toSorted(([a], [b]) => a - b)) {
    const before = made.at(-1)
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last)
    else made.push([first, last])
  }
  return made
}

/** Returns whether the empty text is in a set. */
export function hasEmpty(set: RegularSet): boolean {
  if (set.kind === 'sequence') return hasEmpty(set.first) && hasEmpty(set.rest)
  if (set.kind === 'choice') return set.options.some(hasEmpty)
  if (set.kind === 'repeat') return set.min === 0 || hasEmpty(set.inner)
  return set.kind === 'empty'
}

/** Returns the set of what may follow a character (Brzozowski, "Derivatives of Regular Expressions"). */
export function after(set: RegularSet, code: number): RegularSet {
  switch (set.kind) {
    case 'chars':
      return set.ranges.some(([first, last]) => first <= code && code <= last) ? EMPTY : NONE
    case 'sequence': {
      const next = sequence(after(set.first, code), set.rest)
      return hasEmpty(set.first) ? choice([next, after(set.rest, code)]) : next
    }
    case 'choice':
      return choice(set.options.map((option) => after(option, code)))
    case 'repeat':
      return sequence(after(set.inner, code), repeat(set.inner, Math.max(0, set.min - 1), set.max - 1))
    case 'none':
    case 'empty':
      return NONE
  }
}
