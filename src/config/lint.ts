import type { RouteInfo } from '../kit/index.ts'
import { defineWarning, type Warning } from '../kit/warning.ts'
import { describeAlternatives } from '../lib/conditions/options.ts'
import { isObject } from '../lib/schema.ts'
import { judge } from './acceptances.ts'
import { patternFindings } from './backtracking.ts'
import { descriptorShortage } from './descriptors.ts'
import { pathPolicyOf } from './facets.ts'
import type { Fault } from './fault.ts'
import { type AcceptedWarning, type CheckedWarning, type Finding, findingAt } from './finding.ts'
import { moduleFindings, moduleNotes } from './module-warnings.ts'
import type { Plan, PlannedRoute } from './plan-types.ts'
import { redact } from './redact.ts'
import { secretFindings } from './secrets.ts'
import { unreachableFindings } from './unreachable.ts'
import { wholeConfig } from './where.ts'

/** Two routes of one upstream, and a URL that matches one of them and that the upstream may read as a path of the other. */
export interface AmbiguousPair {
  readonly route: RouteInfo
  readonly other: RouteInfo
  /** The gates of the other route that the request would bypass. */
  readonly gates: readonly string[]
  readonly method: string
  /** The path, with the host in front if the routes have one. */
  readonly url: string
  /** The path that a rewrite makes of it; undefined where an upstream reads it differently. */
  readonly sent?: string
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
  /** The warnings that the config does not accept, the severe ones first. */
  readonly warnings: readonly CheckedWarning[]
  readonly accepted: readonly AcceptedWarning[]
}

/** What `lint` needs in addition to the plan. */
export interface LintContext {
  /** The number of workers. */
  readonly workers: number
  /** Routes whose paths an upstream may read as those of another route. */
  readonly pairs: readonly AmbiguousPair[]
  /** The limit of file descriptors; undefined if it is unknown. */
  readonly descriptors?: number | undefined
  /** The warnings about the settings of the process. */
  readonly ofProcess?: readonly Warning[]
}

/** Describes every route of a plan with its gates in the order in which they run, and collects warnings. */
export function lint(
  plan: Plan,
  infos: readonly RouteInfo[],
  { workers, pairs, descriptors, ofProcess = [] }: LintContext
): LintResult {
  const shortage = descriptorShortage(plan, descriptors)
  const isTooLow = shortage?.isConfigured === true
  const whole = wholeConfig(plan)
  const isRejected = rejectsAmbiguous(plan)
  const bypasses = pairs.filter(({ sent }) => sent !== undefined)
  const ambiguous = pairs.filter(({ sent }) => sent === undefined)
  const builtins = infos.filter(({ kind }) => kind === 'builtin')
  const findings = [
    ...bypasses.map((pair) => rewrittenPair(plan, infos, pair)),
    ...(isRejected ? [] : ambiguous.map((pair) => ambiguousPair(plan, infos, pair))),
    ...plan.warnings,
    ...(isTooLow ? [findingAt(fewDescriptors(shortage.message), whole)] : []),
    ...moduleFindings(plan, workers),
    ...replacedBuiltins(plan, builtins),
    ...secretFindings(plan),
    ...patternFindings(plan.routes),
    ...unreachableFindings(plan.routes, pathPolicyOf(plan).ignoreCase === true),
    ...ofProcess.map((warning) => findingAt(warning, whole))
  ]
  return {
    routes: infos.map((info, i) => ({
      what: whatOf(info),
      gates: gatesOf(info),
      target: targetOf(info, plan.routes[i])
    })),
    notes: [
      ...plan.notes.map((note) => note()),
      ...(isRejected ? ambiguous.map((pair) => refusedPair(plan, infos, pair)) : []),
      ...(shortage === undefined || isTooLow
        ? []
        : [{ ...whole.place(), path: '', message: shortage.message }]),
      ...moduleNotes(plan)
    ],
    ...judge(findings, plan.acceptances)
  }
}

const ambiguousPath = defineWarning(
  'SP_WARN_PATHS_AMBIGUOUS',
  'high',
  'A path that an upstream may read as one of a protected route'
)
const rewrittenPath = defineWarning(
  'SP_WARN_ROUTE_BYPASS',
  'high',
  'A rewrite that leads to what another route protects'
)
const fewDescriptors = defineWarning(
  'SP_WARN_PROCESS_DESCRIPTORS',
  'medium',
  'More connections are allowed than there are file descriptors for'
)
const replacedBuiltin = defineWarning(
  'SP_WARN_ROUTE_REPLACES_BUILTIN',
  'low',
  'A route takes the place of one of the gateway itself'
)

const rewrittenPair = (
  plan: Plan,
  infos: readonly RouteInfo[],
  { route, other, gates, method, url, sent }: AmbiguousPair
): Finding =>
  findingAt(
    rewrittenPath(
      `${method} ${url} matches the route ${route.name} and reaches ${sent} of its upstream, which the route ${other.name} protects by ${gates.join(', ')}; narrow the path or the "rewrite" of one of them`
    ),
    plan.routes[infos.indexOf(route)] ?? wholeConfig(plan)
  )

function rejectsAmbiguous(plan: Plan): boolean {
  const { ambiguous, mode } = pathPolicyOf(plan)
  return ambiguous === 'reject' && mode !== 'report'
}

const pairText = ({ route, other, gates, method, url }: AmbiguousPair): string =>
  `${method} ${url} matches the route ${route.name}, but the upstream may read it as a path of the route ${other.name}, which bypasses its ${gates.join(', ')}`

const refusedPair = (plan: Plan, infos: readonly RouteInfo[], pair: AmbiguousPair): Fault => ({
  ...(plan.routes[infos.indexOf(pair.route)]?.place() ?? { file: plan.file }),
  path: '',
  message: `${pairText(pair)}; it is refused ("paths": {"ambiguous": "reject"})`
})

const ambiguousPair = (plan: Plan, infos: readonly RouteInfo[], pair: AmbiguousPair): Finding =>
  findingAt(
    ambiguousPath(
      `${pairText(pair)}; "paths": {"ambiguous": "reject"} refuses it; if the upstream compares paths byte by byte, set "exactPaths": true on it`
    ),
    plan.routes[infos.indexOf(pair.route)] ?? wholeConfig(plan)
  )

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

function replacedBuiltins(
  { routes }: Plan,
  builtins: readonly Pick<RouteInfo, 'path' | 'name'>[]
): Finding[] {
  return routes.flatMap((route) =>
    builtins
      .filter(({ path }) => route.paths.some((one) => one.text === path))
      .map((own) =>
        findingAt(
          replacedBuiltin(`The route ${route.name} replaces the built-in route ${own.path} (${own.name})`),
          route
        )
      )
  )
}
