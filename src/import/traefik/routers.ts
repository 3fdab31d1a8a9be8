import { isDeepStrictEqual } from 'node:util'
import { refuse } from '../close.ts'
import type { JsonObject } from '../json.ts'
import { aroundOf, covers, EVERYWHERE, type Pattern, type Place, placesOfPattern } from '../places.ts'
import { Translation } from '../translation.ts'
import type { Matcher } from './matcher.ts'
import { applyMiddlewares, hasGuards, listedPaths } from './middlewares.ts'
import type { Node } from './node.ts'
import { proxyOf } from './services.ts'
import { literalTemplate } from './text.ts'
import type { Visit } from './visit.ts'

/** One alternative of the rule of a router. */
export interface Router {
  readonly name: string
  readonly node: Node
  readonly matcher: Matcher
  readonly priority: number
  /** Guards that were found outside of it, and have no translation. */
  readonly doubt: string | undefined
}

/** Translates all routers for one host, or for all other hosts, into routes: each request meets the router of the highest priority. */
export function routesOf(
  host: string | undefined,
  all: readonly Router[],
  http: Node,
  translation: Translation
): JsonObject[] {
  const routers = all
    .filter(
      ({ matcher }) =>
        matcher.hosts === undefined ||
        (host !== undefined && matcher.hosts.some((each) => isHost(each, host)))
    )
    .toSorted((a, b) => b.priority - a.priority)
  // A host without routes of its own has those of all hosts.
  if (host !== undefined && routers.every(({ matcher }) => matcher.hosts === undefined)) return []
  const routes: JsonObject[] = []
  for (const place of placesThatDiffer(routers, http)) {
    const chosen = routersAt(place, routers)
    if (chosen.length === 0 && place !== EVERYWHERE)
      routes.push({ path: place.path, respond: { status: 404 } })
    let before = Number.POSITIVE_INFINITY
    for (const router of chosen) {
      const weight = weightOf(router.matcher)
      const route = routeOf(router, place, host, http, translation)
      // Here the route with more conditions wins, and with a method always.
      if (weight > before)
        close(
          route,
          router.node,
          `${router.name}: its conditions come before those of a router with a higher priority`,
          translation
        )
      before = Math.min(before, weight)
      routes.push(route)
    }
  }
  return merged(routes)
}

const weightOf = ({ methods, when }: Matcher): number =>
  (methods === undefined ? 0 : 100) + Object.keys(when).length

const isHost = (pattern: string, host: string): boolean =>
  pattern === host ||
  (pattern.startsWith('*.') &&
    host.endsWith(pattern.slice(1)) &&
    !host.slice(0, -pattern.length + 1).includes('.'))

/** Returns the routers that may answer at a place: those with conditions, up to the first without. */
function routersAt(place: Place, routers: readonly Router[]): Router[] {
  const isAt = ({ text }: Pattern): boolean => text === place.pattern || covers(text, place.base, place.rest)
  const here = routers.filter(
    ({ matcher: { paths, notPaths } }) => (paths === undefined || paths.some(isAt)) && !notPaths.some(isAt)
  )
  const end = here.findIndex(({ matcher }) => weightOf(matcher) === 0)
  return end === -1 ? here : here.slice(0, end + 1)
}

function placesThatDiffer(routers: readonly Router[], http: Node): Place[] {
  const patterns = routers.flatMap(({ matcher }) => [...(matcher.paths ?? []), ...matcher.notPaths])
  const prefixes = stripped(routers, http)
  const redirected = redirectedPaths(routers, http).map((text): Pattern => ({ text }))
  const places = new Map<string, Place>([[EVERYWHERE.path, EVERYWHERE]])
  for (const { text, path, prefix = '' } of [...patterns, ...redirected])
    for (const place of path === undefined
      ? placesOfPattern('', text)
      : [{ path, base: prefix, rest: 'partial' as const, pattern: text }])
      if (!places.has(place.path)) places.set(place.path, place)
  for (const prefix of prefixes)
    for (const place of placesOfPattern('', `${prefix}/*`))
      if (!places.has(place.path)) places.set(place.path, place)
  const order = { below: 0, partial: 1, none: 2 }
  const kept: Place[] = []
  for (const place of [...places.values()].toSorted(
    (a, b) => a.base.length - b.base.length || order[a.rest] - order[b.rest]
  )) {
    const around = aroundOf(place, kept)
    const isSame =
      around !== undefined &&
      isDeepStrictEqual(identityOf(around, routers, http), identityOf(place, routers, http))
    if (!isSame) kept.push(place)
  }
  return kept
}

// A prefix that is stripped is a place of its own, where the rule names none.
const stripped = (routers: readonly Router[], http: Node): string[] =>
  routers.flatMap(({ node }) =>
    node
      .get('middlewares')
      .items()
      .flatMap((each) =>
        http.get('middlewares', (each.text() ?? '').replace(/@\w+$/, ''), 'stripPrefix', 'prefixes').texts()
      )
      .map((prefix) => prefix.replace(/\/$/, ''))
      .filter((prefix) => prefix.startsWith('/') && prefix.length > 1)
  )

const redirectedPaths = (routers: readonly Router[], http: Node): string[] =>
  routers.flatMap(({ node }) =>
    node
      .get('middlewares')
      .items()
      .flatMap((each) => {
        const regex = http
          .get('middlewares', (each.text() ?? '').replace(/@\w+$/, ''), 'redirectRegex', 'regex')
          .text()
        return regex === undefined ? [] : (listedPaths(regex) ?? [])
      })
  )

