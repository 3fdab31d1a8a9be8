import type { FastifyContextConfig, FastifyInstance, RouteOptions } from 'fastify'
import { EMPTY_HEAD_PLAN, type HeadPlan } from './response-head.ts'

/** What a route's `config.sallyport` has: the options of each concern, or false where it is off. Concerns add theirs by declaration merging. */
export interface SallyportConfig {
  route?: RouteInfo
  [key: string]: unknown
}

/** Where a route is registered with Fastify. */
export interface Mount {
  readonly url: string
  readonly method: string[]
}

/** What is known of a route at boot. */
export interface RouteInfo {
  /** Where it comes from: the config, the gateway itself, a plugin's own `app.route`, or the handlers for unmatched requests. */
  readonly kind: 'config' | 'standing' | 'plugin' | 'notFound'
  /** Identifies the route in state that reloads, workers and gateways share: its names, else its hosts, paths and methods. */
  readonly id: string
  /** Its name for people, else its path. */
  readonly name: string
  readonly path: string
  /** Its paths one by one, as the config writes them. */
  readonly paths: readonly string[]
  readonly hosts: readonly string[]
  /** Its methods; undefined for all. */
  readonly methods: readonly string[] | undefined
  /** The key of its target; undefined for routes of plugins. */
  readonly target: string | undefined
  /** Whether its target writes the response itself instead of using Fastify's reply. */
  readonly streams: boolean
  /** The resolved options of each concern, or false where it is off; undefined where the config has no say. */
  readonly options: Readonly<Record<string, unknown>>
  /** Returns the id of the root, group or route where an option was last written; it does not depend on the place in the file. */
  scope(key: string): string
  /** Returns where the config mentions an option: on the route or a group around it, only at the root, or nowhere. */
  mentionOf(key: string): 'inside' | 'root' | undefined
  /** What concerns want in the head of every response; complete once all of them have seen the route. */
  head: HeadPlan
  /** The keys of the gates on it, in the order they run; filled at boot. */
  readonly gates: string[]
}

/** Describes a route without options. */
export function newRoute(
  known: Pick<RouteInfo, 'kind' | 'name' | 'path'> & Partial<Omit<RouteInfo, 'head' | 'gates'>>
): RouteInfo {
  const { kind, name, path, methods, hosts } = known
  return {
    id: `${kind} ${name} ${path} ${methods?.join() ?? ''} ${hosts?.join() ?? ''}`,
    paths: [path],
    hosts: [],
    methods: undefined,
    target: undefined,
    streams: false,
    options: {},
    scope: () => 'root',
    mentionOf: () => undefined,
    ...known,
    head: EMPTY_HEAD_PLAN,
    gates: []
  }
}

/** Returns what is known of a route that is being registered; a plugin's own route is described here. */
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
