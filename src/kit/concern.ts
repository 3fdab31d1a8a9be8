import type { FastifyPluginAsync, FastifyPluginCallback, FastifyRequest } from 'fastify'
import type { TSchema } from 'typebox'
import type { PathPolicy } from '../lib/http/canonical-path.ts'
import type { OptionFault } from '../lib/schema.ts'
import type { Comparison, TargetComparison } from './comparison.ts'
import type { AboutDescription, DescribedErrorContent, DescribedRefusal, Description } from './describe.ts'
import type { Expansion, FromSecurity, SecurityAlternatives } from './expansion.ts'
import type { Mount, RouteInfo } from './route-info.ts'
import type { Warning } from './warning.ts'

export type {
  AboutComparison,
  ChangeClass,
  Comparison,
  LoggedRequest,
  OptionChange,
  OptionMeaning,
  OptionMeanings,
  Reached,
  TargetComparison
} from './comparison.ts'
export type {
  AboutGroup,
  AddedRoute,
  Expanded,
  Expansion,
  FromSecurity,
  SecurityAlternatives,
  WantedSecurity
} from './expansion.ts'

/** A built-in or third-party concern: one key of the config, the schema of its options, and a Fastify plugin. */
export interface Concern {
  /** The key in the config, in camelCase. */
  readonly key: string
  /** The schema of its options at the root of the config. */
  readonly options: TSchema
  /** The schema of its options on a route or a group, `overrideOf(options)` for most; false if they can be set at the root only. */
  readonly override?: TSchema | false
  /** Whether it is on by default, always or depending on what else is configured. */
  readonly always?: boolean | ((isConfigured: IsConfigured) => boolean)
  /** Returns the options that environment variables set; the config overrides them. */
  readonly given?: (
    env: Readonly<Record<string, string | undefined>>
  ) => Readonly<Record<string, unknown>> | undefined
  /** The environment variable behind each option of `given`, for error messages. */
  readonly variables?: Readonly<Record<string, string>>
  /** Whether it may refuse requests. */
  readonly gate?: boolean
  /** Whether it controls access, so that no other spelling of a path may bypass it (`paths.ambiguous`); by default whether it has the option `mode`. */
  readonly guardsAccess?: boolean
  /** Returns the errors in resolved options that a schema cannot express, each with the path of its option. */
  readonly faults?: (options: never, about: About) => readonly OptionFault[] | Promise<readonly OptionFault[]>
  /** An option of groups that adds routes to them. */
  readonly expand?: Expansion
  /** Returns the options of an added route that stand for the security that it wants; undefined if the options of its group do not ask for that. */
  readonly fromSecurity?: (options: never, security: SecurityAlternatives) => FromSecurity | undefined
  /** Whether it keeps state for each place where it is configured, such as a count; such groups need distinct identities. */
  readonly counts?: boolean
  /** Returns whether options of a route only make it stricter than the options around it, so that a group that has locked it allows them. */
  readonly isStricter?: (written: unknown, outer: unknown) => boolean
  /** Returns the files that its options lead to, beside those that they name, so that they are watched. */
  readonly files?: (options: never) => readonly string[]
  /** Returns warnings about the options of a route, for `check`; each continues the sentence "The route x …". A text alone is deprecated. */
  readonly warnings?: (options: never, about: AboutRoute) => readonly (Warning | string)[]
  /** The option that a text in place of the options stands for. */
  readonly shorthand?: string
  /** Whether its options are named entries that targets refer to, such as upstreams; every file of a config can add some. */
  readonly named?: boolean
  /** Returns the origins that requests to a named entry or a URL are sent to; none if the upstream compares paths byte by byte. */
  readonly origins?: (options: never) => (nameOrUrl: string) => readonly string[]
  /** Returns the request headers that it sets itself for upstreams, in lower case, so that they can't be conditions of routes. */
  readonly reservedHeaders?: (options: never) => readonly string[]
  /** Returns the request headers that it sets or removes for upstreams, in lower case; an explanation names it beside them. */
  readonly requestHeaders?: (options: never) => readonly string[]
  /** Returns whether it keeps a request header of a client, given in lower case, from upstreams; its options are undefined where it is off. */
  readonly dropsRequestHeader?: (options: never, name: string) => boolean
  /** Returns what an explanation takes for granted of its state, as sentences, such as that nothing is counted yet. */
  readonly assumes?: (options: never, request: FastifyRequest) => readonly string[]
  /** Returns what its verdict about a request depends on that an explanation doesn't know, such as a session; undefined where it is known. */
  readonly undecided?: (options: never, request: FastifyRequest) => string | undefined
  /** Whether it responds to CORS preflights, which are then routed by the method that they ask for. */
  readonly preflights?: boolean
  /** Returns how paths are normalized before routing. */
  readonly pathPolicy?: (options: never) => PathPolicy
  /** Whether it is allowed only at the root of the main file. */
  readonly rootOnly?: boolean
  /** Whether it keeps shared state in the store, which several workers share only if it is a server such as Redis. */
  readonly usesStore?: boolean
  /** Returns whether the session is a credential on a route with these options. */
  readonly usesSession?: (options: never) => boolean
  /** Returns how many connections or requests a process handles at a time; undefined for no limit. */
  readonly concurrency?: (options: never) => Concurrency | undefined
  /** Returns warnings about the config as a whole, for `check`; called with the root options. */
  readonly planWarnings?: (options: never, about: AboutPlan) => readonly PlanWarning[]
  /** Whether its requests leave no state behind, such as counts or stored responses, other than what it forgets by `app.simulation.onRenew`; the tests of a config then share a gateway. A function of its options where they decide; of those of an entry where it is `named`. */
  readonly stateless?: boolean | ((options: never) => boolean)
  /** Whether it stays last: extensions that name no place come before it. */
  readonly last?: boolean
  /** Returns what it adds to the OpenAPI description of a route. */
  readonly describes?: (options: never, about: AboutDescription) => Description
  /** Returns the bodies of an error of a route for its OpenAPI description; called with the root options where the concern is off. */
  readonly describesError?: (
    options: never,
    error: Pick<DescribedRefusal, 'status' | 'code'>
  ) => DescribedErrorContent
  /** Returns the texts of the OpenAPI description; routes on which it is off are left out of it. */
  readonly documents?: (options: never) => Documentation
  /** How `diff` compares its options; those of `named` entries are compared one by one. */
  readonly comparison?: Comparison
  /** The Fastify plugin; it gets the resolved root options. */
  readonly default: FastifyPluginAsync<never> | FastifyPluginCallback<never>
}

