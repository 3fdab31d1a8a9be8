import { type QueryFunction, text, texts } from './function.ts'
import { double, QueryError, type Run } from './run.ts'

const ofText = (change: (value: string) => string): QueryFunction => ({
  takes: [['string']],
  call([value], run) {
    run.spendText(text(value).length)
    return change(text(value))
  }
})

const find = (search: (text: string, part: string) => number): QueryFunction => ({
  takes: [['string'], ['string'], ['number', 'null'], ['number', 'null']],
  optional: 2,
  call([value, part, start, end], run) {
    run.spendSearch(text(value), text(part))
    if (value === '' || part === '') return null
    const from = Math.max(0, integer(start, 0))
    const at = search(text(value).slice(from, Math.max(0, integer(end, text(value).length))), text(part))
    return at === -1 ? null : from + at
  }
})

function integer(value: unknown, otherwise: number): number {
  if (value === undefined || value === null) return otherwise
  const number = double(value)
  if (!Number.isSafeInteger(number)) throw new QueryError('a count or a place is a whole number')
  return number
}

function count(value: unknown): number | undefined {
  const number = integer(value, -1)
  if (number < 0 && value !== undefined && value !== null) throw new QueryError('a count is not below zero')
  return number < 0 ? undefined : number
}

const pad = (put: (value: string, fill: string) => string): QueryFunction => ({
  takes: [['string'], ['number'], ['string']],
  optional: 1,
  call([value, width, fill = ' '], run) {
    if (Array.from(text(fill).slice(0, 3)).length !== 1)
      throw new QueryError('a text is padded with one character')
    const missing = (count(width) ?? 0) - text(value).length
    run.spendText(Math.max(0, missing) + text(value).length)
    return missing > 0 ? put(text(value), text(fill).repeat(missing)) : value
  }
})

const trim = (sides: { readonly start: boolean; readonly end: boolean }): QueryFunction => ({
  takes: [['string'], ['string']],
  optional: 1,
  call([value, chars = ''], run) {
    run.spendText(text(value).length + text(chars).length)
    const all = new Set(text(chars))
    const isTrimmed = (char: string): boolean => (all.size === 0 ? /[\s\x85]/.test(char) : all.has(char))
    let [start, end] = [0, text(value).length]
    if (sides.start) while (start < end && isTrimmed(text(value).charAt(start))) start++
    if (sides.end) while (end > start && isTrimmed(text(value).charAt(end - 1))) end--
    return text(value).slice(start, end)
  }
})

function join(parts: readonly string[], separator: string, run: Run): string {
  run.spendText(parts.reduce((length, part) => length + part.length + separator.length, 0))
  return parts.join(separator)
}

/** Splits a text at the first `most` places, or at all. */
function split(value: string, separator: string, most: number | undefined): string[] {
  const parts = value.split(separator)
  return most === undefined || parts.length <= most + 1
    ? parts
    : [...parts.slice(0, most), parts.slice(most).join(separator)]
}

/** The JMESPath functions of strings. */
export const textFunctions = {
  find_first: find((value, part) => value.indexOf(part)),
  find_last: find((value, part) => value.lastIndexOf(part)),
  join: {
    takes: [['string'], ['strings']],
    call: ([separator, items], run) => join(texts(items), text(separator), run)
  },
  lower: ofText((value) => value.toLowerCase()),
  pad_left: pad((value, fill) => fill + value),
  pad_right: pad((value, fill) => value + fill),
  replace: {
    takes: [['string'], ['string'], ['string'], ['number', 'null']],
    optional: 1,
    call([value, part, by, most], run) {
      run.spendSearch(text(value), text(part))
      return join(split(text(value), text(part), count(most)), text(by), run)
    }
  },
  split: {
    takes: [['string'], ['string'], ['number', 'null']],
    optional: 1,
    call([value, separator, most], run) {
      run.spendSearch(text(value), text(separator))
      if (value === '' && separator === '') return []
      const parts = split(text(value), text(separator), count(most))
      run.spend(parts.length)
      return parts
    }
  },
  trim: trim({ start: true, end: true }),
  trim_left: trim({ start: true, end: false }),
  trim_right: trim({ start: false, end: true }),
  upper: ofText((value) => value.toUpperCase()),
  ends_with: {
    takes: [['string'], ['string']],
    call: ([value, part]) => text(value).endsWith(text(part))
  },
  starts_with: {
    takes: [['string'], ['string']],
    call: ([value, part]) => text(value).startsWith(text(part))
  }
} satisfies Readonly<Record<string, QueryFunction>>
