import { isDeepStrictEqual } from 'node:util'
import { refuse } from '../close.ts'
import { isJsonObject, type Json, type JsonObject } from '../json.ts'
import { pathText } from '../path-text.ts'
import { branchRoutes } from './branch-routes.ts'
import { WEIGHTS } from './branches.ts'
import { type Location, routeOf, type Site } from './location.ts'
import { type Match, matchOf } from './match.ts'
import { beats } from './overlap.ts'
import { Scope } from './scope.ts'

/** A route, with the location that it comes from. */
interface Draft {
  readonly match: Match
  readonly paths: string[]
  readonly route: JsonObject
}

/** Translates the locations of a server into routes, so that each request meets the location that nginx would choose. */
export function routesOf(locations: readonly Location[], site: Site): JsonObject[] {
  const plain = locations.filter(({ match }) => match.kind === 'exact' || match.kind === 'prefix')
  const drafts = uniqueByText(plain).map((location) => draftOf(location, location.match.paths, site))
  const expressions = locations.filter(({ match }) => match.kind === 'regex')
  const byPath: Location[] = []
  const byGlob: { location: Location; later: string[] }[] = []
  for (const location of expressions) {
    const [path] = location.match.paths
    // nginx tries expressions in their order, and before prefixes; here the more specific path wins.
    const isMisplaced =
      path === undefined ||
      plain.some(
        ({ match }) => match.kind === 'prefix' && !match.isFinal && beats(match.paths[0] ?? '', path)
      ) ||
      byPath.some(({ match }) => beats(path, match.paths[0] ?? ''))
    if (isMisplaced) byGlob.push({ location, later: [] })
    else {
      byPath.push(location)
      for (const earlier of byGlob) earlier.later.push(path)
      drafts.push(...draftsOf(location, path, site))
    }
  }
  keepEdges(drafts, site)
  const prefixes = drafts
    .filter(({ match }) => match.kind === 'prefix' && !match.isFinal)
    .flatMap(({ paths }) => paths.filter((path) => path.endsWith('/*')))
  const below = new WeakSet<JsonObject>()
  const conditional = globRoutes({ expressions: byGlob, prefixes, below }, site).filter(
    (route) => !below.has(route) || !isServedBelow(route, drafts)
  )
  const routes = [...drafts.map(({ route, paths }) => withPaths(route, paths)), ...conditional]
  // nginx looks at these before it chooses a location.
  const weigh = WEIGHTS[conditional.length > 0 ? WEIGHTS.length - 1 : 0] ?? (() => [])
  return routes.flatMap((route) => {
    const location = site.sources.get(route)
    return location === undefined ? [route] : [route, ...branchRoutes(route, location, { site, weigh })]
  })
}

/** Returns the locations of a block and those inside of them; a location for `/` stands for the server itself where it has none. */
export function locationsOf(scope: Scope): Location[] {
  const found = scope.own('location').flatMap((directive): Location[] => {
    const inner = new Scope(directive.block ?? [], scope)
    return [{ directive, scope: inner, match: matchOf(directive) }, ...locationsOf(inner)]
  })
  return found
}

const uniqueByText = (locations: readonly Location[]): Location[] =>
  [
    ...new Map(locations.toReversed().map((each) => [`${each.match.kind} ${each.match.text}`, each])).values()
  ].toReversed()

const draftOf = (location: Location, paths: readonly string[], site: Site): Draft => ({
  match: location.match,
  paths: [...paths],
  route: routeOf(location, paths[0] ?? '/*', site)
})

/** Makes a draft for each alternative of an expression such as `^/(css|js)/`, where they differ: files are in folders of their own. */
function draftsOf(location: Location, path: string, site: Site): Draft[] {
  const [, before = '', alternatives = '', after = ''] =
    /^([^:]*\/):p\d+\(((?:[\w~-]+\|)+[\w~-]+)\)((?:\/[^:]*)?)$/.exec(path) ?? []
  const isServed = location.scope.own('proxy_pass', 'grpc_pass').length === 0
  return alternatives === '' || !isServed || location.scope.last('root') === undefined
    ? [draftOf(location, [path], site)]
    : alternatives.split('|').map((each) => draftOf(location, [before + each + after], site))
}

