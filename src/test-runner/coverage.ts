import { guardsAccess } from '../config/facets.ts'
import type { Plan } from '../config/plan-types.ts'
import type { Concern, RouteInfo } from '../kit/index.ts'
import type { SimulatedOutcome } from '../simulation/simulation.ts'
import { outcomeOf } from './outcome.ts'

/** A gate at a route, or at a group whose routes share its counts. */
interface CoveredGate {
  readonly key: string
  /** Whether it finds out who calls. */
  readonly authenticates: boolean
  /** The phases in which it decides, as far as they were seen. */
  readonly phases: Set<string>
  /** The phases that a request passed, by their names; one that another gate refused may have passed a part of them. */
  readonly passed: Map<string, readonly string[]>
  hasRefused: boolean
}

/** Returns whether a request has passed all phases of a gate. */
const hasPassed = ({ phases, passed }: CoveredGate): boolean =>
  [...passed.values()].some((each) => each.length === phases.size)

interface CoveredRoute {
  readonly name: string
  readonly gates: readonly CoveredGate[]
  wasTried: boolean
  hasAnswered: boolean
  /** Whether a request came without a caller. */
  hadNoCaller: boolean
}

/** How much of a config its tests have covered. */
export interface CoverageReport {
  readonly routes: Counted
  readonly gates: Counted
  /** Of routes and gates together; 100 where there are none. */
  readonly percent: number
  /** What was never tried, never refused or never passed, in words. */
  readonly gaps: readonly string[]
}

interface Counted {
  readonly covered: number
  readonly of: number
}

/** Counts which routes have answered, and which gates have both passed and refused. */
export class Coverage {
  readonly #concerns: ReadonlyMap<string, Concern>
  readonly #routes = new Map<string, CoveredRoute>()
  readonly #gates = new Map<string, CoveredGate>()

  constructor({ catalog }: Plan) {
    this.#concerns = new Map(catalog.concerns.map((concern) => [concern.key, concern]))
  }

  /** Adds the routes of a gateway; those that are known already are left alone. */
  addRoutes(infos: readonly RouteInfo[]): void {
    for (const info of infos)
      if (info.kind === 'config' && !this.#routes.has(info.id))
        this.#routes.set(info.id, {
          name: info.name,
          gates: info.gates.flatMap((key) => this.#gateOf(info, key)),
          wasTried: false,
          hasAnswered: false,
          hadNoCaller: false
        })
  }

  /** Adds what became of a request. */
  record(result: SimulatedOutcome): void {
    const { request } = result
    const info = request?.routeOptions.config.sallyport?.route
    const route = this.#routes.get(info?.id ?? '')
    if (request === undefined || route === undefined) return
    const { refusedBy, code } = outcomeOf(result)
    route.wasTried = true
    route.hadNoCaller ||= request.caller === null
    const wasStopped = request.trace?.some(({ verdict }) => verdict === 'refused' || verdict === 'answered')
    route.hasAnswered ||= code === null && wasStopped !== true
    for (const gate of route.gates) {
      const verdicts = request.trace?.filter((each) => each.gate === gate.key) ?? []
      // In report mode it refuses in one phase, such as that of the body, and passes in the others.
      const wasReported = request.reported?.some((each) => each.gate === gate.key) === true
      const hasRefused =
        refusedBy === gate.key || wasReported || verdicts.some(({ verdict }) => verdict !== 'passed')
      gate.hasRefused ||= hasRefused
      const phases = [...new Set(verdicts.map(({ phase }) => phase))]
      for (const phase of phases) gate.phases.add(phase)
      if (!hasRefused && phases.length > 0) gate.passed.set(phases.join(), phases)
    }
  }

  /** Reports what was covered. */
  report(): CoverageReport {
    const all = [...this.#routes.values()]
    const gates = [...this.#gates.values()]
    const routes = { covered: all.filter(({ hasAnswered }) => hasAnswered).length, of: all.length }
    const counted = {
      covered: gates.filter((gate) => hasPassed(gate) && gate.hasRefused).length,
      of: gates.length
    }
    const of = routes.of + counted.of
    return {
      routes,
      gates: counted,
      percent: of === 0 ? 100 : ((routes.covered + counted.covered) / of) * 100,
      gaps: [...new Set(all.flatMap(gapsOf))]
    }
  }

  /** Returns the gate of a concern at a route; none where it does not control access, or nothing configures it. */
  #gateOf(info: RouteInfo, key: string): CoveredGate[] {
    const concern = this.#concerns.get(key)
    if (concern === undefined || info.mentionOf(key) === undefined || !guardsAccess(concern)) return []
    const id = `${key} ${concern.counts === true ? info.scope(key) : info.id}`
    const known = this.#gates.get(id)
    if (known !== undefined) return [known]
    const gate = {
      key,
      authenticates: concern.fromSecurity !== undefined,
      phases: new Set<string>(),
      passed: new Map<string, readonly string[]>(),
      hasRefused: false
    }
    this.#gates.set(id, gate)
    return [gate]
  }
}

/** Lists what was not covered of a route. */
function gapsOf({ name, gates, wasTried, hasAnswered, hadNoCaller }: CoveredRoute): string[] {
  if (!wasTried) return [`${name} was never tried`]
  const gaps = hasAnswered ? [] : [`${name} never got as far as its target`]
  for (const gate of gates) {
    const { key, authenticates } = gate
    if (!gate.hasRefused)
      gaps.push(
        authenticates && !hadNoCaller
          ? `${name} was never tried without a caller: ${key} never refused`
          : `${name}: ${key} never refused`
      )
    if (!hasPassed(gate)) gaps.push(`${name}: ${key} let no request pass`)
  }
  return gaps
}
