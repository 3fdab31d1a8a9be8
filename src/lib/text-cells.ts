import { after, type CharRanges, hasEmpty, type RegularSet } from './regular-set.ts'

/** A text, and in which of some sets it is. */
export interface TextCell {
  readonly text: string
  readonly isIn: readonly boolean[]
}

/** Texts for every way in which a text may be in some sets and not in others. */
export interface TextCells {
  readonly cells: readonly TextCell[]
  /** Whether there is no other way; false if the sets are too complex to tell. */
  readonly complete: boolean
}

// Larger products of sets are given up: patterns of a config have a few dozen.
const MAX_STATES = 3000

/** Finds the shortest text for every combination of sets that some text is in. */
export function textCells(sets: readonly RegularSet[]): TextCells {
  const found = new Map<string, TextCell>()
  const letters = lettersOf(sets)
  const seen = new Set<string>()
  let front: { readonly text: string; readonly states: readonly RegularSet[] }[] = [
    { text: '', states: sets }
  ]
  while (front.length > 0) {
    const next: typeof front = []
    for (const { text, states } of front) {
      const id = states.map(({ key }) => key).join('\n')
      if (seen.has(id)) continue
      if (seen.size >= MAX_STATES) return { cells: [...found.values()], complete: false }
      seen.add(id)
      const isIn = states.map(hasEmpty)
      const cell = isIn.join()
      if (!found.has(cell)) found.set(cell, { text, isIn })
      for (const letter of letters)
        next.push({
          text: text + String.fromCharCode(letter),
          states: states.map((state) => after(state, letter))
        })
    }
    front = next
  }
  return { cells: [...found.values()], complete: true }
}

/** Returns a text that is in one of some sets and in none of others; undefined if there is none, and 'undecided' if that can't be told. */
export function textOutside(
  sets: readonly RegularSet[],
  others: readonly RegularSet[]
): { readonly text: string } | 'undecided' | undefined {
  const { cells, complete } = textCells([...sets, ...others])
  const found = cells.find(
    ({ isIn }) => isIn.slice(0, sets.length).includes(true) && !isIn.slice(sets.length).includes(true)
  )
  if (found !== undefined) return found
  return complete ? undefined : 'undecided'
}

const FRIENDLY = 'xa1bcdeyzAXB02-_.@'

/** Returns one character of each class that the sets treat alike. */
function lettersOf(sets: readonly RegularSet[]): number[] {
  const starts = new Set([0])
  for (const ranges of sets.flatMap(rangesIn))
    for (const [first, last] of ranges) {
      starts.add(first)
      starts.add(last + 1)
    }
  const blocks = [...starts].filter((start) => start <= 0xffff).toSorted((a, b) => a - b)
  const ends = blocks.map((_, i) => (blocks[i + 1] ?? 0x10000) - 1)
  const letters = blocks.map((start, i) => {
    const friendly = FRIENDLY.split('').find((char) => {
      const code = char.charCodeAt(0)
      return start <= code && code <= (ends[i] ?? 0)
    })
    return friendly?.charCodeAt(0) ?? (start < 33 && (ends[i] ?? 0) > 33 ? 33 : start)
  })
  // Blocks that every range treats alike need one letter.
  const all = sets.flatMap(rangesIn)
  const known = new Map<string, number>()
  for (const letter of letters.toSorted((a, b) => rankOf(a) - rankOf(b))) {
    const signature = all
      .map((ranges) => ranges.some(([first, last]) => first <= letter && letter <= last))
      .join()
    if (!known.has(signature)) known.set(signature, letter)
  }
  return [...known.values()]
}

const rankOf = (code: number): number => {
  const at = FRIENDLY.indexOf(String.fromCharCode(code))
  return at === -1 ? (code > 32 && code < 127 ? FRIENDLY.length : FRIENDLY.length + 1) : at
}

function rangesIn(set: RegularSet): CharRanges[] {
  if (set.kind === 'chars') return [set.ranges]
  if (set.kind === 'sequence') return [...rangesIn(set.first), ...rangesIn(set.rest)]
  if (set.kind === 'choice') return set.options.flatMap(rangesIn)
  return set.kind === 'repeat' ? rangesIn(set.inner) : []
}
