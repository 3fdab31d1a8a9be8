import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Catalog } from '../config/catalog.ts'
import { type DescribedOption, describeRoot, describeRoute } from '../config/describe-options.ts'
import { pathPolicyOf } from '../config/facets.ts'
import type { Plan } from '../config/plan-types.ts'
import { redact } from '../config/redact.ts'
import { symbolOf } from '../gateway/route-table/index.ts'
import type { Concern, RouteInfo } from '../kit/index.ts'
import type { Verdict } from '../kit/observe.ts'
import { addressOf } from '../lib/http/addresses.ts'
import { canonicalHost, canonicalPath, matchable } from '../lib/http/canonical-path.ts'
import { schemaOf } from '../lib/schema.ts'
import { queryOf } from '../lib/values.ts'
import { findCandidates, placeOf } from './candidates.ts'
import type { ExplainedGate, ExplainedOption, Explanation } from './explanation.ts'
import { explainUpstream, type UpstreamRequest } from './upstream-request.ts'

/** A request that has been handled, and what was seen of it. */
export interface Handled {
  readonly method: string
  /** The URL as it was sent. */
  readonly url: string
  /** The address of the peer. */
  readonly from: string
  /** Names and values, as sent. */
  readonly headers: readonly (readonly [string, string])[]
  /** undefined where its bytes were no valid request. */
  readonly request: FastifyRequest | undefined
  /** The status of the response; undefined where the connection was closed without one. */
  readonly status: number | undefined
  /** The code and detail of a refusal by the parser, which has no request. */
  readonly parserRefusal?: { readonly code: string; readonly detail: string } | undefined
  readonly upstreamRequests: readonly UpstreamRequest[]
  /** Whether a client really sent it, so that no value of its query is shown. */
  readonly isLive: boolean
  /** The gates whose verdicts are not known, each with what was assumed. */
  readonly unknown: ReadonlyMap<string, string>
}

/** Explains what a gateway, built with `trace`, did with a request. */
export function explain(app: FastifyInstance, plan: Plan, handled: Handled): Explanation {
  const { request, method, url, from, status, upstreamRequests, unknown } = handled
  const at = request?.routeOptions.config.sallyport?.route
  const info = at?.kind === 'notFound' ? undefined : at
  const planned = info === undefined ? undefined : plan.routes[app.routeInfos.indexOf(info)]
  const options =
    planned === undefined ? rootOptions(plan, at?.gates ?? []) : describeRoute(plan, planned).options
  const gates = request === undefined ? [] : gatesOf(plan, at, { request, options, unknown })
  const refusedBy = request?.trace?.find(({ verdict }) => verdict === 'refused')?.gate ?? null
  // A gate that could not decide here may decide otherwise where its services are.
  const isUndecided = refusedBy !== null && unknown.has(refusedBy)
  const refusal = isUndecided ? undefined : (request?.refusal ?? handled.parserRefusal)
  const isUnknown = gates.some(({ verdict }) => verdict === 'unknown')
  const targetRequests = upstreamRequests.filter(({ gate }) => gate === undefined)
  const verdict =
    refusal !== undefined
      ? 'refused'
      : isUnknown
        ? 'unknown'
        : targetRequests.length > 0
          ? 'forwarded'
          : 'answered'
  return {
    version: 1,
    request: { method, url, from },
    normalized: request === undefined ? null : normalizedOf(plan, request, url),
    candidates: request === undefined ? [] : candidatesOf(app, plan, request, info),
    route:
      info === undefined
        ? null
        : { name: info.name, place: placeOf(app, plan, info), target: info.target ?? null },
    gates,
    verdict,
    status: isUndecided ? null : (status ?? null),
    code: refusal?.code ?? null,
    refusedBy: isUndecided ? null : refusedBy,
    detail: refusal === undefined ? null : 'detail' in refusal ? refusal.detail : refusal.message,
    caller: callerOf(request),
    upstreams: upstreamRequests.map((sent) => ({
      ...explainUpstream(plan, sent, {
        headers: handled.headers,
        route: planned,
        query: handled.isLive ? undefined : queryOf(url).slice(1),
        // Without authentication no concern names any.
        credentialHeaders: (app as Partial<FastifyInstance>).credentialHeaders ?? NO_HEADERS
      }),
      targets: targetsOf(app, sent)
    })),
    limits: [...options, ...upstreamOptions(plan, upstreamRequests)].filter(isLimit).map(explainOption),
    assumes: [...unknown.values()]
  }
}

const NO_HEADERS: ReadonlySet<string> = new Set()

interface GateContext {
  readonly request: FastifyRequest
  readonly options: readonly DescribedOption[]
  readonly unknown: ReadonlyMap<string, string>
}

