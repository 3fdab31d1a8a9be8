import { namedEntries } from '../config/facets.ts'
import type { PlannedRoute } from '../config/plan-types.ts'
import type { OptionChange, Reached } from '../kit/comparison.ts'
import type { RouteInfo, Target } from '../kit/index.ts'
import { isSame } from '../lib/compare-options.ts'
import { mapFiles, schemaOf } from '../lib/schema.ts'
import { aboutOf } from './about.ts'
import type { ModuleChange } from './compare-concerns.ts'
import type { ComparedSide, Sides } from './compared-side.ts'
import { withMeanings } from './option-meanings.ts'

/** A route, and its entry in the plan. */
export interface PlannedMatch {
  readonly info: RouteInfo
  readonly planned: PlannedRoute
}

/** What a route reaches: places, each with what decides which part of it. */
export type Reach = ReadonlyMap<string, ReadonlySet<string>>

/** Returns the places that the requests of a route are sent to. */
export function reachOf(side: ComparedSide, { target: key, targetOptions }: PlannedRoute): Reach {
  const reach = new Map<string, Set<string>>()
  for (const { upstream, file, as = '' } of reachedBy(targetOf(side, key), targetOptions)) {
    // Each target of an upstream may be one that another route protects.
    const places =
      upstream === undefined ? [`file ${side.fileText(file ?? '')}`] : side.destinations(upstream)
    for (const place of places) reach.set(place, new Set([...(reach.get(place) ?? []), as]))
  }
  return reach
}

/** Returns the places of a reach that another one has not, or not in the same way. */
export const newPlaces = (reach: Reach, before: Reach): string[] =>
  [...reach].flatMap(([place, ways]) =>
    [...ways].every((way) => before.get(place)?.has(way) === true) ? [] : [place]
  )

/** Compares the targets of two routes that the same requests come to. */
export function targetChanges(
  sides: Sides,
  before: PlannedMatch,
  after: PlannedMatch,
  isBuiltin: (module: object) => boolean
): ModuleChange[] {
  const [old, next] = [before.planned, after.planned]
  const { target: key } = next
  const refusals = refusalChanges(sides, old, next)
  if (old.target !== key)
    return [...refusals, { key, class: 'moved', path: [], message: `responds in place of "${old.target}"` }]
  return [...refusals, ...changesOfTarget(sides, before, after, isBuiltin)]
}

/** Compares whether two targets refuse every request. */
function refusalChanges(sides: Sides, old: PlannedRoute, next: PlannedRoute): ModuleChange[] {
  const refuses = (side: ComparedSide, { target, targetOptions }: PlannedRoute): boolean =>
    targetOf(side, target)?.comparison?.refuses?.(targetOptions as never) === true
  const [refused, isRefusing] = [refuses(sides.before, old), refuses(sides.after, next)]
  if (refused === isRefusing) return []
  const { target: key } = next
  return [
    refused
      ? { key, class: 'widened-access', path: [], message: `answers requests that "${old.target}" refused` }
      : { key, class: 'narrowed-access', path: [], message: 'refuses every request' }
  ]
}

/** Compares the options of a target that both routes have. */
function changesOfTarget(
  sides: Sides,
  before: PlannedMatch,
  after: PlannedMatch,
  isBuiltin: (module: object) => boolean
): ModuleChange[] {
  const [old, next] = [before.planned, after.planned]
  const { target: key } = next
  const target = targetOf(sides.after, key)
  if (target === undefined) return []
  const [reached, reaches] = [reachOf(sides.before, old), reachOf(sides.after, next)]
  const hasMoved = newPlaces(reaches, reached).length + newPlaces(reached, reaches).length > 0
  const found: ModuleChange[] = hasMoved
    ? [
        { key, class: 'moved', path: [], message: 'sends requests elsewhere' },
        ...entryChanges(sides, old, next)
      ]
    : []
  if (sides.before.textOf(target, old.targetOptions) === sides.after.textOf(target, next.targetOptions))
    return found
  if (!isBuiltin(target) && target.comparison === undefined)
    return [
      ...found,
      {
        key,
        class: 'unknown',
        path: [],
        message: 'has changed, and only its author knows what that means for requests'
      }
    ]
  const { comparison } = target
  if (comparison?.changes !== undefined || comparison?.options !== undefined)
    return [...found, ...optionChanges(sides, target, before, after).map((change) => ({ key, ...change }))]
  return hasMoved ? found : [{ key, class: 'moved', path: [], message: 'responds otherwise' }]
}

function optionChanges(
  sides: Sides,
  target: Target,
  before: PlannedMatch,
  after: PlannedMatch
): readonly OptionChange[] {
  const [old, next] = [before.planned.targetOptions, after.planned.targetOptions]
  const about = aboutOf(sides, { module: target, old, next, before: before.info, after: after.info })
  const { comparison = {} } = target
  const plain = [sides.before.plainValue(target, old), sides.after.plainValue(target, next)] as const
  return withMeanings(comparison, plain, comparison.changes?.(old as never, next as never, about) ?? [])
}

/** Compares the upstreams of routes that go to other ones; those that stay are compared by name. */
function entryChanges(sides: Sides, old: PlannedRoute, next: PlannedRoute): ModuleChange[] {
  const [before, after] = [
    reachedBy(targetOf(sides.before, old.target), old.targetOptions),
    reachedBy(targetOf(sides.after, next.target), next.targetOptions)
  ]
  const [one, other] = [before[0]?.upstream, after[0]?.upstream]
  return one === undefined || other === undefined || one === other
    ? []
    : changesOfEntry(sides, one, other).filter((change) => change.class === 'widened-access')
}

/** Compares the upstreams of two plans: by name, else by where they are. */
export function upstreamChanges(sides: Sides): ModuleChange[] {
  const [old, next] = [namedEntries(sides.before.plan), namedEntries(sides.after.plan)]
  return Object.keys(next).flatMap((name) => {
    const former = Object.hasOwn(old, name)
      ? name
      : Object.keys(old).find((each) => sides.before.destination(each) === sides.after.destination(name))
    return former === undefined ? [] : changesOfEntry(sides, former, name)
  })
}

function changesOfEntry(sides: Sides, one: string, other: string): ModuleChange[] {
  const named = sides.after.plan.catalog.concerns.find((concern) => concern.named === true)
  if (named === undefined) return []
  const entryOf = (side: ComparedSide, name: string): unknown =>
    mapFiles(schemaOf(named.options, name), namedEntries(side.plan)[name], (file) => side.fileText(file))
  const [before, after] = [entryOf(sides.before, one), entryOf(sides.after, other)]
  if (isSame(before, after)) return []
  const { comparison = {} } = named
  const found = comparison.changes?.(before as never, after as never, aboutOf(sides)) ?? []
  return withMeanings(comparison, [before, after], found).map((change) => ({
    key: named.key,
    ...change,
    path: [other, ...change.path]
  }))
}

const targetOf = ({ plan }: ComparedSide, key: string): Target | undefined =>
  plan.catalog.targets.find((target) => target.key === key)

const reachedBy = (target: Target | undefined, options: unknown): readonly Reached[] =>
  target?.comparison?.reaches?.(options as never) ??
  target?.upstreams?.(options as never).map((upstream) => ({ upstream })) ??
  []
