import { isObject } from '../../lib/schema.ts'
import type { SourceLine } from '../source-text.ts'

/** A part of the config of Traefik, with the line that it stands on. Options are found regardless of case, as in labels. */
export class Node {
  readonly value: unknown
  readonly #lineOf: (path: readonly (string | number)[]) => SourceLine
  readonly #path: readonly (string | number)[]

  constructor(
    value: unknown,
    lineOf: (path: readonly (string | number)[]) => SourceLine,
    path: readonly (string | number)[] = []
  ) {
    this.value = value
    this.#lineOf = lineOf
    this.#path = path
  }

  get line(): SourceLine {
    return this.#lineOf(this.#path)
  }

  /** Returns the line of a place in the config. */
  lineAt(path: readonly (string | number)[]): SourceLine {
    return this.#lineOf(path)
  }

  /** Returns an option; one that is not there has no value. */
  get(...keys: readonly string[]): Node {
    return keys.reduce<Node>((node, key) => node.#inner(key), this)
  }

  /** Returns what an object has, by the names as written. */
  entries(): [string, Node][] {
    return isObject(this.value) ? Object.keys(this.value).map((key) => [key, this.#inner(key)]) : []
  }

  /** Returns the items of a list; a text of labels is one with commas. */
  items(): Node[] {
    if (typeof this.value === 'string')
      return this.value.split(',').map((item) => new Node(item.trim(), this.#lineOf, this.#path))
    if (Array.isArray(this.value))
      return this.value.map((item, i) => new Node(item, this.#lineOf, [...this.#path, i]))
    // Labels write lists as servers[0].
    return isObject(this.value) && Object.keys(this.value).every((key) => /^\d+$/.test(key))
      ? this.entries().map(([, item]) => item)
      : []
  }

  /** Returns the texts of a list. */
  texts(): string[] {
    return this.items().flatMap(({ value }) => (isScalar(value) ? [String(value)] : []))
  }

  /** Returns a text, or a number or boolean as one; undefined for all else. */
  text(): string | undefined {
    return isScalar(this.value) ? String(this.value) : undefined
  }

  /** Returns whether it is `true`, also as a text. */
  isTrue(): boolean {
    return String(this.value).toLowerCase() === 'true'
  }

  /** Returns whether it is there. */
  exists(): boolean {
    return this.value !== undefined && this.value !== null
  }

  #inner(key: string): Node {
    const { value } = this
    if (!isObject(value)) return new Node(undefined, this.#lineOf, this.#path)
    const name = Object.keys(value).find((each) => each.toLowerCase() === key.toLowerCase())
    return new Node(
      name === undefined ? undefined : value[name],
      this.#lineOf,
      name === undefined ? this.#path : [...this.#path, name]
    )
  }
}

const isScalar = (value: unknown): value is string | number | boolean =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
