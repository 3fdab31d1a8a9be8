import type { TSchema } from 'typebox'
import type { OptionFault } from '../lib/schema.ts'

/** An option of groups that adds routes to them, beside those that are written there. */
export interface Expansion {
  /** The key in the config, in camelCase. */
  readonly key: string
  /** The schema of the option. */
  readonly options: TSchema
  /** Returns the routes for a group, with the names of files in the option resolved. */
  readonly routes: (options: never, group: AboutGroup) => Promise<Expanded>
}

/** A group, for its expansion. */
export interface AboutGroup {
  /** The paths of the group, with those of the groups around it; "" stands for the root. */
  readonly paths: readonly string[]
}

/** The routes that an option adds to a group. */
export interface Expanded {
  /** The errors; with any, there are no routes. */
  readonly faults: readonly OptionFault[]
  /** The options of concerns that all these routes have, as a group would write them. */
  readonly options: Readonly<Record<string, unknown>>
  readonly routes: readonly AddedRoute[]
  /** The files that the routes were read from, so that they are watched. */
  readonly files: readonly string[]
}

/** A route that an option adds to a group. */
export interface AddedRoute {
  readonly name: string
  /** Its paths below those of the group, in the syntax of the config. */
  readonly paths: readonly string[]
  readonly method: string
  /** Returns what it was read from, such as "GET /orders/{id} (shop.yaml:12:3)", for messages. */
  readonly origin: () => string
}
