import type { Plan } from '../config/plan-types.ts'
import type { Refusal } from '../lib/refusals.ts'
import type { ExplainedGate, Explanation } from './explanation.ts'
import type { HandledRequest } from './handled-request.ts'
import { shownName } from './shown-url.ts'

/** What was decided about a request. */
export interface Decision extends Pick<Explanation, 'verdict' | 'status' | 'code' | 'refusedBy' | 'detail'> {
  /** What the decision takes for granted. */
  readonly assumes: readonly string[]
}

/** Says what became of a request, as far as it is known here. */
export function decisionOf(plan: Plan, handled: HandledRequest, gates: readonly ExplainedGate[]): Decision {
  const { request, upstreamRequests, unknown, isLive } = handled
  const status = handled.status ?? null
  const refusedBy = request?.trace?.find(({ verdict }) => verdict === 'refused')?.gate ?? null
  const refusal = refusalOf(handled)
  const passed = { code: null, refusedBy: null, detail: null, assumes: [] }
  // A gate that could not decide here may decide otherwise where its services are.
  if (refusedBy !== null && unknown.has(refusedBy)) return { ...passed, verdict: 'unknown', status: null }
  const toTarget = upstreamRequests.filter(({ gate }) => gate === undefined)
  const isForwarded = toTarget.length > 0
  const verdict = gates.some((gate) => gate.verdict === 'unknown')
    ? 'unknown'
    : isForwarded
      ? 'forwarded'
      : 'answered'
  if (refusal === undefined) return { ...passed, verdict, status }
  // What comes back from an upstream is made up here, and so is an error about it.
  if (!isLive && isForwarded && refusedBy === null) {
    const names = [...new Set(toTarget.map(({ upstream }) => `"${shownName(plan, upstream)}"`))].join(' and ')
    const assumed = `What ${names} would respond is not known; an empty response would become ${status ?? 'an error'} ${refusal.code}: ${refusal.detail}`
    return { ...passed, verdict, status: null, assumes: [assumed] }
  }
  return { ...passed, verdict: verdict === 'unknown' ? verdict : 'refused', status, refusedBy, ...refusal }
}

function refusalOf({ request, parserRefusal }: HandledRequest): { code: string; detail: string } | undefined {
  const refusal: Refusal | undefined | null = request?.refusal
  if (refusal === undefined || refusal === null) return parserRefusal
  const { code, message, byTarget } = refusal
  const target = request?.routeOptions.config.sallyport?.route?.target
  // A target that finds nothing answers as if there were no route.
  return {
    code,
    detail:
      byTarget === true && target !== undefined ? `the target "${target}" answered: ${message}` : message
  }
}