/** The texts of an OpenAPI description: `info` of the whole, the others of an operation. */
export interface Documentation {
  readonly info: { readonly title: string; readonly version: string; readonly description?: string }
  readonly summary?: string
  readonly description?: string
  readonly tags?: readonly string[]
  readonly deprecated: boolean
}

/** Returns whether the config sets a concern or a target anywhere, other than to `false`. */
export type IsConfigured = (key: string) => boolean

/** The rest of the config, for the `faults` of a concern or a target. */
export interface About {
  /** The names of the upstreams. */
  readonly upstreams: readonly string[]
  /** The keys of the concerns and targets of extensions. */
  readonly extensions: readonly string[]
  /** The folder of the config file, which names of files are relative to. */
  readonly folder: string
  /** Returns the resolved root options of another concern; undefined if it is not installed. */
  optionsOf(key: string): unknown
  /** The paths of the route; empty for root options. */
  readonly paths: readonly string[]
  /** The hosts of the route; empty for every host and for root options. */
  readonly hosts: readonly string[]
  /** The options of a target that a group has set last, each with the paths of the group. */
  readonly inherited: Readonly<Record<string, readonly string[]>>
  /** The origin that browsers see (`publicUrl`); undefined if it is not configured. */
  readonly publicUrl: string | undefined
  /** The trusted proxies as written; undefined if none are configured, not even an empty list. */
  readonly trustedProxies: readonly string[] | undefined
  /** The resolved options of the concerns of every route, by key; false where a concern is off. */
  readonly routes: readonly Readonly<Record<string, unknown>>[]
}

/** The rest of a route, for `warnings`. */
export interface AboutRoute {
  /** Returns the resolved options of a concern on the route; false if it is off. */
  optionsOf(key: string): unknown
  /** The resolved options of each upstream, by name. */
  readonly upstreams: Readonly<Record<string, unknown>>
  /** The key of the target. */
  readonly target: string
  /** Its paths, with the prefixes of its groups. */
  readonly paths: readonly string[]
  /** Its methods; undefined for all. */
  readonly methods: readonly string[] | undefined
  /** The keys of the concerns that the route or a group around it configures, including with `false`. */
  readonly overrides: readonly string[]
}

/** The whole config, for `planWarnings`. */
export interface AboutPlan {
  /** The number of worker processes. */
  readonly workers: number
  readonly routes: readonly AboutPlanRoute[]
  /** The keys of the concerns with `usesStore` that are on at the root or on any route. */
  readonly usingStore: readonly string[]
  /** Returns whether an option of a route or of a concern has a text, such as the name of an upstream; also where the route is not enabled. */
  mentions(text: string): boolean
}

