import type { Concern } from '../kit/index.ts'
import { defineWarning } from '../kit/warning.ts'
import { type Alternatives, addressFaultsIn, bothOf, readWhen } from '../lib/conditions/options.ts'
import { isObject, schemaOf } from '../lib/schema.ts'
import { listOf } from './core.ts'
import type { Path, Place } from './fault.ts'
import { findingAt } from './finding.ts'
import type { InterpolatedSource } from './interpolate.ts'
import { checkLock, lockedInside } from './locks.ts'
import { NOT_MENTIONED, type OptionsState, ROOT_SCOPE } from './merge-options.ts'
import { joinPaths } from './paths.ts'
import type { PlanDraft } from './plan-draft.ts'
import { routeOptions } from './schema.ts'
import type { Scope } from './scope.ts'
import { validate } from './validate.ts'
import { locate, whereOf } from './where.ts'
import { faultIn, maskOf, type Written } from './written.ts'

const gateOff = defineWarning(
  'SP_WARN_INCLUDE_GATE_OFF',
  'high',
  'An included file switches off a gate of the file that includes it'
)
const gateReports = defineWarning(
  'SP_WARN_INCLUDE_GATE_REPORTS',
  'medium',
  'An included file puts a gate into report mode'
)

/** What applies at the root, in a group or on a route. */
export interface Level {
  readonly paths: readonly string[]
  readonly hosts: readonly string[]
  /** The conditions of the groups and the route; empty for none. */
  readonly when: Alternatives
  readonly concerns: ReadonlyMap<string, OptionsState>
  /** The options of targets that the root and groups have set. */
  readonly targets: ReadonlyMap<string, OptionsState>
  /** The files from the main file to the current one. */
  readonly files: readonly string[]
  /** The concerns where the current file was included; absent in the main file. */
  readonly includedInto?: ReadonlyMap<string, OptionsState>
  /** Whether the entry and all groups around it are enabled. */
  readonly isEnabled: boolean
  /** Where each concern was locked, by its key. */
  readonly locked: ReadonlyMap<string, () => Place>
  /** Whether its paths, hosts and methods are valid; if not, only the options inside are checked. */
  readonly isValid: boolean
  readonly scope: Scope
}

/** A group or a route as written. */
export interface Entry {
  readonly source: InterpolatedSource
  readonly at: Path
  readonly value: Readonly<Record<string, unknown>>
}

const ROUTE_OPTIONS = Object.entries(routeOptions)

/** Returns the level of the root. */
export const rootLevel = (
  { concerns, targets }: Pick<Level, 'concerns' | 'targets'>,
  file: string
): Level => ({
  paths: [''],
  hosts: [],
  when: [],
  concerns,
  targets,
  files: [file],
  isEnabled: true,
  locked: new Map(),
  isValid: true,
  scope: ROOT_SCOPE
})

/** Returns the level of a group or a route: its paths, hosts and options merged over the outer ones. */
export function enterLevel(
  draft: PlanDraft,
  entry: Entry,
  outer: Level,
  { isRoute }: { readonly isRoute: boolean }
): Level {
  const invalid = invalidOptions(draft, entry)
  if (entry.value['enabled'] === false) draft.disabled.push(whereOf(entry.source, entry.at))
  const hosts = invalid.has('host') ? [] : listOf(entry.value['host'])
  for (const host of hosts)
    if (!isHostWithin(host, outer.hosts))
      draft.faults.addAt(
        entry.source,
        [...entry.at, 'host'],
        `expected a host within the group's ${outer.hosts.join(', ')}, got "${host}"`
      )
  const when = invalid.has('when') ? undefined : readConditions(draft, entry)
  const paths = invalid.has('path') ? [] : listOf(entry.value['path'])
  const scope = outer.scope.inside(entry.value)
  const inner =
    paths.length === 0
      ? outer.paths
      : outer.paths.flatMap((prefix) => paths.map((path) => joinPaths(prefix, path)))
  return {
    ...outer,
    scope,
    paths: inner,
    hosts: hosts.length === 0 ? outer.hosts : hosts,
    when: bothOf(outer.when, when ?? []),
    concerns: mergeConcerns(draft, entry, { ...outer, scope, paths: inner }, { isRoute }),
    targets: isRoute ? outer.targets : mergeTargets(draft, entry, { ...outer, scope, paths: inner }),
    isEnabled: outer.isEnabled && entry.value['enabled'] !== false,
    locked: isRoute ? outer.locked : lockedInside(draft, entry, outer.locked),
    isValid: outer.isValid && invalid.size === 0 && when !== undefined
  }
}

