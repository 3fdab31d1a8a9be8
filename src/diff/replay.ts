import { pathPolicyOf } from '../config/facets.ts'
import type { RouteInfo } from '../kit/index.ts'
import { canonicalHost, canonicalPath, matchable } from '../lib/http/canonical-path.ts'
import { segmentsOf } from '../lib/path-tree.ts'
import { yieldIfDue } from '../lib/time-slicing.ts'
import type { ConcernComparison } from './compare-concerns.ts'
import { targetChanges } from './compare-targets.ts'
import type { Sides } from './compared-side.ts'
import { isBuiltinModule } from './extension-code.ts'
import { type LoggedLine, readLog } from './logged-request.ts'
import { entriesAt, type HostCell, hostCells } from './match-routes.ts'
import type { RouteNodes } from './route-nodes.ts'

/** How many logged requests two configs decide differently. */
export interface ReplayResult {
  readonly requests: number
  readonly changes: readonly ReplayChange[]
  /** Requests for which something decides that the log does not have. */
  readonly notKnown: number
  /** Lines that are no lines of an access log. */
  readonly unreadable: number
}

/** Requests that are decided in one way by the old config and in another by the new one. */
export interface ReplayChange {
  readonly before: string
  readonly after: string
  readonly count: number
  readonly example: string
}

/** What is compared, and how. */
export interface ReplayContext {
  readonly sides: Sides
  readonly nodes: Readonly<Record<'before' | 'after', RouteNodes>>
  readonly concerns: ConcernComparison
}

/** Decides each request of an access log by both configs. */
export async function replayLog(file: string, context: ReplayContext): Promise<ReplayResult> {
  const changes = new Map<string, { before: string; after: string; count: number; example: string }>()
  const known = new Map<string, Decision>()
  const hosts = [...hostCells(context.nodes.before, context.nodes.after)]
  let [requests, notKnown, unreadable] = [0, 0, 0]
  for await (const line of readLog(file)) {
    await yieldIfDue()
    if (line === undefined) {
      unreadable++
      continue
    }
    requests++
    const id = JSON.stringify(line)
    const decision = known.get(id) ?? decide(line, hosts, context)
    if (known.size < MAX_KNOWN) known.set(id, decision)
    if (decision === 'not known') notKnown++
    if (typeof decision === 'string') continue
    const key = `${decision.before}\n${decision.after}`
    const change = changes.get(key) ?? { ...decision, count: 0, example: `${line.method} ${line.path}` }
    change.count++
    changes.set(key, change)
  }
  return { requests, changes: [...changes.values()], notKnown, unreadable }
}

// Requests repeat; how many different ones are remembered.
const MAX_KNOWN = 50_000

type Decision = 'same' | 'not known' | { readonly before: string; readonly after: string }

function decide(line: LoggedLine, hosts: readonly HostCell[], context: ReplayContext): Decision {
  const { before, after } = context.nodes
  const host = line.host === undefined ? undefined : canonicalHost(line.host)
  const cells =
    host === undefined ? hosts : [hosts.find((cell) => cell.host === host) ?? wildcardOf(hosts, host)]
  const decisions = cells.flatMap((cell) => {
    const old = routeAt(before, cell?.prefixes.before ?? [''], line)
    // Without a Host, the route in the log tells which hosts are possible.
    if (host === undefined && cells.length > 1 && nameOf(old) !== line.route) return []
    return [decisionOf(old, routeAt(after, cell?.prefixes.after ?? [''], line), line, context)]
  })
  const [first] = decisions
  if (first === undefined) return 'not known'
  return decisions.every((each) => JSON.stringify(each) === JSON.stringify(first)) ? first : 'not known'
}

/** Finds the wildcard that a host belongs to, else the cell of hosts that no route names. */
function wildcardOf(cells: readonly HostCell[], host: string): HostCell | undefined {
  const domain = host.slice(host.indexOf('.'))
  return (
    cells.find((cell) => cell.isWildcard && cell.host.slice(cell.host.indexOf('.')) === domain) ?? cells[0]
  )
}

