import { isObject } from '../lib/schema.ts'
import type { Path } from './fault.ts'

/** Where an option may stand: the options that it is inside of, from the root or from a route. */
interface Home {
  readonly inside: readonly string[]
  readonly onRoot: boolean
  readonly onRoute: boolean
}

// Settings of the process, which are variables of the environment; beside their own names the names that other gateways have for them.
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
  draindelay: 'DRAIN_DELAY',
  draintimeout: 'DRAIN_TIMEOUT',
  shutdowntimeout: 'DRAIN_TIMEOUT',
  sessionsecret: 'SESSION_SECRET',
  redis: 'REDIS_URL',
  redisurl: 'REDIS_URL'
}

/** Names the variable of the environment that says what an option of this name would, or undefined where there is none. */
export const variableFor = (key: string): string | undefined => {
  const name = key.toLowerCase().replaceAll(/[-_]/g, '')
  return Object.hasOwn(VARIABLES, name) ? VARIABLES[name] : undefined
}

// An option that stands in more places than this, such as "file", says nothing of what was meant.
const MOST_HOMES = 3

/** Knows where each option of a config may stand. */
export class Elsewhere {
  readonly #homes = new Map<string, Home[]>()

  constructor(schema: Readonly<Record<string, unknown>>) {
    const { $defs: defs } = schema
    this.#walk(schema, [], 'onRoot')
    if (isObject(defs)) this.#walk(defs['route'], [], 'onRoute')
  }

  /** Says where an option belongs that stands at a path where it is unknown; undefined where that is not plain. With a name that is near, another place is named only where the option means the same there. */
  hint(path: Path, near: boolean): string | undefined {
    const key = String(path.at(-1))
    const at = path.slice(0, -1).filter((part, i) => typeof part === 'string' && !isRoutes(path, i))
    const variable = at.length === 0 ? variableFor(key) : undefined
    const env = variable === undefined ? undefined : `set ${variable} in the environment`
    const isOuter = this.#homes.get(key)?.some(({ inside }) => inside.length === 0) === true
    // What the process is asked for at the root is no option of something else.
    if (env !== undefined && !isOuter) return env
    const home = this.#home(key, at.map(String), { isRoute: path.some((_, i) => isRoutes(path, i)), near })
    if (home === undefined) return env
    return env === undefined ? `it belongs ${home}` : `it belongs ${home}, or ${env}`
  }

  #home(
    key: string,
    at: readonly string[],
    { isRoute, near }: { isRoute: boolean; near: boolean }
  ): string | undefined {
    const homes = this.#homes.get(key) ?? []
    const same = homes.find(({ inside }) => inside.length > 0 && inside.join('.') === at.join('.'))
    if (same !== undefined) return `${same.onRoute ? 'on a route' : 'at the root'}, in "${at.join('.')}"`
    const [word] = at
    const inWord = shallowest(homes.filter(({ inside }) => inside.length > 0 && inside[0] === word))
    if (inWord.length > 0 && inWord.length <= MOST_HOMES) return listed(inWord)
    const outer = homes.find(({ inside }) => inside.length === 0)
    if (outer !== undefined) {
      if (word !== undefined && (isRoute ? outer.onRoute : outer.onRoot)) return `beside "${word}"`
      if (outer.onRoot && outer.onRoute) return 'at the root or on a route'
      return outer.onRoute ? 'on a route' : 'at the root'
    }
    return !near && homes.length > 0 && homes.length <= MOST_HOMES ? listed(homes) : undefined
  }

  #walk(schema: unknown, inside: readonly string[], where: 'onRoot' | 'onRoute'): void {
    if (!isObject(schema)) return
    const { properties, patternProperties, items, anyOf } = schema
    if (isObject(properties))
      for (const [key, option] of Object.entries(properties)) {
        this.#note(key, inside, where)
        // What a route may say is written under "routes" alone; groups say the same again.
        if (key !== 'routes') this.#walk(option, [...inside, key], where)
      }
    if (isObject(patternProperties))
      for (const option of Object.values(patternProperties)) this.#walk(option, inside, where)
    if (Array.isArray(anyOf)) for (const branch of anyOf) this.#walk(branch, inside, where)
    this.#walk(items, inside, where)
  }

  #note(key: string, inside: readonly string[], where: 'onRoot' | 'onRoute'): void {
    const homes = this.#homes.get(key) ?? []
    const known = homes.find((home) => home.inside.join('.') === inside.join('.'))
    const made = { onRoot: false, onRoute: false, ...known, inside, [where]: true }
    this.#homes.set(key, [...homes.filter((home) => home !== known), made])
  }
}

function shallowest(homes: readonly Home[]): Home[] {
  const least = Math.min(...homes.map(({ inside }) => inside.length))
  return homes.filter(({ inside }) => inside.length === least)
}

const listed = (homes: readonly Home[]): string =>
  `in ${homes.map(({ inside }) => `"${inside.join('.')}"`).join(' or ')}`

const isRoutes = (path: Path, i: number): boolean => path[i] === 'routes' && typeof path[i + 1] === 'number'