/** Reads the conditions of an entry; undefined if they are invalid. */
function readConditions(draft: PlanDraft, { source, at, value }: Entry): Alternatives | undefined {
  const when = readWhen(draft.resolveAddresses(routeOptions['when'], value['when'], source))
  const faults = addressFaultsIn(when, [])
  for (const { message } of faults)
    draft.faults.addAt(source, [...at, 'when'], message.replaceAll(`${source.folder}/`, ''))
  return faults.length === 0 ? when : undefined
}

/** Checks the options that belong to no concern, and returns those that are invalid. */
function invalidOptions({ faults }: PlanDraft, { source, at, value }: Entry): Set<string> {
  const invalid = new Set<string>()
  for (const [key, schema] of ROUTE_OPTIONS) {
    if (value[key] === undefined) continue
    const written: Written = { source, path: [...at, key], value: value[key] }
    for (const fault of validate(schema, written.value, maskOf(written))) {
      faults.add(faultIn(written, fault))
      invalid.add(key)
    }
  }
  return invalid
}

/** Merges the concerns of an entry over the outer ones; an entry without any shares the outer map. */
function mergeConcerns(
  draft: PlanDraft,
  { source, at, value: entry }: Entry,
  outer: Level,
  { isRoute }: { readonly isRoute: boolean }
): ReadonlyMap<string, OptionsState> {
  let merged: Map<string, OptionsState> | undefined
  for (const concern of draft.catalog.concerns) {
    const value = entry[concern.key]
    const state = outer.concerns.get(concern.key)
    if (value === undefined || state === undefined || concern.override === false) continue
    merged ??= new Map(outer.concerns)
    const written: Written = { source, path: [...at, concern.key], value }
    checkLock(draft, concern, { written, state, locked: outer.locked })
    const including = outer.includedInto?.get(concern.key)
    if (including !== undefined) warnOfLiftedGate(draft, concern, including, written)
    merged.set(concern.key, draft.merge(concern, state, written, { ...outer, isRoute }))
  }
  return merged ?? outer.concerns
}

/** Merges the options of targets that a group sets over those outside. */
function mergeTargets(
  draft: PlanDraft,
  { source, at, value: entry }: Entry,
  outer: Level
): ReadonlyMap<string, OptionsState> {
  let merged: Map<string, OptionsState> | undefined
  for (const target of draft.catalog.targets) {
    const value = entry[target.key]
    if (value === undefined || target.groupDefaults !== true) continue
    merged ??= new Map(outer.targets)
    const written: Written = { source, path: [...at, target.key], value }
    const state = outer.targets.get(target.key) ?? NOT_MENTIONED
    merged.set(target.key, draft.merge(target, state, written, { ...outer, isRoute: false }))
  }
  return merged ?? outer.targets
}

/** Returns the target that a group has set for the routes inside; undefined if there is none. */
export const groupTarget = ({ targets }: Level): string | undefined =>
  [...targets].find(([, { on, isRootOnly }]) => on && !isRootOnly)?.[0]

/** Warns if an included file switches off a gate that is on where it is included, or puts it into report mode. */
function warnOfLiftedGate(
  { warnings }: PlanDraft,
  { key, options }: Concern,
  including: OptionsState,
  { source, path, value }: Written
): void {
  const isGate = schemaOf(options, 'mode') !== undefined && schemaOf(options, 'global') !== undefined
  if (!isGate) return
  const isOff = value === false || (isObject(value) && value['global'] === false && path.length === 1)
  if (including.on && isOff)
    warnings.push(
      findingAt(
        gateOff(`This included file switches off "${key}", which is on where the file is included`, []),
        locate(source, path)
      )
    )
  if (isObject(value) && value['mode'] === 'report')
    warnings.push(
      findingAt(
        gateReports(`This included file puts "${key}" into report mode ("mode": "report")`, []),
        locate(source, [...path, 'mode'])
      )
    )
}

const isHostWithin = (host: string, outer: readonly string[]): boolean =>
  outer.length === 0 ||
  outer.some(
    (one) => one === host || (one.startsWith('*.') && host.slice(host.indexOf('.')) === one.slice(1))
  )
