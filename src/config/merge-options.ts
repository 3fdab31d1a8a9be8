import { resolve } from 'node:path'
import { getOrCreate } from '../lib/memoize.ts'
import { isObject, mapFiles, merge, overrideOf, prune, type TSchema } from '../lib/schema.ts'
import { anObject } from './example.ts'
import type { FaultList } from './fault-list.ts'
import { expectation, withoutSecrets } from './messages.ts'
import { Scope } from './scope.ts'
import { validate } from './validate.ts'
import { faultIn, maskOf, type PlacedWritten, type Written } from './written.ts'

/** The state of a concern or a target at one place: whether it is on, its merged options, and what was written from the root inwards. */
export interface OptionsState {
  readonly on: boolean
  readonly merged: unknown
  readonly written: readonly PlacedWritten[]
  readonly scope: Scope
  /** Whether only the root configures it, no group and no route. */
  readonly isRootOnly: boolean
  /** The names of the options that groups or the route set. */
  readonly setInside: readonly string[]
  /** The options that a group has set last, each with the paths of the group. */
  readonly inherited: Readonly<Record<string, readonly string[]>>
}

/** A concern or a target, by the schemas of its options. */
export interface ConfigModule {
  readonly key: string
  readonly options: TSchema
  readonly override?: TSchema | false
  readonly target?: true
  readonly named?: boolean
  readonly exclusive?: readonly string[]
  readonly shorthand?: string
  readonly variables?: Readonly<Record<string, string>>
  readonly faults?: unknown
}

/** Where options are merged. */
export interface MergePlace {
  readonly scope: Scope
  /** Whether it is a route, where the option `global` has no effect. */
  readonly isRoute: boolean
  /** The paths of the group. */
  readonly paths: readonly string[]
}

/** The scope of the root options. */
export const ROOT_SCOPE: Scope = Scope.root()

/** The state of a module that is not mentioned. */
export const NOT_MENTIONED: OptionsState = {
  on: false,
  merged: undefined,
  written: [],
  scope: ROOT_SCOPE,
  isRootOnly: true,
  setInside: [],
  inherited: {}
}

/** Merges options over those of the outer place: `false` switches the module off and keeps its options, `true` switches it on, an object is merged. */
export function mergeOptions(
  module: ConfigModule,
  outer: OptionsState,
  given: Written,
  { scope, isRoute, paths, faults }: MergePlace & { readonly faults: FaultList }
): OptionsState {
  const level = scope === ROOT_SCOPE ? 'root' : isRoute ? 'route' : 'group'
  const written: PlacedWritten = { ...inFull(module, given), paths, level }
  const value = mapFiles(module.options, written.value, (file) => resolve(written.source.folder, file))
  const isRootOnly = scope === ROOT_SCOPE
  if (value === false) return { ...outer, on: false, isRootOnly }
  if (value === true)
    return { ...outer, on: true, isRootOnly, written: outer.written.length === 0 ? [written] : outer.written }
  const schema = writtenSchema(module, scope)
  if (!isObject(value)) {
    faults.add(faultIn(written, { path: [], message: expectedKind(module, written) }))
    return { ...outer, on: true, written: [...outer.written, written], scope, isRootOnly }
  }
  // `false` unsets an option, unless it is one of its values, so it is not validated.
  for (const fault of validate(schema, prune(module.options, value, schema), maskOf(written)))
    faults.add(faultIn(written, fault))
  const { global, ...options } = value
  const keys = Object.keys(options)
  // An object without options starts no new scope.
  return {
    on: isRoute || global !== false,
    setInside: isRootOnly ? outer.setInside : [...outer.setInside, ...keys],
    inherited: isRootOnly ? {} : inheritedOf(outer.inherited, keys, isRoute ? undefined : paths),
    merged:
      outer.merged === undefined
        ? options
        : merge(module.options, replaceable(module, outer.merged, keys), options),
    written: [...outer.written, written],
    scope: keys.length === 0 && outer.written.length > 0 ? outer.scope : scope,
    isRootOnly
  }
}

/** Writes a text in full, where it stands for one option. */
const inFull = ({ shorthand }: ConfigModule, written: Written): Written =>
  shorthand !== undefined && typeof written.value === 'string'
    ? { ...written, value: { [shorthand]: written.value } }
    : written

/** Adds the options that a group sets, or takes away those that a route sets. */
function inheritedOf(
  outer: OptionsState['inherited'],
  keys: readonly string[],
  paths: readonly string[] | undefined
): OptionsState['inherited'] {
  const inherited = { ...outer }
  for (const key of keys)
    if (paths === undefined) delete inherited[key]
    else inherited[key] = paths
  return inherited
}

/** Returns the outer options without those that one of the keys takes the place of. */
function replaceable({ exclusive }: ConfigModule, outer: unknown, keys: readonly string[]): unknown {
  if (exclusive === undefined || !isObject(outer) || !keys.some((key) => exclusive.includes(key)))
    return outer
  return Object.fromEntries(Object.entries(outer).filter(([key]) => !exclusive.includes(key)))
}

const overrides = new WeakMap<object, TSchema>()

/** Returns the schema of options as written: any part of them at the root, the module's override elsewhere. */
function writtenSchema({ options, override }: ConfigModule, scope: Scope): TSchema {
  if (scope !== ROOT_SCOPE && override !== undefined && override !== false) return override
  return getOrCreate(overrides, options, () => overrideOf(options))
}

function expectedKind({ named, options, target }: ConfigModule, written: Written): string {
  const masks = maskOf(written)
  const value = withoutSecrets(written.value, [], masks)
  const mask = masks([])
  const wanted = anObject(options, value, mask)
  const isSwitched = target !== true && named !== true
  const suggestion =
    isSwitched && (value === 'true' || value === 'false') ? `${value} without quotes would work` : undefined
  return expectation({ wanted: isSwitched ? `true, false or ${wanted}` : wanted, value, suggestion, mask })
}
