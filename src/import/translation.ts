import type { JsonObject } from './json.ts'
import type { SourceLine } from './source-text.ts'

/** A construct that has no translation, or none that says the same. */
export interface Note extends SourceLine {
  readonly text: string
}

/** A config in the making, with comments at its objects and lists, and what is left for a person to do. */
export class Translation {
  readonly config: JsonObject = {}
  readonly notes: Note[] = []
  readonly #comments = new Map<object, string[]>()
  readonly #variables = new Map<string, string>()
  readonly #lines = new WeakMap<object, SourceLine>()
  #done = 0
  #leftOut = 0

  /** Counts constructs that were translated. */
  done(count = 1): void {
    this.#done += count
  }

  /** Counts constructs of a part that was left out or closed as a whole; the note is about the part. */
  leftOut(count = 1): void {
    this.#leftOut += count
  }

  /** Notes a construct without a translation, and comments on it inside of the object or list where it would stand. */
  missing(line: SourceLine, written: string, at: object = this.config): void {
    const text = oneLine(written)
    const { file, line: number } = line
    if (!this.notes.some((note) => note.line === number && note.file === file && note.text === text))
      this.notes.push({ file, line: number, text })
    this.comment(at, `not translated: ${text} (${line.file}:${line.line})`)
  }

  /** Puts a comment into an object or a list; it is for whoever reads the config, and nothing needs to be done. */
  comment(at: object, text: string): void {
    const known = this.#comments.get(at) ?? []
    if (!known.includes(text)) this.#comments.set(at, [...known, text])
  }

  /** The first line of the source. */
  get top(): SourceLine {
    return this.lineOf(this.config) ?? { file: '', line: 1 }
  }

  /** Remembers the line that an object or a list comes from, for errors in it; returns the object. */
  from<T extends object>(line: SourceLine, made: T): T {
    if (!this.#lines.has(made)) this.#lines.set(made, line)
    return made
  }

  /** Returns the line of the first of some objects that has one. */
  lineOf(...objects: readonly object[]): SourceLine | undefined {
    for (const each of objects) {
      const line = this.#lines.get(each)
      if (line !== undefined) return line
    }
    return undefined
  }

  /** Returns the comments of an object or a list. */
  commentsOf(at: object): readonly string[] {
    return this.#comments.get(at) ?? []
  }

  /** Returns `${NAME}`; the example stands for the value when the config is checked. */
  variable(name: string, example: string): string {
    this.#variables.set(name, example)
    return `\${${name}}`
  }

  /** The variables that the config needs, with an example of each value. */
  get variables(): ReadonlyMap<string, string> {
    return this.#variables
  }

  /** The number of constructs that were translated. */
  get translated(): number {
    return this.#done
  }

  /** The number of constructs that were found, those without a translation included. */
  get total(): number {
    return this.#done + this.#leftOut + this.notes.length
  }
}

const MAX_TEXT = 400

/** Returns a text from a source on one line: in a comment, a line break would make the rest a part of the config. */
function oneLine(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, ' ').trim()
  return line.length > MAX_TEXT ? `${line.slice(0, MAX_TEXT)}…` : line
}