/** A route of the config, for `planWarnings`. */
export interface AboutPlanRoute {
  /** Its paths as they are in the config, with those of its groups. */
  readonly paths: readonly string[]
  /** The resolved options of each concern on the route, by key; false where it is off. */
  readonly options: Readonly<Record<string, unknown>>
  /** The keys of the concerns that the route or a group around it configures, including with `false`. */
  readonly overrides: readonly string[]
  /** Whether its target exports `exposes`. */
  readonly exposes: boolean
}

/** A warning about the config as a whole; with routes, its message is the part after their names. */
export interface PlanWarning extends Warning {
  /** The routes in question; undefined for the root options of the concern, or the whole config. */
  readonly routes?: readonly AboutPlanRoute[]
}

/** A limit on what a process handles at a time. */
export interface Concurrency {
  /** The option that sets it. */
  readonly option: string
  readonly max: number
  /** Whether it limits connections instead of requests. */
  readonly limitsConnections: boolean
}

/** A built-in or third-party target, which responds to the requests of a route. */
export interface Target {
  /** The key in the config, in camelCase. */
  readonly key: string
  readonly target: true
  /** The schema of its options on a route. */
  readonly options: TSchema
  /** Whether the key is allowed at the root, with defaults for every route that has this target. */
  readonly rootDefaults?: boolean
  /** Whether a group can set it, as the target of its routes that have none. */
  readonly groupDefaults?: boolean
  /** Options that take the place of one another: one that is set further in removes the others from outside. */
  readonly exclusive?: readonly string[]
  /** Whether `check` warns of a route with it that is public beside protected ones. */
  readonly exposes?: boolean
  /** Whether it sends responses without Fastify's reply; it then has to apply the response head and the deadline itself. */
  readonly streams?: boolean
  /** Returns whether an exact path matches only itself, so that the same path with a final slash is left to other routes. */
  readonly leavesSlash?: (options: never, path: string, about: Pick<About, 'hosts' | 'publicUrl'>) => boolean
  /** Returns the names or URLs of the upstreams that get the request's own path; routes that share one are compared by `paths.ambiguous`. */
  readonly upstreams?: (options: never) => readonly string[]
  /** Returns the pattern of the paths that the upstreams get for those of a pattern; undefined where more than the path decides. */
  readonly upstreamPath?: (
    options: never,
    pattern: string,
    inherited: TargetRoute<unknown>['inherited']
  ) => string | undefined
  /** Returns the errors in resolved options that a schema cannot express, each with the path of its option. */
  readonly faults?: (options: never, about: About) => readonly OptionFault[]
  /** Returns options of concerns, by key, that follow from those of a route; they override the root, and groups and the route override them. */
  readonly implies?: (
    options: never,
    upstreams: AboutRoute['upstreams']
  ) => Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** Returns the keys of the concerns that have to be installed for it, though no route may switch them on. */
  readonly needs?: (options: never) => readonly string[]
  /** Returns warnings about the options of a route, for `check`; each continues the sentence "The route x …". A text alone is deprecated. */
  readonly warnings?: (options: never, about: AboutRoute) => readonly (Warning | string)[]
  /** Whether its requests leave no state behind, such as counts or stored responses, other than what it forgets by `app.simulation.onRenew`; the tests of a config then share a gateway. A function of its options where they decide. */
  readonly stateless?: boolean | ((options: never) => boolean)
  /** Returns what `check` says of a route although nothing has to change; each continues the sentence "The route x …". */
  readonly notes?: (options: never) => readonly string[]
  /** Returns what it adds to the OpenAPI description of a route. */
  readonly describes?: (options: never, about: AboutDescription) => Description
  /** How `diff` compares its options. */
  readonly comparison?: TargetComparison
  /** The Fastify plugin; it gets the routes that have this target. */
  readonly default: FastifyPluginAsync<TargetRoutes<never>> | FastifyPluginCallback<TargetRoutes<never>>
}

/** The routes that a target has to register. */
export interface TargetRoutes<O> {
  readonly routes: readonly TargetRoute<O>[]
}

/** A route and the options of its target. */
export interface TargetRoute<O> {
  readonly info: RouteInfo
  readonly options: O
  /** The options that a group has set, each with the paths of the group. */
  readonly inherited: Readonly<Record<string, readonly string[]>>
  /** The URLs and methods to register, each with `app.route({ ...mount, handler })`. */
  readonly mounts: readonly Mount[]
}