const withPaths = (route: JsonObject, paths: readonly string[]): JsonObject =>
  withMatchers(route, { path: paths.length === 1 ? (paths[0] ?? '') : [...paths] })

/** Puts options in front of those of a route, and returns the same object, since comments belong to it. */
function withMatchers(route: JsonObject, matchers: JsonObject): JsonObject {
  const options = { ...route }
  for (const key of Object.keys(route)) delete route[key]
  return Object.assign(route, matchers, options)
}

/** Translates regular expressions that no path can say: conditions on the path, at each place where nginx would try them. */
interface GlobPlaces {
  readonly expressions: readonly { location: Location; later: readonly string[] }[]
  readonly prefixes: readonly string[]
  /** Gets the routes for files below a prefix. */
  readonly below: WeakSet<JsonObject>
}

function globRoutes({ expressions, prefixes, below }: GlobPlaces, site: Site): JsonObject[] {
  const routes: JsonObject[] = []
  const kept = expressions.filter(({ location }) => !isLeftOut(location, site))
  for (const [i, { location, later }] of kept.entries()) {
    const rank = kept.length - 1 - i
    const globs = globsOf(location, site)
    const weigh = WEIGHTS[Math.min(rank, WEIGHTS.length - 1)]
    const weighed = weigh?.({ path: globs.length === 1 ? (globs[0] ?? '') : [...globs] }) ?? []
    const when: Json = weighed.length === 1 ? (weighed[0] ?? {}) : weighed
    const places = [...new Set(['/*', ...prefixes, ...later])]
    const first = routeOf(location, '/*', site)
    const isFiles = first['files'] !== undefined && !isGuarded(first)
    const made = places.map((place) => {
      if (place === '/*') return { place, route: first }
      return { place, route: isFiles ? missingFile(below) : routeOf(location, place, site) }
    })
    for (const { place, route } of made) {
      if (rank >= WEIGHTS.length) {
        site.translation.missing(
          location.directive,
          `location ${location.directive.args.join(' ')}: too many expressions before it; closed until you have translated it`,
          route
        )
        refuse(site.translation, route)
      }
      if (!location.match.isExact && !isRefusal(route)) {
        site.translation.missing(
          location.directive,
          `location ${location.directive.args.join(' ')}, whose condition would hold for more paths; closed until you have translated it`,
          route
        )
        refuse(site.translation, route)
      }
      const same = routes.find((each) => isDeepStrictEqual(withoutPath(each), { when, ...route }))
      if (same === undefined) routes.push(withMatchers(route, { path: place, when }))
      else same['path'] = [same['path'] ?? [], place].flat()
    }
  }
  return routes
}

/** Below a prefix, nginx looks for these files in a folder that need not exist, and never asks the service there. */
function missingFile(made: WeakSet<JsonObject>): JsonObject {
  const route: JsonObject = { respond: { status: 404 } }
  made.add(route)
  return route
}

/** Leaves files to the location of their prefix where it serves files. */
function isServedBelow(route: JsonObject, drafts: readonly Draft[]): boolean {
  const served = new Set(
    drafts.filter((draft) => draft.route['files'] !== undefined).flatMap(({ paths }) => paths)
  )
  const left = [route['path'] ?? ''].flat().filter((path) => !served.has(String(path)))
  if (left.length > 0) route['path'] = left.length === 1 ? (left[0] ?? '') : left
  return left.length === 0
}

const withoutPath = ({ path: _path, ...rest }: JsonObject): JsonObject => rest

const isRefusal = ({ respond }: JsonObject): boolean =>
  isJsonObject(respond) && Number(respond['status']) >= 400

const isGuarded = (route: JsonObject): boolean =>
  isRefusal(route) || ['auth', 'ipAccess', 'rateLimit', 'methods'].some((key) => route[key] !== undefined)

