import { expansionsOf } from '../config/catalog.ts'
import type { Plan, PlannedRoute } from '../config/plan-types.ts'
import { getOrCreate } from '../lib/memoize.ts'
import type { ConcernComparison } from './compare-concerns.ts'
import { newPlaces, type PlannedMatch, type Reach, reachOf } from './compare-targets.ts'
import type { Sides } from './compared-side.ts'
import type { RouteNodes } from './route-nodes.ts'

/** Which routes of the old config protect a place, such as an upstream, and whether others reach it. */
interface PlaceProtection {
  readonly guarded: PlannedMatch[]
  /** Whether routes reach it that an option of a group has added: those of a document, which lists what may be requested. */
  isListed: boolean
  isPublic: boolean
}

/** What the old config protects, by the places that its routes reach. */
export class Protection {
  readonly #places = new Map<string, PlaceProtection>()
  readonly #sides: Sides
  readonly #concerns: ConcernComparison
  readonly #reaches = new Map<PlannedRoute, Reach>()

  constructor(sides: Sides, before: RouteNodes, concerns: ConcernComparison) {
    this.#sides = sides
    this.#concerns = concerns
    for (const [info, planned] of before.planned) {
      const isProtected = concerns.isProtected(info)
      for (const place of this.#reachOf('before', planned).keys()) {
        const known = getOrCreate(
          this.#places,
          place,
          (): PlaceProtection => ({ guarded: [], isListed: false, isPublic: false })
        )
        if (isProtected) known.guarded.push({ info, planned })
        else if (isAdded(before.plan, planned)) known.isListed = true
        else known.isPublic = true
      }
    }
  }

  /** Returns how a route with requests that were not answered reaches more than before: a place that only protected or listed routes reached, or that it protects less than another one. */
  widenedBy(route: PlannedMatch): 'protected' | 'listed' | undefined {
    const places = [...this.#reachOf('after', route.planned).keys()]
    const isProtected = places.some((place) => {
      const known = this.#places.get(place)
      if (known === undefined || known.guarded.length === 0) return false
      return (!known.isPublic && !known.isListed) || this.#weakerThan(route, place) !== undefined
    })
    if (isProtected) return 'protected'
    const isListed = places.some((place) => {
      const known = this.#places.get(place)
      return known?.isListed === true && !known.isPublic
    })
    return isListed ? 'listed' : undefined
  }

  /** Returns whether an option of a group had added a route, and still adds some that reach the same. */
  isDelisted(before: PlannedRoute): boolean {
    if (!isAdded(this.#sides.before.plan, before)) return false
    const { plan } = this.#sides.after
    const reach = this.#reachOf('before', before)
    return plan.routes.some(
      (route) =>
        isAdded(plan, route) && [...this.#reachOf('after', route).keys()].some((place) => reach.has(place))
    )
  }

  /** Returns the name of a route that protects more of what a route has come to reach; undefined if there is none. */
  bypassed(route: PlannedMatch, before: PlannedRoute): string | undefined {
    for (const place of newPlaces(this.#reachOf('after', route.planned), this.#reachOf('before', before))) {
      const other = this.#weakerThan(route, place)
      if (other !== undefined) return other
    }
    return undefined
  }

  #weakerThan({ info }: PlannedMatch, place: string): string | undefined {
    return this.#places
      .get(place)
      ?.guarded.find((each) =>
        this.#concerns.changes(each.info, info).some((change) => change.class === 'widened-access')
      )?.info.name
  }

  #reachOf(side: 'before' | 'after', planned: PlannedRoute): Reach {
    return getOrCreate(this.#reaches, planned, () => reachOf(this.#sides[side], planned))
  }
}

/** Returns whether a route was added by an option of a group, such as the operations of a document. */
const isAdded = ({ catalog }: Plan, { where }: PlannedRoute): boolean =>
  expansionsOf(catalog).some(({ key }) => where.path.at(-1) === key)