/** Equal for two places that the same routers answer, each without the path. */
function identityOf(place: Place, routers: readonly Router[], http: Node): unknown {
  return routersAt(place, routers).map((router) => {
    const scratch = new Translation()
    const visit = visitOf(router, place, undefined, http, scratch)
    const change =
      visit.whole ??
      (place.base.endsWith(visit.base)
        ? place.base.slice(0, place.base.length - visit.base.length)
        : `${visit.base} ${place.base}`)
    return [router.name, router.matcher, change, visit.route['redirect'] ?? null, visit.doubts.length]
  })
}

function visitOf(
  { node, matcher }: Router,
  place: Place,
  host: string | undefined,
  http: Node,
  translation: Translation
): Visit {
  const visit: Visit = {
    translation,
    place,
    route: {},
    proxy: {},
    upstream: {},
    doubts: [],
    hosts: host === undefined ? (matcher.hosts ?? []) : [host],
    base: place.base,
    whole: undefined
  }
  applyMiddlewares(node.get('middlewares').items(), http, visit)
  return visit
}

function routeOf(
  router: Router,
  place: Place,
  host: string | undefined,
  http: Node,
  translation: Translation
): JsonObject {
  const { node, matcher } = router
  const visit = visitOf(router, place, host, http, translation)
  const { doubts, base, whole } = visit
  // A prefix within a segment, such as /apiary for /api, can't be taken off here.
  if (place.rest === 'partial' && base !== place.base && doubts.length === 0) {
    const text = `${router.name} takes ${place.path} as well, but its path can't be changed`
    const refused: JsonObject = { path: place.path, ...matchersOf(matcher), respond: { status: 403 } }
    translation.comment(refused, text)
    return refused
  }
  const { redirect, ...options } = visit.route
  const route = translation.from(node.line, visit.route)
  for (const key of Object.keys(route)) delete route[key]
  Object.assign(route, {
    path: place.path,
    ...matchersOf(matcher),
    ...options,
    ...(redirect === undefined ? {} : { redirect })
  })
  if (redirect === undefined) {
    const name = node.get('service').text() ?? router.name
    const proxy = proxyOf(name, http, visit.upstream, translation)
    if (proxy === undefined) doubts.push({ line: node.line, text: `service ${name}` })
    else {
      if (whole !== undefined) proxy['rewrite'] = literalTemplate(whole)
      else if (base !== place.base) proxy['rewrite'] = literalTemplate(base === '' ? '/' : base)
      route['proxy'] = { ...proxy, ...visit.proxy }
    }
  }
  if (router.doubt !== undefined) doubts.push({ line: node.line, text: router.doubt })
  if (matcher.unknown.length > 0) doubts.push({ line: node.line, text: matcher.unknown.join(' && ') })
  for (const { line, text } of doubts)
    translation.missing(line, `${text}; closed until you have translated it`, route)
  if (doubts.length > 0) refuse(translation, route)
  return route
}

const matchersOf = ({ methods, when }: Matcher): JsonObject => ({
  ...(methods === undefined ? {} : { methods: [...methods] }),
  ...(Object.keys(when).length === 0 ? {} : { when })
})

function close(route: JsonObject, node: Node, text: string, translation: Translation): void {
  translation.missing(node.line, `${text}; closed until you have translated it`, route)
  refuse(translation, route)
}

/** Puts the paths of routes that are alike into one. */
function merged(routes: readonly JsonObject[]): JsonObject[] {
  const kept: JsonObject[] = []
  for (const route of routes) {
    const { path, ...rest } = route
    const proxy = rest['proxy'] as JsonObject | undefined
    const isFree = proxy !== undefined && (proxy['rewrite'] === undefined || proxy['rewrite'] === '/')
    const same = kept.find(({ path: _path, ...other }) => isFree && isDeepStrictEqual(other, rest))
    if (same === undefined) kept.push(route)
    else same['path'] = [same['path'] ?? [], path ?? []].flat()
  }
  return kept
}

/** Returns the alternatives that are translated: one with an unknown part is left out where nothing guards it, and else closed. */
export function sayable(routers: readonly Router[], http: Node, translation: Translation): Router[] {
  return routers.flatMap((router) => {
    const { matcher, node, name } = router
    if (matcher.unknown.length === 0) return [router]
    const isGuarded = router.doubt !== undefined || hasGuards(node.get('middlewares').items(), http)
    if (!isGuarded) {
      translation.missing(node.line, `router ${name}: ${matcher.unknown.join(' && ')}`)
      return []
    }
    // What it guards is more than nothing: all that the rest of its rule takes.
    const known = [...new Set(routers.flatMap((each) => each.matcher.hosts ?? []))]
    const hosts =
      matcher.hostExpressions.length === 0
        ? matcher.hosts
        : known.filter((host) => matcher.hostExpressions.some((each) => couldMatch(each, host)))
    return [{ ...router, matcher: { ...matcher, hosts, when: {}, methods: undefined } }]
  })
}

function couldMatch(expression: string, host: string): boolean {
  try {
    return new RegExp(expression, 'i').test(host)
  } catch {
    return true
  }
}
