import { matchesGlob } from '../../lib/glob.ts'
import { refuse } from '../close.ts'
import { isJsonObject, type Json, type JsonObject, objectAt } from '../json.ts'
import { type Branch, branchesOf, conditionsOf } from './branches.ts'
import { addReturn } from './content.ts'
import { noteDoubts } from './guards.ts'
import { responseHeaders } from './headers.ts'
import type { Location, Site } from './location.ts'
import { Scope } from './scope.ts'

/** Returns the routes of the `if`s of a location: each answers some requests in place of a route of it. */
export function branchRoutes(
  route: JsonObject,
  location: Location,
  { site, weigh }: { site: Site; weigh: (when: JsonObject) => JsonObject[] }
): JsonObject[] {
  const branches = branchesOf(location.scope)
  const around = { base: route, location, site }
  if (branches.length === 0 || route['respond'] !== undefined) return []
  const byMethod = branches
    .filter(({ methods }) => methods !== undefined)
    .flatMap((branch) =>
      answersOf([branch], { ...matchersOf(route), methods: [...(branch.methods ?? [])] }, around)
    )
  const byCondition = [route, ...byMethod].flatMap((base) =>
    groupsOf(branches.filter(({ methods }) => methods === undefined)).flatMap((group) => {
      const when = conditionsOf(group, base['when'], weigh)
      if (when !== undefined)
        return answersOf(
          group,
          { ...matchersOf(base), when: when.length === 1 ? (when[0] ?? {}) : when },
          around
        )
      close(group, route, site)
      return []
    })
  )
  return [...byMethod, ...byCondition].filter(isReachable)
}

/** Returns whether the path of a route could meet its conditions on the path. */
function isReachable({ path, when }: JsonObject): boolean {
  const paths = [path ?? []].flat().map(String)
  if (paths.some((each) => /[:*]/.test(each))) return true
  return [when ?? {}]
    .flat()
    .filter(isJsonObject)
    .some((each) => {
      const globs = [each['path'] ?? '*'].flat().map(String)
      return globs.some((glob) => paths.some((text) => matchesGlob(glob, text)))
    })
}

interface Around {
  /** The route that is closed where an answer has no translation. */
  readonly base: JsonObject
  readonly location: Location
  readonly site: Site
}

const matchersOf = (route: JsonObject): JsonObject =>
  Object.fromEntries(
    ['path', 'methods', 'when'].flatMap((key): [string, Json][] => {
      const value = route[key]
      return value === undefined ? [] : [[key, value]]
    })
  )

/** Puts branches with the same answer together, in the order of the first ones. */
function groupsOf(branches: readonly Branch[]): Branch[][] {
  const groups = new Map<string, Branch[]>()
  for (const branch of branches) {
    const key = JSON.stringify(branch.directive.block?.map(({ name, args }) => [name, args]))
    groups.set(key, [...(groups.get(key) ?? []), branch])
  }
  return [...groups.values()]
}

/** Makes the routes of an answer, one for each path: what a redirect keeps of the path differs. */
function answersOf(
  group: readonly Branch[],
  matchers: JsonObject,
  { base, location: { match, scope }, site }: Around
): JsonObject[] {
  const [first] = group
  if (first === undefined) return []
  const inner = new Scope(first.directive.block ?? [], scope)
  const { translation, upstreams } = site
  const made = [matchers['path'] ?? '/*'].flat().map((path) => {
    const route: JsonObject = translation.from(first.directive, { ...matchers, path })
    const headers = responseHeaders(inner, route, translation)
    if (Object.keys(headers).length > 0) objectAt(route, 'headers')['response'] = headers
    const place = { scope: inner, match, path: String(path), route, upstreams, translation }
    if (addReturn(first.answer, place) !== undefined) close(group, base, site)
    return route
  })
  const [one] = made
  return one === undefined || one['redirect'] !== undefined
    ? made
    : [translation.from(first.directive, Object.assign(one, { path: matchers['path'] ?? '/*' }))]
}

function close(group: readonly Branch[], route: JsonObject, { translation }: Site): void {
  noteDoubts(
    group.map(({ directive }) => ({ directive, text: `if ${directive.args.join(' ')}` })),
    route,
    translation
  )
  refuse(translation, route)
}