/** Leaves out an expression without gates that would match too much: its requests meet the location of their prefix. */
function isLeftOut({ match, directive, ...location }: Location, site: Site): boolean {
  if (match.isExact) return false
  const probe = routeOf({ match, directive, ...location }, '/*', site)
  if (isGuarded(probe)) return false
  site.translation.missing(directive, `location ${directive.args.join(' ')}`)
  return true
}

// Names of files are mostly lower case; where letters matter to a gate, all forms are listed.
function globsOf(location: Location, site: Site): readonly string[] {
  const { globs } = location.match
  if (isGuarded(routeOf(location, '/*', site))) return globs
  const lower = globs.filter((glob) => glob === glob.toLowerCase())
  return lower.length === 0 ? globs : lower
}

/** Gives requests that our path takes, and that of nginx does not, to the location that has them there; and the other way round. */
function keepEdges(drafts: Draft[], site: Site): void {
  const known = new Set(drafts.flatMap(({ paths }) => paths))
  for (const draft of [...drafts]) {
    const { match, route } = draft
    const text = pathText(match.text)
    if (match.kind === 'exact' && !text.endsWith('/')) take(`${text}/`, draft)
    else if (match.kind === 'prefix' && text.length > 1 && text.endsWith('/')) {
      const bare = text.slice(0, -1)
      if (route['proxy'] === undefined) take(bare, draft)
      else if (!known.has(bare)) {
        known.add(bare)
        drafts.push({ match, paths: [bare], route: { redirect: { to: text, status: 301 } } })
      }
    } else if (match.kind === 'prefix' && text.length > 1 && differs(draft, ownerOf(text, drafts, draft)))
      addWidePath(draft, text, drafts)
  }

  function take(edge: string, draft: Draft): void {
    const owner = ownerOf(edge, drafts, draft)
    if (known.has(edge) || !differs(draft, owner) || isRefusal(draft.route)) return
    known.add(edge)
    if (owner !== undefined && !hasRewrite(owner.route)) owner.paths.push(edge)
    else if (owner !== undefined) {
      const route: JsonObject = { respond: { status: 404 } }
      site.translation.comment(route, `not the location of ${match(draft)}`)
      drafts.push({ match: owner.match, paths: [edge], route })
    }
  }
}

const match = ({ match: { text } }: Draft): string => text

const hasRewrite = ({ proxy, redirect, files }: JsonObject): boolean =>
  redirect !== undefined ||
  files !== undefined ||
  (isJsonObject(proxy) && (proxy['rewrite'] !== undefined || proxy['files'] !== undefined))

const GATES = ['auth', 'ipAccess', 'rateLimit', 'methods', 'respond'] as const

const gatesOf = (route: JsonObject): unknown => GATES.map((key) => route[key])

const differs = (draft: Draft, owner: Draft | undefined): boolean =>
  owner !== undefined && !isDeepStrictEqual(gatesOf(draft.route), gatesOf(owner.route))

/** Returns the location with the longest prefix of a path. */
const ownerOf = (path: string, drafts: readonly Draft[], except: Draft): Draft | undefined =>
  drafts
    .filter(
      (each) => each !== except && each.match.kind === 'prefix' && path.startsWith(pathText(each.match.text))
    )
    .toSorted((a, b) => b.match.text.length - a.match.text.length)[0]

/** Adds the paths where a prefix ends within a segment: nginx compares characters. */
function addWidePath(draft: Draft, text: string, drafts: Draft[]): void {
  const cut = text.lastIndexOf('/') + 1
  const start = text.slice(cut).replaceAll(/[\\^$.|?*+()[\]{}]/g, '\\$&')
  const wide = `${text.slice(0, cut)}:p1(${start}.+)/*`
  if (hasRewrite(draft.route))
    drafts.push({ match: draft.match, paths: [wide], route: { respond: { status: 403 } } })
  else draft.paths.push(wide)
}
