import type { AboutPlanRoute } from '../kit/concern.ts'
import type { RouteInfo } from '../kit/index.ts'
import { describeAlternatives } from '../lib/conditions/options.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { isObject } from '../lib/schema.ts'
import { descriptorShortage } from './descriptors.ts'
import { namedEntries, pathPolicyOf } from './facets.ts'
import type { Fault } from './fault.ts'
import type { Plan, PlannedRoute } from './plan-types.ts'
import { redact } from './redact.ts'

/** Two routes of one upstream, and a URL that matches one of them and that the upstream may read as a path of the other. */
export interface AmbiguousPair {
  readonly route: RouteInfo
  readonly other: RouteInfo
  /** The gates of the other route that the request would bypass. */
  readonly gates: readonly string[]
  readonly method: string
  /** The path, with the host in front if the routes have one. */
  readonly url: string
}

/** The output of `check`: the routes of a config, notes and warnings. */
export interface LintResult {
  readonly routes: readonly {
    readonly what: string
    readonly gates: readonly string[]
    readonly target: string
  }[]
  /** Messages that need no change of the config. */
  readonly notes: readonly Fault[]
  readonly warnings: readonly Fault[]
}

/** What `lint` needs in addition to the plan. */
export interface LintContext {
  /** The number of workers. */
  readonly workers: number
  /** Routes whose paths an upstream may read as those of another route. */
  readonly pairs: readonly AmbiguousPair[]
  /** The limit of file descriptors; undefined if it is unknown. */
  readonly descriptors?: number | undefined
}

/** Describes every route of a plan with its gates in the order in which they run, and collects warnings. */
export function lint(
  plan: Plan,
  infos: readonly RouteInfo[],
  { workers, pairs, descriptors }: LintContext
): LintResult {
  const shortage = descriptorShortage(plan, descriptors)
  const short = shortage === undefined ? [] : [{ file: plan.file, path: '', message: shortage.message }]
  const ambiguous = pairs.map((pair) => ambiguousPair(plan, infos, pair))
  const isRejected = rejectsAmbiguous(plan)
  const { ofRoutes, ofPlan } = planWarnings(plan, workers)
  return {
    routes: infos.map((info, i) => ({
      what: whatOf(info),
      gates: gatesOf(info),
      target: targetOf(info, plan.routes[i])
    })),
    notes: [
      ...plan.notes.map((note) => note()),
      ...(isRejected ? ambiguous : []),
      ...(shortage?.isConfigured === true ? [] : short),
      ...moduleMessages(plan, 'notes')
    ],
    warnings: [
      ...(isRejected ? [] : ambiguous),
      ...plan.warnings,
      ...(shortage?.isConfigured === true ? short : []),
      ...ofRoutes,
      ...moduleMessages(plan, 'warnings'),
      ...ofPlan,
      ...replacedBuiltins(
        plan,
        infos.filter(({ kind }) => kind === 'builtin')
      )
    ]
  }
}

function rejectsAmbiguous(plan: Plan): boolean {
  const { ambiguous, mode } = pathPolicyOf(plan)
  return ambiguous === 'reject' && mode !== 'report'
}

function ambiguousPair(
  plan: Plan,
  infos: readonly RouteInfo[],
  { route, other, gates, method, url }: AmbiguousPair
): Fault {
  const planned = plan.routes[infos.indexOf(route)]
  const finding = `${method} ${url} matches the route ${route.name}, but the upstream may read it as a path of the route ${other.name}, which bypasses its ${gates.join(', ')}`
  return {
    ...(planned?.place() ?? { file: plan.file }),
    path: '',
    message: rejectsAmbiguous(plan)
      ? `${finding}; it is refused ("paths": {"ambiguous": "reject"})`
      : `${finding}; "paths": {"ambiguous": "reject"} refuses it; if the upstream compares paths byte by byte, set "exactPaths": true on it`
  }
}

const whatOf = ({ methods, hosts, path, when }: RouteInfo): string =>
  `${methods?.join(',') ?? '*'} ${hosts.join(',')}${path}${when.length === 0 ? '' : ` when ${describeAlternatives(when)}`}`

const gatesOf = ({ gates, options: concerns }: RouteInfo): string[] =>
  gates.map((key) => {
    const options = concerns[key]
    return isObject(options) && options['mode'] === 'report' ? `${key} (report)` : key
  })

