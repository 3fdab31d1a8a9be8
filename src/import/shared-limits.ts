import { isDeepStrictEqual } from 'node:util'
import type { JsonObject } from './json.ts'
import type { SourceLine } from './source-text.ts'
import type { Translation } from './translation.ts'

/**
 * Puts routes whose requests the source counts together into one group, since a limit counts where it is written; `counterOf`
 * names what counts the requests of a route.
 */
export function shareLimits(
  routes: readonly JsonObject[],
  counterOf: (route: JsonObject) => (SourceLine & { readonly name: string }) | undefined,
  translation: Translation
): JsonObject[] {
  const members = new Map<string, JsonObject[]>()
  for (const route of routes) {
    const counter = route['rateLimit'] === undefined ? undefined : counterOf(route)
    if (counter !== undefined) members.set(counter.name, [...(members.get(counter.name) ?? []), route])
  }
  const groups = new Map<JsonObject, JsonObject>()
  for (const [name, all] of members) {
    const [first] = all
    if (first === undefined || all.length < 2) continue
    const rateLimit = first['rateLimit'] ?? null
    if (!all.every((route) => isDeepStrictEqual(route['rateLimit'], rateLimit))) {
      for (const route of all)
        translation.comment(
          route,
          `The limit ${name} counts the requests of several routes together; here each counts alone.`
        )
      continue
    }
    for (const route of all) delete route['rateLimit']
    const group: JsonObject = { rateLimit, routes: all }
    for (const route of all) groups.set(route, translation.from(counterOf(first) ?? translation.top, group))
  }
  return [...new Set(routes.map((route) => groups.get(route) ?? route))]
}
