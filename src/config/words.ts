import { resolve } from 'node:path'
import {
  deepFreeze,
  isObject,
  mapFiles,
  merge,
  overrideOf,
  prune,
  remember,
  type TSchema
} from '../kit/index.ts'
import type { Fault, Path } from './fault.ts'
import { type Filled, pathKey } from './interpolate.ts'
import { faultAt } from './source.ts'
import { check, complete, type Wrong } from './validate.ts'

/** A word as it is written at one place. */
export interface Said {
  readonly source: Filled
  readonly path: Path
  readonly value: unknown
}

/** What holds of a word somewhere: whether it is on, what was said of it from the root inwards, and where last. */
export interface WordState {
  readonly on: boolean
  readonly merged: unknown
  readonly said: readonly Said[]
  readonly scope: string
}

/** What a word stands for: a concern or a target, by the schemas of what may be said with it. */
export interface Word {
  readonly key: string
  readonly options: TSchema
  readonly override?: TSchema | false
  readonly faults?: unknown
}

/** The state of a word of which nothing was said. */
export const unsaid: WordState = { on: false, merged: undefined, said: [], scope: 'root' }

const overrides = new WeakMap<object, TSchema>()

/** The schema of a word as it is written: at the root any part of its options, further in what its override says. */
function writtenSchema(word: Word, scope: string): TSchema {
  if (scope !== 'root' && word.override !== undefined && word.override !== false) return word.override
  return remember(overrides, word.options, () => overrideOf(word.options))
}

/** Settles one more mention of a word: `false` switches it off and forgets nothing, `true` brings back what is outside, an object is merged over it. */
export function settle(
  word: Word,
  outer: WordState,
  said: Said,
  scope: string,
  leaf: boolean,
  faults: Fault[]
): WordState {
  const value = mapFiles(word.options, said.value, (file) => resolve(said.source.folder, file))
  if (value === false) return { ...outer, on: false }
  if (value === true) return { ...outer, on: true, said: outer.said.length === 0 ? [said] : outer.said }
  const wrong = check(writtenSchema(word, scope), prunedFor(word, value), shownIn(said))
  for (const one of wrong) faults.push(faultIn(said, one))
  if (!isObject(value) || wrong.length > 0) return { ...outer, on: true, said: [...outer.said, said], scope }
  const { global, ...options } = value
  // An object that says nothing of its own is no place where a limit would count.
  return {
    on: leaf || global !== false,
    merged: outer.merged === undefined ? options : merge(word.options, outer.merged, options),
    said: [...outer.said, said],
    scope: Object.keys(options).length === 0 && outer.said.length > 0 ? outer.scope : scope
  }
}

// `false` on an option that has no such value only unsets it; the check is about what is left.
const prunedFor = (word: Word, value: unknown): unknown => prune(word.options, value)

/** The whole options of a word where it is on: defaults filled in, checked as a whole, frozen; made once for all routes that share them. */
export class Resolver {
  readonly #known = new WeakMap<WordState, unknown>()
  readonly #faults: Fault[]

  constructor(faults: Fault[]) {
    this.#faults = faults
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
        this.#faults.push(this.place(state, one))
    made = deepFreeze(value)
    this.#known.set(state, made)
    return made
  }

  /** Finds the innermost place that says the option something is wrong with. */
  place(state: WordState, wrong: Wrong): Fault {
    const said = state.said.findLast(({ value }) => has(value, wrong.path)) ?? state.said.at(-1)
    if (said === undefined) return { file: 'config', path: '', message: wrong.message }
    return faultIn(said, wrong)
  }
}

const sameFault = (a: Fault, b: Fault): boolean => a.file === b.file && a.path === b.path && a.line === b.line

function has(value: unknown, path: Path): boolean {
  let here = value
  for (const key of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, key)) return false
    here = (here as Record<string | number, unknown>)[key]
  }
  return path.length > 0
}

/** Makes the fault for something wrong inside a word, at its place in the file. */
export function faultIn(said: Said, { path, message }: Wrong): Fault {
  return faultAt(said.source, [...said.path, ...path], message)
}

/** Shows a value that came from outside as it was written, and one with a secret's name not at all. */
export function shownIn(said: Said | undefined): (path: Path) => string | undefined {
  return (path) => {
    if (said === undefined) return undefined
    const written = said.source.written.get(pathKey([...said.path, ...path]))
    if (written !== undefined) return JSON.stringify(written)
    return path.some((key) => /secret|password|token/i.test(String(key))) ? 'The value' : undefined
  }
}
