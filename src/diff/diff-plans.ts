import { showPath, showPlace } from '../config/fault.ts'
import type { PlannedRoute } from '../config/plan-types.ts'
import { CHANGE_CLASSES } from '../kit/comparison.ts'
import type { RouteInfo } from '../kit/index.ts'
import { ConcernComparison, type ModuleChange } from './compare-concerns.ts'
import { coreChanges, missingValueChanges } from './compare-core.ts'
import { targetChanges, upstreamChanges } from './compare-targets.ts'
import { ComparedSide, type Sides } from './compared-side.ts'
import { changedExtensions, isBuiltinModule } from './extension-code.ts'
import { type ChangedRoute, type Finding, FindingList, placeIn } from './findings.ts'
import type { Side } from './load-side.ts'
import { matchRoutes, type RouteMatch } from './match-routes.ts'
import { valueAt } from './option-meanings.ts'
import { Protection } from './protection.ts'
import type { ReplayContext } from './replay.ts'
import { type RouteNodes, routeNodesOf } from './route-nodes.ts'

/** What of a config `diffPlans` needs. */
export type DiffedSide = Pick<Side, 'plan' | 'folder' | 'standIns'> & Partial<Pick<Side, 'shown'>>

/** Two configs, ready to be compared. */
export interface Comparing extends ReplayContext {
  readonly before: DiffedSide
  readonly after: DiffedSide
}

/** Prepares the comparison of two configs. */
export async function comparing(before: DiffedSide, after: DiffedSide): Promise<Comparing> {
  const sides: Sides = {
    before: new ComparedSide(before.plan, before.folder),
    after: new ComparedSide(after.plan, after.folder)
  }
  const nodes = { before: await routeNodesOf(before.plan), after: await routeNodesOf(after.plan) }
  const concerns = new ConcernComparison(sides, isBuiltinModule, changedExtensions(sides))
  return { before, after, sides, nodes, concerns }
}

/** Compares two configs by what happens to requests. */
export const diffPlans = async (before: DiffedSide, after: DiffedSide): Promise<Finding[]> =>
  findChanges(await comparing(before, after))

/** Finds what happens to requests otherwise. */
export function findChanges({ before, after, sides, nodes, concerns }: Comparing): Finding[] {
  const diff = new PlanDiff(sides, nodes, concerns)
  for (const change of [...coreChanges(sides), ...missingValueChanges(before, after)]) diff.addChange(change)
  for (const change of [...concerns.rootChanges(), ...upstreamChanges(sides)]) diff.addChange(change)
  const { matches, undecided } = matchRoutes(nodes.before, nodes.after)
  for (const match of matches) diff.addMatch(match)
  for (const expression of undecided)
    diff.findings.add({
      class: 'widened-access',
      option: undefined,
      message: `The expression ${expression} of a path has changed, and it can't be decided whether it matches more`,
      place: undefined
    })
  const shown = (place: string): string => after.shown?.(before.shown?.(place) ?? place) ?? place
  return diff.findings
    .list(CHANGE_CLASSES)
    .map((finding) => (finding.place === undefined ? finding : { ...finding, place: shown(finding.place) }))
}

type RouteChange = Pick<Finding, 'class' | 'message'>

const ADDED: RouteChange = { class: 'added', message: 'Requests are answered that were not' }
const REMOVED: RouteChange = { class: 'removed', message: 'Requests are no longer answered' }
const DELISTED: RouteChange = {
  class: 'narrowed-access',
  message: 'Requests are no longer answered, since the document does not list them any more'
}
const WIDENED: Readonly<Record<'protected' | 'listed', RouteChange>> = {
  protected: {
    class: 'widened-access',
    message: 'Requests are answered that were not, by what only protected routes reached'
  },
  listed: {
    class: 'widened-access',
    message:
      'Requests are answered that were not, by an upstream that only the operations of an OpenAPI document reached'
  }
}

class PlanDiff {
  readonly findings = new FindingList()
  readonly #sides: Sides
  readonly #nodes: Readonly<Record<'before' | 'after', RouteNodes>>
  readonly #concerns: ConcernComparison
  readonly #protection: Protection

