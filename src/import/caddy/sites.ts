import { isDeepStrictEqual } from 'node:util'
import { refuse } from '../close.ts'
import type { JsonObject } from '../json.ts'
import { aroundOf, EVERYWHERE, type Place } from '../places.ts'
import type { SourceLine } from '../source-text.ts'
import { Translation } from '../translation.ts'
import { type Visit, visitBlock } from './evaluate.ts'
import { allOf, isConditional, type Matcher } from './matchers.ts'
import type { Line } from './parse.ts'
import { placesOf } from './places.ts'

/** Translates the directives of a site, as they are for one host, into routes. */
export function routesOf(
  lines: readonly Line[],
  host: string | undefined,
  translation: Translation
): JsonObject[] {
  const routes: JsonObject[] = []
  for (const place of placesThatDiffer(lines, host))
    for (const { conditions, route } of variantsAt(place, lines, host, translation)) {
      const options = { path: place.path, ...conditions, ...route } as JsonObject
      for (const key of Object.keys(route)) delete route[key]
      routes.push(Object.assign(route, options))
    }
  return merged(routes, translation)
}

/** Returns the places that are not answered as the wider path around them, which is ours for them as well. */
function placesThatDiffer(lines: readonly Line[], host: string | undefined): Place[] {
  const all = new Map([EVERYWHERE, ...placesOf(lines, [''], new Map())].map((place) => [place.path, place]))
  const order = { below: 0, partial: 1, none: 2 }
  const places = [...all.values()].toSorted(
    (a, b) => a.base.length - b.base.length || order[a.rest] - order[b.rest]
  )
  const kept = new Map<Place, readonly Variant[]>()
  for (const place of places) {
    // What is noted on the way is noted again for the places that stay.
    const variants = variantsAt(place, lines, host, new Translation())
    const around = aroundOf(place, [...kept.keys()])
    const outer = around === undefined ? undefined : kept.get(around)
    const isFile = place.isEdge === true && variants[0]?.route['files'] !== undefined
    if (
      outer === undefined ||
      !(isFile || isDeepStrictEqual(outer.map(identityOf), variants.map(identityOf)))
    )
      kept.set(place, variants)
  }
  return [...kept.keys()]
}

const identityOf = ({ conditions, identity }: Variant): unknown => [conditions, identity]

/** A route at a place. */
interface Variant {
  readonly conditions: JsonObject
  readonly route: JsonObject
  /** Equal for two places that are answered alike, each with its own path. */
  readonly identity: unknown
}

// Each set of conditions is a route of its own.
const MAX_CONDITIONS = 4

/** Returns what a site answers at a place: without any condition that it asks for, and with each set of them. */
function variantsAt(
  place: Place,
  lines: readonly Line[],
  host: string | undefined,
  translation: Translation
): Variant[] {
  const base = visitAt(place, lines, host, new Set(), translation)
  const asked = new Map(base.asked)
  // A condition may lead to another one.
  for (const key of [...asked.keys()])
    for (const [inner, value] of visitAt(place, lines, host, new Set([key]), translation).asked)
      asked.set(inner, value)
  const isClosed =
    asked.size > MAX_CONDITIONS ||
    [...asked.values()].some(({ matcher, isGuard }) => isGuard && !isSayable(matcher))
  if (isClosed)
    base.doubts.push({ line: lines[0] ?? { file: '', line: 1 }, text: `${place.path}: its conditions` })
  const variants = [finished(base, {}, translation)]
  if (isClosed) return variants
  const keys = [...asked].filter(([, { matcher }]) => isSayable(matcher)).map(([key]) => key)
  for (const chosen of subsetsOf(keys)) {
    const conditions = allOf(
      chosen.map((key) => asked.get(key)?.matcher).filter((each) => each !== undefined)
    )
    if (conditions === undefined) continue
    const visit = visitAt(place, lines, host, new Set(chosen), translation)
    variants.push(finished(visit, conditions as JsonObject, translation))
  }
  // One that says what a request without its conditions gets anyway is no route of its own.
  return variants.filter(({ route }, i) => i === 0 || !isDeepStrictEqual(route, variants[0]?.route))
}

const isSayable = (matcher: Matcher): boolean => isConditional(matcher) && matcher.notAddresses === undefined

function subsetsOf(keys: readonly string[]): string[][] {
  const subsets: string[][] = [[]]
  for (const key of keys) subsets.push(...subsets.map((each) => [...each, key]))
  return subsets.slice(1)
}

function visitAt(
  place: Place,
  lines: readonly Line[],
  host: string | undefined,
  chosen: ReadonlySet<string>,
  translation: Translation
): Visit {
  const visit: Visit = {
    translation,
    place,
    host,
    chosen,
    asked: new Map(),
    route: {},
    doubts: [],
    base: place.base,
    root: undefined,
    fallback: undefined,
    cleanUrls: false,
    served: undefined,
    whole: undefined
  }
  // Caddy answers 200 without a body where nothing answers.
  if (!visitBlock(lines, visit, new Map(), 'sorted')) visit.route['respond'] = { status: 404 }
  return visit
}

function finished(visit: Visit, conditions: JsonObject, translation: Translation): Variant {
  const { doubts, route } = visit
  const { proxy, redirect, respond, files, ...options } = route as Record<string, JsonObject>
  const { rewrite: _rewrite, ...forwarded } = proxy ?? {}
  const identity = [options, forwarded, redirect, respond, files && visit.served, changeOf(visit)]
  for (const key of Object.keys(route)) delete route[key]
  Object.assign(
    route,
    options,
    proxy && { proxy },
    redirect && { redirect },
    respond && { respond },
    files && { files }
  )
  for (const { line, text } of doubts) close(translation, route, line, text)
  return {
    conditions,
    route,
    identity: structuredClone(doubts.length > 0 ? doubts.map(({ text }) => text) : identity)
  }
}

/** Returns what handlers have done to the path. */
function changeOf({ base, place, whole }: Visit): string {
  if (whole !== undefined) return whole
  if (place.base.endsWith(base)) return `without ${place.base.slice(0, place.base.length - base.length)}`
  return base.endsWith(place.base) ? `with ${base.slice(0, base.length - place.base.length)}` : base
}

function close(translation: Translation, route: JsonObject, line: SourceLine, text: string): void {
  translation.missing(line, `${text}; closed until you have translated it`, route)
  refuse(translation, route)
}

/** Puts the paths of routes that are alike into one, and leaves out those that the wider path says as well. */
function merged(routes: readonly JsonObject[], translation: Translation): JsonObject[] {
  const kept: JsonObject[] = []
  for (const route of routes) {
    const { path, ...rest } = route
    const rewrite = (rest['proxy'] as JsonObject | undefined)?.['rewrite']
    const isFree = rest['proxy'] !== undefined && (rewrite === undefined || rewrite === '/')
    const isFixed = rest['respond'] !== undefined
    const same = kept.find(
      ({ path: _path, ...other }) => (isFree || isFixed) && isDeepStrictEqual(other, rest)
    )
    if (same === undefined) kept.push(route)
    else {
      same['path'] = [same['path'] ?? [], path ?? []].flat()
      for (const text of translation.commentsOf(route)) translation.comment(same, text)
    }
  }
  return kept
}
