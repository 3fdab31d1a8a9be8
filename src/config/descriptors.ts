import type { Plan } from './plan-types.ts'

// What a process has open besides connections: its log, its code, sockets that listen, files that are sent.
const RESERVE = 64

// As many as most systems allow a process by default.
const USUAL = 1024

/** What a process may run out of, and whether the config itself asks for more. */
export interface Shortage {
  readonly message: string
  /** Whether `overload.maxConnections` asks for more than there are. */
  readonly isSaid: boolean
}

/** Compares the file descriptors that a process may open with those that a config may need; undefined where they are enough. */
export function descriptorShortage(
  { words }: Pick<Plan, 'words'>,
  limit: number | undefined
): Shortage | undefined {
  if (limit === undefined) return undefined
  const { maxConnections = false, maxInFlight = false } = (words['overload'] ?? {}) as {
    maxConnections?: number | false
    maxInFlight?: number | false
  }
  const option = maxConnections === false ? 'maxInFlight' : 'maxConnections'
  const most = maxConnections === false ? maxInFlight : maxConnections
  if (most !== false && limit < 2 * most + RESERVE)
    return {
      message: `"overload.${option}" of ${most} needs ${2 * most + RESERVE} file descriptors, one for the client and one for the upstream each; a process has ${limit} here (ulimit -n)`,
      isSaid: option === 'maxConnections'
    }
  if (limit < USUAL)
    return {
      message: `A process has ${limit} file descriptors here (ulimit -n): it takes some ${Math.max(0, Math.floor((limit - RESERVE) / 2))} requests at a time`,
      isSaid: false
    }
  return undefined
}
