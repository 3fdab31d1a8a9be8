import { concurrencyOf } from './facets.ts'
import type { Plan } from './plan-types.ts'

// File descriptors besides connections: the log, modules, listening sockets, files being sent.
const RESERVED_DESCRIPTORS = 64

// The default limit of most systems.
const DEFAULT_LIMIT = 1024

/** A limit on file descriptors that is too low for a config. */
export interface Shortage {
  readonly message: string
  /** Whether the config allows more connections than there are descriptors for. */
  readonly isConfigured: boolean
}

/** Returns a warning if a config may need more file descriptors than the process may open; otherwise undefined. */
export function descriptorShortage(
  plan: Pick<Plan, 'catalog' | 'options'>,
  limit: number | undefined
): Shortage | undefined {
  if (limit === undefined) return undefined
  const concurrency = concurrencyOf(plan)
  if (concurrency !== undefined && limit < 2 * concurrency.max + RESERVED_DESCRIPTORS) {
    const { option, max, limitsConnections } = concurrency
    return {
      message: `"${option}" of ${max} needs ${2 * max + RESERVED_DESCRIPTORS} file descriptors, one for each client connection and one for its upstream connection; the limit is ${limit} (ulimit -n)`,
      isConfigured: limitsConnections
    }
  }
  if (limit < DEFAULT_LIMIT)
    return {
      message: `The limit of file descriptors is ${limit} (ulimit -n), enough for about ${Math.max(0, Math.floor((limit - RESERVED_DESCRIPTORS) / 2))} concurrent requests`,
      isConfigured: false
    }
  return undefined
}
