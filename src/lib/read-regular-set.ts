import {
  ANY_CHAR,
  type CharRanges,
  chars,
  choice,
  complement,
  EMPTY,
  literal,
  merged,
  type RegularSet,
  repeat,
  sequence
} from './regular-set.ts'

const DIGITS: CharRanges = [[48, 57]]
const WORD: CharRanges = merged([
  [48, 57],
  [65, 90],
  [95, 95],
  [97, 122]
])
// White space and line terminators (ECMA-262, "CharacterClassEscape").
const SPACE: CharRanges = merged([
  [9, 13],
  [32, 32],
  [160, 160],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff]
])
const NOT_NEWLINE = complement([
  [10, 10],
  [13, 13],
  [0x2028, 0x2029]
])

const CLASSES: Readonly<Record<string, CharRanges>> = {
  d: DIGITS,
  D: complement(DIGITS),
  w: WORD,
  W: complement(WORD),
  s: SPACE,
  S: complement(SPACE)
}

const CONTROLS: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, v: 11, f: 12, '0': 0 }

/** What a regular expression has that is no regular set, or that is not read here. */
class NotRegular extends Error {}

/** Reads a pattern in which "*" is any text; `star` is what it stands for. */
export const globSet = (pattern: string, star: CharRanges = ANY_CHAR): RegularSet =>
  pattern
    .split('*')
    .map(literal)
    .reduce((before, part) => sequence(before, sequence(repeat(chars(star), 0, Infinity), part)))

/** Reads a regular expression that has to match a whole text; undefined for one with look-around, back references or word boundaries. */
export function regularSet(source: string): RegularSet | undefined {
  const reader = new Reader(source)
  try {
    return reader.read()
  } catch (error) {
    if (error instanceof NotRegular) return undefined
    throw error
  }
}

class Reader {
  readonly #source: string
  #at = 0

  constructor(source: string) {
    this.#source = source
  }

  read(): RegularSet {
    const set = this.#choice()
    if (this.#at < this.#source.length) throw new NotRegular()
    return set
  }

  #choice(): RegularSet {
    const options = [this.#sequence()]
    while (this.#takes('|')) options.push(this.#sequence())
    return choice(options)
  }

  #sequence(): RegularSet {
    const parts: RegularSet[] = []
    while (this.#at < this.#source.length && !/[|)]/.test(this.#peek())) {
      // An anchor changes nothing at the ends, and means something else in between.
      if (this.#peek() === '^' && parts.length === 0 && this.#at === 0) this.#at++
      else if (this.#peek() === '$' && this.#at === this.#source.length - 1) this.#at++
      else parts.push(this.#quantified(this.#atom()))
    }
    return parts.reduceRight((rest, part) => sequence(part, rest), EMPTY)
  }

  #atom(): RegularSet {
    const char = this.#next()
    if (char === '(') {
      if (this.#takes('?') && !this.#takes(':')) {
        const name = /^<\w+>/.exec(this.#source.slice(this.#at))?.[0]
        if (name === undefined) throw new NotRegular()
        this.#at += name.length
      }
      const inner = this.#choice()
      if (!this.#takes(')')) throw new NotRegular()
      return inner
    }
    if (char === '[') return chars(this.#class())
    if (char === '.') return chars(NOT_NEWLINE)
    if (char === '\\') return chars(this.#escape())
    if (/[\^$*+?]/.test(char)) throw new NotRegular()
    return literal(char)
  }

  #quantified(inner: RegularSet): RegularSet {
    const [written, simple, min, comma, max] =
      /^(?:([*+?])|\{(\d+)(?:(,)(\d*))?\})\??/.exec(this.#source.slice(this.#at)) ?? []
    if (written === undefined) return inner
    this.#at += written.length
    if (simple !== undefined) return repeat(inner, simple === '+' ? 1 : 0, simple === '?' ? 1 : Infinity)
    const least = Number(min)
    return repeat(inner, least, comma === undefined ? least : max === '' ? Infinity : Number(max))
  }

  #class(): CharRanges {
    const isNegated = this.#takes('^')
    const ranges: (readonly [number, number])[] = []
    while (!this.#takes(']')) {
      const first = this.#classPart()
      if (this.#peek() !== '-' || this.#source[this.#at + 1] === ']' || first.length !== 1) {
        ranges.push(...first)
        continue
      }
      this.#at++
      const last = this.#classPart()
      const [from, to] = [first[0]?.[0], last[0]?.[1]]
      if (from === undefined || to === undefined || last.length !== 1 || from > to) throw new NotRegular()
      ranges.push([from, to])
    }
    return isNegated ? complement(ranges) : merged(ranges)
  }

  #classPart(): CharRanges {
    const char = this.#next()
    if (char === '\\') return this.#takes('b') ? [[8, 8]] : this.#escape()
    const code = char.charCodeAt(0)
    return [[code, code]]
  }

  #escape(): CharRanges {
    const char = this.#next()
    const known = CLASSES[char]
    if (known !== undefined) return known
    const control = CONTROLS[char]
    if (control !== undefined) return [[control, control]]
    const hex = /^(?:x([0-9a-f]{2})|u([0-9a-f]{4}))/i.exec(char + this.#source.slice(this.#at))
    if (hex !== null) {
      this.#at += hex[0].length - 1
      const code = Number.parseInt(hex[1] ?? hex[2] ?? '', 16)
      return [[code, code]]
    }
    if (/[1-9bBkcpPux]/.test(char)) throw new NotRegular()
    const code = char.charCodeAt(0)
    return [[code, code]]
  }

  #peek(): string {
    return this.#source[this.#at] ?? ''
  }

  #next(): string {
    const char = this.#source[this.#at++]
    if (char === undefined) throw new NotRegular()
    return char
  }

  #takes(char: string): boolean {
    if (this.#peek() !== char) return false
    this.#at++
    return true
  }
}
