import { ConfigError, type Path, showFault } from '../config/fault.ts'
import { readJson } from '../config/read-json.ts'
import { readYaml } from '../config/read-yaml.ts'
import type { Source } from '../config/source.ts'
import { isObject } from '../lib/schema.ts'
import { checkDepth, errorAt, ImportError, type SourceLine, type SourceText } from './source-text.ts'

/** A value of a source in JSON or YAML, with its line. */
export class SourceNode {
  readonly value: unknown
  readonly #source: Source
  readonly #path: Path

  constructor(source: Source, path: Path, value: unknown) {
    this.#source = source
    this.#path = path
    this.value = value
  }

  /** The line of the key or the list item. */
  get line(): SourceLine {
    const { file, line } = this.#source.at(this.#path)
    return { file, line: line ?? 1 }
  }

  /** Whether there is a value that is not null. */
  get exists(): boolean {
    return this.value !== undefined && this.value !== null
  }

  /** Returns the value at a key; it does not exist where this is no object or has no such key. */
  get(key: string): SourceNode {
    const value = isObject(this.value) && Object.hasOwn(this.value, key) ? this.value[key] : undefined
    return new SourceNode(this.#source, [...this.#path, key], value)
  }

  /** The keys of an object whose values are not null. */
  get keys(): string[] {
    if (!isObject(this.value)) return []
    return Object.entries(this.value).flatMap(([key, value]) =>
      value === null || value === undefined ? [] : [key]
    )
  }

  /** The items of a list; a single value is a list of one. */
  get items(): SourceNode[] {
    if (!this.exists) return []
    if (!Array.isArray(this.value)) return [this]
    return this.value.map((item, i) => new SourceNode(this.#source, [...this.#path, i], item))
  }

  /** The value as a text, if it is a text, a number or a boolean. */
  get text(): string | undefined {
    return ['string', 'number', 'boolean'].includes(typeof this.value) ? String(this.value) : undefined
  }

  /** The texts of the items. */
  get texts(): string[] {
    return this.items.flatMap(({ text }) => (text === undefined ? [] : [text]))
  }

  get number(): number | undefined {
    const number = this.text === undefined || this.text.trim() === '' ? Number.NaN : Number(this.text)
    return Number.isFinite(number) ? number : undefined
  }

  get flag(): boolean | undefined {
    return this.text === 'true' ? true : this.text === 'false' ? false : undefined
  }
}

/** Parses a source in JSON or YAML; throws an ImportError if it is malformed. */
export function parseTree(written: SourceText): SourceNode {
  checkDepth(written)
  const { file, folder, text } = written
  const isJson = file.endsWith('.json') || text.trimStart().startsWith('{')
  try {
    const source = isJson ? readJson(folder, file, text) : readYaml(folder, file, text)
    if (!isObject(source.value)) throw errorAt({ file, line: 1 }, 'expected an object, got another value')
    return new SourceNode(source, [], source.value)
  } catch (error) {
    if (error instanceof ConfigError) throw new ImportError(error.faults.slice(0, 1).map(showFault).join())
    throw error
  }
}
