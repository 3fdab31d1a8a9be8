import { resolve } from 'node:path'
import { getOrCreate } from '../lib/memoize.ts'
import { deepFreeze, isObject, mapFiles, merge, overrideOf, prune, type TSchema } from '../lib/schema.ts'
import { type Fault, type Path, showPath, type Unknown } from './fault.ts'
import { type Filled, pathKey } from './interpolate.ts'
import { Scope } from './scope.ts'
import { faultAt } from './source.ts'
import { anObject, check, complete, expectation, type Wrong } from './validate.ts'

/** A word as it is written at one place. */
export interface Written {
  readonly source: Filled
  readonly path: Path
  readonly value: unknown
}

/** What holds of a word somewhere: whether it is on, what was said of it from the root inwards, and where last. */
export interface WordState {
  readonly on: boolean
  readonly merged: unknown
  readonly said: readonly Written[]
  readonly scope: Scope
  /** Whether only the root has said anything, or nobody. */
  readonly silent: boolean
  /** The options that groups or the route have set. */
  readonly inside: readonly string[]
}

/** What a word stands for: a concern or a target, by the schemas of what may be said with it. */
export interface Word {
  readonly key: string
  readonly options: TSchema
  readonly override?: TSchema | false
  readonly target?: true
  readonly variables?: Readonly<Record<string, string>>
  readonly faults?: unknown
}

/** The scope of what the root says. */
export const ROOT_SCOPE: Scope = Scope.root()

/** The state of a word of which nothing was said. */
export const NOT_MENTIONED: WordState = {
  on: false,
  merged: undefined,
  said: [],
  scope: ROOT_SCOPE,
  silent: true,
  inside: []
}

const overrides = new WeakMap<object, TSchema>()

/** The schema of a word as it is written: at the root any part of its options, further in what its override says. */
function writtenSchema(word: Word, scope: Scope): TSchema {
  if (scope !== ROOT_SCOPE && word.override !== undefined && word.override !== false) return word.override
  return getOrCreate(overrides, word.options, () => overrideOf(word.options))
}

/** Settles one more mention of a word: `false` switches it off and forgets nothing, `true` brings back what is outside, an object is merged over it. */
export function resolveOptions(
  word: Word,
  outer: WordState,
  said: Written,
  scope: Scope,
  leaf: boolean,
  faults: Fault[]
): WordState {
  const value = mapFiles(word.options, said.value, (file) => resolve(said.source.folder, file))
  const silent = scope === ROOT_SCOPE
  if (value === false) return { ...outer, on: false, silent }
  if (value === true)
    return { ...outer, on: true, silent, said: outer.said.length === 0 ? [said] : outer.said }
  const schema = writtenSchema(word, scope)
  if (!isObject(value)) {
    faults.push(faultIn(said, { path: [], message: shapeOf(word, said) }))
    return { ...outer, on: true, said: [...outer.said, said], scope, silent }
  }
  // `false` on an option that has no such value only unsets it; the check is about what is left.
  const wrong = check(schema, prune(word.options, value, schema), shownIn(said))
  for (const one of wrong) faults.push(faultIn(said, one))
  const { global, ...options } = value
  // An object that says nothing of its own is no place where a limit would count.
  return {
    on: leaf || global !== false,
    inside: silent ? outer.inside : [...outer.inside, ...Object.keys(options)],
    merged: outer.merged === undefined ? options : merge(word.options, outer.merged, options),
    said: [...outer.said, said],
    scope: Object.keys(options).length === 0 && outer.said.length > 0 ? outer.scope : scope,
    silent
  }
}

/** Says that a concern is switched or takes an object, and a target takes one. */
function shapeOf({ key, options, target }: Word, said: Written): string {
  const { value } = said
  const hidden = shownIn(said)([])
  const wanted = anObject(options, value, hidden)
  const switched = target !== true && key !== 'upstreams'
  const work =
    switched && (value === 'true' || value === 'false') ? `${value} without quotes would work` : undefined
  return expectation(switched ? `true, false or ${wanted}` : wanted, value, work, hidden)
}

/** The whole options of a word where it is on: defaults filled in, checked as a whole, frozen; made once for all routes that share them. */
export class Resolver {
  readonly #known = new WeakMap<WordState, unknown>()
  readonly #wrong = new WeakSet<object>()
  readonly #faults: Fault[]
  readonly #file: string

  constructor(faults: Fault[], file: string) {
    this.#faults = faults
    this.#file = file
  }

  /** Resolves a state; false where the word is off. */
  resolve(word: Word, state: WordState): unknown {
    if (!state.on) return false
    return this.whole(word, state)
  }

