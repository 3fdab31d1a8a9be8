import { MAX_TIMER_MS } from '../../src/lib/clock.ts'
import type { AttemptPolicy, OutboundRequest } from '../../src/lib/contracts/upstream.ts'

/** An attempt that failed, and those before it. */
export interface FailedAttempt {
  /** The status, or the kind of failure. */
  readonly reason: string
  /** The attempts so far. */
  readonly attempts: number
  /** Milliseconds that the upstream asks to wait; 0 for none. */
  readonly retryAfter: number
}

/** Returns the milliseconds until a retry if policy, method, body and deadline allow it; else undefined. */
export function retryDelay(
  request: OutboundRequest,
  { retry }: AttemptPolicy,
  { reason, attempts, retryAfter }: FailedAttempt
): number | undefined {
  if (retry === undefined || !retry.isRetryable(reason) || !retry.allows(request)) return undefined
  if (attempts >= retry.attempts || request.body?.isReplayableWithin(retry.maxBody) === false)
    return undefined
  const delay = Math.max(retry.backoff(attempts), retryAfter)
  // A retry that cannot finish before the deadline, or whose delay exceeds what a timer can hold, is not started.
  return request.deadline?.allows(delay) === false || delay > MAX_TIMER_MS ? undefined : delay
}
