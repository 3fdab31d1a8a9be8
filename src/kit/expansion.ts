import type { TSchema } from 'typebox'
import type { OptionFault } from '../lib/schema.ts'
import type { DescribedCredential } from './describe.ts'

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
  /** What each operation that it stands for wants of its callers; undefined where that is not known. */
  readonly security?: readonly WantedSecurity[]
}

/** The credentials that an operation wants: one of these, each a list of schemes that are needed together; none if it is public. */
export type SecurityAlternatives = readonly (readonly DescribedCredential[])[]

/** What an operation wants of its callers. */
export interface WantedSecurity {
  readonly alternatives: SecurityAlternatives
  /** Whether it says so, or leaves it out. */
  readonly isDeclared: boolean
  /** What is wrong with it; the alternatives are then incomplete. */
  readonly fault?: string
  /** Returns the operation and its place, for messages. */
  readonly origin: () => string
}

/** The options of a concern on a route that stand for its security, or why there are none. */
export interface FromSecurity {
  /** The path of the option that asks for them, for messages. */
  readonly path: OptionFault['path']
  readonly faults: readonly string[]
  /** The options, as a route would write them; false for a public route. */
  readonly options: Readonly<Record<string, unknown>> | false
}
