import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { createError } from '../../src/kit/index.ts'
import { settleCallback } from '../../src/lib/callback.ts'
import { storeUnavailable } from '../../src/lib/contracts/store.ts'
import { onResponseClosed, statusOf } from '../../src/lib/http/response-end.ts'
import { type Refusal, withHeaders } from '../../src/lib/refusals.ts'
import type { CounterState } from './counters.ts'
import { releaseOnClose } from './in-flight.ts'
import type { Limit, LimitResult, Tier } from './limit.ts'
import type { RateLimitOptions } from './options.ts'

/** The client sent more requests than the limit allows. */
export const RateLimitExceeded = createError<[number]>(
  'SP_ERR_RATE_LIMIT_EXCEEDED',
  'Rate limit exceeded: retry in %s s',
  429
)
/** The client has as many requests in flight as the limit allows. */
export const TooManyInFlight = createError(
  'SP_ERR_RATE_LIMIT_IN_FLIGHT',
  'Too many concurrent requests: retry when another one is finished',
  429
)

export type Done = (error?: Error) => void
type StoreFailure = RateLimitOptions['onStoreFailure']
type Rejection = FastifyError | undefined

/** Creates the hook that counts a request in each limit and rejects it if one is exceeded; synchronous where the counts are local. */
export function countingHook(
  limits: readonly Limit[],
  onStoreFailure: StoreFailure
): (request: FastifyRequest, reply: FastifyReply, done: Done) => void {
  const [only] = limits
  const single = limits.length === 1 ? only : undefined
  return (request, reply, done) => {
    request.rateLimits ??= []
    if (single !== undefined) {
      const rejection = count(single, request, reply, onStoreFailure)
      if (rejection instanceof Promise) settleCallback<Rejection>(rejection, doneWith(done))
      else done(rejection)
      return
    }
    const rejections = limits.map((limit) => count(limit, request, reply, onStoreFailure))
    if (rejections.some((each) => each instanceof Promise))
      settleCallback<Rejection>(
        Promise.all(rejections.map(async (each) => each)).then(longestWait),
        doneWith(done)
      )
    else done(longestWait(rejections as Rejection[]))
  }
}

const doneWith =
  (done: Done) =>
  (error: unknown, rejection?: FastifyError): void =>
    done((error as Error | null) ?? rejection)

/** Counts a request in one limit. The local path creates no closures: it runs on every request. */
function count(
  limit: Limit,
  request: FastifyRequest,
  reply: FastifyReply,
  onStoreFailure: StoreFailure
): Rejection | Promise<Rejection> {
  const name = limit.keyOf(request)
  const tier = limit.tierOf(request)
  const state =
    limit.countsStatus === undefined
      ? tier.counter?.hit(name, limit.cost, tier.quota)
      : leftBefore(limit, tier, name)
  if (state instanceof Promise)
    return state
      .then((shared) => {
        const rejection = record(limit, tier, request, shared)
        if (rejection !== undefined) return rejection
        countAtEnd(limit, tier, reply, name)
        return acquireSlot(limit, tier, reply, name)
      })
      .catch(storeFailure(onStoreFailure))
  const rejection = state === undefined ? undefined : record(limit, tier, request, state)
  if (rejection !== undefined) return rejection
  countAtEnd(limit, tier, reply, name)
  if (tier.inFlight === undefined) return undefined
  const acquired = acquireSlot(limit, tier, reply, name)
  return acquired instanceof Promise ? acquired.catch(storeFailure(onStoreFailure)) : acquired
}

/** Returns whether one more request would be within a limit that counts responses; counts nothing. */
function leftBefore(
  { cost }: Limit,
  { counter, before }: Tier,
  name: string
): CounterState | Promise<CounterState> | undefined {
  const withOwn = (state: CounterState): CounterState =>
    state.allowed ? { ...state, remaining: state.remaining + cost } : state
  const state = counter?.hit(name, 0, before)
  return state instanceof Promise ? state.then(withOwn) : state && withOwn(state)
}

/** Counts the response of a request when it closes, where its status counts. */
function countAtEnd(limit: Limit, tier: Tier, reply: FastifyReply, name: string): void {
  const { countsStatus, cost } = limit
  const { counter, quota } = tier
  if (countsStatus === undefined || counter === undefined) return
  const countResponse = (): void => {
    if (!countsStatus(statusOf(reply))) return
    const counted = counter.hit(name, cost, quota)
    // Nobody waits for it: while the store is unavailable, responses are not counted.
    if (counted instanceof Promise) counted.catch(() => {})
  }
  if (reply.raw.destroyed || reply.raw.closed) countResponse()
  else onResponseClosed(reply.raw, countResponse, undefined, undefined)
}

/** Adds the result of a limit to the request; returns the rejection if the limit is exceeded. */
function record(
  limit: Limit,
  { policy }: Tier,
  request: FastifyRequest,
  state: LimitResult['state']
): Rejection {
  request.rateLimits?.push({ name: limit.name, policy, state })
  if (state.allowed) return undefined
  const seconds = Math.max(1, Math.ceil(state.retryAfter / 1000))
  return refusedBy(limit, withHeaders(new RateLimitExceeded(seconds), { 'retry-after': String(seconds) }))
}

const refusedBy = ({ name }: Limit, refusal: Refusal): Refusal => Object.assign(refusal, { limit: name })

/** Acquires a slot until the response closes; returns the rejection if none is free. */
function acquireSlot(
  limit: Limit,
  { inFlight, maxInFlight }: Tier,
  { raw }: FastifyReply,
  name: string
): Rejection | Promise<Rejection> {
  if (inFlight === undefined) return undefined
  const finish = (acquired: boolean): Rejection => {
    if (!acquired) return refusedBy(limit, withHeaders(new TooManyInFlight(), { 'retry-after': '1' }))
    releaseOnClose(raw, inFlight, name)
    return undefined
  }
  const acquired = inFlight.acquire(name, maxInFlight)
  return acquired instanceof Promise ? acquired.then(finish) : finish(acquired)
}

/** Returns the rejection with the longest Retry-After. */
function longestWait(rejections: readonly Rejection[]): Rejection {
  let longest: Rejection
  for (const rejection of rejections)
    if (rejection !== undefined && retryAfterOf(rejection) > retryAfterOf(longest)) longest = rejection
  return longest
}

const retryAfterOf = (rejection: Refusal | undefined): number =>
  rejection === undefined ? -1 : Number(rejection.headers?.['retry-after'] ?? 0)

const storeFailure =
  (onStoreFailure: StoreFailure) =>
  (error: FastifyError): Rejection => {
    if (error.code !== 'SP_ERR_STORE_UNAVAILABLE') throw error
    return onStoreFailure === 'deny' ? storeUnavailable() : undefined
  }
