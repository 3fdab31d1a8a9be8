import type { Duplex } from 'node:stream'
import type { Sending } from '../../src/lib/contracts/dispatch.ts'
import type {
  AnswerListener,
  AttemptPolicy,
  Extent,
  Fate,
  OutboundRequest,
  Sent,
  UpstreamTarget
} from '../../src/lib/contracts/upstream.ts'
import { RequestNotSendable } from '../../src/lib/refusals.ts'
import { LONGEST_TIMER } from '../../src/lib/units.ts'
import { unavailable } from '../../src/lib/upstream-errors.ts'
import { Attempt, type AttemptListener, Superseded } from './attempt.ts'
import type { IdleTimeout } from './idle-timeout.ts'
import { retryAfterIn } from './retry-after.ts'
import type { Target } from './target.ts'
import type { Upstream } from './upstream.ts'

// The share that a hedge may take where the policy has no "retry".
const HEDGE_BUDGET = 0.2

/**
 * One request and its answer, in as many attempts as its policy allows. An attempt ends in one of these ways:
 * its answer is the answer; the target refused the connection or has not processed the request, so another target is asked,
 * whatever the method; the policy's `retry` takes the failure, so it is tried again after a wait; or it is the failure.
 */
export class Attempts implements AttemptListener, Sent {
  readonly #upstream: Upstream
  readonly #request: OutboundRequest
  readonly #policy: AttemptPolicy
  readonly #listener: AnswerListener
  readonly #tried: Target[] = []
  readonly #live: Attempt[] = []
  #answering: Attempt | undefined
  #state: 'waiting' | 'answered' | 'over' = 'waiting'
  #aborted: Error | undefined
  #backoff: NodeJS.Timeout | undefined
  #hedge: NodeJS.Timeout | undefined
  #retries = 0
  #counted = true

  constructor(upstream: Upstream, request: OutboundRequest, policy: AttemptPolicy, listener: AnswerListener) {
    this.#upstream = upstream
    this.#request = request
    this.#policy = policy
    this.#listener = listener
    upstream.traffic.active++
  }

