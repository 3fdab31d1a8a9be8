import type {
  FastifyInstance,
  FastifyPluginAsync,
  FastifyPluginCallback,
  FastifyReply,
  FastifyRequest
} from 'fastify'
import type { TSchema } from 'typebox'
import type { PathPolicy } from '../lib/http/canonical-path.ts'
import type { OptionFault } from '../lib/schema.ts'
import type { Mount, RouteInfo } from './route-info.ts'

/** A built-in or third-party concern: one word of the config, what may be said with it, and a Fastify plugin. */
export interface Concern {
  /** The word in the config. */
  readonly key: string
  /** The schema of the word at the root. */
  readonly options: TSchema
  /** The schema of the word on a route; `overrideOf(options)` for most; false where a route has no say. */
  readonly override?: TSchema | false
  /** Whether it is there without being asked for. */
  readonly always?: boolean | ((isConfigured: IsConfigured) => boolean)
  /** What the environment says of the word, beneath what the config says. */
  readonly given?: (
    env: Readonly<Record<string, string | undefined>>
  ) => Readonly<Record<string, unknown>> | undefined
  /** The variable that each option of `given` comes from, for messages. */
  readonly variables?: Readonly<Record<string, string>>
  /** Whether it refuses requests, and so takes `global` and `mode`. */
  readonly gate?: boolean
  /** Whether it decides who may pass, so that no other spelling of a path may lead around it (`paths.ambiguous`); by default whether it takes `mode`. */
  readonly guardsAccess?: boolean
  /** What is wrong with resolved options that a schema cannot say, each with the path of the option. */
  readonly faults?: (options: never, about: About) => readonly OptionFault[]
  /** Whether it keeps counts or entries of each place where it is written, so that such places need names that differ. */
  readonly counts?: boolean
  /** What is worth a second look in the options of a route, for `check`: each a sentence that goes on from "The route x". */
  readonly warnings?: (options: never, about: AboutRoute) => readonly string[]
  /** Whether its options are named entries that targets refer to, such as upstreams; each file of a config can add some. */
  readonly named?: boolean
  /** Returns the origins to which requests for a named entry, or for a URL, are sent; none where the upstream compares paths byte by byte. */
  readonly origins?: (options: never) => (nameOrUrl: string) => readonly string[]
  /** Whether it answers CORS preflights, so that they are routed by the method they ask for. */
  readonly preflights?: boolean
  /** Returns how paths are read before routing. */
  readonly pathPolicy?: (options: never) => PathPolicy
  /** Whether only the root of the main file can set it. */
  readonly rootOnly?: boolean
  /** Whether it keeps shared state in the store, which several workers have in common only if it is outside of them. */
  readonly usesStore?: boolean
  /** Returns whether the session is a credential on a route with these options. */
  readonly usesSession?: (options: never) => boolean
  /** Returns how many connections or requests a process takes at a time; undefined for no limit. */
  readonly concurrency?: (options: never) => Concurrency | undefined
  /** Returns warnings about the config as a whole, for `check`; called with the root options. */
  readonly planWarnings?: (options: never, about: AboutPlan) => readonly PlanWarning[]
  /** The Fastify plugin; its options are the word's root options. */
  readonly default: FastifyPluginAsync<never> | FastifyPluginCallback<never>
}

/** Returns whether the config sets a concern or a target anywhere, other than to `false`. */
export type IsConfigured = (key: string) => boolean

/** What a concern or a target may ask about the config around its own word. */
export interface About {
  readonly upstreams: readonly string[]
  /** The folder of the file that says the word; files are relative to it. */
  readonly folder: string
  /** The root options of another word, resolved, or undefined where it is off. */
  optionsOf(key: string): unknown
  /** The paths of the route, as the router knows them; empty for what is said at the root. */
  readonly paths: readonly string[]
  /** The hosts of the route; empty for all, and for what is said at the root. */
  readonly hosts: readonly string[]
  /** The origin that browsers see, or undefined where the config does not say. */
  readonly publicUrl: string | undefined
  /** What every route of the config has of each concern: its options, whole, or false. */
  readonly routes: readonly Readonly<Record<string, unknown>>[]
}