/** Lists the gates of a route in the order in which they ran, then those that the request did not reach. */
function gatesOf(
  plan: Plan,
  info: RouteInfo | undefined,
  { request, options, unknown }: GateContext
): ExplainedGate[] {
  const keys = new Set(
    plan.catalog.concerns.filter((concern) => isGate(plan.catalog, concern)).map(({ key }) => key)
  )
  const trace = (request.trace ?? []).filter(({ gate }) => keys.has(gate))
  const optionsOf = (gate: string): ExplainedOption[] =>
    options.filter(({ path }) => path === gate || path.startsWith(`${gate}.`)).map(explainOption)
  const ran = trace.map(
    (step): ExplainedGate => ({
      gate: step.gate,
      phase: step.phase,
      verdict: unknown.has(step.gate) ? 'unknown' : step.verdict,
      code: step.code ?? null,
      reason: unknown.get(step.gate) ?? step.reason ?? null,
      options: optionsOf(step.gate)
    })
  )
  const known = new Set(ran.map(({ gate }) => gate))
  const reported = (request.reported ?? [])
    .filter(({ gate }) => !known.has(gate))
    .map((step) => fromVerdict(step, optionsOf))
  // A gate that answers itself, such as for a preflight, ends the request as well.
  const isStopped =
    request.refusal !== null ||
    (request.trace ?? []).some(({ verdict }) => verdict === 'answered' || verdict === 'refused')
  const rest = (info?.gates ?? []).filter((gate) => keys.has(gate) && !known.has(gate))
  return [
    ...ran,
    ...reported,
    ...rest.map(
      (gate): ExplainedGate => ({
        gate,
        phase: '',
        verdict: isStopped ? 'not reached' : 'passed',
        code: null,
        reason: null,
        options: optionsOf(gate)
      })
    )
  ]
}

const fromVerdict = (
  { gate, phase, verdict, code, reason }: Verdict,
  optionsOf: (gate: string) => ExplainedOption[]
): ExplainedGate => ({
  gate,
  phase,
  verdict,
  code: code ?? null,
  reason: reason ?? null,
  options: optionsOf(gate)
})

/** Returns whether a concern may refuse requests; that of an extension may not say so. */
const isGate = ({ extensionKeys }: Catalog, { key, gate, options }: Concern): boolean =>
  gate === true || schemaOf(options, 'mode') !== undefined || extensionKeys?.has(key) === true

function normalizedOf(plan: Plan, request: FastifyRequest, url: string): Explanation['normalized'] {
  const sent = pathOf(url)
  const { path, refusal } = canonicalPath(sent, pathPolicyOf(plan))
  return {
    host: canonicalHost(request.headers.host ?? '') ?? '',
    path: path ?? sent,
    scheme: request.protocol,
    client: addressOf(request),
    changes: refusal !== undefined ? [refusal.message] : path === sent ? [] : [`${sent} became ${path}`]
  }
}

function candidatesOf(
  app: FastifyInstance,
  plan: Plan,
  request: FastifyRequest,
  info: RouteInfo | undefined
): Explanation['candidates'] {
  const { raw } = request
  const url = raw.url ?? '/'
  const policy = pathPolicyOf(plan)
  const { path, refusal } = canonicalPath(pathOf(url), policy)
  if (refusal !== undefined) return []
  const routed = {
    raw,
    path: matchable(path),
    query: queryOf(url).slice(1),
    trust: app,
    host: canonicalHost(request.headers.host ?? '') ?? '',
    method: symbolOf(raw.method ?? 'GET', raw),
    ignoreCase: policy.ignoreCase
  }
  return findCandidates(app, plan, routed, info)
}

function callerOf(request: FastifyRequest | undefined): Explanation['caller'] {
  const caller = request?.caller ?? null
  return caller === null ? null : { id: caller.id, by: caller.by, roles: caller.roles }
}

/** Lists the targets of an upstream with their shares of the requests. */
function targetsOf(app: FastifyInstance, { upstream }: UpstreamRequest): { url: string; share: string }[] {
  const state = app.upstreamStates().find(({ name }) => name === upstream)
  const targets = state?.targets ?? []
  const main = targets.filter(({ backup }) => !backup)
  const sum = main.reduce((total, { weight }) => total + weight, 0)
  return targets.map(({ name, weight, backup }) => ({
    url: redact(name),
    share: backup ? 'backup' : `${Math.round((weight / Math.max(1, sum)) * 1000) / 10}%`
  }))
}

/** Lists the root options of some concerns. */
const rootOptions = (plan: Plan, keys: readonly string[]): DescribedOption[] =>
  describeRoot(plan).filter(({ path }) => keys.includes(path.split('.', 1)[0] ?? ''))

/** Lists the options of the upstreams that got requests. */
function upstreamOptions(plan: Plan, sent: readonly UpstreamRequest[]): DescribedOption[] {
  const key = plan.catalog.concerns.find(({ named }) => named === true)?.key
  const prefixes = [...new Set(sent.map(({ upstream }) => `${key}.${upstream}.`))]
  return prefixes.length === 0
    ? []
    : describeRoot(plan).filter(({ path }) => prefixes.some((prefix) => path.startsWith(prefix)))
}

/** Lists what an explanation without services takes for granted of the gates of a request. */
export function assumptionsOf(plan: Plan, request: FastifyRequest): string[] {
  const info = request.routeOptions.config.sallyport?.route
  return plan.catalog.concerns.flatMap(({ key, assumes }) => {
    const options = info?.options[key] ?? plan.options[key]
    const hasRun = request.trace?.some(({ gate }) => gate === key) === true
    if (assumes === undefined || !hasRun || typeof options !== 'object') return []
    return assumes(options as never, request) ?? []
  })
}

/** Returns whether an option limits time or repeats requests. */
const isLimit = ({ path }: DescribedOption): boolean =>
  /(^|\.)(time|timeouts?|headerTime|retry|hedge)(\.|$)/.test(path)

const explainOption = ({ path, value, from, level }: DescribedOption): ExplainedOption => ({
  option: path,
  value,
  place: from,
  level
})

function pathOf(url: string): string {
  const target = /^https?:\/\/[^/?#]*(.*)$/i.exec(url)?.[1] ?? url
  const end = target.search(/[?#]/)
  const path = end === -1 ? target : target.slice(0, end)
  return path.startsWith('/') ? path : `/${path}`
}