  constructor(
    sides: Sides,
    nodes: Readonly<Record<'before' | 'after', RouteNodes>>,
    concerns: ConcernComparison
  ) {
    this.#sides = sides
    this.#nodes = nodes
    this.#concerns = concerns
    this.#protection = new Protection(sides, nodes.before, concerns)
  }

  /** Adds what changes for the requests that come to two routes. */
  addMatch(match: RouteMatch): void {
    const { before, after, request, isCaseVariant } = match
    if (before?.kind === 'builtin' && after?.kind === 'builtin') return
    const route: ChangedRoute = { before: before?.name, after: after?.name, request }
    // What "ignoreCase" changes for other spellings is reported once, at the option.
    if (before === undefined || after === undefined) {
      if (!isCaseVariant) this.#addPresence(before, after, route)
      return
    }
    const [old, next] = [this.#nodes.before.planned.get(before), this.#nodes.after.planned.get(after)]
    if (old === undefined || next === undefined) {
      this.#addRoutes(
        { class: 'moved', message: 'Requests come to a route of the gateway itself, or no longer do' },
        route,
        next
      )
      return
    }
    for (const change of this.#concerns.changes(before, after)) this.addChange(change, { route, old, next })
    const moved = targetChanges(
      this.#sides,
      { info: before, planned: old },
      { info: after, planned: next },
      isBuiltinModule
    )
    for (const change of moved) this.addChange(change, { route, old, next })
    const bypassed = this.#protection.bypassed({ info: after, planned: next }, old)
    if (bypassed !== undefined)
      this.#addRoutes(
        { class: 'widened-access', message: `Requests reach what the route ${bypassed} protects` },
        route,
        next
      )
  }

  #addPresence(before: RouteInfo | undefined, after: RouteInfo | undefined, route: ChangedRoute): void {
    if (before !== undefined) {
      const old = this.#nodes.before.planned.get(before)
      const isDelisted = old !== undefined && this.#protection.isDelisted(old)
      this.#addRoutes(isDelisted ? DELISTED : REMOVED, route, old)
      return
    }
    const next = after === undefined ? undefined : this.#nodes.after.planned.get(after)
    if (after === undefined) return
    const widened =
      next === undefined ? undefined : this.#protection.widenedBy({ info: after, planned: next })
    this.#addRoutes(widened === undefined ? ADDED : WIDENED[widened], route, next)
  }

  #addRoutes(finding: RouteChange, route: ChangedRoute, planned: PlannedRoute | undefined): void {
    const place = planned === undefined ? undefined : showPlace(planned.place())
    this.findings.add({ ...finding, option: undefined, place }, route)
  }

  /** Adds a change of options; without routes it is one of the root. */
  addChange(
    { key, class: kind, path, message }: ModuleChange,
    about?: { readonly route: ChangedRoute; readonly old: PlannedRoute; readonly next: PlannedRoute }
  ): void {
    const optionsOf = (side: 'before' | 'after', planned: PlannedRoute | undefined): unknown => {
      const { plan } = this.#sides[side]
      if (planned?.target === key) return planned.targetOptions
      return planned?.options[key] ?? plan.options[key] ?? (plan as unknown as Record<string, unknown>)[key]
    }
    const shownAt = (side: 'before' | 'after', planned: PlannedRoute | undefined): unknown =>
      path.length === 0
        ? undefined
        : this.#sides[side].masked(valueAt(optionsOf(side, planned), path), [key, ...path])
    const [before, after] = [shownAt('before', about?.old), shownAt('after', about?.next)]
    const origins = about === undefined ? this.#sides.after.plan.origins : about.next.origins
    this.findings.add(
      {
        class: kind,
        option: showPath([key, ...path]),
        message,
        ...(before === undefined ? {} : { before }),
        ...(after === undefined ? {} : { after }),
        place:
          placeIn(origins, key) ??
          placeIn(about?.old.origins, key) ??
          (about === undefined ? undefined : showPlace(about.next.place()))
      },
      about?.route
    )
  }
}