type Routed = RouteInfo | 'none' | 'refused' | 'not known'

const nameOf = (routed: Routed): string | undefined => (typeof routed === 'object' ? routed.name : undefined)

/** Finds the route of a logged request; conditions need what the log does not have. */
function routeAt(nodes: RouteNodes, prefixes: readonly string[], { method, path }: LoggedLine): Routed {
  const policy = pathPolicyOf(nodes.plan)
  const { path: canonical, refusal, byPolicy } = canonicalPath(path, policy)
  if (refusal !== undefined && !(byPolicy === true && policy.mode === 'report')) return 'refused'
  const [first] = entriesAt(nodes, prefixes, segmentsOf(matchable(canonical)), method)
  if (first === undefined) return 'none'
  return first.set.length > 0 ? 'not known' : first.entry.info
}

const labelOf = (routed: Routed): string =>
  typeof routed === 'object' ? `answered by ${routed.name}` : routed === 'none' ? 'not found' : routed

function decisionOf(before: Routed, after: Routed, line: LoggedLine, context: ReplayContext): Decision {
  if (before === 'not known' || after === 'not known') return 'not known'
  if (typeof before !== 'object' || typeof after !== 'object') {
    if (before === after) return 'same'
    if (typeof after !== 'object') return { before: labelOf(before), after: labelOf(after) }
    return admits(after, context, line) === true
      ? { before: labelOf(before), after: labelOf(after) }
      : 'not known'
  }
  if (before.kind === 'builtin' || after.kind === 'builtin')
    return before.name === after.name ? 'same' : 'not known'
  const gates = gateDecision(before, after, line, context)
  if (gates !== 'same') return gates
  return line.refusedBy === undefined ? targetDecision(before, after, context) : 'same'
}

/** Decides by the gates that differ: the log says what the old ones did. */
function gateDecision(
  before: RouteInfo,
  after: RouteInfo,
  line: LoggedLine,
  { concerns }: ReplayContext
): Decision {
  const changed = concerns.changedGates(before, after)
  const { refusedBy } = line
  if (refusedBy !== undefined && !changed.includes(refusedBy)) return 'same'
  const verdicts = changed.map((key) => ({ key, admits: concerns.admits(key, after, line) }))
  if (refusedBy !== undefined) {
    const own = verdicts.find(({ key }) => key === refusedBy)?.admits
    if (own === undefined) return 'not known'
    return own ? { before: `refused by ${refusedBy}`, after: `passed by ${refusedBy}` } : 'same'
  }
  const refusing = verdicts.find((verdict) => verdict.admits === false)
  if (refusing !== undefined) return { before: 'passed', after: `refused by ${refusing.key}` }
  return verdicts.every((verdict) => verdict.admits === true) ? 'same' : 'not known'
}

/** Returns whether a route lets a request pass that it did not get so far; undefined if the log does not tell. */
const admits = (route: RouteInfo, { concerns }: ReplayContext, line: LoggedLine): boolean | undefined => {
  const verdicts = concerns.accessGates(route).map((key) => concerns.admits(key, route, line))
  if (verdicts.includes(false)) return false
  return verdicts.includes(undefined) ? undefined : true
}

function targetDecision(before: RouteInfo, after: RouteInfo, { sides, nodes }: ReplayContext): Decision {
  const [old, next] = [nodes.before.planned.get(before), nodes.after.planned.get(after)]
  if (old === undefined || next === undefined) return 'same'
  const changes = targetChanges(
    sides,
    { info: before, planned: old },
    { info: after, planned: next },
    isBuiltinModule
  )
  return changes.some((change) => change.class === 'moved')
    ? { before: `answered by ${before.name}`, after: `answered elsewhere by ${after.name}` }
    : 'same'
}
