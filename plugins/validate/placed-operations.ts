import type { RouteInfo } from '../../src/kit/index.ts'
import type { OpenApiDocument } from '../../src/lib/openapi/document.ts'
import { listOperations, type Operation, serverPaths } from '../../src/lib/openapi/operations.ts'
import {
  asSent,
  compareTemplates,
  covers,
  mayOverlap,
  type PathTemplate,
  readTemplate,
  templateKey
} from '../../src/lib/openapi/path-template.ts'
import type { ValidateOptions } from './options.ts'

/** A path of a document, with its operations by method. */
export interface PlacedPath {
  /** As the document writes it, below the path of a server. */
  readonly path: string
  /** What requests are compared with; those of one placement that are equal are the same path. */
  readonly template: PathTemplate
  readonly key: string
  readonly methods: ReadonlyMap<string, Operation>
  /** The whole paths of its requests. */
  readonly wholes: readonly PathTemplate[]
  /** Whether some of its requests may be looked for as another path. */
  readonly isAmbiguous: boolean
}

/** The paths of a document below those of a route, in the order in which they are tried. */
export type Placement = readonly PlacedPath[]

/** Two paths of which some request may match the first in one placement and the second in the other; undefined for none. */
export type PathPair = readonly [PlacedPath | undefined, PlacedPath | undefined]

/** A document, and where a route has it. */
export interface PlacedDocument {
  readonly document: OpenApiDocument
  readonly options: ValidateOptions
  readonly route: RouteInfo | undefined
}

/** Places two documents so that their paths can be compared; undefined where that is not possible. */
export function placeAlike(
  before: PlacedDocument,
  after: PlacedDocument
): readonly [Placement, Placement] | undefined {
  const sides = [before, after].map((side) => ({ ...side, prefixes: prefixesOf(side) }))
  const [one, other] = sides.map(({ prefixes }) => prefixes.map(templateKey).join())
  const isByRest = one === other
  const routes = [before, after].map(({ route }) => route?.paths.map(readRoutePath))
  const [placed = [], nextPlaced = []] = sides.map(({ document, options, prefixes }) =>
    placementOf(document, options.servers, { prefixes, isByRest }).filter(({ wholes }) =>
      routes.every((paths) => paths?.some((path) => wholes.some((whole) => mayLeadTo(path, whole))) ?? true)
    )
  )
  return [...placed, ...nextPlaced].some(({ isAmbiguous }) => isAmbiguous) ? undefined : [placed, nextPlaced]
}

/** Returns the paths that those of a document are below, the longest first; a fallback where a route has others. */
function prefixesOf({ options: { base }, route }: PlacedDocument): PathTemplate[] {
  const paths = route?.paths ?? []
  const prefixes = [base ?? paths].flat().map((path) => readRoutePath(path).segments.filter(isNotEmpty))
  const isWhole =
    base !== undefined &&
    !paths.map(readRoutePath).every(({ segments }) => prefixes.some((prefix) => isBelow(segments, prefix)))
  return [...prefixes, ...(isWhole ? [[]] : [])].toSorted((a, b) => b.length - a.length)
}

/** Returns whether a path may be below a prefix. */
const isBelow = (path: PathTemplate, prefix: PathTemplate): boolean =>
  mayOverlap(prefix, path.slice(0, prefix.length))

function placementOf(
  document: OpenApiDocument,
  servers: boolean,
  { prefixes, isByRest }: { readonly prefixes: readonly PathTemplate[]; readonly isByRest: boolean }
): PlacedPath[] {
  const placed = new Map<string, PlacedPath>()
  const add = (path: PlacedPath): void => {
    // Of the same path twice, the first is found.
    if (!placed.has(path.key)) placed.set(path.key, path)
  }
  const byPath = Map.groupBy(listOperations(document), ({ path }) => path)
  for (const [written, operations] of byPath)
    for (const server of servers ? serverPaths(document) : ['']) {
      const path = server + written
      const rest = readTemplate(path)
      const methods = new Map(operations.map((operation) => [operation.method, operation]))
      const wholes = prefixes.map((prefix) => [...prefix, ...rest])
      const keyed = (template: PathTemplate) => ({ path, methods, template, key: templateKey(template) })
      if (isByRest) add({ ...keyed(rest), wholes: wholes.map(folded), isAmbiguous: false })
      else
        for (const [i, whole] of wholes.entries())
          add({
            ...keyed(whole),
            wholes: [folded(whole)],
            // The first prefix that a path is below is the one that is taken off.
            isAmbiguous: prefixes.slice(0, i).some((each) => isBelow(folded(whole), each))
          })
    }
  const isConcrete = ({ path }: PlacedPath): boolean => !path.includes('{')
  return [...placed.values()].toSorted(
    (a, b) => Number(isConcrete(b)) - Number(isConcrete(a)) || compareTemplates(a.template, b.template)
  )
}

/** A path of a route: its segments, and whether others may follow. */
interface RoutePath {
  readonly segments: PathTemplate
  readonly isOpen: boolean
}

const readRoutePath = (path: string): RoutePath => ({
  segments: folded(
    path
      .replace(/\/\*$/, '')
      .split('/')
      .slice(1)
      .map((segment) =>
        segment.startsWith(':')
          ? { literals: ['', ''], names: [''] }
          : { literals: [asSent(segment)], names: [] }
      )
  ),
  isOpen: path.endsWith('/*')
})

const isNotEmpty = ({ names, literals }: PathTemplate[number]): boolean =>
  names.length > 0 || literals[0] !== ''

// A route may be found whatever the case of a path, and prefixes are.
const folded = (template: PathTemplate): PathTemplate =>
  template.map(({ literals, names }) => ({ literals: literals.map((each) => each.toLowerCase()), names }))

/** Returns false if no request of a route has a path that matches, and true otherwise or if it is unknown. */
function mayLeadTo({ segments, isOpen }: RoutePath, whole: PathTemplate): boolean {
  // What is written encoded may be equal to something else.
  if ([...segments, ...whole].some(({ literals }) => literals.some((each) => each.includes('%')))) return true
  const others = whole.slice(segments.length)
  return (
    mayOverlap(segments, whole.slice(0, segments.length)) &&
    (isOpen || others.every((segment) => !isNotEmpty(segment)))
  )
}

/** Lists the pairs of paths that the same requests may match. */
export function pairsOf(before: Placement, after: Placement): PathPair[] {
  const [old, next] = [indexOf(before), indexOf(after)]
  const pairs: PathPair[] = []
  for (const one of before) {
    const same = next.get(one.key)
    if (same !== undefined) pairs.push([one, after[same]])
    else if (!after.some(({ template }) => covers(template, one.template))) pairs.push([one, undefined])
    for (const other of after)
      if (
        other.key !== one.key &&
        comesFirst(old, one, other) &&
        comesFirst(next, other, one) &&
        mayOverlap(one.template, other.template)
      )
        pairs.push([one, other])
  }
  for (const other of after)
    if (!old.has(other.key) && !before.some(({ template }) => covers(template, other.template)))
      pairs.push([undefined, other])
  return pairs
}

const indexOf = (placement: Placement): ReadonlyMap<string, number> =>
  new Map(placement.map(({ key }, i) => [key, i]))

/** Returns whether a path is found before another one, or the other one is not there. */
const comesFirst = (
  index: ReadonlyMap<string, number>,
  { key }: PlacedPath,
  { key: other }: PlacedPath
): boolean => (index.get(key) ?? 0) < (index.get(other) ?? Infinity)
