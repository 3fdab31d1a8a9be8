import { type Static, Type } from 'typebox'
import type { OptionFault } from '../schema.ts'
import { EXPECTED, NO_SECRET, REPLACED_WHOLE, TEMPLATES } from '../units.ts'
import { type Path, PathError, parsePath, pathFaults, valuesAt } from './paths.ts'
import { omit, pick } from './pick.ts'
import { movePaths, rename, set } from './place.ts'
import { compileQuery, QuerySyntaxError } from './query/compile.ts'

const Paths = (said: { description: string; examples: readonly (readonly string[])[] }) =>
  Type.Optional(Type.Array(Type.String(), { minItems: 1, ...said }))

const TrueOrPath = (said: { description: string }) =>
  Type.Optional(
    Type.Unsafe<true | string>({
      anyOf: [{ const: true }, { type: 'string' }],
      [EXPECTED]: 'true, or a path such as "data.items"',
      ...said
    })
  )

/** The options that transform JSON, in the order in which they are applied; a concern uses those that it needs. */
export const shapeOptions = {
  query: Type.Optional(
    Type.String({ description: 'A JMESPath expression; what it finds takes the place of the body.' })
  ),
  first: TrueOrPath({ description: 'Takes the first item of the list, or of the list at a path.' }),
  flatten: TrueOrPath({
    description: 'Makes one list of a list of lists, or of all that a path such as "orders.*.items" finds.'
  }),
  pick: Paths({
    description:
      'The only parts to keep, as paths such as "address.city" or "items.*.id"; in a list, those of each item.',
    examples: [['id', 'address.city']]
  }),
  omit: Paths({
    description: 'Parts to leave out, as paths such as "password" or "items.*.cost".',
    examples: [['password', 'items.*.cost']]
  }),
  rename: Type.Optional(
    Type.Record(Type.String(), Type.String(), {
      [NO_SECRET]: true,
      description: 'Parts to move, from an old path to a new one, such as "user.mail" to "email".',
      examples: [{ 'user.mail': 'email' }]
    })
  ),
  set: Type.Optional(
    Type.Record(Type.String(), Type.Unknown(), {
      [REPLACED_WHOLE]: true,
      [TEMPLATES]: true,
      description: 'Parts to set, from a path to a value; texts may have values of the request in them.',
      examples: [{ 'meta.requestId': '{requestId}' }]
    })
  ),
  remove: Paths({ description: 'Parts to remove last, as paths.', examples: [['internal']] })
}

const ShapeOptions = Type.Object(shapeOptions)

/** The options of a shape. */
export type ShapeOptions = Static<typeof ShapeOptions>

/** The options of a shape, with the values of `set` compiled by the caller; an undefined value sets nothing. */
export interface Shape<Context> extends Omit<ShapeOptions, 'set'> {
  readonly set?: Readonly<Record<string, (context: Context) => unknown>>
}

/**
 * Compiles the options of a shape into one function that applies them in the order query, first, flatten, pick, omit,
 * rename, set, remove; it makes copies, and throws a QueryError where a query fails. Path words take each item of a list
 * at the top, unless a path begins with `*`.
 */
export function compileShape<Context = void>(
  shape: Shape<Context>
): (value: unknown, context: Context) => unknown {
  const changes: ((value: unknown, context: Context) => unknown)[] = []
  if (shape.query !== undefined) changes.push(compileQuery(shape.query))
  if (shape.first !== undefined) changes.push(first(shape.first))
  if (shape.flatten !== undefined) changes.push(flatten(shape.flatten))
  if (shape.pick !== undefined) changes.push(pick(shape.pick.map(parsePath)))
  if (shape.omit !== undefined) changes.push(omit(shape.omit.map(parsePath)))
  if (shape.rename !== undefined) changes.push(rename(shape.rename))
  if (shape.set !== undefined) changes.push(set(shape.set))
  if (shape.remove !== undefined) changes.push(omit(shape.remove.map(parsePath)))
  return (value, context) => changes.reduce((made, change) => change(made, context), value)
}

/** Returns whether a shape changes anything, so that a body needs to be parsed. */
export const hasShape = (options: ShapeOptions): boolean =>
  Object.keys(shapeOptions).some((word) => options[word as keyof ShapeOptions] !== undefined)

// What is no list has no first item: it is the one.
function first(at: true | string): (value: unknown) => unknown {
  const path: Path = at === true ? [] : parsePath(at)
  return (value) => {
    const [found = null] = valuesAt(value, path)
    return Array.isArray(found) ? (found[0] ?? null) : found
  }
}

function flatten(at: true | string): (value: unknown) => unknown {
  if (at === true) return (value) => (Array.isArray(value) ? value.flat() : value)
  const path = parsePath(at)
  return (value) => valuesAt(value, path).flat()
}

/** Returns the errors of the paths and the query of a shape. */
export function shapeFaults(options: ShapeOptions, path: OptionFault['path']): OptionFault[] {
  const listed = (['pick', 'omit', 'remove'] as const).flatMap((word) =>
    (options[word] ?? []).flatMap((each, i) => pathFaults(each, [...path, word, i]))
  )
  const single = (['first', 'flatten'] as const).flatMap((word) => {
    const at = options[word]
    return typeof at === 'string' ? pathFaults(at, [...path, word]) : []
  })
  const moved = Object.entries(options.rename ?? {}).flatMap(([from, to]) =>
    faultOf(() => movePaths(from, to), [...path, 'rename', from])
  )
  const placed = Object.keys(options.set ?? {}).flatMap((each) => pathFaults(each, [...path, 'set', each]))
  const { query } = options
  return [
    ...(query === undefined ? [] : faultOf(() => compileQuery(query), [...path, 'query'])),
    ...single,
    ...listed,
    ...moved,
    ...placed,
    ...(options.first === undefined || options.flatten === undefined
      ? []
      : [{ path: [...path, 'flatten'], message: 'expected "first" or "flatten", got both' }])
  ]
}

function faultOf(compile: () => unknown, path: OptionFault['path']): OptionFault[] {
  try {
    compile()
    return []
  } catch (error) {
    if (!(error instanceof PathError || error instanceof QuerySyntaxError)) throw error
    return [{ path, message: error.message }]
  }
}
