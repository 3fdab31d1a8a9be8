import { lastPlace, type Origins } from '../config/origins.ts'
import type { ChangeClass } from '../kit/comparison.ts'

/** The routes of a change, and a request that it is about. */
export interface ChangedRoute {
  /** The name of the route in the old config; undefined where it had none. */
  readonly before: string | undefined
  readonly after: string | undefined
  readonly request: string
}

/** One change, with all routes that have it. */
export interface Finding {
  readonly class: ChangeClass
  /** The option, such as "auth.require.roles"; undefined where it is the routes themselves. */
  readonly option: string | undefined
  readonly message: string
  /** The option in both configs, with secrets masked; undefined where it is not set. */
  readonly before?: unknown
  readonly after?: unknown
  /** Where the new config has it. */
  readonly place: string | undefined
  readonly routes: readonly ChangedRoute[]
}

type NewFinding = Omit<Finding, 'routes'>

/** Collects findings, so that each is told once with its routes. */
export class FindingList {
  readonly #found = new Map<
    string,
    { readonly finding: NewFinding; readonly routes: Map<string, ChangedRoute> }
  >()

  add(finding: NewFinding, route?: ChangedRoute): void {
    const { class: kind, option, message, before, after } = finding
    const id = JSON.stringify([kind, option, message, before, after])
    const known = this.#found.get(id) ?? { finding, routes: new Map<string, ChangedRoute>() }
    this.#found.set(id, known)
    if (route === undefined) return
    const routeId = `${route.before} ${route.after}`
    if (!known.routes.has(routeId)) known.routes.set(routeId, route)
  }

  /** Lists the findings, the classes in their order. */
  list(classes: readonly ChangeClass[]): Finding[] {
    return [...this.#found.values()]
      .map(({ finding, routes }) => ({ ...finding, routes: [...routes.values()] }))
      .toSorted((a, b) => classes.indexOf(a.class) - classes.indexOf(b.class))
  }
}

/** Returns where an option is set last. */
export const placeIn = (origins: Origins | undefined, key: string): string | undefined =>
  lastPlace(origins?.get(key))
