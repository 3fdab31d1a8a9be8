import { createHash } from 'node:crypto'
import { isRange } from '../lib/http/networks.ts'
import { isObject } from '../lib/schema.ts'
import { ADDRESSES } from '../lib/units.ts'
import { type Fault, type Path, showPath } from './fault.ts'

/** A `${…}` without a value. */
export interface MissingValue {
  /** What is between the braces. */
  readonly inner: string
  /** The file and the path of the string that contains it. */
  readonly file: string
  readonly path: Path
  /** The schema of the string. */
  readonly wanted: unknown
  /** Returns the whole string with a text in its place. */
  readonly fill: (text: string) => string
}

/** A stand-in for one of a few values, such as true and false, which may not be the one that the variable will have. */
export interface Guess {
  readonly file: string
  readonly path: Path
  readonly inner: string
}

/** Stands in for variables that are not set: equal texts for equal names, of a form that the option takes. */
export class StandIns {
  readonly guesses: Guess[] = []
  /** The names of variables by the text that stands for them. */
  readonly names = new Map<string, string>()
  readonly #places = new Map<string, string[]>()

  /** Returns the text in place of a missing value. */
  textFor({ inner, file, path, wanted, fill }: MissingValue): string {
    const paths = this.#places.get(file) ?? []
    this.#places.set(file, [...paths, showPath(path)])
    const texts = textsFor(inner)
    const text = texts.find((each) => isPlausible(fill(each), wanted))
    if (text !== undefined) {
      this.names.set(text, inner)
      return text
    }
    this.guesses.push({ file, path, inner })
    return choicesOf(wanted)[0] ?? texts[0] ?? ''
  }

  /** Returns whether an error is one of a stand-in: at its place, inside it, or at the options around it. */
  causes({ file, path }: Fault): boolean {
    return (this.#places.get(file) ?? []).some(
      (place) =>
        place === path || path.startsWith(`${place}.`) || place.replace(/(\.[^.]*|\[[^\]]*\])$/, '') === path
    )
  }
}

const MIN_SECRET = 64

/** Lists the forms that a value may have, in the order in which they are tried. */
function textsFor(inner: string): string[] {
  const hash = createHash('sha256').update(inner).digest()
  const name = `unset-${inner.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}`
  const url = `https://${name}.invalid`
  const number = hash.readUInt16BE(0)
  return [
    ...(/(url|uri|origin|endpoint|address)$/i.test(inner) ? [url] : []),
    name,
    name.padEnd(MIN_SECRET, '-'),
    url,
    `http://${name}.invalid`,
    `redis://${name}.invalid`,
    `/${name}`,
    `header:${name}`,
    ...[10_000 + (number % 50_000), 1 + (number % 997), 1 + (number % 97)].flatMap((value) =>
      ['', 's', 'mb', 'kb/s', '%'].map((unit) => `${value}${unit}`)
    ),
    `203.0.113.${1 + (number % 250)}`,
    `sha256:${hash.toString('hex')}`,
    name.replaceAll('-', ''),
    name.replaceAll('-', '').toUpperCase()
  ]
}

/** Returns whether a schema takes a text, or what a text that is a single `${…}` is converted to. */
function isPlausible(text: string, wanted: unknown): boolean {
  if (text.includes('://') && !URL.canParse(text)) return false
  if (!isObject(wanted)) return true
  const { anyOf, type, pattern, minLength, minimum, maximum } = wanted
  if (Array.isArray(anyOf)) return anyOf.some((branch) => isPlausible(text, branch))
  if (wanted['enum'] !== undefined || wanted['const'] !== undefined || type === 'boolean') return false
  if (type === 'integer' || type === 'number')
    return (
      /^\d+$/.test(text) &&
      Number(text) >= Number(minimum ?? 0) &&
      Number(text) <= Number(maximum ?? Infinity)
    )
  if (type !== undefined && type !== 'string') return false
  if (wanted[ADDRESSES] === true && !isRange(text)) return false
  return (
    text.length >= Number(minLength ?? 0) &&
    (typeof pattern !== 'string' || new RegExp(pattern, 'u').test(text))
  )
}

/** Lists the values of a schema that takes only some. */
function choicesOf(wanted: unknown): string[] {
  if (!isObject(wanted)) return []
  if (Array.isArray(wanted['anyOf'])) return wanted['anyOf'].flatMap(choicesOf)
  if (Array.isArray(wanted['enum'])) return wanted['enum'].map(String)
  if (wanted['const'] !== undefined) return [String(wanted['const'])]
  return wanted['type'] === 'boolean' ? ['true'] : []
}
