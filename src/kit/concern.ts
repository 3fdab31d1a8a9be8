import type {
  FastifyInstance,
  FastifyPluginAsync,
  FastifyPluginCallback,
  FastifyReply,
  FastifyRequest
} from 'fastify'
import type { TSchema } from 'typebox'
import type { OptionFault } from '../lib/schema.ts'

/** The words said of a route, each resolved to whole options, or false where it is off; concerns add theirs by declaration merging. */
export interface SallyportConfig {
  route?: RouteInfo
  [word: string]: unknown
}

/** A built-in or third-party concern: one word of the config, what may be said with it, and a Fastify plugin. */
export interface Concern {
  /** The word in the config. */
  readonly key: string
  /** The schema of the word at the root. */
  readonly options: TSchema
  /** The schema of the word on a route; `overrideOf(options)` for most; false where a route has no say. */
  readonly override?: TSchema | false
  /** Whether it is there without being asked for. */
  readonly always?: boolean | ((words: WordsSaid) => boolean)
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
  /** Whether it keeps counts or entries of each place where it is written, so that such places must be told apart. */
  readonly counts?: boolean
  /** What is worth a second look in the options of a route, for `check`: each a sentence that goes on from "The route x". */
  readonly warnings?: (options: never, about: AboutRoute) => readonly string[]
  /** The Fastify plugin; its options are the word's root options. */
  readonly default: FastifyPluginAsync<never> | FastifyPluginCallback<never>
}

/** Tells which words a config says anywhere. */
export type WordsSaid = (word: string) => boolean

/** What a concern or a target may ask about the config around its own word. */
export interface About {
  readonly upstreams: readonly string[]
  /** The folder of the file that says the word; files are relative to it. */
  readonly folder: string
  /** The root options of another word, resolved, or undefined where it is off. */
  word(key: string): unknown
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
  word(key: string): unknown
  /** The upstreams of the config by name, as their options are. */
  readonly upstreams: Readonly<Record<string, unknown>>
}

/** A built-in or third-party target: what answers a request. */
export interface Target {
  readonly key: string
  readonly target: true
  readonly options: TSchema
  /** Whether the root may say the word, as the defaults of every route with this target. */
  readonly rootDefaults?: boolean
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

/** Where a route is registered. */
export interface Mount {
  readonly url: string
  readonly method: string[]
}

/** A route of the gateway's own, such as the health checks and the login. */
export interface BuiltinRoute {
  readonly name: string
  readonly path: string
  readonly hosts: readonly string[]
  readonly methods: readonly string[]
  readonly words: Readonly<Record<string, unknown>>
  readonly handler: (this: FastifyInstance, request: FastifyRequest, reply: FastifyReply) => unknown
}

/** What the gateway's own routes may depend on. */
export interface BuiltinContext {
  readonly publicUrl: string | undefined
  readonly words: Readonly<Record<string, unknown>>
  readonly routes: readonly {
    readonly hosts: readonly string[]
    readonly words: Readonly<Record<string, unknown>>
  }[]
}

/** What is known of a route at boot. */
export interface RouteInfo {
  /** Where it comes from: the config, the gateway itself, a plugin's own `app.route`, or the answer to what no route takes. */
  readonly kind: 'config' | 'standing' | 'plugin' | 'notFound'
  /** What it is known by in what reloads, workers and gateways share: its names, else its hosts, paths and methods. */
  readonly id: string
  /** What people call it: its name, else its path. */
  readonly name: string
  readonly path: string
  /** Its paths one by one, as the config writes them. */
  readonly paths: readonly string[]
  readonly hosts: readonly string[]
  /** The methods it takes; undefined for all. */
  readonly methods: readonly string[] | undefined
  /** The word of its target; undefined for routes of plugins. */
  readonly target: string | undefined
  /** Whether its target sends the answer itself, past Fastify's reply. */
  readonly streams: boolean
  /** Each word's options, whole, or false where it is off; undefined where nothing was resolved yet. */
  readonly words: Readonly<Record<string, unknown>>
  /** Tells the id of the root, group or route where a word was last written; the same wherever that stands in the file. */
  scope(word: string): string
  /** Tells where the config mentions a word for it: on the route or a group around it, or at the root alone; undefined for nowhere. */
  mentionOf(word: string): 'inside' | 'root' | undefined
  /** What concerns want in the head of every answer; whole once all of them have seen the route. */
  head: HeadPlan
  /** The gates on it, in the order they run; filled at boot. */
  readonly gates: string[]
}

/** What concerns want in the head of an answer; whoever sends the head applies it. Routes of which the same is wanted share one. */
export interface HeadPlan {
  /** Headers set where the answer does not have them yet. */
  readonly defaults: readonly (readonly [name: string, value: string])[]
  /** What every answer varies by, beside what it says itself; empty for nothing. */
  readonly vary: string
  /** Headers that an upstream's answer loses on its way: a concern says them itself, or nobody may. */
  readonly strips: ReadonlySet<string>
  /** Run just before the head goes out. */
  readonly hooks: readonly HeadHook[]
}

/** Changes the head of an answer just before it is sent. */
export type HeadHook = (request: FastifyRequest, reply: FastifyReply, head: Head) => void

/** The head of an answer, whoever sends it; names are in lower case. */
export interface Head {
  has(name: string): boolean
  set(name: string, value: string): void
  remove(name: string): void
}

declare module 'fastify' {
  interface FastifyContextConfig {
    sallyport?: SallyportConfig
  }
}
