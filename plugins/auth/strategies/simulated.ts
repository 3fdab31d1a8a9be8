import type { Simulation } from '../../../src/lib/contracts/simulation.ts'
import type { Strategy } from './strategy.ts'

/** Returns a strategy for whose result a simulation may stand in. */
export const simulatedStrategy = (strategy: Strategy, simulation: Simulation): Strategy => ({
  ...strategy,
  authenticate(request, reply) {
    const caller = simulation.callerFor(request, strategy.name)
    return caller === undefined ? strategy.authenticate(request, reply) : caller
  }
})
