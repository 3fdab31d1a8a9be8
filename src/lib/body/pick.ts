import { define } from '../schema.ts'
import { isJsonObject } from './json.ts'
import { EVERY, type Path } from './paths.ts'

/** Makes one value from another, which is not changed. */
export type Change = (value: unknown) => unknown

/** Paths that are looked for at once. */
interface Tree {
  /** Whether a path ends here. */
  readonly whole: boolean
  readonly names: ReadonlyMap<string, Tree>
  readonly every: Tree | undefined
}

/**
 * Compiles paths to keep, with the structure around them, in the order of the paths; null where a value has none of them.
 * A path that does not begin with `*` applies to each item of a list at the top; inside, lists are named by `*`.
 */
export const pick = (paths: readonly Path[]): Change =>
  onTop((lead) => {
    const tree = treeOf(paths.map((path) => led(lead, path)))
    return (value) => kept(value, tree) ?? null
  })

/** Compiles paths to leave out; a list at the top is taken as `pick` does. */
export const omit = (paths: readonly Path[]): Change =>
  onTop((lead) => {
    const tree = treeOf(paths.map((path) => led(lead, path)))
    return (value) => without(value, tree)
  })

/** Compiles a change once for a list at the top, where every path begins with `*`, and once for all else. */
export function onTop<Rest extends readonly unknown[]>(
  compile: (lead: Path) => (value: unknown, ...rest: Rest) => unknown
): (value: unknown, ...rest: Rest) => unknown {
  const whole = compile([])
  const items = compile([EVERY])
  return (value, ...rest) => (Array.isArray(value) ? items(value, ...rest) : whole(value, ...rest))
}

/** Puts a lead before a path that does not begin with `*` itself. */
export const led = (lead: Path, path: Path): Path => (path[0] === EVERY ? path : [...lead, ...path])

const NONE: Tree = { whole: false, names: new Map(), every: undefined }

const treeOf = (paths: readonly Path[]): Tree =>
  settled(paths.map((path) => branch(path, 0)).reduce(union, NONE))

function branch(path: Path, at: number): Tree {
  const step = path[at]
  if (step === undefined) return { ...NONE, whole: true }
  const below = branch(path, at + 1)
  return step === EVERY ? { ...NONE, every: below } : { ...NONE, names: new Map([[step, below]]) }
}

function union(a: Tree, b: Tree): Tree {
  const names = new Map(a.names)
  for (const [name, tree] of b.names) {
    const other = names.get(name)
    names.set(name, other === undefined ? tree : union(other, tree))
  }
  return {
    whole: a.whole || b.whole,
    names,
    every: a.every !== undefined && b.every !== undefined ? union(a.every, b.every) : (a.every ?? b.every)
  }
}

// A `*` also applies to a key with a path of its own.
function settled({ whole, names, every }: Tree): Tree {
  const below = [...names].map(
    ([name, tree]) => [name, settled(every === undefined ? tree : union(tree, every))] as const
  )
  return { whole, names: new Map(below), every: every === undefined ? undefined : settled(every) }
}

function kept(value: unknown, tree: Tree): unknown {
  const { whole, names, every } = tree
  if (whole) return value
  if (Array.isArray(value))
    return every === undefined
      ? undefined
      : value.map((item) => kept(item, every)).filter((item) => item !== undefined)
  if (!isJsonObject(value)) return undefined
  const made = {}
  for (const name of every === undefined ? names.keys() : Object.keys(value)) {
    const below = names.get(name) ?? every
    const inner = below !== undefined && Object.hasOwn(value, name) ? kept(value[name], below) : undefined
    if (inner !== undefined) define(made, name, inner)
  }
  return made
}

function without(value: unknown, tree: Tree): unknown {
  const { names, every } = tree
  if (Array.isArray(value)) {
    if (every === undefined) return value
    return every.whole ? [] : value.map((item) => without(item, every))
  }
  if (!isJsonObject(value)) return value
  const made = {}
  for (const name of Object.keys(value)) {
    const below = names.get(name) ?? every
    if (below?.whole !== true)
      define(made, name, below === undefined ? value[name] : without(value[name], below))
  }
  return made
}
