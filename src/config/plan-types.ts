import type { Catalog } from './catalog.ts'
import type { Fault, Place } from './fault.ts'
import type { PathPattern } from './paths.ts'

/** A config, read, checked, resolved and frozen: all that `buildGateway` needs. */
export interface Plan {
  readonly file: string
  /** Every file that the config was read from or that its concerns read, for watching. */
  readonly files: readonly string[]
  readonly catalog: Catalog
  readonly publicUrl: string | undefined
  readonly trustedProxies: readonly string[]
  /** The root options of each concern that is installed, with defaults; a concern that is absent is not registered. */
  readonly options: Readonly<Record<string, unknown>>
  readonly routes: readonly PlannedRoute[]
  /** The texts that came from the environment or a file by `${…}`. */
  readonly interpolated: ReadonlySet<string>
  /** Where each concern and target is mentioned first. */
  readonly firstMentions: ReadonlyMap<string, () => Place>
  /** What `check` warns of. */
  readonly warnings: readonly Fault[]
}

/** One route of the config, with everything that applies to it. */
export interface PlannedRoute {
  readonly name: string
  readonly hosts: readonly string[]
  readonly paths: readonly PathPattern[]
  /** The allowed methods, with HEAD where GET is; undefined for all. */
  readonly methods: readonly string[] | undefined
  /** The key of the target. */
  readonly target: string
  /** The options of the target. */
  readonly targetOptions: unknown
  /** The options of the target that a group has set, each with the paths of the group. */
  readonly inherited: Readonly<Record<string, readonly string[]>>
  /** The options of each concern by key; false where it is off. */
  readonly options: Readonly<Record<string, unknown>>
  /** The key of the route in state that reloads, workers and gateways share; independent of its position in the file. */
  readonly id: string
  /** The id of the root, group or route that set each concern last: a limit counts there. */
  readonly scopes: Readonly<Record<string, string>>
  /** The keys of the concerns that the root, a group or the route mentions. */
  readonly mentioned: ReadonlySet<string>
  /** The keys of the concerns that a group or the route sets, including to `false`. */
  readonly overrides: readonly string[]
  /** Finds its place in the file. */
  readonly place: () => Place
}
