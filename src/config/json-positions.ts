import { createScanner, type JSONScanner } from 'jsonc-parser'
import { define } from '../lib/schema.ts'
import type { Path } from './fault.ts'

/** Where a value stands, or the key before it; and where those inside of it do. */
type Mark = number | Marks

interface Marks {
  readonly at: number
  readonly inside: ReadonlyMap<string | number, Mark>
}

/** What a text of JSON says, and at which offset it says it. */
export interface Json {
  readonly value: unknown
  /** Tells where the key at a path stands (or the value, for list items); the nearest part outside of it where there is none. */
  offsetOf(path: Path): number
}

// What jsonc-parser calls its tokens; it exports them as a const enum, which is there for its own build alone.
const OPEN_OBJECT = 1
const CLOSE_OBJECT = 2
const OPEN_LIST = 3
const CLOSE_LIST = 4
const COMMA = 5
const COLON = 6
const NULL = 7
const TRUE = 8
const FALSE = 9
const TEXT = 10
const NUMBER = 11
const END = 17

/** What is no JSON, or says a key twice: somebody else finds the words for it. */
class Odd extends Error {}

/** Reads JSON with comments, one step for each object and list; undefined where anything is wrong with it. */
export function* readMarked(text: string): Generator<void, Json | undefined> {
  const scanner = createScanner(text, true)
  const root: unknown[] = []
  try {
    const mark = yield* read(scanner, next(scanner), root, 0)
    if (next(scanner) !== END) return undefined
    return { value: root[0], offsetOf: (path) => offsetIn(mark, path) }
  } catch (error) {
    if (error instanceof Odd) return undefined
    throw error
  }
}

/** Puts the value that begins with a token into its holder, and tells where it stands. */
function* read(scanner: JSONScanner, token: number, holder: object, key: string | number): Inside {
  if (!opens(token)) return readPlain(scanner, token, holder, key)
  yield
  const at = scanner.getTokenOffset()
  const inside = new Map<string | number, Mark>()
  const made = token === OPEN_LIST ? [] : {}
  put(holder, key, made)
  if (token === OPEN_LIST) yield* readItems(scanner, made, inside)
  else yield* readKeys(scanner, made, inside)
  return { at, inside }
}

type Inside = Generator<void, Mark>

const opens = (token: number): boolean => token === OPEN_OBJECT || token === OPEN_LIST

// Most values have nothing inside, and a generator costs more than they do.
function readPlain(scanner: JSONScanner, token: number, holder: object, key: string | number): number {
  put(holder, key, plainValue(scanner, token))
  return scanner.getTokenOffset()
}

function* readItems(scanner: JSONScanner, list: object, inside: Map<string | number, Mark>): Generator<void> {
  for (let token = next(scanner); token !== CLOSE_LIST; token = following(scanner, CLOSE_LIST))
    inside.set(
      inside.size,
      opens(token)
        ? yield* read(scanner, token, list, inside.size)
        : readPlain(scanner, token, list, inside.size)
    )
}

function* readKeys(scanner: JSONScanner, made: object, inside: Map<string | number, Mark>): Generator<void> {
  for (let token = next(scanner); token !== CLOSE_OBJECT; token = following(scanner, CLOSE_OBJECT)) {
    const key = scanner.getTokenValue()
    const at = scanner.getTokenOffset()
    if (token !== TEXT || inside.has(key) || next(scanner) !== COLON) throw new Odd()
    const value = next(scanner)
    const mark = opens(value) ? yield* read(scanner, value, made, key) : readPlain(scanner, value, made, key)
    inside.set(key, typeof mark === 'number' ? at : { at, inside: mark.inside })
  }
}

function next(scanner: JSONScanner): number {
  const token: number = scanner.scan()
  const error: number = scanner.getTokenError()
  if (error !== 0) throw new Odd()
  return token
}

/** Takes the comma behind an item, which may be the last thing in its list. */
function following(scanner: JSONScanner, close: number): number {
  const token = next(scanner)
  if (token === close) return token
  if (token !== COMMA) throw new Odd()
  return next(scanner)
}

function plainValue(scanner: JSONScanner, token: number): unknown {
  if (token === TEXT) return scanner.getTokenValue()
  if (token === NUMBER) return JSON.parse(scanner.getTokenValue()) as number
  if (token === TRUE) return true
  if (token === FALSE) return false
  if (token === NULL) return null
  throw new Odd()
}

function put(holder: object, key: string | number, value: unknown): void {
  if (Array.isArray(holder)) holder.push(value)
  else define(holder, String(key), value)
}

function offsetIn(root: Mark, path: Path): number {
  let here = root
  for (const key of path) {
    const inner = typeof here === 'number' ? undefined : here.inside.get(key)
    if (inner === undefined) break
    here = inner
  }
  return typeof here === 'number' ? here : here.at
}
