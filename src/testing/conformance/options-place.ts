import type { Path } from '../../config/fault.ts'
import { isObject } from '../../lib/schema.ts'

/** Returns the first place in a config where the options of a module are: at the root, or on a route or a group; undefined if there is none. */
export function placeOf(config: unknown, key: string, path: Path = []): Path | undefined {
  if (!isObject(config)) return undefined
  if (config[key] !== undefined) return [...path, key]
  const routes = Array.isArray(config['routes']) ? config['routes'] : []
  for (const [i, route] of routes.entries()) {
    const found = placeOf(route, key, [...path, 'routes', i])
    if (found !== undefined) return found
  }
  return undefined
}

/** Returns the value at a path. */
export const valueAt = (value: unknown, path: Path): unknown =>
  path.reduce<unknown>((inner, key) => (inner as Readonly<Record<string | number, unknown>>)[key], value)

/** Copies a value with another one at a path. */
export function withValueAt(value: unknown, [key, ...rest]: Path, next: unknown): unknown {
  if (key === undefined) return next
  if (Array.isArray(value)) return value.with(Number(key), withValueAt(value[Number(key)], rest, next))
  const inner = isObject(value) ? value : {}
  return { ...inner, [key]: withValueAt(inner[key], rest, next) }
}

/** Copies a config without a module: without its options, and without the routes that have it as their target. */
export function without(config: unknown, key: string, isTarget: boolean): unknown {
  if (!isObject(config)) return config
  const { [key]: _options, routes, ...rest } = config
  return {
    ...rest,
    ...(Array.isArray(routes)
      ? {
          routes: routes
            .filter((route) => !isTarget || !isObject(route) || route[key] === undefined)
            .map((route) => without(route, key, isTarget))
        }
      : {})
  }
}
