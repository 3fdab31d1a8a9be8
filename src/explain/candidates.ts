import type { FastifyInstance } from 'fastify'
import { showPlace } from '../config/fault.ts'
import { readPath } from '../config/paths.ts'
import type { Plan } from '../config/plan-types.ts'
import { makeNodes } from '../gateway/route-table/nodes.ts'
import { makeTrees } from '../gateway/route-table/trees.ts'
import type { RouteInfo } from '../kit/index.ts'
import { comparePrecedence } from '../lib/conditions/compare.ts'
import { type ConditionInput, compileConditions } from '../lib/conditions/compile.ts'
import { type Condition, writtenAlternatives } from '../lib/conditions/options.ts'
import { segmentsOf } from '../lib/path-tree.ts'

/** A route that a request might have come to. */
export interface Candidate {
  readonly route: string
  readonly paths: readonly string[]
  readonly hosts: readonly string[]
  /** Its place in the config; null for a route of the gateway itself. */
  readonly place: string | null
  /** Why it was not chosen; null for the route that was. */
  readonly lostBy: string | null
}

/** What decides among routes. */
export interface RoutedRequest extends ConditionInput {
  readonly method: string
  readonly host: string
  readonly ignoreCase: boolean
}

// A path such as "/*" or a config with many variants of one path has many candidates.
const MAX_CANDIDATES = 30

/** Lists the routes that match the path of a request, the chosen one first, each of the others with what it lost by. */
export function findCandidates(
  app: FastifyInstance,
  plan: Plan,
  request: RoutedRequest,
  chosen: RouteInfo | undefined
): Candidate[] {
  const segments = segmentsOf(request.path)
  const fold = request.ignoreCase ? (text: string) => text.toLowerCase() : undefined
  const matching = app.routeInfos.filter((info) => matchesPath(info, segments, fold))
  const describe = (info: RouteInfo): Candidate => ({
    route: info.name,
    paths: info.paths,
    hosts: info.hosts,
    place: placeOf(app, plan, info),
    lostBy: info === chosen ? null : reasonOf(info, request, chosen)
  })
  return matching
    .toSorted((a, b) => Number(b === chosen) - Number(a === chosen))
    .slice(0, MAX_CANDIDATES)
    .map(describe)
}

/** Returns the place of a route in the config; null for a route of the gateway itself. */
export function placeOf({ routeInfos }: FastifyInstance, plan: Plan, info: RouteInfo): string | null {
  const planned = plan.routes[routeInfos.indexOf(info)]
  return planned === undefined ? null : showPlace(planned.place())
}

function matchesPath(
  info: RouteInfo,
  segments: readonly string[],
  fold: ((text: string) => string) | undefined
): boolean {
  // Without its hosts, so that a route of another host is a candidate, too.
  const entry = { info: { ...info, hosts: [] }, paths: info.paths.map(readPath), preflights: false }
  const nodes = makeNodes([entry], fold !== undefined)
  return [...makeTrees(nodes, new Map(), fold).values()].some((tree) => tree.find(segments) !== undefined)
}

function reasonOf(info: RouteInfo, request: RoutedRequest, chosen: RouteInfo | undefined): string {
  const { hosts, methods, when } = info
  if (hosts.length > 0 && !hosts.some((host) => matchesHost(host, request.host)))
    return `host: it is for ${hosts.join(', ')}, not ${request.host}`
  if (chosen !== undefined && chosen.hosts.length > 0 && hosts.length === 0)
    return `host: "${chosen.name}" names the host ${request.host}`
  if (chosen !== undefined && !sharesPath(info, chosen))
    return `path: that of "${chosen.name}" is more specific`
  if (methods !== undefined && !methods.includes(request.method))
    return `method: it takes ${methods.join(', ')}, not ${request.method}`
  const failing = when.map((set) => set.find((condition) => !compileConditions([condition])(request)))
  if (when.length > 0 && failing.every((condition) => condition !== undefined))
    return `when: ${failing.map((condition) => textOf(condition as Condition)).join('; or ')} does not hold`
  if (chosen === undefined) return 'another route has this path, too'
  if (methods === undefined && chosen.methods !== undefined)
    return `method: "${chosen.name}" names ${request.method}`
  const holding = bestHolding(info, request)
  const better = bestHolding(chosen, request)
  if (comparePrecedence(holding, better) !== 0 || holding.length < better.length)
    return `when: the conditions of "${chosen.name}" hold, and are more or of an earlier kind`
  return chosen.kind === 'config' && info.kind === 'builtin'
    ? 'it is built in, and the config has a route of this path'
    : `"${chosen.name}" comes first`
}

/** Returns the first of a route's sets of conditions that hold, by precedence; empty for none. */
function bestHolding({ when }: RouteInfo, request: RoutedRequest): readonly Condition[] {
  return when.filter((set) => compileConditions(set)(request)).toSorted(comparePrecedence)[0] ?? []
}

const textOf = (condition: Condition): string => JSON.stringify(writtenAlternatives([[condition]])[0])

const sharesPath = (one: RouteInfo, other: RouteInfo): boolean =>
  one.paths.some((path) => other.paths.includes(path))

const matchesHost = (host: string, actual: string): boolean =>
  host.startsWith('*.') ? actual.slice(actual.indexOf('.')) === host.slice(1) : host.toLowerCase() === actual
