import type { Duplex } from 'node:stream'
import { startTimer, stopTimer, type Timer } from '../../src/lib/clock.ts'
import type { DispatchOptions } from '../../src/lib/contracts/dispatch.ts'
import type {
  AnswerListener,
  AttemptPolicy,
  BodyAction,
  OutboundRequest,
  PendingRequest,
  ResponseExtent,
  UpstreamTarget
} from '../../src/lib/contracts/upstream.ts'
import { guarded } from '../../src/lib/guarded.ts'
import { RequestNotSendable } from '../../src/lib/refusals.ts'
import { unavailable } from '../../src/lib/upstream-errors.ts'
import { Attempt, type AttemptListener } from './attempt.ts'
import { isLocalError, reasonOf, Superseded } from './attempt-errors.ts'
import type { IdleTimeout } from './idle-timeout.ts'
import { retryAfterIn } from './retry-after.ts'
import { retryDelay } from './retry-delay.ts'
import type { Target } from './target.ts'
import { TargetWait } from './target-wait.ts'
import type { Targets } from './targets.ts'

// The retry budget of a hedge on a route without `retry`.
const DEFAULT_HEDGE_BUDGET = 0.2

/**
 * Sends one request in as many attempts as its policy allows.
 * A refused connection, or a target that has not processed the request, leads to another target whatever the method (failover).
 * Other failures are retried if `retry` covers them; else the response or error goes to the listener.
 */
export class Attempts implements AttemptListener, PendingRequest {
  readonly #upstream: Targets
  readonly #request: OutboundRequest
  readonly #policy: AttemptPolicy
  readonly #listener: AnswerListener
  readonly #tried: Target[] = []
  readonly #active: Attempt[] = []
  #selected: Attempt | undefined
  #state: 'waiting' | 'answered' | 'over' = 'waiting'
  #abortReason: Error | undefined
  #backoff: Timer | undefined
  #hedge: Timer | undefined
  #wait: TargetWait | undefined
  #sent = 0
  // Retries and hedges.
  #retries = 0
  #isCounted = true

  constructor(upstream: Targets, request: OutboundRequest, policy: AttemptPolicy, listener: AnswerListener) {
    this.#upstream = upstream
    this.#request = request
    this.#policy = policy
    this.#listener = listener
    upstream.traffic.active++
  }

