import { createScanner, type JSONScanner } from 'jsonc-parser'
import { define } from '../lib/schema.ts'
import type { Path } from './fault.ts'

/** The offset of a value, or of the key before it, with the offsets inside. */
type Position = number | NestedPositions

interface NestedPositions {
  readonly at: number
  readonly inside: ReadonlyMap<string | number, Position>
}

/** The value of a JSON text, with the offset of each part. */
export interface PositionedJson {
  readonly value: unknown
  /** Returns the offset of the key at a path, or of the item of a list; of the nearest part outside where there is none. */
  offsetOf(path: Path): number
}

// The tokens of jsonc-parser, which exports them as a const enum only.
const OPEN_OBJECT = 1
const CLOSE_OBJECT = 2
const OPEN_ARRAY = 3
const CLOSE_ARRAY = 4
const COMMA = 5
const COLON = 6
const NULL = 7
const TRUE = 8
const FALSE = 9
const STRING = 10
const NUMBER = 11
const END = 17

/** Text that is not JSON, or has a key twice; `readJson` parses it again for the message. */
class Unreadable extends Error {}

/** Reads JSON with comments, one step for each object and list; returns undefined where it is malformed. */
export function* readPositioned(text: string): Generator<void, PositionedJson | undefined> {
  const scanner = createScanner(text, true)
  const root: unknown[] = []
  try {
    const positions = yield* read(scanner, next(scanner), root, 0)
    if (next(scanner) !== END) return undefined
    return { value: root[0], offsetOf: (path) => offsetIn(positions, path) }
  } catch (error) {
    if (error instanceof Unreadable) return undefined
    throw error
  }
}

/** Adds the value that begins with a token to its parent, and returns its position. */
function* read(scanner: JSONScanner, token: number, parent: object, key: string | number): Reading {
  if (!opens(token)) return readScalar(scanner, token, parent, key)
  yield
  const at = scanner.getTokenOffset()
  const inside = new Map<string | number, Position>()
  const value = token === OPEN_ARRAY ? [] : {}
  setIn(parent, key, value)
  if (token === OPEN_ARRAY) yield* readItems(scanner, value, inside)
  else yield* readKeys(scanner, value, inside)
  return { at, inside }
}

type Reading = Generator<void, Position>

const opens = (token: number): boolean => token === OPEN_OBJECT || token === OPEN_ARRAY

// Most values are scalars, and a generator costs more than reading one.
function readScalar(scanner: JSONScanner, token: number, parent: object, key: string | number): number {
  setIn(parent, key, scalarValue(scanner, token))
  return scanner.getTokenOffset()
}

function* readItems(
  scanner: JSONScanner,
  list: object,
  inside: Map<string | number, Position>
): Generator<void> {
  for (let token = next(scanner); token !== CLOSE_ARRAY; token = nextItem(scanner, CLOSE_ARRAY))
    inside.set(
      inside.size,
      opens(token)
        ? yield* read(scanner, token, list, inside.size)
        : readScalar(scanner, token, list, inside.size)
    )
}

function* readKeys(
  scanner: JSONScanner,
  object: object,
  inside: Map<string | number, Position>
): Generator<void> {
  for (let token = next(scanner); token !== CLOSE_OBJECT; token = nextItem(scanner, CLOSE_OBJECT)) {
    const key = scanner.getTokenValue()
    const at = scanner.getTokenOffset()
    if (token !== STRING || inside.has(key) || next(scanner) !== COLON) throw new Unreadable()
    const value = next(scanner)
    const position = opens(value)
      ? yield* read(scanner, value, object, key)
      : readScalar(scanner, value, object, key)
    inside.set(key, typeof position === 'number' ? at : { at, inside: position.inside })
  }
}

function next(scanner: JSONScanner): number {
  const token: number = scanner.scan()
  const error: number = scanner.getTokenError()
  if (error !== 0) throw new Unreadable()
  return token
}

/** Skips the comma after an item; a trailing one is allowed. */
function nextItem(scanner: JSONScanner, close: number): number {
  const token = next(scanner)
  if (token === close) return token
  if (token !== COMMA) throw new Unreadable()
  return next(scanner)
}

function scalarValue(scanner: JSONScanner, token: number): unknown {
  if (token === STRING) return scanner.getTokenValue()
  if (token === NUMBER) return JSON.parse(scanner.getTokenValue()) as number
  if (token === TRUE) return true
  if (token === FALSE) return false
  if (token === NULL) return null
  throw new Unreadable()
}

function setIn(parent: object, key: string | number, value: unknown): void {
  if (Array.isArray(parent)) parent.push(value)
  else define(parent, String(key), value)
}

function offsetIn(root: Position, path: Path): number {
  let here = root
  for (const key of path) {
    const inner = typeof here === 'number' ? undefined : here.inside.get(key)
    if (inner === undefined) break
    here = inner
  }
  return typeof here === 'number' ? here : here.at
}
