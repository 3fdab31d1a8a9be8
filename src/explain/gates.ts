import type { FastifyRequest } from 'fastify'
import type { Catalog } from '../config/catalog.ts'
import type { DescribedOption } from '../config/describe-options.ts'
import type { Plan } from '../config/plan-types.ts'
import type { Concern, RouteInfo } from '../kit/index.ts'
import type { Verdict } from '../kit/observe.ts'
import { schemaOf } from '../lib/schema.ts'
import type { ExplainedGate, ExplainedOption } from './explanation.ts'

/** What is known of the gates of a request. */
export interface GateContext {
  readonly request: FastifyRequest
  readonly options: readonly DescribedOption[]
  /** The gates whose verdicts are not known, each with what was assumed. */
  readonly unknown: ReadonlyMap<string, string>
}

/** Lists the gates of a route in the order in which they ran, then those that the request did not reach. */
export function explainGates(
  plan: Plan,
  info: RouteInfo | undefined,
  { request, options, unknown }: GateContext
): ExplainedGate[] {
  const keys = new Set(
    plan.catalog.concerns.filter((concern) => isGate(plan.catalog, concern)).map(({ key }) => key)
  )
  // What answers by itself, such as a preflight, need not be a gate.
  const trace = (request.trace ?? []).filter(({ gate, verdict }) => keys.has(gate) || verdict === 'answered')
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

/** Describes a resolved option. */
export const explainOption = ({ path, value, from, level }: DescribedOption): ExplainedOption => ({
  option: path,
  value,
  place: from,
  level
})