function targetOf(info: RouteInfo, planned: PlannedRoute | undefined): string {
  if (info.kind !== 'config' || planned === undefined) return info.name
  const options = planned.targetOptions as { upstream?: string; to?: string; root?: string; status?: number }
  const to = options.upstream ?? options.to ?? options.root ?? options.status
  return to === undefined ? planned.target : `${planned.target} ${redact(String(to))}`
}

interface PlanWarnings {
  readonly ofRoutes: readonly Fault[]
  readonly ofPlan: readonly Fault[]
}

/** Returns the warnings of concerns about the config as a whole. */
function planWarnings(plan: Plan, workers: number): PlanWarnings {
  const { catalog, routes, options: root, file } = plan
  const exposing = new Set(catalog.targets.filter(({ exposes }) => exposes === true).map(({ key }) => key))
  const planned = new Map(
    routes.map((route) => {
      const { options, overrides, target } = route
      return [
        { options, overrides, exposes: exposing.has(target) } satisfies AboutPlanRoute as AboutPlanRoute,
        route
      ]
    })
  )
  const usingStore = catalog.concerns
    .filter(
      ({ key, usesStore }) =>
        usesStore === true &&
        [root, ...routes.map(({ options }) => options)].some((options) => isObject(options[key]))
    )
    .map(({ key }) => key)
  const about = { workers, usingStore, routes: [...planned.keys()] }
  const found = catalog.concerns.flatMap(({ key, planWarnings: warn }) =>
    root[key] === undefined ? [] : (warn?.(root[key] as never, about) ?? [])
  )
  return {
    ofRoutes: found.flatMap(({ routes: those, message }) =>
      warnOnce(
        (those ?? []).flatMap((route) => planned.get(route) ?? []),
        (all) => `${all} ${message}`
      )
    ),
    ofPlan: found
      .filter(({ routes: those }) => those === undefined)
      .map(({ message }) => ({ file, path: '', message }))
  }
}

/** Collects what concerns and targets say of routes, each once with all its routes. */
function moduleMessages(plan: Plan, facet: 'notes' | 'warnings'): Fault[] {
  const { routes, catalog } = plan
  const upstreams = namedEntries(plan)
  return [...catalog.concerns, ...catalog.targets].flatMap((module) => {
    const { key } = module
    const messages = facet === 'warnings' ? module.warnings : 'target' in module ? module.notes : undefined
    if (messages === undefined) return []
    const sharing = new Map<string, PlannedRoute[]>()
    for (const route of routes) {
      const { options: concerns } = route
      const isTarget = 'target' in module
      if (isTarget && route.target !== key) continue
      const options = isTarget ? route.targetOptions : concerns[key]
      if (isObject(options))
        for (const message of messages(options as never, {
          optionsOf: (other) => concerns[other],
          upstreams,
          target: route.target,
          overrides: route.overrides
        }))
          getOrCreate(sharing, message, (): PlannedRoute[] => []).push(route)
    }
    return [...sharing].flatMap(([message, those]) => warnOnce(those, (all) => `${all} ${message}`))
  })
}

// A warning names this many routes and counts the others.
const MAX_NAMED_ROUTES = 5

/** Returns one warning for several routes, at the place of the first; none if there is no route. */
function warnOnce(routes: readonly PlannedRoute[], message: (all: string) => string): Fault[] {
  const [first] = routes
  if (first === undefined) return []
  const names = routes.map(({ name }) => name)
  const more = names.length - MAX_NAMED_ROUTES
  const all =
    names.length === 1
      ? `The route ${first.name}`
      : `Each of the routes ${names.slice(0, MAX_NAMED_ROUTES).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
  return [{ ...first.place(), path: '', message: message(all) }]
}

function replacedBuiltins({ routes }: Plan, builtins: readonly Pick<RouteInfo, 'path' | 'name'>[]): Fault[] {
  return routes.flatMap(({ name, paths, place }) =>
    builtins
      .filter(({ path }) => paths.some((one) => one.text === path))
      .map((own) => ({
        ...place(),
        path: '',
        message: `The route ${name} replaces the built-in route ${own.path} (${own.name})`
      }))
  )
}
