import type { ChangeClass, LoggedRequest, OptionChange } from '../kit/comparison.ts'
import type { Concern, RouteInfo } from '../kit/index.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { isObject, schemaOf } from '../lib/schema.ts'
import { aboutOf, type ComparedOptions } from './about.ts'
import type { Sides } from './compared-side.ts'
import { describeMove, type MovedExtension, movedExtensions } from './extension-order.ts'
import { withMeanings } from './option-meanings.ts'

/** A change of the options of a concern or a target. */
export interface ModuleChange extends OptionChange {
  readonly key: string
}

/** Compares the options that concerns have on two routes, or at the root. */
export class ConcernComparison {
  readonly #sides: Sides
  readonly #isBuiltin: (module: object) => boolean
  readonly #changedCode: ReadonlySet<string>
  readonly #concerns: readonly Concern[]
  readonly #moved: readonly MovedExtension[]
  readonly #known = new Map<string, readonly ModuleChange[]>()
  readonly #ids = new Map<object, number>()

  constructor(sides: Sides, isBuiltin: (module: object) => boolean, changedCode: ReadonlySet<string>) {
    this.#sides = sides
    this.#isBuiltin = isBuiltin
    this.#changedCode = changedCode
    this.#moved = movedExtensions(sides, isBuiltin)
    const { before, after } = sides
    const keys = new Set(after.plan.catalog.concerns.map(({ key }) => key))
    this.#concerns = [
      ...after.plan.catalog.concerns,
      ...before.plan.catalog.concerns.filter(({ key }) => !keys.has(key))
    ]
  }

  /** Returns what changes for requests that come from one route to another. */
  changes(before: RouteInfo, after: RouteInfo): readonly ModuleChange[] {
    return getOrCreate(this.#known, `${this.#idOf(before)} ${this.#idOf(after)}`, () => [
      ...this.#concerns
        .filter(({ override }) => override !== false)
        .flatMap((concern) => this.#ofConcern(concern, before, after)),
      ...this.#orderChanges(before, after)
    ])
  }

  #orderChanges(before: RouteInfo, after: RouteInfo): ModuleChange[] {
    const isOn = (side: keyof Sides, { options }: RouteInfo, key: string): boolean =>
      isObject(options[key] ?? this.#sides[side].plan.options[key])
    return this.#moved.flatMap((moved) => {
      const message = describeMove(moved, (key) => isOn('before', before, key) && isOn('after', after, key))
      return message === undefined ? [] : [{ key: moved.key, class: 'unknown', path: [], message }]
    })
  }

  /** Returns what changes for all requests, by options that only the root has. */
  rootChanges(): ModuleChange[] {
    const { before, after } = this.#sides
    return this.#concerns
      .filter(({ override, named }) => override === false && named !== true)
      .flatMap((concern) => {
        const { key } = concern
        const [old, next] = [onOnly(before.plan.options[key]), onOnly(after.plan.options[key])]
        if (this.#isSame(concern, old, next)) return []
        if (!this.#isBuiltin(concern)) return [unknownChange(key)]
        return this.#ofModule({ module: concern, old, next })
      })
  }

  /** Returns whether a gate refuses some request of a route because of who sends it. */
  isProtected(route: RouteInfo): boolean {
    return this.#concerns.some(
      (concern) =>
        protects(concern, route.options[concern.key]) &&
        !isLimit(concern) &&
        isGate(concern) &&
        this.#restricts(concern, route)
    )
  }

  /** Lists the gates whose options differ on two routes. */
  changedGates(before: RouteInfo, after: RouteInfo): string[] {
    return this.#concerns
      .filter((concern) => {
        const [old, next] = [before.options[concern.key], after.options[concern.key]]
        return (
          isGate(concern) && (isEnforced(old) || isEnforced(next)) && !this.#isSameOn(concern, before, after)
        )
      })
      .map(({ key }) => key)
  }

  /** Lists the gates of a route that decide by who sends a request. */
  accessGates(route: RouteInfo): string[] {
    return this.#concerns
      .filter((concern) => isGate(concern) && !isLimit(concern) && this.#restricts(concern, route))
      .map(({ key }) => key)
  }

  /** Returns whether a gate of a route lets a logged request pass; undefined if the log does not tell. */
  admits(key: string, route: RouteInfo, request: LoggedRequest): boolean | undefined {
    const concern = this.#concerns.find((each) => each.key === key)
    if (concern === undefined || !this.#restricts(concern, route)) return true
    return concern.comparison?.admits?.(route.options[key] as never, request)
  }

  #ofConcern(concern: Concern, before: RouteInfo, after: RouteInfo): ModuleChange[] {
    const { key, comparison } = concern
    const [old, next] = [before.options[key], after.options[key]]
    if (this.#isSameOn(concern, before, after)) return []
    const isKnown = this.#isBuiltin(concern)
    if (!isGate(concern)) {
      if (!isKnown && comparison === undefined) return [unknownChange(key)]
      return this.#ofModule({ module: concern, old: onOnly(old), next: onOnly(next), before, after })
    }
    const [refused, refuses] = [this.#restricts(concern, before), this.#restricts(concern, after)]
    if (refused && !refuses) return [{ key, ...offChange(concern, next) }]
    if (!refused && refuses) return [{ key, ...onChange(concern, old) }]
    if (!isObject(old) || !isObject(next)) return []
    const areEnforced = isEnforced(old) && isEnforced(next)
    if (!isKnown && comparison === undefined) return areEnforced ? [unknownChange(key)] : []
    // What only reports refuses nothing, but it still tells upstreams and clients what it tells.
    return this.#ofModule({ module: concern, old, next, before, after }).filter(
      (change) => areEnforced || change.class === 'exposure'
    )
  }

  #ofModule(compared: ComparedOptions & { readonly module: Concern }): ModuleChange[] {
    const { module, old, next } = compared
    const { key, comparison = {} } = module
    const found = comparison.changes?.(old as never, next as never, aboutOf(this.#sides, compared)) ?? []
    const { before, after } = this.#sides
    const plain = [before.plainValue(module, old), after.plainValue(module, next)] as const
    return withMeanings(comparison, plain, found).map((change) => ({ key, ...change }))
  }

  /** Returns whether a gate is enforced on a route, and refuses any request. */
  #restricts(concern: Concern, route: RouteInfo): boolean {
    const options = route.options[concern.key]
    return isEnforced(options) && (concern.comparison?.restricts?.(options as never, route) ?? true)
  }

  #isSameOn(concern: Concern, before: RouteInfo, after: RouteInfo): boolean {
    const pathsOf = (route: RouteInfo): string => (isByPaths(concern, route) ? route.paths.join() : '')
    return (
      this.#isSame(concern, before.options[concern.key], after.options[concern.key]) &&
      pathsOf(before) === pathsOf(after)
    )
  }

  #isSame(concern: Concern, old: unknown, next: unknown): boolean {
    if (onOnly(old) === undefined && onOnly(next) === undefined) return true
    return (
      !this.#changedCode.has(concern.key) &&
      this.#sides.before.textOf(concern, old ?? false) === this.#sides.after.textOf(concern, next ?? false)
    )
  }

  /** Returns an id that is equal for routes whose options are the same objects and mean the same. */
  #idOf(route: RouteInfo): string {
    const mentions = this.#concerns
      .filter(({ comparison }) => comparison?.restricts !== undefined)
      .map(({ key }) => route.mentionOf(key) ?? '')
    const { options, kind, paths, methods } = route
    const own = this.#concerns.some((concern) => isByPaths(concern, route))
      ? [...paths, ...(methods ?? [])]
      : []
    return [getOrCreate(this.#ids, options, () => this.#ids.size), kind, mentions.join(), ...own].join(' ')
  }
}

const onOnly = (options: unknown): unknown => (options === false ? undefined : options)

const unknownChange = (key: string): ModuleChange => ({
  key,
  class: 'unknown',
  path: [],
  message: 'has changed, and only its author knows what that means for requests'
})

const isEnforced = (options: unknown): boolean => isObject(options) && options['mode'] !== 'report'

const isGate = ({ options, gate }: Concern): boolean => gate ?? schemaOf(options, 'mode') !== undefined

const isByPaths = ({ key, comparison }: Concern, { options }: RouteInfo): boolean =>
  isObject(options[key]) && comparison?.byPaths?.(options[key] as never) === true

const isLimit = ({ comparison, guardsAccess }: Concern): boolean =>
  comparison?.limits ?? guardsAccess === false

const protects = ({ comparison }: Concern, options: unknown): boolean =>
  typeof comparison?.protects === 'function'
    ? isObject(options) && comparison.protects(options as never)
    : (comparison?.protects ?? true)

const classFor = (concern: Concern, access: ChangeClass, limits: ChangeClass): ChangeClass =>
  isLimit(concern) ? limits : access

function offChange(concern: Concern, next: unknown): OptionChange {
  const isReporting = isObject(next) && next['mode'] === 'report'
  return {
    class: classFor(concern, 'widened-access', 'loosened-limits'),
    path: isReporting ? ['mode'] : [],
    message: isReporting
      ? 'only reports what it refused'
      : isObject(next)
        ? 'refuses no request any more'
        : 'is off'
  }
}

const onChange = (concern: Concern, old: unknown): OptionChange => ({
  class: classFor(concern, 'narrowed-access', 'tightened-limits'),
  path: isObject(old) && old['mode'] === 'report' ? ['mode'] : [],
  message: 'refuses requests that passed'
})
