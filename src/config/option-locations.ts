import { isObject } from '../lib/schema.ts'
import type { Path } from './fault.ts'

/** A location where an option is valid: the options it is nested in, from the root or from a route. */
interface OptionLocation {
  readonly inside: readonly string[]
  readonly onRoot: boolean
  readonly onRoute: boolean
}

// Settings of the process are environment variables; listed by their names here and in other gateways.
const VARIABLES: Readonly<Record<string, string>> = {
  host: 'HOST',
  hostname: 'HOST',
  listen: 'HOST and PORT',
  bind: 'HOST and PORT',
  address: 'HOST',
  port: 'PORT',
  config: 'GATEWAY_CONFIG',
  gatewayconfig: 'GATEWAY_CONFIG',
  workers: 'WORKERS',
  cluster: 'WORKERS',
  log: 'LOG_LEVEL',
  logging: 'LOG_LEVEL',
  logger: 'LOG_LEVEL',
  loglevel: 'LOG_LEVEL',
  logpretty: 'LOG_PRETTY',
  admin: 'ADMIN_HOST and ADMIN_PORT',
  adminhost: 'ADMIN_HOST',
  adminport: 'ADMIN_PORT',
  admintoken: 'ADMIN_TOKEN',
  adminpurgetoken: 'ADMIN_PURGE_TOKEN',
  draindelay: 'DRAIN_DELAY',
  draintimeout: 'DRAIN_TIMEOUT',
  shutdowntimeout: 'DRAIN_TIMEOUT',
  sessionsecret: 'SESSION_SECRET',
  redis: 'REDIS_URL',
  redisurl: 'REDIS_URL'
}

/** Returns the environment variable that an option of this name stands for; undefined where there is none. */
export const environmentVariableFor = (key: string): string | undefined => {
  const name = key.toLowerCase().replaceAll(/[-_]/g, '')
  return Object.hasOwn(VARIABLES, name) ? VARIABLES[name] : undefined
}

// An option with more locations than this, such as "file", gives no useful hint.
const MAX_HINTED_LOCATIONS = 3

/** Finds where an option belongs that is unknown at its place. */
export class OptionLocations {
  readonly #locations = new Map<string, OptionLocation[]>()

  constructor(schema: Readonly<Record<string, unknown>>) {
    const { $defs: defs } = schema
    this.#walk(schema, [], 'onRoot')
    if (isObject(defs)) this.#walk(defs['route'], [], 'onRoute')
  }

  /** Returns where an unknown option belongs; undefined where that is not certain. Where a known option has a similar name, only a location with the same meaning is named. */
  hint(path: Path, { hasNearName }: { readonly hasNearName: boolean }): string | undefined {
    const key = String(path.at(-1))
    const at = path.slice(0, -1).filter((part, i) => typeof part === 'string' && !isRoutes(path, i))
    const variable = at.length === 0 ? environmentVariableFor(key) : undefined
    const env = variable === undefined ? undefined : `set ${variable} in the environment`
    const isOuter = this.#locations.get(key)?.some(({ inside }) => inside.length === 0) === true
    // At the root such a name means the process, not an option of a concern.
    if (env !== undefined && !isOuter) return env
    const location = this.#locationHint(key, at.map(String), {
      isRoute: path.some((_, i) => isRoutes(path, i)),
      hasNearName
    })
    if (location === undefined) return env
    return env === undefined ? `it belongs ${location}` : `it belongs ${location}, or ${env}`
  }

  #locationHint(
    key: string,
    at: readonly string[],
    { isRoute, hasNearName }: { isRoute: boolean; hasNearName: boolean }
  ): string | undefined {
    const locations = this.#locations.get(key) ?? []
    const same = locations.find(({ inside }) => inside.length > 0 && inside.join('.') === at.join('.'))
    if (same !== undefined) return `${same.onRoute ? 'on a route' : 'at the root'}, in "${at.join('.')}"`
    const [outermost] = at
    const inSameModule = shallowest(
      locations.filter(({ inside }) => inside.length > 0 && inside[0] === outermost)
    )
    if (inSameModule.length > 0 && inSameModule.length <= MAX_HINTED_LOCATIONS) return listed(inSameModule)
    const outer = locations.find(({ inside }) => inside.length === 0)
    if (outer !== undefined) {
      if (outermost !== undefined && (isRoute ? outer.onRoute : outer.onRoot)) return `beside "${outermost}"`
      if (outer.onRoot && outer.onRoute) return 'at the root or on a route'
      return outer.onRoute ? 'on a route' : 'at the root'
    }
    return !hasNearName && locations.length > 0 && locations.length <= MAX_HINTED_LOCATIONS
      ? listed(locations)
      : undefined
  }

  #walk(schema: unknown, inside: readonly string[], where: 'onRoot' | 'onRoute'): void {
    if (!isObject(schema)) return
    const { properties, patternProperties, items, anyOf } = schema
    if (isObject(properties))
      for (const [key, option] of Object.entries(properties)) {
        this.#add(key, inside, where)
        // Routes have their own definition in the schema.
        if (key !== 'routes') this.#walk(option, [...inside, key], where)
      }
    if (isObject(patternProperties))
      for (const option of Object.values(patternProperties)) this.#walk(option, inside, where)
    if (Array.isArray(anyOf)) for (const branch of anyOf) this.#walk(branch, inside, where)
    this.#walk(items, inside, where)
  }

  #add(key: string, inside: readonly string[], where: 'onRoot' | 'onRoute'): void {
    const locations = this.#locations.get(key) ?? []
    const known = locations.find((location) => location.inside.join('.') === inside.join('.'))
    const merged = { onRoot: false, onRoute: false, ...known, inside, [where]: true }
    this.#locations.set(key, [...locations.filter((location) => location !== known), merged])
  }
}

function shallowest(locations: readonly OptionLocation[]): OptionLocation[] {
  const least = Math.min(...locations.map(({ inside }) => inside.length))
  return locations.filter(({ inside }) => inside.length === least)
}

const listed = (locations: readonly OptionLocation[]): string =>
  `in ${locations.map(({ inside }) => `"${inside.join('.')}"`).join(' or ')}`

const isRoutes = (path: Path, i: number): boolean => path[i] === 'routes' && typeof path[i + 1] === 'number'
