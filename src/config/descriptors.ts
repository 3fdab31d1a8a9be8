import { concurrencyOf } from './facets.ts'
import type { Plan } from './plan-types.ts'

// What a process has open besides connections: its log, its code, sockets that listen, files that are sent.
const RESERVE = 64

// As many as most systems allow a process by default.
const USUAL = 1024

/** What a process may run out of, and whether the config itself asks for more. */
export interface Shortage {
  readonly message: string
  /** Whether the config allows more connections than there are descriptors for. */
  readonly isSaid: boolean
}

/** Compares the file descriptors that a process may open with those that a config may need; undefined where they are enough. */
export function descriptorShortage(
  plan: Pick<Plan, 'catalog' | 'words'>,
  limit: number | undefined
): Shortage | undefined {
  if (limit === undefined) return undefined
  const concurrency = concurrencyOf(plan)
  if (concurrency !== undefined && limit < 2 * concurrency.max + RESERVE) {
    const { option, max, limitsConnections } = concurrency
    return {
      message: `"${option}" of ${max} needs ${2 * max + RESERVE} file descriptors, one for the client and one for the upstream each; a process has ${limit} here (ulimit -n)`,
      isSaid: limitsConnections
    }
  }
  if (limit < USUAL)
    return {
      message: `A process has ${limit} file descriptors here (ulimit -n): it takes some ${Math.max(0, Math.floor((limit - RESERVE) / 2))} requests at a time`,
      isSaid: false
    }
  return undefined
}
