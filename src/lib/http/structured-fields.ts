/** A bare item of a structured field (RFC 9651); only the types that fields of ours use have a value. */
export type BareItem =
  | { readonly type: 'integer' | 'decimal'; readonly value: number }
  | { readonly type: 'string' | 'token'; readonly value: string }
  | { readonly type: 'boolean'; readonly value: boolean }
  | { readonly type: 'other' }

// Each pattern is sticky and matches one bare item (RFC 9651 section 3.3).
const NUMBER = /-?(?:\d{1,12}\.\d{1,3}|\d{1,15})(?![\d.])/y
const STRING = /"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"/y
const TOKEN = /[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*/y
const BOOLEAN = /\?([01])/y
const OTHER = /:[A-Za-z0-9+/=]*:|@-?\d{1,15}(?![\d.])|%"(?:[\x20\x21\x23\x24\x26-\x7e]|%[0-9a-f]{2})*"/y
const KEY = /[a-z*][a-z0-9_.*-]*/y
const COMMA = /[ \t]*,[ \t]*/y
const SPACES = / */y

/** Parses a field that is a List; undefined where it is invalid. The items of inner lists are left out, as are parameters. */
export function parseList(field: string): BareItem[] | undefined {
  const items: BareItem[] = []
  const valid = new Reader(field).members((reader) => {
    const item = reader.member()
    if (item !== undefined) items.push(item)
    return item !== undefined
  })
  return valid ? items : undefined
}

/** Parses a field that is a Dictionary; undefined where it is invalid. The last value of a key wins, as section 4.2.2 says. */
export function parseDictionary(field: string): Map<string, BareItem> | undefined {
  const members = new Map<string, BareItem>()
  const valid = new Reader(field).members((reader) => {
    const key = reader.match(KEY)?.[0]
    if (key === undefined) return false
    const item = reader.match(EQUALS) === undefined ? TRUE : reader.member()
    if (item === undefined || !reader.parameters()) return false
    members.delete(key)
    members.set(key, item)
    return true
  })
  return valid ? members : undefined
}

const EQUALS = /=/y
const SEMICOLON = /; */y
const OPEN = /\( */y
const CLOSE = /\)/y
const TRUE: BareItem = { type: 'boolean', value: true }

/** Reads a structured field from left to right. */
class Reader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text.replace(/^ +| +$/g, '')
  }

  /** Moves past what a sticky pattern matches here; undefined for no match. */
  match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text) ?? undefined
    if (found !== undefined) this.#at = pattern.lastIndex
    return found
  }

  /** Reads members up to the end of the field, each by `read`; returns whether all of it is valid. */
  members(read: (reader: this) => boolean): boolean {
    if (this.#text === '') return true
    for (;;) {
      if (!read(this)) return false
      if (this.#at === this.#text.length) return true
      if (this.match(COMMA) === undefined || this.#at === this.#text.length) return false
    }
  }

  /** Reads an item or an inner list with its parameters. */
  member(): BareItem | undefined {
    const item = this.match(OPEN) === undefined ? this.#bareItem() : this.#innerList()
    return item !== undefined && this.parameters() ? item : undefined
  }

  /** Moves past parameters; returns whether they are valid. */
  parameters(): boolean {
    while (this.match(SEMICOLON) !== undefined) {
      if (this.match(KEY) === undefined) return false
      if (this.match(EQUALS) !== undefined && this.#bareItem() === undefined) return false
    }
    return true
  }

  #innerList(): BareItem | undefined {
    while (this.match(CLOSE) === undefined) {
      if (this.#bareItem() === undefined || !this.parameters()) return undefined
      const spaces = this.match(SPACES)?.[0] ?? ''
      if (spaces === '' && this.#text[this.#at] !== ')') return undefined
    }
    return { type: 'other' }
  }

  #bareItem(): BareItem | undefined {
    const number = this.match(NUMBER)?.[0]
    if (number !== undefined)
      return { type: number.includes('.') ? 'decimal' : 'integer', value: Number(number) }
    const string = this.match(STRING)
    if (string !== undefined)
      return { type: 'string', value: (string[1] as string).replaceAll(/\\(.)/g, '$1') }
    const boolean = this.match(BOOLEAN)?.[1]
    if (boolean !== undefined) return { type: 'boolean', value: boolean === '1' }
    const token = this.match(TOKEN)?.[0]
    if (token !== undefined) return { type: 'token', value: token }
    return this.match(OTHER) === undefined ? undefined : { type: 'other' }
  }
}
