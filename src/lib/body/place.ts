import { define } from '../schema.ts'
import { isJsonObject } from './json.ts'
import { EVERY, type Path, PathError, parsePath, valuesAt } from './paths.ts'
import { type Change, led, omit, onTop } from './pick.ts'

type Names = readonly string[]

interface Move {
  readonly from: Names
  readonly to: Names
}

/** Compiles new values for paths, made from a context; one that is undefined sets nothing. Objects on the way are made, and what else stands there is replaced; `*` names what is there. */
export function set<Context>(
  values: Readonly<Record<string, (context: Context) => unknown>>
): (value: unknown, context: Context) => unknown {
  const all = Object.entries(values).map(([text, make]) => ({ path: parsePath(text), make }))
  return onTop((lead) => {
    const places = all.map(({ path, make }) => ({ ...splitAtLastEvery(led(lead, path)), make }))
    return (value, context: Context) => {
      let made = value
      for (const { prefix, names, make } of places) {
        const given = make(context)
        if (given !== undefined) made = changeAt(made, prefix, (target) => put(target, names, given))
      }
      return made
    }
  })
}

/** Compiles moves from one path to another; both are the same up to their last `*`, inside of which each value moves. All are taken before one is put, so that two can change places. */
export function rename(moves: Readonly<Record<string, string>>): Change {
  const all = Object.entries(moves).map(([from, to]) => movePaths(from, to))
  return onTop((lead) => {
    const groups = new Map<string, { prefix: Path; moves: Move[] }>()
    for (const { from, to } of all) {
      const { prefix, names } = splitAtLastEvery(led(lead, from))
      const key = JSON.stringify(prefix.map((step) => (step === EVERY ? null : step)))
      const group = groups.get(key) ?? { prefix, moves: [] }
      group.moves.push({ from: names, to: splitAtLastEvery(led(lead, to)).names })
      groups.set(key, group)
    }
    const changes = [...groups.values()].map((group) => ({ ...group, move: moveAll(group.moves) }))
    return (value) => changes.reduce((made, { prefix, move }) => changeAt(made, prefix, move), value)
  })
}

/** Parses both paths of a move; throws a PathError where they don't fit together. */
export function movePaths(from: string, to: string): { readonly from: Path; readonly to: Path } {
  const paths = { from: parsePath(from), to: parsePath(to) }
  const [old, next] = [splitAtLastEvery(paths.from), splitAtLastEvery(paths.to)]
  const same =
    old.prefix.length === next.prefix.length && old.prefix.every((step, i) => step === next.prefix[i])
  if (!same || old.names.length === 0 || next.names.length === 0)
    throw new PathError(
      `expected a path that is the same as "${from}" up to its last "*", then names, such as "items.*.id": "items.*.code", got "${to}"`
    )
  return paths
}

function splitAtLastEvery(path: Path): { readonly prefix: Path; readonly names: Names } {
  const start = path.lastIndexOf(EVERY) + 1
  return { prefix: path.slice(0, start), names: path.slice(start).filter((step) => step !== EVERY) }
}

function moveAll(moves: readonly Move[]): Change {
  const remove = omit(moves.map(({ from }) => from))
  return (value) => {
    if (!isJsonObject(value)) return value
    const taken = moves.map(({ from, to }) => ({ to, found: valuesAt(value, from) }))
    let made = remove(value)
    for (const { to, found } of taken) if (found.length > 0) made = put(made, to, found[0])
    return made
  }
}

/** Changes each value at a path, in a copy of what is around it. */
function changeAt(value: unknown, path: Path, change: Change): unknown {
  const [step, ...rest] = path
  if (step === undefined) return change(value)
  if (Array.isArray(value)) return step === EVERY ? value.map((item) => changeAt(item, rest, change)) : value
  if (!isJsonObject(value)) return value
  const made = { ...value }
  for (const name of step === EVERY ? Object.keys(value) : [step])
    if (Object.hasOwn(value, name)) define(made, name, changeAt(value[name], rest, change))
  return made
}

/** Puts a value into an object at some names; a target that is no object stays as it is. */
function put(target: unknown, names: Names, value: unknown): unknown {
  const [name, ...rest] = names
  if (name === undefined) return value
  if (!isJsonObject(target)) return target
  const below = Object.hasOwn(target, name) ? target[name] : undefined
  const made = { ...target }
  define(made, name, put(rest.length > 0 && !isJsonObject(below) ? {} : below, rest, value))
  return made
}