  /** Sends the first attempt and schedules the hedge, if the policy has one. */
  begin(): void {
    this.attemptNext()
    const { hedge } = this.#policy
    if (hedge !== undefined && this.#request.idempotent && this.#state === 'waiting')
      this.#hedge = startTimer(onHedge, hedge, this)
  }

  /** Sends one more attempt, to the target that is next. */
  attemptNext(): void {
    if (this.#state !== 'waiting') return
    const target = this.#upstream.pick(this.#request.source, this.#tried)
    if (target !== undefined) this.#send(target)
    else if (this.#upstream.ready.length > 0 || !this.#scheduleWait())
      this.#fail(unavailable(this.#upstream.retryAfter))
  }

  /** Sends the same request to a second target, if the budget allows it. */
  hedge(): void {
    if (this.#state !== 'waiting' || this.#active.length !== 1 || !this.#acquireRetry()) return
    // Two targets can only read a body that has arrived completely and is buffered.
    const { body } = this.#request
    if (this.isUploading || body?.isReplayableWithin(this.#policy.retry?.maxBody ?? 0) === false) return
    const target = this.#untriedTarget()
    // A second request to the same target would only add to its load.
    if (target === undefined) return
    this.#countRetry()
    this.#send(target)
  }

  abort(error: Error): void {
    if (this.#state === 'over') return
    this.#abortReason ??= error
    stopTimer(this.#backoff)
    if (this.#active.length === 0) this.#fail(error)
    else for (const attempt of [...this.#active]) attempt.stop(error)
  }

  resume(): void {
    this.#selected?.resume()
  }

  watchIdle(): void {
    this.#selected?.watchIdle()
  }

  end(): void {
    if (!this.#isCounted) return
    this.#isCounted = false
    this.#stopTimers()
    const { traffic } = this.#upstream
    traffic.active--
    traffic.activeRetries -= this.#retries
  }

  get canResend(): boolean {
    return this.#request.idempotent && this.canReplayBody
  }

  get canReplayBody(): boolean {
    return this.#request.body?.isReplayable !== false
  }

  get isUploading(): boolean {
    return this.#request.body?.ended === false
  }

  dispatchOptionsFor(target: UpstreamTarget, newConnection: boolean): DispatchOptions {
    const { source, method, path, body, upgrade } = this.#request
    return {
      path: target.base + path,
      method,
      headers: this.#request.headersFor(target),
      body: body === null ? null : body.open(),
      isBodyDisposable: body?.isDisposable === true,
      headersTimeout: this.#policy.headersTimeout,
      source,
      newConnection,
      ...(upgrade === undefined ? {} : { upgrade })
    }
  }

  onInformation(status: number, fields: readonly string[]): void {
    if (this.#state === 'waiting') this.#listener.onInformation?.(status, fields)
  }

  onHeaders(
    attempt: Attempt,
    status: number,
    fields: readonly string[],
    statusText: string,
    extent: ResponseExtent
  ): BodyAction {
    if (this.#state !== 'waiting') return 'drain'
    if (status >= 400) {
      const reason = String(status)
      if (this.#dropIfHedged(attempt, reason) || this.#scheduleRetry(attempt, reason, retryAfterIn(fields)))
        return 'drain'
    }
    this.#select(attempt)
    return this.#listener.onHeaders(attempt.target, status, fields, statusText, extent)
  }

  onUpgrade(attempt: Attempt, fields: readonly string[], socket: Duplex): void {
    if (this.#state !== 'waiting' || this.#listener.onUpgrade === undefined) {
      socket.destroy()
      return
    }
    this.#select(attempt)
    this.#state = 'over'
    this.#listener.onUpgrade(attempt.target, fields, socket)
  }

  onCompleteBody(body: string): void {
    this.#state = 'over'
    this.#listener.onCompleteBody(body)
  }

  onData(chunk: Buffer): boolean {
    return this.#listener.onData(chunk)
  }

  onComplete(trailers: readonly [string, string][]): void {
    this.#state = 'over'
    this.#listener.onComplete(trailers)
  }

  onError(attempt: Attempt, error: Error & { code?: string }): void {
    this.#remove(attempt)
    if (this.#state === 'over' || error instanceof Superseded) return
    if (this.#state === 'waiting' && this.#abortReason === undefined) {
      // While the request waits for a target, only the first failure is news.
      if (this.#wait === undefined) this.#listener.onAttemptFailed?.(error)
      const reason = reasonOf(attempt, error)
      if (
        !(error instanceof RequestNotSendable) &&
        (this.#failover(attempt) ||
          this.#dropIfHedged(attempt, reason) ||
          this.#waitForTarget(attempt, error) ||
          this.#scheduleRetry(attempt, reason, 0))
      )
        return
    }
    this.#fail(this.#abortReason ?? error)
  }

  onInternalError(error: unknown): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#stopTimers()
    this.#listener.onInternalError(error)
    for (const attempt of [...this.#active]) attempt.stop(new Superseded('The request failed'))
  }

  /** Sends the request to another target if this one certainly has not processed it; returns whether it did. */
  #failover(attempt: Attempt): boolean {
    if (attempt.connected && !attempt.unprocessed) return false
    if (!this.canReplayBody || this.#active.length > 0) return false
    const target = this.#untriedTarget()
    if (target === undefined) return false
    this.#send(target)
    return true
  }

  /** Drops a failed attempt while another one, begun by a hedge, may still succeed; returns whether it did. */
  #dropIfHedged(attempt: Attempt, reason: string): boolean {
    const failed = attempt.abandoned || this.#policy.retry?.isRetryable(reason) === true
    if (!failed || this.#active.every((each) => each === attempt)) return false
    this.#remove(attempt)
    return true
  }

  /** Schedules a retry if policy, method, body, deadline and budget allow it; returns whether it did, and the attempt is dropped. */
  #scheduleRetry(attempt: Attempt, reason: string, retryAfter: number): boolean {
    const failed = { reason, attempts: this.#retries + 1, retryAfter }
    const delay = retryDelay(this.#request, this.#policy, failed)
    if (delay === undefined || !this.#acquireRetry()) return false
    this.#remove(attempt)
    this.#countRetry()
    this.#backoff = startTimer(onBackoff, delay, this)
    return true
  }

  /** Drops an attempt that got no connection, and waits for a target to come up; returns whether it does. */
  #waitForTarget(attempt: Attempt, error: Error): boolean {
    if (attempt.connected || isLocalError(error) || !this.canReplayBody || !this.#scheduleWait()) return false
    // All targets are tried again.
    this.#tried.length = 0
    return true
  }

  /** Schedules the next attempt while `retry.wait` lasts; returns whether it did. */
  #scheduleWait(): boolean {
    this.#wait ??= TargetWait.begin(this.#policy)
    const pause = this.#wait?.pause(this.#request)
    if (pause === undefined) return false
    this.#backoff = startTimer(onBackoff, pause, this)
    return true
  }

  #send(target: Target): void {
    this.#tried.push(target)
    this.#listener.onTarget?.(target)
    const { source, upgrade } = this.#request
    const attempt = new Attempt(this, target, {
      upgrades: upgrade !== undefined,
      span: source?.traceContext?.startAttempt(this.#upstream.name, target, this.#request, ++this.#sent),
      idleTimeout: this.#policy.idleTimeout as IdleTimeout | undefined
    })
    this.#active.push(attempt)
    attempt.send()
  }

  #select(attempt: Attempt): void {
    this.#state = 'answered'
    this.#selected = attempt
    this.#stopTimers()
    if (this.#active.length > 1)
      for (const each of [...this.#active])
        if (each !== attempt) each.stop(new Superseded('Another response came first'))
  }

  #fail(error: Error): void {
    this.#state = 'over'
    this.#stopTimers()
    this.#listener.onError(error)
  }

  #untriedTarget(): Target | undefined {
    const target = this.#upstream.pick(this.#request.source, this.#tried)
    return target === undefined || this.#tried.includes(target) ? undefined : target
  }

  #acquireRetry(): boolean {
    return this.#upstream.acquireRetry(this.#policy.retry?.budget ?? DEFAULT_HEDGE_BUDGET)
  }

  #countRetry(): void {
    this.#retries++
    this.#upstream.traffic.activeRetries++
    this.#upstream.traffic.retries++
  }

  #remove(attempt: Attempt): void {
    const at = this.#active.indexOf(attempt)
    if (at !== -1) this.#active.splice(at, 1)
  }

  #stopTimers(): void {
    if (this.#hedge !== undefined) stopTimer(this.#hedge)
    if (this.#backoff !== undefined) stopTimer(this.#backoff)
  }
}

// Shared by all requests, to avoid a closure for each. An internal error ends the request, not the process.
const onHedge = guarded<Attempts>((attempts) => attempts.hedge())
const onBackoff = guarded<Attempts>((attempts) => attempts.attemptNext())
