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
  #done = 0

  /** Counts constructs that were translated. */
  done(count = 1): void {
    this.#done += count
  }

  /** Notes a construct without a translation, and comments on it inside of the object or list where it would stand. */
  missing(line: SourceLine, text: string, at: object = this.config): void {
    if (this.notes.some((note) => note.line === line.line && note.file === line.file && note.text === text))
      return
    this.notes.push({ file: line.file, line: line.line, text })
    this.comment(at, `not translated: ${text} (${line.file}:${line.line})`)
  }

  /** Puts a comment into an object or a list; it is for whoever reads the config, and nothing needs to be done. */
  comment(at: object, text: string): void {
    const known = this.#comments.get(at) ?? []
    if (!known.includes(text)) this.#comments.set(at, [...known, text])
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

  /** The number of constructs that were found, those without a translation included. */
  get total(): number {
    return this.#done + this.notes.length
  }
}
