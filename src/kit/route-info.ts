import type { FastifyContextConfig, FastifyInstance, RouteOptions } from 'fastify'
import type { Alternatives } from '../lib/conditions/options.ts'
import { EMPTY_HEAD_PLAN, type HeadPlan } from './response-head.ts'

/** The type of `config.sallyport` on a Fastify route: the options of each concern, or false to switch it off. Concerns add theirs by declaration merging. */
export interface SallyportConfig {
  route?: RouteInfo
  [key: string]: unknown
}

/** A URL and its methods to register with Fastify. */
export interface Mount {
  readonly url: string
  readonly method: string[]
}

/** A route as concerns see it at boot. */
export interface RouteInfo {
  /** Where it comes from: the config, the gateway, the `app.route` of a plugin, or the handlers of unmatched requests. */
  readonly kind: 'config' | 'builtin' | 'plugin' | 'notFound'
  /** The key of the route in state that reloads, workers and gateways share: its names, or else its hosts, paths and methods. */
  readonly id: string
  /** Its name in logs and metrics; by default its path. */
  readonly name: string
  /** Its paths, joined by commas. */
  readonly path: string
  /** Its paths as they are in the config, with those of its groups. */
  readonly paths: readonly string[]
  /** Its hosts; empty for every host. */
  readonly hosts: readonly string[]
  /** Its methods; undefined for every method. */
  readonly methods: readonly string[] | undefined
  /** Its conditions (`when`), with those of its groups: all of one set have to hold; empty for none. */
  readonly when: Alternatives
  /** The key of its target; undefined unless it comes from the config. */
  readonly target: string | undefined
  /** Whether its target sends responses without Fastify's reply. */
  readonly streams: boolean
  /** The resolved options of each concern, by key: false if it is off, undefined if it is not installed or cannot be set on routes. */
  readonly options: Readonly<Record<string, unknown>>
  /** Returns the id of the root, group or route that configures a concern last; it does not depend on the position in the file. */
  scope(key: string): string
  /** Returns where a concern is configured: on the route or a group around it, only at the root, or nowhere. */
  mentionOf(key: string): 'inside' | 'root' | undefined
  /** Returns the paths of the innermost place that sets an option of a concern: of the route or a group around it; empty for the root. */
  pathsSetting(key: string, option: readonly (string | number)[]): readonly string[]
  /** What concerns add to the head of every response; complete once all concerns are registered. */
  head: HeadPlan
  /** The keys of the concerns with hooks on it, in the order in which they run; filled at boot. */
  readonly gates: string[]
}

/** Returns the description of a route, with defaults for what is not known. */
export function newRoute(
  known: Pick<RouteInfo, 'kind' | 'name' | 'path'> & Partial<Omit<RouteInfo, 'head' | 'gates'>>
): RouteInfo {
  const { kind, name, path, methods, hosts } = known
  return {
    id: `${kind} ${name} ${path} ${methods?.join() ?? ''} ${hosts?.join() ?? ''}`,
    paths: [path],
    hosts: [],
    methods: undefined,
    when: [],
    target: undefined,
    streams: false,
    options: {},
    scope: () => 'root',
    mentionOf: () => undefined,
    pathsSetting: () => [],
    ...known,
    head: EMPTY_HEAD_PLAN,
    gates: []
  }
}

/** Returns the description of a route that is being registered; the route of a plugin gets one here. */
export function routeInfoOf(app: FastifyInstance, routeOptions: RouteOptions): RouteInfo {
  const config: FastifyContextConfig = routeOptions.config ?? {}
  if (config.sallyport?.route !== undefined) return config.sallyport.route
  const { url, method } = routeOptions
  const methods = [method].flat()
  const route =
    app.sallyportKit.findRoute(url, methods) ?? newRoute({ kind: 'plugin', name: url, path: url, methods })
  routeOptions.config = { ...config, sallyport: { ...route.options, ...config.sallyport, route } }
  return route
}

declare module 'fastify' {
  interface FastifyContextConfig {
    sallyport?: SallyportConfig
  }
}
