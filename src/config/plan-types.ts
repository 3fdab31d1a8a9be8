import type { Alternatives } from '../lib/conditions/options.ts'
import type { Acceptance } from './acceptances.ts'
import type { Catalog } from './catalog.ts'
import type { Fault, Place } from './fault.ts'
import type { Finding } from './finding.ts'
import type { Origin, Origins } from './origins.ts'
import type { PathPattern } from './paths.ts'
import type { Where } from './where.ts'

/** A config that was read, checked, resolved and frozen: the input of `buildGateway`. */
export interface Plan {
  readonly file: string
  /** All files of the config and those that its concerns read at boot, for watching. */
  readonly files: readonly string[]
  readonly catalog: Catalog
  readonly publicUrl: string | undefined
  readonly trustedProxies: readonly string[]
  /** The header, in lower case, in which trusted proxies name the client; undefined for X-Forwarded-For. */
  readonly clientIp: string | undefined
  /** The resolved root options of each installed concern, by key; others are not registered. */
  readonly options: Readonly<Record<string, unknown>>
  readonly routes: readonly PlannedRoute[]
  /** The strings that contain a value from the environment or a file, by `${…}`. */
  readonly interpolated: ReadonlySet<string>
  /** The first place of each concern and target in the config, by key. */
  readonly firstMentions: ReadonlyMap<string, () => Place>
  /** Where the root options of each concern come from. */
  readonly origins: Origins
  /** The warnings of `check`, before those are taken out that the config accepts. */
  readonly warnings: readonly Finding[]
  /** The options of routes that are not enabled. */
  readonly disabledOptions: readonly unknown[]
  /** What the config accepts (`x-ok`). */
  readonly acceptances: readonly Acceptance[]
  /** Make the messages of `check` that need no change of the config. */
  readonly notes: readonly (() => Fault)[]
}

/** A route of the config, with everything that applies to it. */
export interface PlannedRoute {
  readonly name: string
  readonly hosts: readonly string[]
  readonly paths: readonly PathPattern[]
  /** The allowed methods, with HEAD where GET is; undefined for all. */
  readonly methods: readonly string[] | undefined
  /** Its conditions, with those of its groups; empty for none. */
  readonly when: Alternatives
  /** The key of the target. */
  readonly target: string
  /** The resolved options of the target. */
  readonly targetOptions: unknown
  /** The options of the target that a group has set, each with the paths of the group. */
  readonly inherited: Readonly<Record<string, readonly string[]>>
  /** The resolved options of each concern, by key; false if it is off. */
  readonly options: Readonly<Record<string, unknown>>
  /** The key of the route in state that reloads, workers and gateways share; independent of its position in the file. */
  readonly id: string
  /** The id of the root, group or route that configures each concern last; a limit counts there. */
  readonly scopes: Readonly<Record<string, string>>
  /** The keys of the concerns that the root, a group or the route configures. */
  readonly mentioned: ReadonlySet<string>
  /** The keys of the concerns that a group or the route configures, including with `false`. */
  readonly overrides: readonly string[]
  /** Where the options of its concerns come from. */
  readonly origins: Origins
  /** Where the options of its target come from, from the root inwards. */
  readonly targetOrigins: readonly Origin[]
  /** Returns its place in the file. */
  readonly place: () => Place
  /** What part of the config it is. */
  readonly where: Where
}