  /** Resolves a state as if the word were on, as the defaults for what is further in. */
  whole(word: Word, state: WordState): unknown {
    let made = this.#known.get(state)
    if (made !== undefined) return made
    const { value, wrong } = complete(
      word.options,
      prune(word.options, state.merged ?? {}),
      shownIn(state.said.at(-1))
    )
    for (const one of wrong)
      if (!this.#faults.some((fault) => state.said.some((said) => sameFault(fault, faultIn(said, one)))))
        this.#faults.push(this.place(word, state, one))
    made = deepFreeze(value)
    this.#known.set(state, made)
    // What is no word at all was told of already; nobody is asked about what was put in its place.
    const misshapen = state.said.some(({ value }) => typeof value !== 'boolean' && !isObject(value))
    if (isObject(made) && (wrong.length > 0 || misshapen)) {
      this.#wrong.add(made)
      if (!misshapen) this.#noteRest(word, made, value, wrong)
    }
    return made
  }

  /** Notes what is left of options without those that are wrong, so that all other errors show at once. */
  #noteRest(word: Word, made: object, value: unknown, wrong: readonly Wrong[]): void {
    const cut = wrong.map(({ path }) => path.slice(0, path.findIndex((key) => typeof key === 'number') >>> 0))
    if (cut.some((path) => path.length === 0)) return
    const rest = complete(word.options, cut.reduce(withoutPath, value), () => undefined)
    if (rest.wrong.length === 0 && isObject(rest.value))
      this.#rest.set(made, { options: deepFreeze(rest.value), cut })
  }

  readonly #rest = new WeakMap<object, Rest>()

  /** Takes of resolved options what a module may be asked about, and which of them were left out; undefined where that is nothing. */
  askable(options: object): Rest | undefined {
    return this.sound(options) ? { options, cut: [] } : this.#rest.get(options)
  }

  /** Tells whether resolved options are what their schema wants, so that a module may be asked about them. */
  sound(options: object): boolean {
    return !this.#wrong.has(options)
  }

  /** Finds the innermost place that says the option something is wrong with. */
  place(word: Word, state: WordState, wrong: Wrong): Fault {
    const place = state.said.findLast(({ value }) => has(value, wrong.path))
    const variable =
      place === undefined && has(state.merged, wrong.path)
        ? word.variables?.[String(wrong.path[0])]
        : undefined
    if (variable !== undefined)
      return { file: this.#file, path: '', message: `${variable} in the environment: ${wrong.message}` }
    const said = place ?? state.said.at(-1)
    if (said === undefined)
      return { file: this.#file, path: showPath([word.key, ...wrong.path]), message: wrong.message }
    return faultIn(said, { ...wrong, message: asWritten(said, wrong) })
  }
}

/** Options without those that are wrong. */
interface Rest {
  readonly options: object
  readonly cut: readonly Path[]
}

function withoutPath(value: unknown, path: Path): unknown {
  const [key, ...rest] = path
  if (!isObject(value) || typeof key !== 'string' || !Object.hasOwn(value, key)) return value
  const { [key]: inner, ...others } = value
  return rest.length === 0 ? others : { ...others, [key]: withoutPath(inner, rest) }
}

/** Puts what was written in the place of what came from outside wherever a message quotes it. */
function asWritten(said: Written, { path, message }: Wrong): string {
  const written = said.source.written.get(pathKey([...said.path, ...path]))
  const value = valueAt(said.value, path)
  if (written === undefined || typeof value !== 'string' || value === '') return message
  return message
    .replaceAll(value, () => written)
    .replaceAll(/"[^"]{2,}"/g, (quoted) =>
      value.includes(quoted.slice(1, -1)) ? JSON.stringify(written) : quoted
    )
}

const sameFault = (a: Fault, b: Fault): boolean => a.file === b.file && a.path === b.path && a.line === b.line

const has = (value: unknown, path: Path): boolean => path.length > 0 && valueAt(value, path) !== undefined

function valueAt(value: unknown, path: Path): unknown {
  let here = value
  for (const key of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, key)) return undefined
    here = (here as Record<string | number, unknown>)[key]
  }
  return here
}

/** Makes the fault for something wrong inside a word, at its place in the file. */
export function faultIn(said: Written, { path, message, known }: Wrong): Fault | Unknown {
  const whole = [...said.path, ...path]
  const fault = faultAt(said.source, whole, message)
  return known === undefined ? fault : { ...fault, key: whole, known }
}

/** Shows a value that came from outside as it was written, and one with a secret's name not at all. */
export function shownIn(said: Written | undefined): (path: Path) => string | undefined {
  return (path) => {
    if (said === undefined) return undefined
    const written = said.source.written.get(pathKey([...said.path, ...path]))
    if (written !== undefined) return JSON.stringify(written)
    return path.some((key) => /secret|password|token/i.test(String(key)))
      ? 'a value that is not shown'
      : undefined
  }
}
