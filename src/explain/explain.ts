import type { FastifyInstance, FastifyRequest } from 'fastify'
import { type DescribedOption, describeRoot, describeRoute } from '../config/describe-options.ts'
import { pathPolicyOf } from '../config/facets.ts'
import type { Plan } from '../config/plan-types.ts'
import { maskerOf, redact } from '../config/redact.ts'
import { symbolOf } from '../gateway/route-table/index.ts'
import type { RouteInfo } from '../kit/index.ts'
import type { UpstreamRequest } from '../lib/contracts/simulation.ts'
import { addressOf } from '../lib/http/addresses.ts'
import { canonicalHost, canonicalPath, matchable } from '../lib/http/canonical-path.ts'
import { queryOf } from '../lib/http/url-parts.ts'
import { findCandidates, placeOf } from './candidates.ts'
import { decisionOf } from './decision.ts'
import type { Explanation } from './explanation.ts'
import { explainGates, explainOption } from './gates.ts'
import type { HandledRequest } from './handled-request.ts'
import { makePairMask, shownUrl } from './shown-url.ts'
import { explainUpstream } from './upstream-request.ts'

/** Explains what a gateway, built with `trace`, did with a request. */
export function explain(app: FastifyInstance, plan: Plan, handled: HandledRequest): Explanation {
  const { request, method, url, from, upstreamRequests, unknown, isLive } = handled
  const at = request?.routeOptions.config.sallyport?.route
  const info = at?.kind === 'notFound' ? undefined : at
  const planned = info === undefined ? undefined : plan.routes[app.routeInfos.indexOf(info)]
  const options =
    planned === undefined ? rootOptions(plan, at?.gates ?? []) : describeRoute(plan, planned).options
  const gates = request === undefined ? [] : explainGates(plan, at, { request, options, unknown })
  const maskPair = makePairMask(plan, app)
  const { assumes, ...decision } = decisionOf(plan, handled, gates)
  return {
    version: 1,
    request: { method, url: isLive ? url : shownUrl(url, maskPair), from },
    normalized: request === undefined ? null : normalizedOf(plan, request, url),
    candidates: request === undefined ? [] : candidatesOf(app, plan, request, info),
    route:
      info === undefined
        ? null
        : { name: info.name, place: placeOf(app, plan, info), target: info.target ?? null },
    gates,
    ...decision,
    headers: decision.verdict === 'answered' ? responseHeaders(plan, handled) : [],
    caller: callerOf(request),
    upstreams: upstreamRequests.map((sent) => ({
      ...explainUpstream(plan, sent, {
        headers: handled.headers,
        route: planned,
        query: isLive ? undefined : queryOf(url).slice(1),
        maskPair,
        // Without authentication no concern names any.
        credentialHeaders: (app as Partial<FastifyInstance>).credentialHeaders ?? NO_HEADERS
      }),
      targets: targetsOf(app, sent)
    })),
    limits: [...options, ...upstreamOptions(plan, upstreamRequests)].filter(isLimit).map(explainOption),
    assumes: [...unknown.values(), ...assumes]
  }
}

const NO_HEADERS: ReadonlySet<string> = new Set()

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

// They say nothing about the route, or differ between any two responses.
const ORDINARY = new Set(['date', 'connection', 'keep-alive', 'content-length', 'transfer-encoding'])

/** Lists the headers of a response that the gateway makes itself, with secrets masked. */
function responseHeaders(
  plan: Plan,
  { responseHeaders: fields = [] }: HandledRequest
): Explanation['headers'] {
  const masked = maskerOf(plan)
  return fields
    .filter(([name]) => !ORDINARY.has(name))
    .map(([name, value]) => ({ name, value: String(masked(value, ['headers', name])) }))
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

/** Returns whether an option limits time or repeats requests. */
const isLimit = ({ path }: DescribedOption): boolean =>
  /(^|\.)(time|timeouts?|headerTime|retry|hedge)(\.|$)/.test(path)

function pathOf(url: string): string {
  const target = /^https?:\/\/[^/?#]*(.*)$/i.exec(url)?.[1] ?? url
  const end = target.search(/[?#]/)
  const path = end === -1 ? target : target.slice(0, end)
  return path.startsWith('/') ? path : `/${path}`
}
