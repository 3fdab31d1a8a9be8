import { monotonic } from '../../src/lib/clock.ts'
import type { AttemptPolicy, OutboundRequest } from '../../src/lib/contracts/upstream.ts'

// How often a request that waits for a target looks for one.
const INTERVAL_MS = 250

/** The wait of one request for a target to come up (`retry.wait`). */
export class TargetWait {
  // By the monotonic clock.
  readonly #until: number

  private constructor(wait: number) {
    this.#until = monotonic() + wait
  }

  /** Begins the wait that a policy allows; undefined for none. */
  static begin({ retry }: AttemptPolicy): TargetWait | undefined {
    const { wait = 0 } = retry ?? {}
    return wait === 0 ? undefined : new TargetWait(wait)
  }

  /** Returns the time until the next look for a target, in ms; undefined if the wait or the deadline ends before it. */
  pause({ deadline }: OutboundRequest): number | undefined {
    const pause = Math.min(INTERVAL_MS, this.#until - monotonic())
    return pause <= 0 || deadline?.allows(pause) === false ? undefined : pause
  }
}