/** What a warning may depend on beside the options themselves. */
export interface AboutRoute {
  /** The options of a concern on the route, whole; false where it is off. */
  optionsOf(key: string): unknown
  /** The upstreams of the config by name, as their options are. */
  readonly upstreams: Readonly<Record<string, unknown>>
}

/** What a warning about the config as a whole may depend on. */
export interface AboutPlan {
  readonly workers: number
  readonly routes: readonly AboutPlanRoute[]
  /** The keys of the concerns with `usesStore` that are on at the root or on some route. */
  readonly usingStore: readonly string[]
}

/** A route of the config, for a warning. */
export interface AboutPlanRoute {
  /** The options of each concern on the route; false where it is off. */
  readonly options: Readonly<Record<string, unknown>>
  /** The keys of the concerns that the route or a group around it sets, including to `false`. */
  readonly overrides: readonly string[]
  /** Whether its target has `exposes`. */
  readonly exposes: boolean
}

/** A warning about the config as a whole. */
export interface PlanWarning {
  /** The routes that it is about; undefined for the whole config. */
  readonly routes?: readonly AboutPlanRoute[]
  /** The warning; with routes, what follows their names. */
  readonly message: string
}

/** How much a process takes at a time, and the option that says so. */
export interface Concurrency {
  readonly option: string
  readonly max: number
  /** Whether it limits connections instead of requests. */
  readonly limitsConnections: boolean
}

/** A built-in or third-party target: what answers a request. */
export interface Target {
  readonly key: string
  readonly target: true
  readonly options: TSchema
  /** Whether the root may say the word, as the defaults of every route with this target. */
  readonly rootDefaults?: boolean
  /** Whether a route with it deserves a warning if it is public beside protected ones. */
  readonly exposes?: boolean
  /** Whether its answers may take longer than the deadline, which ends at their head: it keeps that itself. */
  readonly streams?: boolean
  /** Tells whether an exact path takes only itself, and leaves the same path with a slash behind it to other routes. */
  readonly leavesSlash?: (options: never, path: string, about: Pick<About, 'hosts' | 'publicUrl'>) => boolean
  /** Names the upstreams, or their URLs, to which its requests go with their own path; routes that share one are compared by `paths.ambiguous`. */
  readonly upstreams?: (options: never) => readonly string[]
  readonly faults?: (options: never, about: About) => readonly OptionFault[]
  /** Options of concerns, by key, that follow from those of a route; what a group or the route sets itself wins over them, and they win over the root. */
  readonly implies?: (
    options: never,
    upstreams: AboutRoute['upstreams']
  ) => Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** What is worth a second look in the options of a route, for `check`: each a sentence that goes on from "The route x". */
  readonly warnings?: (options: never, about: AboutRoute) => readonly string[]
  readonly default: FastifyPluginAsync<TargetRoutes<never>> | FastifyPluginCallback<TargetRoutes<never>>
}

/** The routes that a target has to answer. */
export interface TargetRoutes<O> {
  readonly routes: readonly TargetRoute<O>[]
}

/** A route and what its target word says. */
export interface TargetRoute<O> {
  readonly info: RouteInfo
  readonly options: O
  /** The URLs and methods to register with Fastify; `app.route({ ...mount, handler })`. */
  readonly mounts: readonly Mount[]
}

/** A route of the gateway's own, such as the health checks and the login. */
export interface BuiltinRoute {
  readonly name: string
  readonly path: string
  readonly hosts: readonly string[]
  readonly methods: readonly string[]
  readonly options: Readonly<Record<string, unknown>>
  readonly handler: (this: FastifyInstance, request: FastifyRequest, reply: FastifyReply) => unknown
}

/** What the gateway's own routes may depend on. */
export interface BuiltinContext {
  readonly publicUrl: string | undefined
  readonly options: Readonly<Record<string, unknown>>
  readonly routes: readonly {
    readonly hosts: readonly string[]
    readonly options: Readonly<Record<string, unknown>>
    /** Whether the session is a credential on the route. */
    readonly usesSession: boolean
  }[]
}