  /** Sends the first attempt. */
  begin(): void {
    this.attempt()
    const { hedge } = this.#policy
    if (hedge !== undefined && this.#request.idempotent && this.#state === 'waiting')
      this.#hedge = setTimeout(onHedge, Math.min(hedge, LONGEST_TIMER), this)
  }

  /** Sends one more attempt to the target whose turn is next. */
  attempt(): void {
    if (this.#state !== 'waiting') return
    const target = this.#upstream.pick(this.#request.source, this.#tried)
    if (target === undefined) this.#fail(unavailable(this.#upstream.retryAfter))
    else this.#send(target)
  }

  /** Asks another target as well, if the answer is late and the budget allows it. */
  hedge(): void {
    if (this.#state !== 'waiting' || this.#live.length !== 1 || !this.#mayRepeat()) return
    // A body goes to two targets only once all of it is here; what still comes belongs to the first.
    const { body } = this.#request
    if (this.uploads || body?.mayReplay(this.#policy.retry?.maxBody ?? 0) === false) return
    const target = this.#untriedTarget()
    // The same one again would only get busier.
    if (target === undefined) return
    this.#countRetry()
    this.#send(target)
  }

  abort(error: Error): void {
    if (this.#state === 'over') return
    this.#aborted ??= error
    clearTimeout(this.#backoff)
    if (this.#live.length === 0) this.#fail(error)
    else for (const attempt of [...this.#live]) attempt.stop(error)
  }

  resume(): void {
    this.#answering?.resume()
  }

  watchIdle(): void {
    this.#answering?.watch()
  }

  end(): void {
    if (!this.#counted) return
    this.#counted = false
    this.#stopTimers()
    const { traffic } = this.#upstream
    traffic.active--
    traffic.extra -= this.#retries
  }

  get maySendAgain(): boolean {
    return this.#request.idempotent && this.mayReplay
  }

  get mayReplay(): boolean {
    return this.#request.body?.replays !== false
  }

  get uploads(): boolean {
    return this.#request.body?.ended === false
  }

  sendingFor(target: UpstreamTarget, fresh: boolean): Sending {
    const { source, method, path, body, upgrade } = this.#request
    return {
      path: target.base + path,
      method,
      headers: this.#request.headersFor(target),
      body: body === null ? null : body.open(),
      headersTimeout: this.#policy.headersTimeout,
      source,
      fresh,
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
    extent: Extent
  ): Fate {
    if (this.#state !== 'waiting') return 'drop'
    if (status >= 400 && this.#retry(attempt, String(status), retryAfterIn(fields))) return 'drop'
    this.#choose(attempt)
    return this.#listener.onHeaders(attempt.target, status, fields, statusText, extent)
  }

  onUpgrade(attempt: Attempt, fields: readonly string[], socket: Duplex): void {
    if (this.#state !== 'waiting' || this.#listener.onUpgrade === undefined) {
      socket.destroy()
      return
    }
    this.#choose(attempt)
    this.#state = 'over'
    this.#listener.onUpgrade(attempt.target, fields, socket)
  }

  onWhole(body: string): void {
    this.#state = 'over'
    this.#listener.onWhole(body)
  }

  onData(chunk: Buffer): boolean {
    return this.#listener.onData(chunk)
  }

  onComplete(trailers: readonly [string, string][]): void {
    this.#state = 'over'
    this.#listener.onComplete(trailers)
  }

  onError(attempt: Attempt, error: Error & { code?: string }): void {
    this.#drop(attempt)
    if (this.#state === 'over' || error instanceof Superseded) return
    if (this.#state === 'waiting' && this.#aborted === undefined) {
      this.#listener.onAttemptFailed?.(error)
      const unsendable = error instanceof RequestNotSendable
      if (!unsendable && (this.#failover(attempt) || this.#retry(attempt, reasonOf(attempt, error), 0)))
        return
    }
    this.#fail(this.#aborted ?? error)
  }

  onBroken(error: unknown): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#stopTimers()
    this.#listener.onBroken(error)
    for (const attempt of [...this.#live]) attempt.stop(new Superseded('The request failed'))
  }

  /** Asks another target where this one is sure not to have processed the request, whatever its method is. */
  #failover(attempt: Attempt): boolean {
    if (attempt.connected && !attempt.unprocessed) return false
    if (!this.mayReplay || this.#live.length > 0) return false
    const target = this.#untriedTarget()
    if (target === undefined) return false
    this.#send(target)
    return true
  }

  /** Passes over what an attempt brought, if the policy takes it and there is time, and schedules the next one. */
  #retry(attempt: Attempt, reason: string, retryAfter: number): boolean {
    const { retry } = this.#policy
    const failed = attempt.lost || retry?.takes(reason) === true
    // A hedge is still under way: it may do better.
    if (failed && this.#live.some((each) => each !== attempt)) {
      this.#drop(attempt)
      return true
    }
    if (retry === undefined || !retry.takes(reason) || !this.#request.idempotent) return false
    const attempts = this.#retries + 1
    if (attempts >= retry.attempts || this.#request.body?.mayReplay(retry.maxBody) === false) return false
    const wait = Math.max(retry.wait(attempts), retryAfter)
    // An attempt that can't end in time is not begun, nor one that no timer would wait for.
    if (this.#request.deadline?.allows(wait) === false || wait > LONGEST_TIMER || !this.#mayRepeat())
      return false
    this.#drop(attempt)
    this.#countRetry()
    this.#backoff = setTimeout(onBackoff, wait, this)
    return true
  }

  #send(target: Target): void {
    this.#tried.push(target)
    this.#listener.onTarget?.(target)
    const attempt = new Attempt(this, target, {
      upgrades: this.#request.upgrade !== undefined,
      idleTimeout: this.#policy.idleTimeout as IdleTimeout | undefined
    })
    this.#live.push(attempt)
    attempt.send()
  }

  #choose(attempt: Attempt): void {
    this.#state = 'answered'
    this.#answering = attempt
    this.#stopTimers()
    if (this.#live.length > 1)
      for (const each of [...this.#live])
        if (each !== attempt) each.stop(new Superseded('Another answer came first'))
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

  #mayRepeat(): boolean {
    return this.#upstream.mayRepeat(this.#policy.retry?.budget ?? HEDGE_BUDGET)
  }

  #countRetry(): void {
    this.#retries++
    this.#upstream.traffic.extra++
    this.#upstream.traffic.retries++
  }

  #drop(attempt: Attempt): void {
    const at = this.#live.indexOf(attempt)
    if (at !== -1) this.#live.splice(at, 1)
  }

  #stopTimers(): void {
    clearTimeout(this.#hedge)
    clearTimeout(this.#backoff)
  }
}

function reasonOf(attempt: Attempt, { code }: { code?: string }): string {
  if (!attempt.connected) return 'connect'
  return code === 'UND_ERR_HEADERS_TIMEOUT' ? 'timeout' : 'reset'
}

// One function each for all requests. An error of the gateway's own ends the request, not the process.
const onHedge = guarded((attempts) => attempts.hedge())
const onBackoff = guarded((attempts) => attempts.attempt())

function guarded(act: (attempts: Attempts) => void): (attempts: Attempts) => void {
  return (attempts) => {
    try {
      act(attempts)
    } catch (error) {
      attempts.onBroken(error)
    }
  }
}
